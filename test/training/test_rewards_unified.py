"""The unified reward: values by hand, matching by trying all, and what must hold for any input."""
from __future__ import annotations

import json
import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vr_ros.training.rewards.matching import (
    POINTLESS_WORTH,
    TIE_BREAK,
    Targets,
    Tolerances,
    match_objects,
    pair_terms,
)
from vr_ros.training.rewards.unified import iou_report, read_targets, unified_reward
from vr_ros.training.rewards.written_objects import TruthError, read_objects, read_truth

# 100 x 100 px: tolerances of 5 px for the box and 15 px for the point.
G, PG = [100, 100, 200, 200], [150, 150]
H, PH = [400, 400, 500, 500], [450, 450]


def thing(box, point=None) -> dict:
    return {'bbox_2d': box, **({} if point is None else {'point_2d': point})}


ONE, TWO = [thing(G, PG)], [thing(G, PG), thing(H, PH)]


def said(*objects, think='Look.') -> str:
    return f'<think>{think}</think>\n<answer>{json.dumps(list(objects))}</answer>'


def raw(answer: str) -> str:
    return f'<think>Look.</think><answer>{answer}</answer>'


@pytest.mark.parametrize(('response', 'truth', 'form', 'accuracy'), [
    (said(*ONE), ONE, 2, 3),
    (said(thing([109, 100, 209, 200], PG)), ONE, 2, 91 / 109 + 2),     # mean difference 4.5 px
    (said(thing([110, 100, 210, 200], PG)), ONE, 2, 90 / 110 + 1),     # 5 px are too many
    (said(thing([100, 100, 200, 150], PG)), ONE, 2, 0.5 + 0 + 1),      # half, the point on its edge
    (said(thing(G, [164, 150])), ONE, 2, 3),                           # 14 px
    (said(thing(G, [165, 150])), ONE, 2, 2),                           # 15 px are too many
    (said(thing(G, [99, 150])), [thing(G, [101, 150])], 2, 2),         # near, but beside its box
    (said(thing(G)), ONE, 1, 2),                                       # no point costs the point
    (said(thing(G, ['a', 1])), ONE, 1, 2),
    (said(*ONE), [thing(G)], 2, 3),                                    # the truth has none: scaled
    (said(thing([100, 100, 200, 150], PG)), [thing(G)], 2, 0.75),      # 1.5 x (0.5 + 0)
    # Nothing there.
    (raw('[]'), [], 2, 3),
    (said(*ONE), [], 2, 0),
    (raw('[{}]'), [], 0, 0),                                           # something, unreadable
    (raw('nothing'), [], 0, 0),                                        # no list is no answer
    ('', [], 0, 0),
    (raw('```json\n[]\n```'), [], 0, 3),                               # as it is read on a robot
    (raw('[]'), ONE, 2, 0),
    # Several.
    (said(*TWO[::-1]), TWO, 2, 3),
    (said(thing(G, PG)), TWO, 2, 1.5),
    (said(*TWO, *ONE), TWO, 2, 2),                                     # 6 / 3
    # One malformed item costs itself.
    (said(thing(G, PG), thing(H)), TWO, 1.5, 2.5),
    (said(thing(G, PG), thing(H[:3], PH)), TWO, 1.5, 1.5),
    (said(thing(G[:3], [*PG, 1])), ONE, 0, 0),                         # 3 and 3 are not 4 and 2
    (said(thing(G, PG), 5, thing(H, PH)), TWO, 4 / 3, 2),              # 6 / 3
    (said(thing(G, PG), thing([500, 500, 400, 400], PH)), TWO, 1.5, 3),   # corners swapped
    (raw(json.dumps(TWO)[:-3]), TWO, 0, 2.5),                          # cut off in the last point
    (raw(str(ONE)), ONE, 0, 3),                                        # single quotes: the form
    (said(thing([1e308, 0, 1e308, 1], PG)), ONE, 1, 0),
    (raw('[{"bbox_2d": [NaN, 0, 1, 1], "point_2d": [1, Infinity]}]'), ONE, 0, 0),
    (raw('[' * 5000), ONE, 0, 0),
    (raw('[{"bbox_2d": [' + '9' * 400 + ', 0, 1, 1], "point_2d": [1, 1]}]'), ONE, 1, 0),
])
def test_parts(response, truth, form, accuracy) -> None:
    reward, _ = unified_reward(response, read_targets(json.dumps(truth)))
    assert reward.answer_format == pytest.approx(form)
    assert reward.accuracy == pytest.approx(accuracy)


