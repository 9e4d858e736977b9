"""One-to-one matching against all assignments written out, calibration against plain loops."""
from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from vr_ros.core.matching import best_pairs
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.calibration import (
    Confidences,
    calibration_measures,
    confidences,
)
from vr_ros.evaluation.metrics.detection import (
    THRESHOLDS,
    Matches,
    count_hits,
    match,
    match_boxes,
    match_masks,
    match_measures,
)
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.metrics.overlap import Overlaps

A, B, C = (0, 0, 10, 10), (20, 20, 30, 30), (0, 0, 10, 5)
IOUS = array_shapes(min_dims=2, max_dims=2, max_side=4).flatmap(
    lambda shape: arrays(float, shape, elements=st.integers(0, 20).map(lambda n: n / 20)))


@pytest.mark.parametrize(('truth', 'found', 'hits'), [
    ([], [], 0),                                # nothing there, nothing found
    ([A], [], 0),                               # missed
    ([], [A], 0),                               # invented
    ([A, B], [B, A], 2),                        # in another order
    ([A], [A, A], 1),                           # a duplicate hits once
    ([A], [C], 1),                              # exactly one half
    ([A], [(0, 0, 10, 4.9)], 0),                # just below
    ([A, C], [C], 1),                           # one box cannot hit two objects
    ([A, (0, 0, 10, 7)], [(0, 0, 10, 7), (0, 0, 10, 4)], 2),   # the best pair first would find one
])
def test_hits(truth, found, hits) -> None:
    as_array = lambda boxes: np.array(boxes, float).reshape(-1, 4)  # noqa: E731
    assert count_hits(as_array(truth), as_array(found)) == hits


def best_by_trying_all(iou: np.ndarray, threshold: float) -> tuple[int, float]:
    """:return: most pairs, and the most that so many can have in common."""
    wide = iou if iou.shape[0] <= iou.shape[1] else iou.T
    best = (0, 0.0)
    for columns in permutations(range(wide.shape[1]), wide.shape[0]):
        taken = wide[range(wide.shape[0]), columns]
        taken = taken[taken >= threshold]
        best = max(best, (len(taken), round(float(taken.sum()), 9)))
    return best


@settings(max_examples=200, deadline=None)
@given(IOUS, st.sampled_from(THRESHOLDS))
def test_pairs_are_the_most_and_of_those_the_best(iou: np.ndarray, threshold: float) -> None:
    rows, columns = best_pairs(iou, threshold)
    assert len(set(rows)) == len(set(columns)) == len(rows)
    assert (iou[rows, columns] >= threshold).all()
    reached = len(rows), round(float(iou[rows, columns].sum()), 9)
    assert reached == best_by_trying_all(iou, threshold)


def test_more_pairs_are_better_than_closer_ones() -> None:
    iou = np.array([[0.5, 1, 0], [0, 0.5, 1], [0, 0, 0.5]])   # two pairs of 1, or three of 0.5
    assert best_pairs(iou, 0.5)[1].tolist() == [0, 1, 2]


