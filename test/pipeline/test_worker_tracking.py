"""Which objects of an answer the worker goes on to follow."""
from __future__ import annotations

import queue
from types import SimpleNamespace

import numpy as np
import pytest

from vr_ros.core.types import Detection, Mask, Size, Task
from vr_ros.pipeline.frame_ring import SlotRef
from vr_ros.pipeline.protocol import FrameKind, FrameRef, Perceive, Track, Tracked
from vr_ros.pipeline.worker_tracking import Tracks, TrackThread, follow_answer

MASK = Mask(Size(2, 2), (0, 4))
FRAME = FrameRef(0, SlotRef(0, 1, 100), FrameKind.IMAGE)


def objects(*has_mask: bool) -> list[Detection]:
    return [Detection(index, (0.0, 0.0, 1.0, 1.0), mask=MASK if masked else None)
            for index, masked in enumerate(has_mask)]


def followed(detections: list[Detection] | None, max_tracks: int) -> list[int] | None:
    """Indices of what the backend is told to follow."""
    calls: list = []
    backend = SimpleNamespace(follow=lambda *call: calls.append(call))
    request = Perceive(7, 'find the cup', Task.DETECTION, FRAME, True, 'front', max_tracks)
    follow_answer(backend, request, detections)
    (camera, seed_id, taken), = calls
    assert (camera, seed_id) == ('front', 7)
    return None if taken is None else [found.index for found in taken]


@pytest.mark.parametrize(('has_mask', 'max_tracks', 'indices'), [
    ((True, True, True), 2, [0, 1]),        # the first ones
    ((False, True, True), 2, [1, 2]),       # one without a mask takes no other's place
    ((False, False), 2, []),
    ((), 2, []),
])
def test_so_many_as_can_be_followed(
        has_mask: tuple[bool, ...], max_tracks: int, indices: list[int]) -> None:
    assert followed(objects(*has_mask), max_tracks) == indices


def test_without_an_answer_what_was_followed_goes_on() -> None:
    assert followed(None, 2) is None


def test_what_goes_wrong_does_not_spoil_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    def follow(*_: object) -> None:
        raise RuntimeError('no memory left')

    request = Perceive(7, 'find the cup', Task.DETECTION, FRAME, True, 'front', 2)
    follow_answer(SimpleNamespace(follow=follow), request, objects(True))
    assert 'the objects of request 7 are not followed' in caplog.text


def test_frames_of_one_camera_wait_while_its_objects_are_taken_up() -> None:
    answers: queue.Queue[Tracked] = queue.Queue()
    backend = SimpleNamespace(track=lambda camera, image: Tracks())
    image = SimpleNamespace(image=lambda: np.zeros((2, 2, 3), np.uint8), located=lambda *_: ())
    thread = TrackThread(backend, answers.put, lost=lambda: None)
    thread.hold('front')
    for number, camera in enumerate(('rear', 'front', 'rear')):
        thread.put(Track(number, camera, FRAME), image)
    assert answers.get(timeout=30).request_id == 0
    with pytest.raises(queue.Empty):
        answers.get(timeout=0.3)
    thread.release()
    assert [answers.get(timeout=30).request_id for _ in range(2)] == [1, 2]