@pytest.mark.parametrize(('predicted', 'is_right'), [
    (TWO[::-1], True), (ONE, False), ([*TWO, thing(G)], False), ([*TWO, {}], False),
    ([thing([100, 100, 200, 149]), thing(H)], False),                  # IoU 0.49
    ([thing([100, 100, 200, 150]), thing(H)], True),                   # 0.5, points do not matter
])
def test_right_is_every_object_once_and_no_other(predicted, is_right) -> None:
    _, score = unified_reward(said(*predicted), read_targets(json.dumps(TWO)))
    assert score.is_right == is_right


@pytest.mark.parametrize(('response', 'think', 'repetition'), [
    (said(), 1, 1),
    (f'\n {said()}\n', 1, 1),                                      # blanks around do not matter
    (said(think=''), 0, 1),                                        # thinking says something
    (said(think='a</think>b<think>c'), 0, 1),                      # each tag once
    (said() + said(), 0, 1),
    ('<answer>[]</answer>', 0, 1),
    ('<think>a</think>', 0, 1),
    (said(think='A. B. C.'), 1, 1),
    (said(think='A. B. A.'), 1, 1),                                # one repetition is allowed
    (said(think='Mug  left. So. mug left! MUG LEFT?'), 1, 0),  # case, blanks and marks
    (said(think='It is.It is.It is.'), 1, 0),                      # without blanks
    (said(think='What?What?What?'), 1, 0),
    (said(think='It is.\xa0It is.\xa0It is.'), 1, 0),
    (said(think='e.g. a, e.g. b, e.g. c'), 1, 1),
    (said(think='A\nB\nA\nB'), 1, 0),                              # lines are sentences
    (said(think='0.5 m and 0.5 m and 0.5 m and 0.5 m'), 1, 1),     # decimals are not
    (said(*ONE * 5), 1, 1),                                        # nor are the objects
])
def test_text_checks(response, think, repetition) -> None:
    reward, _ = unified_reward(response, read_targets('[]'))
    assert (reward.think_format, reward.non_repetition) == (think, repetition)


@pytest.mark.parametrize(('side', 'off', 'near'), [
    (10, 1, True), (10, 2, False),         # 5 % would be half a pixel: below 2 px is near
    (100, 4, True), (100, 5, False),
    (800, 39, True), (800, 40, False),     # published: below 10 px at any size
])
def test_the_box_tolerance_grows_with_the_object(side, off, near) -> None:
    box = np.array([[0, 0, side, side]], float)
    targets = Targets(box, np.array([[np.nan, np.nan]]))
    found = match_objects(box + off, np.array([[0.0, 0.0]]), targets)
    assert (found.near[0], found.pointed[0]) == (near, False)


@pytest.mark.parametrize('order', [(0, 1), (1, 0)])
def test_ties_are_decided_by_the_iou(order) -> None:
    """One very box is worth as much as two points in the wrong boxes; it is the one to take."""
    true = [thing(G, [550, 550]), thing([300, 0, 400, 100], [205, 150])]
    predicted = [thing(G, [199, 150]), thing([500, 500, 600, 600], [550, 550])]
    objects = read_objects(said(*(predicted[place] for place in order)))
    found = match_objects(objects.boxes, objects.points, read_targets(json.dumps(true)))
    assert found.total == 2 and found.iou.sum() == 1


def test_a_report_by_hand() -> None:
    report = iou_report(np.array([0.4, 0.6, 0.8, 1.0]), written=5, true=8)
    assert report['iou_50'] == pytest.approx(2.4 / 8) and report['iou_99'] == pytest.approx(1 / 8)
    assert (report['precision_75'], report['recall_75']) == (2 / 5, 2 / 8)
    assert set(iou_report(np.empty(0), 0, 0).values()) == {1.0}
    assert set(iou_report(np.empty(0), 0, 3).values()) == {0.0}


