"""Every way in which an instruction can fail, and how one of each is tried on a running node.

Used by the tests and by `./run bench faults`.
"""
from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fault_rig import Rig
from lifecycle_msgs.msg import Transition
from live import PICTURE

from vr_ros.core.types import Status
from vr_ros.msg import Instruction

_KILL_WORDS = 'was killed by SIGKILL'


@dataclass(frozen=True)
class Fault:
    """One fault and what has to come of it.

    :param text: of the instruction; the fault back-end does what it says.
    :param status: of its result.
    :param says: is part of the result's message.
    :param fields: further fields of the instruction.
    :param act: brings the fault about, and returns the id of the instruction that it befalls.
    :param check: of the result, beyond its status.
    """

    name: str
    text: str = 'echo'
    status: str = 'OK'
    says: str = ''
    fields: Mapping[str, Any] = field(default_factory=dict)
    act: Callable[[Rig, Fault], str] = lambda rig, fault: ask(rig, fault)
    check: Callable[[Any], bool] = lambda result: True


@dataclass(frozen=True)
class Trial:
    """What came of a fault; it was survived where there are no problems."""

    fault: Fault
    status: str
    message: str
    problems: tuple[str, ...]
    node_died: bool
    seconds: float


def ask(rig: Rig, fault: Fault) -> str:
    """Show an image and tell the fault's text."""
    return ask_about()(rig, fault)


def ask_about(**image_fields: Any) -> Callable[[Rig, Fault], str]:
    """Make an act that shows an image, also one that is not as it should be."""
    def act(rig: Rig, fault: Fault) -> str:
        rig.show(**image_fields)
        return rig.tell(fault.text, **fault.fields)

    return act


def about_no_message(rig: Rig, fault: Fault) -> str:
    """Publish bytes in place of an image."""
    rig.robot.deliver(b'\x00\x01\x00\x00' + np.random.default_rng(3).bytes(40))
    return rig.tell(fault.text, **fault.fields)


def without_image(rig: Rig, fault: Fault) -> str:
    """Ask a node that has forgotten its images."""
    rig.transition(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE)
    rig.robot.wait_for_camera()
    return rig.tell(fault.text, **fault.fields)


def while_inactive(rig: Rig, fault: Fault) -> str:
    """Ask a node that is not active."""
    rig.transition(Transition.TRANSITION_DEACTIVATE)
    name = rig.tell(fault.text)
    rig.answer(name)
    rig.transition(Transition.TRANSITION_ACTIVATE)
    rig.robot.wait_for_camera()
    return name


def deactivated_in_mid_answer(rig: Rig, fault: Fault) -> str:
    """Deactivate the node while it answers."""
    name = ask(rig, fault)
    rig.robot.spin(0.3)
    rig.transition(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE)
    rig.robot.wait_for_camera()
    return name


def with_model(model: str, **parameters: Any) -> Callable[[Rig, Fault], str]:
    """Make an act that asks a node whose model is another one, then gives it the good one back."""
    def act(rig: Rig, fault: Fault) -> str:
        with tempfile.TemporaryDirectory() as folder:
            rig.load(model.format(folder=folder), **parameters)
            name = ask(rig, fault)
            rig.answer_on_film(name)
            rig.load('good', load_timeout=0.0)
        return name

    return act


def superseded(rig: Rig, fault: Fault) -> str:
    """Give a newer continuous instruction while an older one is being answered."""
    rig.show()
    old = rig.tell(fault.text, mode=Instruction.CONTINUOUS)
    rig.robot.spin(0.3)
    new = rig.tell(fault.text, mode=Instruction.CONTINUOUS)
    rig.answer(old)
    rig.tell('', mode=Instruction.STOP, id=new)
    return old


def stopped(rig: Rig, fault: Fault) -> str:
    """Stop an instruction while it is being answered."""
    name = ask(rig, fault)
    rig.robot.spin(0.3)
    rig.tell('', mode=Instruction.STOP, id=name)
    return name


def one_too_many(rig: Rig, fault: Fault) -> str:
    rig.show()
    names = [rig.tell(fault.text) for _ in range(4)]
    for name in names:
        rig.answer(name)
    return names[-1]


def worker_signalled(number: signal.Signals, text: str = '') -> Callable[[Rig, Fault], str]:
    """Make an act that sends the worker a signal from outside.

    :param text: what it computes at that time; '': nothing, and it is asked afterwards.
    """
    def act(rig: Rig, fault: Fault) -> str:
        rig.until(lambda: rig.worker)
        rig.show()
        name = rig.tell(text) if text else ''
        rig.robot.spin(0.3)
        os.kill(rig.worker, number)
        name = name or rig.tell(fault.text, **fault.fields)
        rig.answer_on_film(name)
        return name

    return act


