"""Scores against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Status, Task
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.metrics.overlap import compare_regions
from vr_ros.evaluation.sim_scores import Score, score_measures


def mask(*cells):
    image = np.zeros((4, 5), bool)
    for row, column in cells:
        image[row, column] = True
    return mask_to_rle(image)


@pytest.mark.parametrize(
    ('truth', 'found', 'expected'),
    [
        ([], [], 1.0),  # rightly nothing
        ([mask((0, 0))], [], 0.0),
        ([], [mask((0, 0))], 0.0),
        (
            [mask((0, 0)), mask((1, 1))],
            [mask((0, 0), (1, 1))],
            1.0,
        ),  # split differently, same union
        ([mask((0, 0), (0, 1))], [mask((0, 1), (0, 2))], 1 / 3),
    ],
)
def test_union_iou(truth, found, expected):
    assert compare_regions(truth, found).iou == pytest.approx(expected)


def test_figures_of_a_small_examination():
    scores = [
        Score(Task.DETECTION, Status.OK, 't', 2, 3, 1, 0.5, False),
        Score(Task.COUNTING, Status.OK, 't', 3, 3, 3, 0.9, True),
        Score(Task.COUNTING, Status.OK, 't', 1, 2, 1, 0.6, False),
        Score(Task.DETECTION, Status.NO_OBJECT, 't', 0, 0, 0, 1.0, True),
        Score(
            Task.DETECTION, Status.PARSE_ERROR, 't', 0, 0, 0, 1.0, False
        ),  # an error is no recognition
        Score(Task.VQA, Status.OK, 't', 0, 0, 0, None, True),
        Score(Task.VQA, Status.OK, 't', 0, 0, 0, None, False),
    ]
    values = {f.name: (f.value, f.of) for f in figures(score_measures(scores))}
    assert values['hit rate'] == (pytest.approx(5 / 6), 6)
    assert values['precision'] == (pytest.approx(5 / 8), 8)
    assert values['gIoU'] == (pytest.approx(0.8), 5)
    assert values['exact count'] == (0.5, 2)
    assert values['absence recognised'] == (0.5, 2)
    assert values['VQA exact'] == (0.5, 2)


def test_nothing_counted_is_no_figure():
    assert all(f.value is None for f in figures(score_measures([])))