@pytest.mark.parametrize(('truth', 'message'), [
    ('', 'no JSON'),
    ('{}', 'no JSON list'),
    ('[5]', 'object 0 .* no JSON object'),
    ('[{"point_2d": [1, 2]}]', 'object 0 .* no bbox_2d'),
    ('[{"bbox_2d": [0, 0, 1, 1]}, {"bbox_2d": [0, 0, 1]}]', 'object 1 .* no bbox_2d'),
    ('[{"bbox_2d": [0, 0, 1, NaN]}]', 'no bbox_2d'),
    ('[{"bbox_2d": [5, 0, 1, 1]}]', 'swapped corners'),
    ('[{"bbox_2d": [0, 0, 1, 1], "point_2d": [1]}]', 'no point_2d'),
    (json.dumps(ONE * 301), '301 objects'),
])
def test_a_wrong_truth_is_named(truth, message) -> None:
    with pytest.raises(TruthError, match=message):
        read_truth(truth)


NUMBERS = st.integers(0, 60)


@pytest.mark.parametrize(('written', 'accuracy'), [
    ('[{"bbox_2d": [100, 100, 200, 200], "point_2d": [150, 150]}', 3),
    # What is no object counts as one too many, whether the list is closed or not.
    ('[{"bbox_2d": [100, 100, 200, 200], "point_2d": [150, 150]}, {"bbox_2d": [1, 2, 3]}', 1.5),
    ('[{"bbox_2d": [100, 100, 200, 200], "point_2d": [150, 150]}, {"bbox_2d": [1, 2, 3]}]', 1.5),
    # Valid JSON is worth no less than the same without its last bracket.
    ('[{"bbox": [100, 100, 200, 200], "point": [150, 150]}]', 3),
    ('[{"bbox": [100, 100, 200, 200], "point": [150, 150]}', 3),
    ('[{"bbox_2d": ["100", "100", "200", "200"]}]', 2), ('[[100, 100, 200, 200]]', 2),
    ('[{}]', 0), ('[{}', 0),
])
def test_a_bracket_more_or_less_changes_the_format_alone(written, accuracy) -> None:
    reward, _ = unified_reward(raw(written), read_targets(json.dumps(ONE)))
    assert reward.accuracy == pytest.approx(accuracy)


def test_a_pair_is_chosen_by_what_it_is_worth() -> None:
    # Both fit; the true object without a point is worth more, as its two terms stand for three.
    truth = [thing([100, 100, 200, 200], [200, 200]), thing([100, 100, 200, 190])]
    reward, _ = unified_reward(said(thing(G, PG)), read_targets(json.dumps(truth)))
    assert reward.accuracy == pytest.approx(1.5 * (0.9 + 1) / 2)


@st.composite
def things(draw, most: int = 4) -> list[dict]:
    found = []
    for _ in range(draw(st.integers(0, most))):
        x0, y0 = draw(NUMBERS), draw(NUMBERS)
        box = [x0, y0, x0 + draw(st.integers(0, 40)), y0 + draw(st.integers(0, 40))]
        point = draw(st.none() | st.lists(NUMBERS, min_size=2, max_size=2))
        found.append(thing(box, point))
    return found


@settings(max_examples=150, deadline=None)
@given(things(), things())
def test_the_matching_is_the_best_of_all(predicted, true) -> None:
    objects, targets = read_objects(said(*predicted)), read_targets(json.dumps(true))
    if not len(objects) or not len(targets):
        return
    iou, near, pointed = pair_terms(objects.boxes, objects.points, targets)
    weights = np.where(np.isnan(targets.points[:, 0]), POINTLESS_WORTH, 1.0)
    worth = (iou * (1 + TIE_BREAK) + near + pointed) * weights
    wide = worth if worth.shape[0] <= worth.shape[1] else worth.T
    best = max(wide[range(len(wide)), columns].sum()
               for columns in permutations(range(wide.shape[1]), len(wide)))
    pairs = match_objects(objects.boxes, objects.points, targets)
    assert len(set(pairs.rows)) == len(set(pairs.columns)) == len(wide)
    assert worth[pairs.rows, pairs.columns].sum() == pytest.approx(best)
    assert pairs.total == pytest.approx(
        (iou + near + pointed)[pairs.rows, pairs.columns].sum())


