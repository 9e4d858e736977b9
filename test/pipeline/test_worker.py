"""The worker program, spoken to over its socket: what it says, in which order, and how it ends."""
from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from vr_ros.core.types import (
    Detection,
    Mask,
    Perception,
    PerceptionError,
    ScoreSource,
    Size,
    Status,
    Task,
)
from vr_ros.pipeline import protocol, worker_errors
from vr_ros.pipeline.backend import DEFAULT_BACKEND, make_backend
from vr_ros.pipeline.frame_ring import FrameRing, SlotRef
from vr_ros.pipeline.frame_sender import FrameData
from vr_ros.pipeline.protocol import FrameKind
from vr_ros.pipeline.wire import Channel, Packet
from vr_ros.pipeline.worker_process import WorkerOptions, WorkerProcess, describe_exit

HERE = Path(__file__).parent
BACKEND = f'{HERE / "fault_backend.py"}:make'


class Talk:
    """A node that speaks to the worker message by message."""

    def __init__(self, options: WorkerOptions) -> None:
        self.process = WorkerProcess(options)
        self.channel = Channel(self.process.socket)
        self.ring = FrameRing.create(4, 100_000)
        self.heartbeats: list[protocol.Heartbeat] = []

    def say(self, *messages: protocol.Message) -> None:
        for message in messages:
            is_ring = isinstance(message, protocol.AttachRing)
            protocol.send(self.channel, message, self.ring.fd if is_ring else None)

    def hear(self) -> protocol.Message | None:
        """Return the next message that is no heartbeat; None at the end."""
        while (received := protocol.receive(self.channel)) is not None:
            if not isinstance(received.message, protocol.Heartbeat):
                return received.message
            self.heartbeats.append(received.message)
        return None

    def hear_until(self, kind: type) -> list[protocol.Message]:
        messages = [self.hear()]
        while messages[-1] is not None and not isinstance(messages[-1], kind):
            messages.append(self.hear())
        return messages

    def load(self, card: str = 'good') -> protocol.Message | None:
        self.say(protocol.Load(card), protocol.AttachRing(1))
        return self.hear_until(protocol.Ready)[-1]

    def ask(self, request_id: int, text: str, frame: FrameData | bytes, *, want_masks: bool = True,
            kind: FrameKind = FrameKind.IMAGE) -> SlotRef:
        ref = self.ring.put(frame.image if isinstance(frame, FrameData) else frame)
        assert ref is not None
        self.say(protocol.Perceive(
            request_id, text, Task.COUNTING, protocol.FrameRef(1, ref, kind), want_masks))
        return ref

    def answer(self) -> Perception:
        result = self.hear_until(protocol.Result)[-1]
        assert isinstance(result, protocol.Result)
        return result.perception

    def exit_status(self) -> int | None:
        assert self.process.wait(30)
        return self.process.reap(0)


@pytest.fixture
def talk(deadline: None) -> Iterator[Talk]:
    conversation = Talk(WorkerOptions(backend=BACKEND))
    yield conversation
    conversation.process.reap(0)
    conversation.channel.close()
    conversation.ring.close()


def test_it_says_what_it_does_before_it_is_ready(talk: Talk) -> None:
    talk.say(protocol.Load('good', {'device': 'cpu'}))
    stages = talk.hear_until(protocol.Ready)
    assert [type(message).__name__ for message in stages] == ['Loading', 'Loading', 'Ready']
    assert stages[-1].model_id == 'fault:good device=cpu'
    assert stages[-1].info['pid'] == talk.process.pid


def test_events_come_in_order_and_carry_everything(
        talk: Talk, frame: Callable[..., FrameData], picture: Callable[..., np.ndarray]) -> None:
    talk.load()
    talk.ask(5, 'echo a "cup"\n☕', frame(40, 30))
    box = Detection(0, (1.0, 2.0, 3.5, 4.25), (2.0, 3.0), 'cup')
    events = talk.hear_until(protocol.Result)
    assert events[:3] == [protocol.Started(5, Task.COUNTING), protocol.Text(5, 'I see '),
                          protocol.Text(5, 'a cup — ☕')]
    assert repr(events[3]) == repr(protocol.Objects(5, (box,), True))
    (masked,) = events[4].detections
    assert masked.mask == Mask(Size(40, 30), (7, 5, 1188)) and masked.area_px == 5
    result = events[5].perception
    assert (result.status, result.task, result.image_size) == (
        Status.OK, Task.COUNTING, Size(40, 30))
    assert result.answer == hashlib.sha256(picture(40, 30)).hexdigest()[:16]  # its pixels
    assert result.raw_text == 'echo a "cup"\n☕' and repr(result.detections) == repr((masked,))
    assert len(events) == 6