@settings(max_examples=100, deadline=None)
@given(IOUS, st.data())
def test_figures_of_matches_are_those_of_their_definitions(iou: np.ndarray, data) -> None:
    crowd = np.array(data.draw(st.lists(
        st.booleans(), min_size=len(iou), max_size=len(iou))))
    overlaps = Overlaps(iou, iou, np.zeros(iou.shape[1]), np.ones(iou.shape[1]))
    matches = match(overlaps, crowd)
    true = int((~crowd).sum())
    values = {f.name: f.value for f in figures(match_measures([matches, None], 'box'), rounds=0)}
    f1 = []
    for place, threshold in enumerate(THRESHOLDS):
        hits, hit_iou = best_by_trying_all(iou[~crowd], threshold) if true else (0, 0.0)
        paired = best_pairs(iou[~crowd], threshold)[1]
        beside = [c for c in range(iou.shape[1]) if c not in paired
                  and not (iou[crowd, c] >= threshold).any()]
        found = hits + len(beside)
        assert (matches.true, matches.hits[place], matches.found[place]) == (true, hits, found)
        f1.append(2 * hits / (true + found) if true + found else np.nan)
        if place == 0:
            missed, invented = true - hits, found - hits
            everything = hits + missed + invented
            assert values['box recall@0.5'] == (pytest.approx(hits / true) if true else None)
            assert values['box precision@0.5'] == (pytest.approx(hits / found) if found else None)
            assert values['box F1@0.5'] == (pytest.approx(f1[0]) if true + found else None)
            assert values['box LRP@0.5'] == (pytest.approx(
                ((hits - hit_iou) / 0.5 + missed + invented) / everything) if everything else None)
            assert values['box PQ@0.5'] == (pytest.approx(
                hit_iou / (hits + missed / 2 + invented / 2)) if everything else None)
    known = [value for value in f1 if np.isfinite(value)]
    assert values['box F1@[.5:.95]'] == (pytest.approx(np.mean(known)) if known else None)
    assert all(value is None or 0 <= value <= 1 for value in values.values())
    assert (np.diff(matches.hits) <= 0).all()      # stricter thresholds, fewer hits


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 30)] * 4), max_size=5), st.randoms())
def test_order_of_objects_is_of_no_matter(boxes: list, shuffle) -> None:
    boxes = [(min(x, w), min(y, h), max(x, w), max(y, h)) for x, y, w, h in boxes]
    other = shuffle.sample(boxes, len(boxes))
    one, two = (match_boxes(Truth(boxes=boxes[:3]), Found(boxes=found)) for found in (boxes, other))
    assert (one.hits == two.hits).all() and (one.found == two.found).all()
    assert one.hit_iou == pytest.approx(two.hit_iou)


def test_sums_are_over_objects_not_over_samples() -> None:
    one = match_boxes(Truth(boxes=[A]), Found(boxes=[A]))
    nine = Matches(9, np.zeros(10, int), np.zeros(10, int), 0.0)
    values = {f.name: (f.value, f.of) for f in figures(match_measures([one, nine], 'box'))}
    assert values['box recall@0.5'] == (pytest.approx(0.1), 10)
    assert values['box precision@0.5'] == (1.0, 1)


def test_unknown_truth_is_left_out() -> None:
    assert match_boxes(Truth(count=1), Found(boxes=[A])) is None
    assert match_masks(Truth(boxes=[A]), Found(boxes=[A])) is None
    assert confidences(Truth(count=1), Found(boxes=[A], scores=[0.5])) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40).map(lambda n: n / 40), st.booleans()), min_size=1))
def test_calibration_is_that_of_plain_loops(objects: list[tuple[float, bool]]) -> None:
    bins: dict[int, list] = {}
    for score, right in objects:
        place = next(n for n in range(10) if score <= (n + 1) / 10 + 1e-12)
        bins.setdefault(place, []).append((score, right))
    ece = sum(
        abs(sum(score for score, _ in inside) - sum(right for _, right in inside))
        for inside in bins.values()) / len(objects)
    scores, right = (np.array(column) for column in zip(*objects, strict=True))
    half = len(objects) // 2
    samples = [Confidences(scores[:half], right[:half]), None,
               Confidences(scores[half:], right[half:])]
    values = {f.name: f.value for f in figures(calibration_measures(samples), rounds=0)}
    assert values['ECE'] == pytest.approx(ece)
    assert values['Brier score'] == pytest.approx(np.mean((scores - right) ** 2))


def test_confidence_leaves_out_crowds_and_what_has_no_score() -> None:
    truth = Truth(boxes=[A, (40, 40, 80, 80)], crowd=[False, True])
    found = Found(boxes=[B, A, A, (50, 50, 60, 60), A], scores=[0.2, 0.6, 0.9, 0.8, np.nan])
    result = confidences(truth, found)
    assert result.scores.tolist() == [0.9, 0.6, 0.2]
    assert result.right.tolist() == [True, False, False]
    with pytest.raises(ValueError, match='no probabilities'):
        confidences(truth, Found(boxes=[A], scores=[1.5]))