def _count_is(count: int) -> Callable[[Any], bool]:
    return lambda result: result.count == count == len(result.detections)


def _is_clean_text(result: Any) -> bool:
    texts = (result.outcome.status_message, result.outcome.model_id, result.detections[0].label)
    return all('\0' not in text and 'surrogate' in text for text in texts)


FAULTS = (
    # The model raises.
    Fault('an exception', 'raise', 'MODEL_ERROR', 'ValueError: first line second line'),
    Fault('a named error', 'refuse PARSE_ERROR', 'PARSE_ERROR', 'refused'),
    Fault('a server that is away', 'refuse SERVER_UNAVAILABLE', 'SERVER_UNAVAILABLE', 'refused'),
    Fault('endless recursion', 'recurse', 'MODEL_ERROR', 'RecursionError'),
    Fault('sys.exit', 'exit_softly 0', 'WORKER_RESTARTING', 'exit status'),
    # It runs out of memory, or leaks.
    Fault('no host memory', 'exhaust', 'OUT_OF_MEMORY', 'allocate'),
    Fault('MemoryError', 'oom', 'OUT_OF_MEMORY', 'MemoryError'),
    Fault('no device memory', 'torch_oom', 'OUT_OF_MEMORY', "can't allocate memory"),
    Fault('the out-of-memory killer', 'die SIGKILL', 'WORKER_RESTARTING', 'out of memory?'),
    Fault('leaking 200 MB', 'leak memory 200'),
    Fault('leaking 200 descriptors', 'leak descriptors 200'),
    Fault('leaking 50 threads', 'leak threads 50'),
    # It dies.
    Fault('a crash', 'die SIGSEGV', 'WORKER_RESTARTING', 'SIGSEGV'),
    Fault('an abort', 'die SIGABRT', 'WORKER_RESTARTING', 'SIGABRT'),
    Fault('exit with 0', 'exit 0', 'WORKER_RESTARTING', 'exit status 0'),
    Fault('exit with 3', 'exit 3', 'WORKER_RESTARTING', 'exit status 3'),
    Fault('a lost GPU', 'device_lost', 'MODEL_ERROR', 'illegal memory access'),
    Fault('killed in mid-answer', 'words 100000', 'WORKER_RESTARTING', _KILL_WORDS,
          act=worker_signalled(signal.SIGKILL, 'words 100000')),
    Fault('killed while idle', act=worker_signalled(signal.SIGKILL)),
    # It hangs, or is too slow.
    Fault('a hang', 'hang', 'TIMEOUT', 'no progress for 1.5 s'),
    Fault('a hang in C', 'hang with the interpreter lock', 'TIMEOUT', 'no progress for 1.5 s'),
    Fault('a hang in a helper process', 'helper', 'TIMEOUT', 'no progress for 1.5 s'),
    Fault('stopped from inside', 'die SIGSTOP', 'TIMEOUT', 'no progress for 1.5 s'),
    Fault('stopped from outside', status='TIMEOUT', says='no progress for 1.5 s',
          act=worker_signalled(signal.SIGSTOP)),
    Fault('far too slow', 'words 100000', 'TIMEOUT', 'no answer within 1 s', {'deadline_s': 1.0}),
    # It speaks nonsense.
    Fault('garbage on stdout and stderr', 'print'),
    Fault('garbage to the node', 'speak_garbage', 'WORKER_RESTARTING', _KILL_WORDS),
    Fault('half a packet', 'half_packet', 'WORKER_RESTARTING', 'exit status 0'),
    Fault('texts that are none', 'hostile_text', check=_is_clean_text),
    Fault('a partial text that is none', 'hostile_event'),
    Fault('a text of 2 MB', 'long'),
    Fault('a text of 40 MB', 'flood', 'MODEL_ERROR', 'too large'),
    Fault('a partial text of 40 MB', 'flood_event', 'MODEL_ERROR', 'too large'),
    Fault('20,000 pieces at once', 'chatter 20000'),
    Fault('a word after its answer', 'straggle'),
    # Its answer is none.
    Fault('no answer', 'nothing', 'MODEL_ERROR', 'expected a Perception'),
    Fault('NaN in a box', 'nan_box', 'MODEL_ERROR', 'not finite'),
    Fault('NaN in a partial box', 'nan_event', 'MODEL_ERROR', 'not finite'),
    Fault('NaN for a score', 'nan_score', check=_count_is(1)),
    Fault('words in a box', 'text_box', 'MODEL_ERROR', 'must be real number'),
    Fault('numbers too large for a message', 'huge_numbers', 'MODEL_ERROR', 'out of range'),
    Fault('negative numbers', 'negative_numbers', 'MODEL_ERROR', 'out of range'),
    Fault('a mask of another image', 'short_mask', 'MODEL_ERROR', 'add up to 3'),
    Fault('an event that is none', 'wrong_event', 'MODEL_ERROR', 'got str'),
    Fault('10,000 boxes with masks', 'boxes 10000', check=_count_is(10_000)),
    Fault('2,000 boxes one by one', 'box_events 2000'),
    # Answers that are no errors.
    Fault('nothing there', 'end NO_OBJECT', 'NO_OBJECT', 'says', check=_count_is(0)),
    Fault('half an answer', 'end PARTIAL', 'PARTIAL', 'says'),
    Fault('too many objects', 'end LIMIT_REACHED', 'LIMIT_REACHED', 'says'),
    Fault('a newer instruction', 'words 100000', 'SUPERSEDED', 'newer', act=superseded),
    # It cannot be loaded.
    Fault('weights are missing', status='MODEL_UNAVAILABLE', says='weights are missing',
          act=with_model('missing')),
    Fault('loading raises', status='MODEL_UNAVAILABLE', says='header too large',
          act=with_model('explode')),
    Fault('loading takes for ever', status='MODEL_LOADING', says='not ready',
          fields={'deadline_s': 0.5}, act=with_model('stuck')),
    Fault('loading hangs', status='MODEL_UNAVAILABLE', says='0.5 s while loading',
          act=with_model('stuck', load_timeout=0.5)),
    Fault('loading dies once', act=with_model('die_once:{folder}/died')),
    Fault('loading always dies', status='MODEL_UNAVAILABLE', says=_KILL_WORDS,
          act=with_model('die')),
    # Images.
    Fault('no image', status='NO_IMAGE', says='no image', fields={'deadline_s': 0.3},
          act=without_image),
    Fault('an old image', status='STALE_IMAGE', says='old', fields={'deadline_s': 0.3},
          act=ask_about(age_s=60.0)),
    Fault('an unknown encoding', status='UNSUPPORTED_ENCODING', says='holographic',
          act=ask_about(encoding='holographic')),
    Fault('an image that is cut off', status='BAD_IMAGE', says='bytes of data',
          act=ask_about(data=PICTURE.tobytes()[:-1])),
    Fault('an image that is none', status='BAD_IMAGE', says='message',
          act=about_no_message),
    Fault('an image bomb', status='IMAGE_TOO_LARGE', says='max_image_pixels',
          act=ask_about(size=(2**31, 2**31), data=b'', step=0)),
    # Instructions.
    Fault('an empty instruction', '', 'BAD_INSTRUCTION', 'empty'),
    Fault('an instruction of 5 MB', 'find the cup ' * 400_000, 'BAD_INSTRUCTION', '4096'),
    Fault('an unknown task', status='BAD_INSTRUCTION', says='99', fields={'task': 99}),
    Fault('one instruction too many', 'words 30', 'QUEUE_FULL', '3', act=one_too_many),
    Fault('stopped by the operator', 'words 100000', 'CANCELLED', 'stopped', act=stopped),
    Fault('stopped, but it hangs', 'hang', 'CANCELLED', 'stopped', act=stopped),
    Fault('a node that is not active', status='NOT_ACTIVE', says='not active', act=while_inactive),
    Fault('deactivated in mid-answer', 'words 100000', 'NOT_ACTIVE', 'deactivated',
          act=deactivated_in_mid_answer),
)