def test_masks_are_left_out_when_nobody_wants_them(
        talk: Talk, frame: Callable[..., FrameData]) -> None:
    talk.load()
    talk.ask(5, 'echo', frame(), want_masks=False)
    events = talk.hear_until(protocol.Result)
    assert not [event for event in events if isinstance(event, protocol.Masks)]
    assert events[-1].perception.detections[0].mask is None


@pytest.mark.parametrize(('text', 'status', 'message'), [
    ('raise', Status.MODEL_ERROR, 'ValueError: first line second line'),   # any exception
    ('refuse BAD_INSTRUCTION', Status.BAD_INSTRUCTION, 'refused'),         # a named one
    ('oom', Status.OUT_OF_MEMORY, 'MemoryError'),                          # host memory
    ('torch_oom', Status.OUT_OF_MEMORY, "can't allocate memory"),          # torch's host memory
    ('nothing', Status.MODEL_ERROR, 'expected a Perception, got NoneType'),
    ('nan_box', Status.MODEL_ERROR, 'not finite'),                         # in the result
    ('nan_event', Status.MODEL_ERROR, 'not finite'),                       # in an event
    ('wrong_event', Status.MODEL_ERROR, 'got str'),                        # no event at all
    ('text_box', Status.MODEL_ERROR, 'must be real number'),               # not even a number
    ('short_mask', Status.MODEL_ERROR, 'add up to 3, not to 4 x 4'),       # not a mask of the image
])
def test_a_failure_has_a_name_and_the_worker_lives_on(
        talk: Talk, frame: Callable[..., FrameData], text: str, status: Status,
        message: str) -> None:
    talk.load()
    talk.ask(1, text, frame())
    talk.ask(2, 'echo', frame())
    failed, fine = talk.answer(), talk.answer()
    assert failed.status is status and message in failed.status_message
    assert '\n' not in failed.status_message and failed.task is Task.COUNTING
    assert failed.model_id == 'fault:good' and failed.count == -1
    assert fine.status is Status.OK


def test_what_numpy_counts_is_a_number(talk: Talk, frame: Callable[..., FrameData]) -> None:
    talk.load()
    talk.ask(1, 'numpy_box', frame())
    (detection,) = talk.answer().detections
    assert (detection.index, detection.box, detection.area_px, detection.score_source) == (
        3, (1.0, 2.0, 3.0, 4.0), 9, ScoreSource.NONE)


def test_ten_thousand_boxes_with_masks_arrive(talk: Talk, frame: Callable[..., FrameData]) -> None:
    talk.load()
    talk.ask(1, 'boxes 10000', frame())
    detections = talk.answer().detections
    assert [detection.index for detection in detections] == list(range(10_000))
    assert all(detection.mask.counts == (0, detection.index) for detection in detections)


@pytest.mark.parametrize(('card', 'status', 'message'), [
    ('missing', Status.MODEL_UNAVAILABLE, 'weights are missing; fetch them'),
    ('explode', Status.MODEL_UNAVAILABLE, 'RuntimeError: header too large'),
])
def test_a_failed_load_is_named_and_ends_the_program(
        talk: Talk, card: str, status: Status, message: str) -> None:
    talk.say(protocol.Load(card))
    assert talk.hear_until(protocol.LoadFailed)[-1] == protocol.LoadFailed(status, message)
    assert talk.hear() is None and talk.exit_status() == 65


def test_an_option_that_no_model_has_is_a_failed_load(deadline: None) -> None:
    talk = Talk(WorkerOptions())
    talk.say(protocol.Load('no_such_card', {'no_such_option': 1}))
    (*_, failed) = talk.hear_until(protocol.LoadFailed)
    assert isinstance(failed, protocol.LoadFailed)
    assert failed.status is Status.MODEL_UNAVAILABLE and 'no_such_option' in failed.message
    assert talk.exit_status() == 65
    talk.channel.close()
    talk.ring.close()


def test_a_request_before_any_model_is_refused(talk: Talk, frame: Callable[..., FrameData]) -> None:
    talk.say(protocol.AttachRing(1))
    talk.ask(1, 'echo', frame())
    assert talk.answer().status is Status.MODEL_UNAVAILABLE


def test_a_running_request_stops_at_the_next_word(
        talk: Talk, frame: Callable[..., FrameData]) -> None:
    talk.load()
    talk.ask(1, 'words 100000', frame())
    talk.hear_until(protocol.Text)
    talk.say(protocol.Cancel(1))
    perception = talk.answer()
    assert perception.status is Status.CANCELLED and perception.task is Task.COUNTING