def pair_by_hand(predicted: dict, true: dict) -> tuple[float, bool, bool]:
    """One pair, number by number."""
    (a, b, c, d), (e, f, g, h) = predicted['bbox_2d'], true['bbox_2d']
    common = max(0, min(c, g) - max(a, e)) * max(0, min(d, h) - max(b, f))
    union = (c - a) * (d - b) + (g - e) * (h - f) - common
    side = math.sqrt((g - e) * (h - f))
    near = (abs(a - e) + abs(b - f) + abs(c - g) + abs(d - h)) / 4 < max(0.05 * side, 2)
    pointed = False
    if 'point_2d' in predicted and 'point_2d' in true:
        (x, y), (v, w) = predicted['point_2d'], true['point_2d']
        pointed = ((x - v) ** 2 + (y - w) ** 2 < max(0.15 * side, 4) ** 2
                   and a <= x <= c and b <= y <= d)
    return (common / union if union else 0.0), near, pointed


@settings(max_examples=150, deadline=None)
@given(things(), things())
def test_terms_are_those_of_each_pair(predicted, true) -> None:
    objects, targets = read_objects(said(*predicted)), read_targets(json.dumps(true))
    if not len(objects) or not len(targets):
        return
    iou, near, pointed = pair_terms(objects.boxes, objects.points, targets)
    for row, one in enumerate(predicted):
        for column, other in enumerate(true):
            expected = pair_by_hand(one, other)
            assert iou[row, column] == pytest.approx(expected[0])
            assert (near[row, column], pointed[row, column]) == expected[1:]


@settings(max_examples=150, deadline=None)
@given(things(), things(), st.randoms())
def test_the_order_of_objects_does_not_matter(predicted, true, random) -> None:
    before, _ = unified_reward(said(*predicted), read_targets(json.dumps(true)))
    random.shuffle(predicted)
    random.shuffle(true)
    after, _ = unified_reward(said(*predicted), read_targets(json.dumps(true)))
    assert after.accuracy == pytest.approx(before.accuracy)
    assert after.answer_format == pytest.approx(before.answer_format)


@settings(max_examples=150, deadline=None)
@given(things(), things())
def test_only_the_truth_itself_is_worth_everything(predicted, true) -> None:
    targets = read_targets(json.dumps(true))
    reward, score = unified_reward(said(*predicted), targets)
    assert 0 <= reward.accuracy <= 3 and 0 <= reward.answer_format <= 2
    assert all(0 <= value <= 1 for value in score.report.values())
    if len(predicted) != len(true):
        assert not score.is_right and reward.accuracy < 3
    if all(one['bbox_2d'][0] < one['bbox_2d'][2] and one['bbox_2d'][1] < one['bbox_2d'][3]
           for one in true):
        best, right = unified_reward(said(*true), targets)
        assert right.is_right
        assert best.accuracy >= 2 - 1e-9   # a true point may lie outside its box


@settings(max_examples=100, deadline=None)
@given(st.integers(10, 200), st.integers(0, 250), st.integers(0, 250))
def test_more_overlap_is_never_worth_less(side, one, other) -> None:
    targets = Targets(np.array([[0, 0, side, side]], float), np.array([[0.0, 0.0]]), Tolerances())
    nearer, farther = sorted((one, other))
    iou, total = [], []
    for off in (nearer, farther):
        box = np.array([[off, 0, off + side, side]], float)
        pairs = match_objects(box, np.full((1, 2), np.nan), targets)
        iou.append(pairs.iou[0])
        total.append(pairs.total)
    assert iou[0] >= iou[1] and total[0] >= total[1]
    if iou[0] > iou[1]:
        assert total[0] > total[1]
