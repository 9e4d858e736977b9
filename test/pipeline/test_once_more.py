"""When memory runs out the answer comes from a smaller image, in the pixels of the original one."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from vr_ros.core.events import EventSink, ObjectsEvent, TextEvent
from vr_ros.core.types import Detection, Perception, PerceptionError, Size, Status, Task
from vr_ros.models.card import load_card
from vr_ros.models.qwen_vl import QwenVLReasoner
from vr_ros.models.rows import Asked
from vr_ros.pipeline.once_more import NOTE, answer_with_retry, smaller_images
from vr_ros.pipeline.perceiver import Perceiver
from vr_ros.sim.renderer import render_scene

Attempt = Callable[[bool, EventSink], Perception]
FULL = torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')


def attempts(*outcomes: Perception | Exception, speaks: bool = False) -> tuple[Attempt, list[bool]]:
    """Make attempts that end in turn as they are told to."""
    sizes: list[bool] = []

    def attempt(smaller: bool, sink: EventSink) -> Perception:
        outcome = outcomes[len(sizes)]
        sizes.append(smaller)
        if speaks:
            sink(TextEvent(f'attempt {len(sizes)}'))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return attempt, sizes


@pytest.mark.parametrize('error', [
    FULL, MemoryError(), PerceptionError(Status.OUT_OF_MEMORY, 'the server has none left')])
def test_one_more_attempt_with_a_smaller_image(error: Exception) -> None:
    attempt, sizes = attempts(error, Perception(Status.PARTIAL, status_message='cut off'))
    perception = answer_with_retry(attempt, lambda event: None, lambda: False)
    assert sizes == [False, True]
    assert perception.status is Status.PARTIAL
    assert perception.status_message == f'cut off; {NOTE}'


def test_no_third_attempt() -> None:
    attempt, sizes = attempts(FULL, FULL)
    with pytest.raises(PerceptionError, match='also at half the image size') as caught:
        answer_with_retry(attempt, lambda event: None, lambda: False)
    assert caught.value.status is Status.OUT_OF_MEMORY and sizes == [False, True]


@pytest.mark.parametrize(('error', 'stopped'), [
    (ValueError('a bug'), False),      # is no matter of size
    (FULL, True),                      # nobody waits any more
])
def test_no_second_attempt_in_vain(error: Exception, stopped: bool) -> None:
    attempt, sizes = attempts(error, Perception(Status.OK))
    with pytest.raises(type(error)):
        answer_with_retry(attempt, lambda event: None, lambda: stopped)
    assert sizes == [False]


def test_an_answer_that_fits_is_left_alone() -> None:
    attempt, sizes = attempts(Perception(Status.OK))
    assert answer_with_retry(attempt, lambda event: None, lambda: False) == Perception(Status.OK)
    assert sizes == [False]


def test_events_are_those_of_one_attempt() -> None:
    heard: list[Any] = []
    attempt, _ = attempts(FULL, Perception(Status.OK), speaks=True)
    answer_with_retry(attempt, heard.append, lambda: False)
    assert heard == [TextEvent('attempt 1')]


def test_what_the_second_attempt_finds_is_nothing_that_the_first_announced() -> None:
    box = Detection(0, (0.0, 0.0, 1.0, 1.0))
    others = tuple(replace(box, index=index, label=f'other {index}') for index in (0, 2))
    heard: list[Any] = []

    def attempt(smaller: bool, sink: EventSink) -> Perception:
        sink(ObjectsEvent(others if smaller else (box, replace(box, index=1)), masks_pending=True))
        if not smaller:
            raise FULL
        return Perception(Status.OK, detections=others)

    perception = answer_with_retry(attempt, heard.append, lambda: False)
    assert [found.index for event in heard for found in event.detections] == [0, 1]
    assert [(found.index, found.label) for found in perception.detections] == [
        (2, 'other 0'), (4, 'other 2')]


@pytest.mark.parametrize(('name', 'factor'), [('visionreasoner_7b', 28), ('qwen3_vl_4b', 32)])
def test_smaller_images_are_whole_tokens(name: str, factor: int) -> None:
    card = load_card(name).reasoner
    for task, part in smaller_images(card).tasks.items():
        before, after = card.image(task), part.image
        if before.size is not None:
            assert after.size.width % factor == after.size.height % factor == 0
            assert 0.2 < (after.size.width * after.size.height) / (
                before.size.width * before.size.height) <= 0.25
        else:
            assert after.min_pixels <= after.max_pixels == before.max_pixels // 4


def test_a_real_model_answers_in_the_pixels_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the model wrote for the smaller image is the same box in the camera's."""
    perceiver = Perceiver.from_card('sim_tiny', device='cpu')
    rgb = render_scene(1_000_003, count=3).rgb
    sizes, reason = [], QwenVLReasoner.reason_batch

    def run_out(self: QwenVLReasoner, asked: list[Asked]) -> Any:
        sizes.append(self.model_size(Size(rgb.shape[1], rgb.shape[0]), Task.DETECTION))
        if len(sizes) == 1:
            raise FULL
        answer = reason(self, [replace(asked[0], on_text=lambda text: None)])
        half_right = f'[{sizes[-1].width // 2},0,{sizes[-1].width},{sizes[-1].height}]'
        asked[0].on_text(f'<answer>[{{"bbox_2d": {half_right}}}]</answer>')
        return answer

    monkeypatch.setattr(QwenVLReasoner, 'reason_batch', run_out)
    events: list[Any] = []
    try:
        perception = perceiver.perceive(rgb, 'find the cup', Task.DETECTION,
                                        on_event=events.append)
    finally:
        perceiver.close()
    assert sizes == [Size(168, 168), Size(84, 84)]
    height, width = rgb.shape[:2]
    assert perception.detections[0].box == pytest.approx((width / 2, 0, width, height), abs=1)
    assert NOTE in perception.status_message
    assert any(isinstance(event, ObjectsEvent) for event in events)


def test_an_event_without_objects_is_passed_on() -> None:
    heard = []

    def attempt(smaller: bool, sink: EventSink) -> Perception:
        sink(ObjectsEvent((), masks_pending=False))
        return Perception(Status.NO_OBJECT)

    answer_with_retry(attempt, heard.append, lambda: False)
    assert heard == [ObjectsEvent((), masks_pending=False)]
