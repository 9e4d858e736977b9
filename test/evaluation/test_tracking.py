"""Scores of sequences that are short enough to be counted by hand."""
from __future__ import annotations

import numpy as np
import pytest

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Mask
from vr_ros.evaluation.tracking import TrackedFrame, TrackScore, score_tracks

pytest.importorskip('motmetrics')


def square(x: int) -> Mask:
    pixels = np.zeros((20, 60), bool)
    pixels[5:15, x:x + 10] = True
    return mask_to_rle(pixels)


A, B = square(0), square(30)


def score(*frames: TrackedFrame) -> TrackScore:
    return score_tracks([frames])


def test_perfect_tracks() -> None:
    result = score(*[TrackedFrame({1: A, 2: B}, {'x': A, 'y': B})] * 4)
    assert (result.mota, result.idf1, result.switches, result.mask_iou) == (1.0, 1.0, 0, 1.0)
    assert (result.recall, result.precision, result.objects) == (1.0, 1.0, 8)


def test_ids_that_change_places() -> None:
    result = score(TrackedFrame({1: A, 2: B}, {'x': A, 'y': B}),
                   TrackedFrame({1: A, 2: B}, {'x': B, 'y': A}))
    assert result.switches == 2
    assert result.mota == pytest.approx(1 - 2 / 4)   # 4 true objects, 2 errors
    assert result.idf1 == pytest.approx(0.5)         # each id is right on one of two frames
    assert result.mask_iou == 1.0


def test_missed_and_invented_objects() -> None:
    result = score(TrackedFrame({1: A}, {}), TrackedFrame({1: A}, {'x': A, 'y': B}))
    assert (result.recall, result.precision) == (0.5, 0.5)
    assert result.mota == pytest.approx(1 - 2 / 2)   # one missed, one invented, of two
    assert result.mask_iou == 0.5


def test_too_little_overlap_is_another_object() -> None:
    result = score(TrackedFrame({1: A}, {'x': square(4)}))   # 6 of 14 columns in common
    assert (result.recall, result.precision) == (0.0, 0.0)
    assert result.mask_iou == pytest.approx(6 / 14)


def test_what_is_to_be_ignored_counts_neither_way() -> None:
    result = score(TrackedFrame({1: A}, {'x': A, 'y': B}, ignored=[B]),
                   TrackedFrame({1: A}, {'x': A}, ignored=[B]))
    assert (result.mota, result.precision) == (1.0, 1.0)
    # What covers a true object is that, whatever else it covers.
    assert score(TrackedFrame({1: A}, {'x': A}, ignored=[A])).recall == 1.0


def test_sequences_have_ids_of_their_own() -> None:
    one = [TrackedFrame({1: A}, {'x': A})] * 3
    other = [TrackedFrame({1: B}, {'y': B})] * 3
    assert score_tracks([one, other]).switches == 0
    with pytest.raises(ValueError, match='no true object'):
        score(TrackedFrame({}, {'x': A}))