def test_a_waiting_request_is_cancelled_without_waiting(
        talk: Talk, frame: Callable[..., FrameData]) -> None:
    talk.load()
    talk.ask(1, 'words 100000', frame())
    talk.ask(2, 'echo', frame())
    talk.hear_until(protocol.Text)
    talk.say(protocol.Cancel(2), protocol.Cancel(2), protocol.Cancel(99))
    first = talk.hear_until(protocol.Result)[-1]
    assert (first.request_id, first.perception.status) == (2, Status.CANCELLED)
    talk.say(protocol.Cancel(1))
    second = talk.hear_until(protocol.Result)[-1]
    assert (second.request_id, second.perception.status) == (1, Status.CANCELLED)
    talk.ask(3, 'echo', frame())
    rest = talk.hear_until(protocol.Result)
    assert {message.request_id for message in rest} == {3}


def test_a_frame_that_was_overwritten_is_stale(talk: Talk, frame: Callable[..., FrameData]) -> None:
    talk.load()
    talk.ask(1, 'words 20', frame())
    talk.ask(2, 'echo', frame())
    for _ in range(talk.ring.slots):
        talk.ring.put(b'newer')
    assert talk.answer().status in (Status.OK, Status.STALE_IMAGE)  # it may have read it in time
    assert talk.answer().status is Status.STALE_IMAGE


@pytest.mark.parametrize(('content', 'kind', 'status'), [
    (b'', FrameKind.IMAGE, Status.BAD_IMAGE),                        # nothing
    (b'\x00\x01\x00\x00' + b'\xff' * 40, FrameKind.IMAGE, Status.BAD_IMAGE),  # no image
    (b'\x00\x01\x00\x00' + b'\0' * 60, FrameKind.COMPRESSED, Status.BAD_IMAGE),  # no JPEG
])
def test_bytes_that_are_no_frame_are_named(
        talk: Talk, frame: Callable[..., FrameData], content: bytes, kind: FrameKind,
        status: Status) -> None:
    talk.load()
    talk.ask(1, 'echo', content, kind=kind)
    talk.ask(2, 'echo', frame())
    assert talk.answer().status is status
    assert talk.answer().status is Status.OK


def test_a_detached_ring_serves_those_who_came_before(
        talk: Talk, frame: Callable[..., FrameData]) -> None:
    talk.load()
    talk.ask(1, 'words 20', frame())
    talk.ask(2, 'echo', frame())
    talk.say(protocol.DetachRing(1))
    talk.ask(3, 'echo', frame())
    assert [talk.answer().status for _ in range(3)] == [
        Status.OK, Status.OK, Status.STALE_IMAGE]


def test_a_dead_device_is_reported_and_ends_the_program(
        talk: Talk, frame: Callable[..., FrameData]) -> None:
    talk.load()
    talk.ask(1, 'device_lost', frame())
    assert talk.answer().status is Status.MODEL_ERROR
    assert talk.hear() is None and talk.exit_status() == 66


def test_shutdown_cancels_everything_and_ends_the_program(
        talk: Talk, frame: Callable[..., FrameData]) -> None:
    talk.load()
    talk.ask(1, 'words 100000', frame())
    talk.ask(2, 'echo', frame())
    talk.hear_until(protocol.Text)
    talk.say(protocol.Shutdown())
    statuses = {}
    while (message := talk.hear()) is not None:
        if isinstance(message, protocol.Result):
            statuses[message.request_id] = message.perception.status
    assert statuses == {1: Status.CANCELLED, 2: Status.CANCELLED}
    assert talk.exit_status() == 0


@pytest.mark.parametrize('text', ['echo', 'words 100000', 'hang'])
def test_it_ends_when_the_node_is_gone(
        talk: Talk, frame: Callable[..., FrameData], text: str) -> None:
    talk.load()
    talk.ask(1, text, frame())
    talk.hear_until(protocol.Text)
    talk.process.socket.shutdown(socket.SHUT_RDWR)
    assert talk.exit_status() == 0


@pytest.mark.parametrize('packet', [
    Packet({'type': 'Nonsense', 'body': {}}),                   # an unknown message
    Packet({'type': 'Started', 'body': {'request_id': 1}}),     # one that only workers send
])
def test_nonsense_ends_the_program(talk: Talk, packet: Packet) -> None:
    talk.channel.send(packet)
    assert talk.exit_status() == 64


