"""Scores against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Status, Task
from vr_ros.evaluation.scores import Score, count_hits, figures, normalise_answer, union_iou

A, B, C = (0, 0, 10, 10), (20, 20, 30, 30), (0, 0, 10, 5)


@pytest.mark.parametrize(
    ('truth', 'found', 'hits'),
    [
        ([], [], 0),  # nothing there, nothing found
        ([A], [], 0),  # missed
        ([], [A], 0),  # invented
        ([A, B], [B, A], 2),  # in another order
        ([A], [A, A], 1),  # a duplicate hits once
        ([A], [C], 1),  # exactly one half
        ([A], [(0, 0, 10, 4.9)], 0),  # just below
        ([A, C], [C], 1),  # one box cannot hit two objects
        (
            [A, (0, 0, 10, 7)],
            [(0, 0, 10, 7), (0, 0, 10, 4)],
            2,
        ),  # greedy by IoU would find both only by luck
    ],
)
def test_hits(truth, found, hits):
    as_array = lambda boxes: np.array(boxes, float).reshape(-1, 4)  # noqa: E731
    assert count_hits(as_array(truth), as_array(found)) == hits


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
    assert union_iou(truth, found) == pytest.approx(expected)


@pytest.mark.parametrize(
    ('text', 'normal'),
    [
        ('Red.', 'red'),
        (' the  mug ', 'mug'),
        ('a red cube, two balls', 'red cube two balls'),
        ('', ''),
        ('an', ''),
        ('Yes!', 'yes'),
    ],
)
def test_normalised_answers(text, normal):
    assert normalise_answer(text) == normal


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
    values = {f.name: (f.value, f.of) for f in figures(scores)}
    assert values['hit rate'] == (pytest.approx(5 / 6), 6)
    assert values['precision'] == (pytest.approx(5 / 8), 8)
    assert values['gIoU'] == (pytest.approx(0.8), 5)
    assert values['exact count'] == (0.5, 2)
    assert values['absence recognised'] == (0.5, 2)
    assert values['VQA exact'] == (0.5, 2)


def test_nothing_counted_is_no_figure():
    assert all(f.value is None for f in figures([]))
