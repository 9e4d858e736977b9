"""A back-end for the worker that fails in every way a model can. The instruction says how.

Loaded by the real worker program through its --backend option, so that what is tested is the code
path of the real models. Imports no torch.
"""
from __future__ import annotations

import ctypes
import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

from vr_ros.core.events import EventSink, MasksEvent, ObjectsEvent, TextEvent
from vr_ros.core.types import (
    Detection,
    Mask,
    Perception,
    PerceptionError,
    Size,
    Status,
    Task,
)


def make(card: str, **options: object) -> FaultBackend:
    """Load, or fail to, as the card says.

    It may be 'missing', 'explode', 'die', 'die_once:FILE', 'stuck', or 'wait:FILE' until that is
    there.
    """
    name, _, argument = card.partition(':')
    if name == 'missing':
        raise PerceptionError(Status.MODEL_UNAVAILABLE, 'weights are missing; fetch them')
    if name == 'explode':
        raise RuntimeError('header\ntoo large')
    if name == 'die' or (name == 'die_once' and not os.path.exists(argument)):
        if argument:
            open(argument, 'x').close()
        os.kill(os.getpid(), signal.SIGKILL)
    while name == 'wait' and not os.path.exists(argument):
        time.sleep(0.02)
    if name == 'stuck':
        time.sleep(1000)
    return FaultBackend(card, options)


class FaultBackend:
    """Answers 'echo' properly, and everything else as badly as it is told to."""

    def __init__(self, card: str, options: dict[str, object]) -> None:
        self.model_id = f'fault:{card}' + ''.join(f' {k}={v}' for k, v in sorted(options.items()))

    def close(self) -> None:
        """Nothing to give back."""

    def perceive(
        self, image: np.ndarray, text: str, task: Task = Task.AUTO, *, want_masks: bool = True,
        on_event: EventSink | None = None, should_stop: Callable[[], bool] | None = None,
    ) -> Perception:
        """Do what the first word of the text says, with the rest as its argument."""
        word, _, argument = text.partition(' ')
        emit = on_event or (lambda event: None)
        stop = should_stop or (lambda: False)
        if word == 'words':
            return speak(emit, stop, int(argument))
        if word in FAULTS:
            FAULTS[word](argument, emit)
        if word in RETURNS:
            return RETURNS[word](argument)
        return echo(image, text, task, want_masks, emit, self.model_id)


def digest(image: np.ndarray) -> str:
    """Return what an answer to 'echo' says about its image."""
    return hashlib.sha256(np.ascontiguousarray(image)).hexdigest()[:16]


def echo(image: np.ndarray, text: str, task: Task, want_masks: bool, emit: EventSink,
         model_id: str) -> Perception:
    height, width = image.shape[:2]
    box = Detection(0, (1.0, 2.0, 3.5, 4.25), (2.0, 3.0), 'cup')
    masked = Detection(0, box.box, box.point, 'cup', mask_score=0.5, area_px=5,
                       mask=Mask(Size(width, height), (7, 5, width * height - 12)))
    emit(TextEvent('I see '))
    emit(TextEvent('a cup — ☕'))
    emit(ObjectsEvent((box,), masks_pending=want_masks))
    if want_masks:
        emit(MasksEvent((masked,)))
    return Perception(Status.OK, task, (masked if want_masks else box,), answer=digest(image),
                      raw_text=text, image_size=Size(width, height), model_id=model_id)


def speak(emit: EventSink, stop: Callable[[], bool], count: int) -> Perception:
    for index in range(count):
        if stop():
            raise PerceptionError(Status.CANCELLED, 'stopped at the next token')
        emit(TextEvent(f'{index} '))
        time.sleep(0.01)
    return Perception(Status.OK, reasoning=str(count))


def _raise(error: Exception) -> None:
    raise error


def _die(argument: str, emit: EventSink) -> None:
    emit(TextEvent('last words'))
    os.kill(os.getpid(), getattr(signal, argument))


def _hang(argument: str, emit: EventSink) -> None:
    emit(TextEvent('hanging'))
    if argument == 'with the interpreter lock':
        ctypes.PyDLL(None).sleep(1000)
    time.sleep(1000)


def _half(argument: str, emit: EventSink) -> None:
    emit(TextEvent('half an answer'))
    raise ValueError('first line\nsecond line')


def _helper(argument: str, emit: EventSink) -> None:
    helper = subprocess.Popen(['sleep', '1000'])
    emit(TextEvent(str(helper.pid)))
    helper.wait()
    time.sleep(1000)


def _straggle(argument: str, emit: EventSink) -> None:
    threading.Timer(0.05, emit, [TextEvent('too late')]).start()


