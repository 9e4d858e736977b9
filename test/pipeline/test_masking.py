"""Segmentation beside reasoning: what becomes of each detection."""

from __future__ import annotations

import numpy as np
import pytest

from vr_ros.core.types import Detection, Mask, Size
from vr_ros.models.segmenter import MaskResult
from vr_ros.pipeline.masking import MaskJob

IMAGE = np.zeros((2, 3, 3), np.uint8)
SIZE = Size(3, 2)
FULL = MaskResult(Mask(SIZE, (0, 6)), 0.9, (0, 0, 3, 2), 6)
EMPTY = MaskResult(Mask(SIZE, (6,)), 0.1, None, 0)


class Answers:
    """A segmenter that gives what the test says."""

    def __init__(self, *results: MaskResult | Exception) -> None:
        self.results = list(results)
        self.points: list[np.ndarray] = []

    def encode(self, image: np.ndarray) -> str:
        return 'features'

    def decode(self, features: str, boxes: np.ndarray, points: np.ndarray) -> list[MaskResult]:
        self.points.extend(points)
        given = [self.results.pop(0) for _ in boxes]
        for item in given:
            if isinstance(item, Exception):
                raise item
        return given


def detection(index: int, point: tuple[float, float] | None = None) -> Detection:
    return Detection(index, (0.0, 0.0, 3.0, 2.0), point)


def test_each_detection_gets_its_mask_and_what_belongs_to_it():
    told: list[Detection] = []
    job = MaskJob(Answers(FULL), IMAGE, told.extend)
    job.add([detection(4)])
    done = job.finish()
    assert done[4].mask == FULL.mask and done[4].area_px == 6
    assert done[4].mask_score == pytest.approx(0.9)
    assert told == [done[4]]


def test_an_empty_mask_is_none():
    job = MaskJob(Answers(EMPTY, FULL), IMAGE, lambda _: None)
    job.add([detection(0), detection(1)])
    done = job.finish()
    assert done[0].mask is None and done[0].area_px == 0
    assert done[1].mask is not None


def test_a_missing_point_is_said_to_be_missing():
    segmenter = Answers(FULL, FULL)
    job = MaskJob(segmenter, IMAGE, lambda _: None)
    job.add([detection(0), detection(1, (1.0, 0.5))])
    job.finish()
    assert np.isnan(segmenter.points[0]).all()
    assert segmenter.points[1].tolist() == [1.0, 0.5]


def test_what_goes_wrong_is_raised_by_finish():
    job = MaskJob(Answers(MemoryError('no room')), IMAGE, lambda _: None)
    job.add([detection(0)])
    with pytest.raises(MemoryError, match='no room'):
        job.finish()


def test_nothing_found_ends_at_once():
    assert MaskJob(Answers(), IMAGE, lambda _: None).finish() == {}
