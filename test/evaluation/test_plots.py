"""What the plots of a report show, against the figures and against numbers worked out by hand."""
from __future__ import annotations

import math

import numpy as np
import pytest

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Status
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.metrics.panel import strict_measures
from vr_ros.evaluation.pages.plots import (
    Bin,
    box_iou,
    counts,
    latency,
    mask_iou,
    reasoning,
    reliability,
    round_step,
)

A, B, GROUP = (0, 0, 10, 10), (20, 0, 30, 10), (0, 0, 40, 40)


def figure(pairs, name: str) -> float:
    results = figures(strict_measures(*zip(*pairs, strict=True)), rounds=0)
    return next(f.value for f in results if f.name == name)


def took(*times_ms: float, words: int = 0) -> list:
    return [(Truth(count=1), Found(latency_ms=ms, reasoning='word ' * words)) for ms in times_ms]


def test_every_true_object_has_the_iou_of_its_box():
    pairs = [
        (Truth(boxes=[A, B]), Found(boxes=[(20, 0, 30, 5), A])),            # 1 and 0.5
        (Truth(boxes=[A]), Found(Status.TIMEOUT)),                          # 0
        (Truth(boxes=[A, GROUP], crowd=[False, True]), Found(boxes=[(0, 0, 10, 3)])),   # 0.3
        (Truth(boxes=[]), Found(boxes=[A])),
        (Truth(answers=('x',)), Found()),
    ]
    histogram = box_iou(pairs)
    assert histogram.counts == (1, 0, 0, 1, 0, 1, 0, 0, 0, 1) and histogram.of == 4
    assert histogram.edges[3] == 0.3 and histogram.edges[-1] == 1


def test_the_mean_of_the_masks_is_giou():
    def mask(rows: int):
        return mask_to_rle(np.arange(100).reshape(10, 10) < rows * 10)

    pairs = [(Truth(region=mask(10)), Found(boxes=[A], masks=(mask(rows),)))
             for rows in range(1, 11)]
    histogram = mask_iou(pairs)
    assert histogram.counts == (0, 1, 1, 1, 1, 1, 1, 1, 1, 2)      # 0.1, 0.2, … 0.9, 1
    assert figure(pairs, 'gIoU') == pytest.approx(0.55)


@pytest.mark.parametrize(('times', 'edges', 'number'), [
    ([3.0], (0, 1, 2, 3, 4), 4),
    ([0.0, 0.0], (0, 1), 1),
    ([0.2, 15.9], (0, 2, 4, 6, 8, 10, 12, 14, 16), 8),
    ([10.0] * 99 + [60_000.0], (*range(17), math.inf), 17),         # one far out
    ([1000.0 * i for i in range(1, 11)], None, 11),
])
def test_axes_are_round_and_hold_all(times, edges, number):
    histogram = latency(took(*times))
    assert len(histogram.counts) == number and histogram.of == len(times)
    if edges:
        assert histogram.edges == edges
    for low, high, count in zip(
            histogram.edges[:-1], histogram.edges[1:], histogram.counts, strict=True):
        assert count == sum(low <= ms < high for ms in times)


def test_marks_are_the_figures():
    pairs = took(*(float(i * i) for i in range(1, 30)), math.nan)
    marks = dict(latency(pairs).marks)
    for name in ('p50', 'p90', 'p99'):
        assert marks[name] == pytest.approx(figure(pairs, f'latency {name}'))
    assert latency(pairs).of == 29
    words = dict(reasoning(took(1.0, words=7) + took(1.0, 1.0)).marks)
    assert words == {'p50': 0, 'p95': pytest.approx(6.3)}


@pytest.mark.parametrize(('least', 'step'), [
    (0, 1), (0.3, 1), (1, 1), (1.1, 2), (2, 2), (4, 5), (7, 10), (10, 10), (11, 20), (4321, 5000),
])
def test_steps(least, step):
    assert round_step(least) == step


def test_counts_by_what_was_said_and_true():
    table = counts([
        (Truth(count=0), Found(Status.NO_OBJECT)), (Truth(count=2), Found(count=1)),
        (Truth(count=2), Found(count=2)), (Truth(count=1), Found(Status.TIMEOUT)),
        (Truth(answers=('x',)), Found())])
    assert table.names == ('0', '1', '2') and table.of == 4
    assert table.rows == ((1, 0, 0), (0, 0, 1), (0, 0, 1), (0, 1, 0))


def test_many_share_a_row():
    table = counts([(Truth(count=30), Found(count=7)), (Truth(count=10), Found(count=500))])
    assert table.names[-1] == '10+' and len(table.rows) == 12
    assert table.rows[7][10] == table.rows[10][10] == 1 and table.of == 2


def test_reliability_is_what_ece_is_made_of():
    rng = np.random.default_rng(5)
    pairs = [(Truth(boxes=[A]), Found(boxes=[A if rng.random() < 0.6 else B], scores=[score]))
             for score in rng.random(60)]
    bins = reliability(pairs)
    assert sum(b.number for b in bins) == 60
    ece = sum(b.number * abs(b.score - b.right) for b in bins) / 60
    assert ece == pytest.approx(figure(pairs, 'ECE'))
    assert all(b.low < b.score <= b.high for b in bins)


def test_ends_of_bins():
    pairs = [(Truth(boxes=[A]), Found(boxes=[A], scores=[score])) for score in (0.0, 0.1, 0.100001)]
    assert reliability(pairs) == (Bin(0, 0.1, 2, 0.05, 1), Bin(0.1, 0.2, 1, 0.100001, 1))


def test_nothing_to_draw():
    for pairs in ([], [(Truth(answers=('x',)), Found(answer='x'))]):
        assert mask_iou(pairs) is box_iou(pairs) is counts(pairs) is latency(pairs) is None
        assert reasoning(pairs) is None and reliability(pairs) == ()