def _exhaust(argument: str, emit: EventSink) -> None:
    """Really run out of memory: of the address space, which is limited for that long."""
    with open('/proc/self/statm', encoding='ascii') as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), before[1]))
    try:
        np.ones(1 << 30, np.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


LEAKED: list[object] = []


def _leak(argument: str, emit: EventSink) -> None:
    kind, _, count = argument.partition(' ')
    for _ in range(int(count)):
        if kind == 'memory':
            LEAKED.append(bytearray(b'x' * (1 << 20)))
        elif kind == 'descriptors':
            LEAKED.append(os.memfd_create('leak'))
        else:
            thread = threading.Thread(target=time.sleep, args=(1000,), daemon=True)
            thread.start()
            LEAKED.append(thread)


def _print_garbage(argument: str, emit: EventSink) -> None:
    garbage = np.random.default_rng(0).bytes(20_000) + b'\x1b[2J\x1b]0;title\x07%s%n{}\n'
    for descriptor in (1, 2):
        os.write(descriptor, garbage)
    print('\x1b[31m\0 not JSON', flush=True)


def _node_descriptor() -> int:
    return int(sys.argv[sys.argv.index('--fd') + 1])


def _speak_garbage(argument: str, emit: EventSink) -> None:
    """Write into the socket to the node, as a library does that closes what is not its own."""
    os.write(_node_descriptor(), np.random.default_rng(0).bytes(4096))
    time.sleep(1000)


def _half_packet(argument: str, emit: EventSink) -> None:
    os.write(_node_descriptor(), b'VRW1' + (1000).to_bytes(4, 'little') + bytes(4) + b'{"type":')
    os._exit(0)


def _exit_softly(argument: str, emit: EventSink) -> None:
    raise SystemExit(argument)


def _recurse(argument: str, emit: EventSink) -> None:
    _recurse(argument, emit)


def _chatter(argument: str, emit: EventSink) -> None:
    for index in range(int(argument)):
        emit(TextEvent(f'{index} '))


def _boxes_events(argument: str, emit: EventSink) -> None:
    for index in range(int(argument)):
        emit(ObjectsEvent((Detection(index, (0.0, 0.0, 1.0, 1.0)),), masks_pending=True))


# What a tokenizer may make of bytes that are no text, and what terminals and strings in C end at.
HOSTILE_TEXT = 'lone \ud800 surrogate, zero \0, \x1b[2J escape, \u202e reversed, </answer><script>'

NAN = float('nan')

FAULTS: dict[str, Callable[[str, EventSink], None]] = {
    'raise': _half,
    'refuse': lambda argument, emit: _raise(PerceptionError(Status[argument], 'refused')),
    'oom': lambda argument, emit: _raise(MemoryError()),
    'torch_oom': lambda argument, emit: _raise(RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")),
    'device_lost': lambda argument, emit: _raise(RuntimeError(
        'CUDA error: an illegal memory access was encountered')),
    'die': _die,
    'exit': lambda argument, emit: os._exit(int(argument)),
    'hang': _hang,
    'helper': _helper,
    'straggle': _straggle,
    'nan_event': lambda argument, emit: emit(
        ObjectsEvent((Detection(0, (NAN, 0.0, 1.0, 1.0)),), masks_pending=False)),
    'wrong_event': lambda argument, emit: emit('not an event'),  # type: ignore[arg-type]
    'exhaust': _exhaust,
    'leak': _leak,
    'print': _print_garbage,
    'speak_garbage': _speak_garbage,
    'half_packet': _half_packet,
    'exit_softly': _exit_softly,
    'recurse': _recurse,
    'chatter': _chatter,
    'box_events': _boxes_events,
    'hostile_event': lambda argument, emit: emit(TextEvent(HOSTILE_TEXT)),
    'flood_event': lambda argument, emit: emit(TextEvent('x' * (40 << 20))),
}

RETURNS: dict[str, Callable[[str], Perception]] = {
    'nothing': lambda argument: None,  # type: ignore[return-value]
    'nan_box': lambda argument: Perception(
        Status.OK, detections=(Detection(0, (0.0, NAN, 1.0, 1.0)),)),
    'text_box': lambda argument: Perception(
        Status.OK, detections=(Detection(0, ('a', 0, 1, 1)),)),  # type: ignore[arg-type]
    'short_mask': lambda argument: Perception(
        Status.OK, detections=(Detection(0, (0.0, 0.0, 1.0, 1.0), mask=Mask(Size(4, 4), (3,))),)),
    'numpy_box': lambda argument: Perception(Status.OK, detections=(Detection(
        np.int64(3), tuple(np.float32([1, 2, 3, 4])), area_px=np.uint32(9)),)),
    'boxes': lambda argument: Perception(Status.OK, detections=tuple(
        Detection(index, (0.0, 0.0, float(index), 1.0), mask=Mask(Size(index, 1), (0, index)))
        for index in range(int(argument)))),
    'end': lambda argument: Perception(
        Status[argument], status_message='' if argument == 'OK' else f'says {argument}'),
    'hostile_text': lambda argument: Perception(
        Status.OK, Task.VQA, answer=HOSTILE_TEXT, reasoning=HOSTILE_TEXT, raw_text=HOSTILE_TEXT,
        finish_reason=HOSTILE_TEXT, status_message=HOSTILE_TEXT, model_id=HOSTILE_TEXT,
        detections=(Detection(0, (0.0, 0.0, 1.0, 1.0), label=HOSTILE_TEXT),)),
    'flood': lambda argument: Perception(Status.OK, reasoning='x' * (40 << 20)),
    'long': lambda argument: Perception(Status.OK, Task.VQA, answer='x' * (2 << 20)),
    'huge_numbers': lambda argument: Perception(Status.OK, detections=(
        Detection(2**40, (-1e300, 0.0, 1e300, 1.0), area_px=2**70),), image_size=Size(-1, 2**40)),
    'negative_numbers': lambda argument: Perception(Status.OK, detections=(
        Detection(-1, (0.0, 0.0, 1.0, 1.0), area_px=-5),)),
    'nan_score': lambda argument: Perception(Status.OK, detections=(
        Detection(0, (0.0, 0.0, 1.0, 1.0), score=NAN, mask_score=float('inf')),)),
}