def attempt(rig: Rig, fault: Fault) -> Trial:
    """Bring a fault about, and see that the node is none the worse for it."""
    began, problems, status, message = time.monotonic(), [], '', ''
    try:
        result = rig.answer(fault.act(rig, fault))
        status, message = Status(result.outcome.status).name, result.outcome.status_message
        problems += _judge(fault, result)
        rig.until(lambda: rig.state == 'ready')
        rig.show()
        following = rig.answer_on_film(rig.tell('echo')).outcome
        if following.status != Status.OK:
            problems.append(f'the next instruction got {Status(following.status).name}: '
                            f'{following.status_message}')
        problems += rig.wrong_counts()
        problems += [f'process {pid} is left over' for pid in sorted(rig.orphans())]
    except (TimeoutError, ChildProcessError, AssertionError) as error:
        problems.append(f'{type(error).__name__}: {str(error):.300}')
    died = rig.process.poll() is not None
    return Trial(fault, status, message[:200], tuple(problems), died, time.monotonic() - began)


def _judge(fault: Fault, result: Any) -> list[str]:
    status, message = Status(result.outcome.status), result.outcome.status_message
    problems = []
    if status.name != fault.status:
        problems.append(f'{status.name} ({message}) in place of {fault.status}')
    elif fault.says not in message or '\n' in message:
        problems.append(f'the message {message!r} does not say {fault.says!r} in one line')
    if status.is_error and (result.count != -1 or result.detections or not message):
        problems.append('an error with a count, detections or no message')
    return problems if fault.check(result) else [*problems, 'another result than it has to be']