def test_it_tells_how_it_is_while_it_computes(talk: Talk, frame: Callable[..., FrameData]) -> None:
    talk.load()
    talk.ask(7, 'words 150', frame())
    assert talk.answer().status is Status.OK
    assert talk.heartbeats[0].busy_request_id is None
    assert talk.heartbeats[-1].busy_request_id == 7
    assert 1 << 20 < talk.heartbeats[-1].rss_bytes < 1 << 32


PARENT = """
import sys, time
sys.path[:0] = [{here!r}]
from test_worker import *
talk = Talk(WorkerOptions(backend=BACKEND))
talk.load()
talk.ask(1, 'hang with the interpreter lock', bytes.fromhex({frame!r}))
talk.hear_until(protocol.Text)
time.sleep(0.5)  # now it has the lock, and no thread of it can see the socket close
print(talk.process.pid, flush=True)
time.sleep(1000)
"""


def test_it_dies_with_a_killed_node_even_when_it_hangs(
        deadline: None, frame: Callable[..., FrameData], is_alive: Callable[[int], bool]) -> None:
    code = PARENT.format(here=str(HERE), frame=frame(4, 4).image.hex())
    parent = subprocess.Popen([sys.executable, '-c', textwrap.dedent(code)],
                              stdout=subprocess.PIPE, text=True,
                              env={**os.environ, 'PYTHONPATH': str(HERE.parents[1])})
    try:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert is_alive(worker)
    finally:
        parent.kill()
        parent.communicate()
    while is_alive(worker):
        time.sleep(0.01)


@pytest.mark.parametrize('arguments', [[], ['--fd', '0'], ['--fd', '1000'], ['--fd', 'x']])
def test_started_by_hand_it_says_what_is_wrong(deadline: None, arguments: list[str]) -> None:
    outcome = subprocess.run(
        [sys.executable, '-m', 'vr_ros.pipeline.worker', *arguments], capture_output=True,
        text=True, stdin=subprocess.DEVNULL, timeout=60,
        env={**os.environ, 'PYTHONPATH': str(HERE.parents[1])})
    assert outcome.returncode == 2 and '--fd' in outcome.stderr
    assert outcome.stdout == '' and 'Traceback' not in outcome.stderr


@pytest.mark.parametrize(('spec', 'error'), [
    ('', ValueError),
    ('json', ValueError),                       # no attribute
    (':loads', ValueError),                     # no module
    ('no_such_module:make', ImportError),
    ('json:no_such_attribute', AttributeError),
    ('/no/such/file.py:make', OSError),
])
def test_a_back_end_that_is_not_there(spec: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        make_backend(spec)


def test_back_ends_are_found_by_module_and_by_file() -> None:
    import json
    assert make_backend('json:JSONDecoder.decode') is json.JSONDecoder.decode
    assert make_backend(BACKEND)('good', device='cpu').model_id == 'fault:good device=cpu'
    module, _, attribute = DEFAULT_BACKEND.partition(':')
    assert (module, attribute) == ('vr_ros.pipeline.perceiver', 'Perceiver.from_card')


def test_out_of_memory_of_torch_is_told_from_a_dead_device() -> None:
    torch = pytest.importorskip('torch')
    oom, lost = torch.OutOfMemoryError('CUDA out of memory.'), RuntimeError('CUDA error: assert')
    assert worker_errors.status_of(oom) is Status.OUT_OF_MEMORY
    assert not worker_errors.is_device_lost(oom)
    assert not worker_errors.is_device_lost(RuntimeError('CUDA error: out of memory'))
    assert worker_errors.is_device_lost(lost)
    assert worker_errors.status_of(lost) is Status.MODEL_ERROR
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert worker_errors.status_of(caught.value) is Status.OUT_OF_MEMORY


@pytest.mark.parametrize(('error', 'line'), [
    (ValueError('a\n\n  b'), 'ValueError: a b'),
    (KeyError(), 'KeyError'),
    (PerceptionError(Status.NO_IMAGE, 'as it is'), 'as it is'),
    (ValueError('x' * 1000), 'ValueError: ' + 'x' * 285 + '...'),
])
def test_an_error_is_told_in_one_line(error: Exception, line: str) -> None:
    assert worker_errors.one_line(error) == line


@pytest.mark.parametrize(('status', 'text'), [
    (0, 'ended with exit status 0'),
    (-signal.SIGSEGV, 'was killed by SIGSEGV'),
    (-signal.SIGKILL, 'was killed by SIGKILL (out of memory?)'),
    (None, 'cannot be killed'),
])
def test_an_exit_is_told_in_words(status: int | None, text: str) -> None:
    assert describe_exit(status).startswith(text)
