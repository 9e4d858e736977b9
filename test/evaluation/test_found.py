"""What a sample may hold, and what is derived from it."""
from __future__ import annotations

import math

import numpy as np
import pytest

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Detection, Perception, Size, Status, Task, Timing, TrackState
from vr_ros.datasets.truth import Truth, true_areas_px
from vr_ros.evaluation.found import Found

BOX, OTHER = (0, 0, 4, 3), (5, 5, 6, 6)
EMPTY = mask_to_rle(np.zeros((3, 4), bool))
FULL = mask_to_rle(np.ones((3, 4), bool))


@pytest.mark.parametrize(('truth', 'count', 'is_absent'), [
    (Truth(boxes=[BOX, OTHER]), 2, False),
    (Truth(boxes=[BOX, OTHER], crowd=[False, True]), 1, False),   # a crowd is no number
    (Truth(boxes=[]), 0, True),
    (Truth(masks=(FULL,)), 1, False),
    (Truth(masks=()), 0, True),
    (Truth(region=FULL), None, False),                            # objects not told apart
    (Truth(region=EMPTY), None, True),
    (Truth(count=3), 3, False),                                   # a number and nothing else
    (Truth(count=0), 0, True),
    (Truth(answers=('red',)), None, None),                        # asks for no object
])
def test_count_and_absence(truth: Truth, count: int | None, is_absent: bool | None) -> None:
    assert (truth.count, truth.is_absent) == (count, is_absent)


def test_areas_are_given_or_those_of_masks_or_of_boxes() -> None:
    half = mask_to_rle(np.array([[True, False]] * 3))
    assert true_areas_px(Truth(boxes=[BOX, OTHER])).tolist() == [12, 1]
    assert true_areas_px(Truth(boxes=[BOX], masks=(half,))).tolist() == [3]
    assert true_areas_px(Truth(boxes=[BOX], masks=(half,), areas_px=[7])).tolist() == [7]
    with pytest.raises(ValueError, match='neither'):
        true_areas_px(Truth(count=3))


@pytest.mark.parametrize('make', [
    lambda: Truth(boxes=[BOX], masks=()),
    lambda: Truth(boxes=[BOX], crowd=[True, False]),
    lambda: Truth(boxes=[BOX], areas_px=[]),
    lambda: Truth(crowd=[True]),
    lambda: Truth(boxes=[BOX, OTHER], labels=('cup',)),
    lambda: Found(boxes=[BOX], scores=[0.5, 0.5]),
    lambda: Found(boxes=[BOX], masks=(FULL, FULL)),
    lambda: Found(masks=(FULL,)),
    lambda: Found(Status.TIMEOUT, boxes=[BOX]),
])
def test_what_does_not_belong_together_is_refused(make) -> None:
    with pytest.raises(ValueError, match='objects'):
        make()


def test_found_without_masks_or_scores_has_none_for_each() -> None:
    found = Found(boxes=[BOX, OTHER])
    assert (found.count, found.masks, found.known_masks) == (2, (None, None), ())
    assert np.isnan(found.scores).all() and found.scores.shape == (2,)
    assert Found().boxes.shape == (0, 4)
    assert Found(count=5).count == 5                              # a number in words
    assert Found(Status.PARSE_ERROR, count=5).count == -1


def test_from_perception() -> None:
    detections = (
        Detection(0, BOX, score=0.7, mask=FULL), Detection(1, OTHER),
        Detection(2, BOX, track_state=TrackState.LOST))
    timing = Timing(total_ms=12.0)
    perception = Perception(
        Status.OK, detections=detections, answer='two', reasoning='a b', raw_text='<think>a b',
        timing=timing)
    found = Found.from_perception(perception)
    assert found.boxes.tolist() == [list(BOX), list(OTHER)]
    assert (found.count, found.masks, found.known_masks) == (2, (FULL, None), (FULL,))
    assert found.scores[0] == 0.7 and math.isnan(found.scores[1])
    assert (found.answer, found.reasoning, found.raw_text) == ('two', 'a b', '<think>a b')
    assert (found.latency_ms, Found.from_perception(perception, 34.0).latency_ms) == (12.0, 34.0)
    failed = Found.from_perception(Perception(Status.TIMEOUT, detections=detections))
    assert (failed.count, len(failed.boxes), failed.says_absent) == (-1, 0, False)
    assert Found.from_perception(Perception(Status.NO_OBJECT)).says_absent


def test_truth_from_perception() -> None:
    two = (Detection(0, BOX, label='cup', mask=FULL), Detection(1, OTHER, mask=EMPTY))
    size = Size(9, 8)
    truth = Truth.from_perception(Perception(
        Status.OK, Task.COUNTING, two, answer='2', image_size=size), 'front 1.5')
    assert (truth.image, truth.size, truth.task, truth.count) == (
        'front 1.5', size, Task.COUNTING, 2)
    assert truth.boxes.tolist() == [list(BOX), list(OTHER)] and truth.masks == (FULL, EMPTY)
    assert truth.labels == ('cup', '') and truth.answers == ()    # a number is no text
    absent = Truth.from_perception(Perception(Status.NO_OBJECT, Task.DETECTION))
    assert absent.is_absent and absent.masks == () and absent.labels == ()
    half = Truth.from_perception(Perception(Status.OK, detections=(two[0], Detection(1, BOX))))
    assert half.masks is None and half.count == 2                 # some masks are no masks
    text = Truth.from_perception(Perception(Status.OK, Task.VQA, two, answer='red'))
    assert (text.answers, text.boxes, text.is_absent) == (('red',), None, None)
    unknown = Truth.from_perception(Perception(Status.TIMEOUT, Task.DETECTION))
    assert unknown.count is None and unknown.is_absent is None
