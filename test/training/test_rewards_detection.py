"""The detection verifier by hand, the released fault, and what must hold for any boxes."""
from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vr_ros.core.geometry import box_iou_matrix
from vr_ros.core.types import Size
from vr_ros.training.rewards.detection import (
    DETECTION,
    SIZE_PENALTY,
    Comparison,
    in_pixels,
    tied_average_precision,
    weighted_iou,
)
from vr_ros.training.rewards.samples import Sample, SampleError
from vr_ros.training.rewards.schedules import DYNAMIC_IOU, thresholds_from
from vr_ros.training.rewards.verifier import Judgement, Rollout


def thing(box, label='mug') -> dict:
    return {'bbox_2d': box, 'label': label}


def judge(predicted, true, *, progress=None, size=None, **parameters: Any) -> Judgement:
    sample = Sample('detection', json.dumps(true), parameters=parameters, image_size=size, id='7')
    answer = predicted if isinstance(predicted, str) else json.dumps(predicted)
    response = f'<think>a</think><answer>{answer}</answer>'
    return DETECTION.prepare(sample)(Rollout(response, sample, progress))


A, B, FAR = [0, 0, 100, 100], [200, 0, 300, 100], [500, 500, 600, 600]
A90 = [0, 0, 100, 90]     # IoU 0.9 with A
A80 = [0, 0, 100, 80]


@pytest.mark.parametrize(('predicted', 'true', 'threshold', 'accuracy'), [
    ([thing(A)], [thing(A)], 0.99, 1),
    ([thing(A90)], [thing(A)], 0.9, 0.9),
    ([thing(A90)], [thing(A)], 0.91, 0),                        # below the threshold: nothing
    ([thing(A)], [thing(A), thing(B)], 0.5, 0.6 * 0.5),         # one missed: 0.6 for the number
    ([thing(A), thing(B)], [thing(A)], 0.5, 0.6),
    ([thing(A)] * 3, [thing(A)], 0.5, 1),                       # at one place: written once
    ([thing(A), thing(A90), thing(A80)], [thing(A)], 0.5, 0.36),
    ([thing(B), thing(A)], [thing(A), thing(B)], 0.5, 1),       # in another order
    ([thing(A, ' MUG ')], [thing(A)], 0.5, 1),                  # case and blanks
    ([thing(A, 'bowl')], [thing(A)], 0.5, 0),
    ([], [], 0.5, 1),
    ([thing(A)], [], 0.5, 0),                                   # invented
    ([], [thing(A)], 0.5, 0),
    ('nothing', [], 0.5, 0),                                    # no list
    ([{'label': 'mug'}], [], 0.5, 0),                           # unreadable, but something
    ([thing(A), {'label': 'mug'}], [thing(A)], 0.5, 0.6),
])
def test_accuracy(predicted, true, threshold, accuracy) -> None:
    assert judge(predicted, true, iou_threshold=threshold).accuracy == pytest.approx(accuracy)


@pytest.mark.parametrize(('term', 'accuracy'), [
    # The bowl overlaps the mug more than the mug does.
    ('iou_max_label_first', 0.6 * 0.8), ('iou_max_iou_first', 0.0),
    # One mug of one is found: P 1, R 1; at IoU 0.75 too; 7 of 10 thresholds up to 0.8.
    ('map50', 0.6), ('map75', 0.6), ('map', 0.6 * 0.7),
])
def test_terms(term, accuracy) -> None:
    found = judge([thing(A, 'bowl'), thing(A80)], [thing(A)], iou_threshold=0.5,
                  det_reward_ratio={term: 1.0})
    assert found.accuracy == pytest.approx(accuracy)
    assert found.parts['size_penalty'] == pytest.approx(0.6)


def test_terms_are_weighed() -> None:
    found = judge([thing(A, 'bowl'), thing(A80)], [thing(A)], iou_threshold=0.5,
                  det_reward_ratio={'iou_max_label_first': 0.75, 'map50': 0.25, 'map75': None or 0})
    assert found.accuracy == pytest.approx(0.75 * 0.48 + 0.25 * 0.6)


def test_completeness_is_the_mean_of_both_shares() -> None:
    found = judge([thing(A), thing(FAR)], [thing(A), thing(B)], iou_threshold=0.5,
                  det_reward_ratio={'iou_max_label_first': 1.0, 'iou_completeness': 0.4})
    assert found.accuracy == pytest.approx(0.6 * 0.5 + 0.4 * (1 / 2 + 1 / 2) / 2)
    nothing = judge([], [thing(A)], det_reward_ratio={
        'iou_max_label_first': 1.0, 'iou_completeness': 1.0})
    assert nothing.accuracy == 0                               # released: 0.6 / 2


def test_the_released_greedy_matching_is_not_repeated() -> None:
    """It takes the last of the pairs with the best IoU, also for objects that have another."""
    true = [thing(A), thing([0, 0, 100, 98])]
    predicted = [thing([0, 0, 100, 99]), thing(A90)]
    # Pairs by number: A with 0.99 and A98 with 90/98; crossed: 98/99 and 0.9.
    found = judge(predicted, true, iou_threshold=0.5)
    assert found.accuracy == pytest.approx((0.99 + 90 / 98) / 2)
    found = judge([thing(A, 'mug'), thing(B, 'bowl')], [thing(A, 'mug'), thing(B, 'bowl')],
                  iou_threshold=0.5, det_reward_ratio={'iou_max_iou_first': 1.0})
    assert found.accuracy == 1                                 # released: 0 for two perfect boxes


def test_one_very_box_is_worth_more_than_two_that_hardly_overlap() -> None:
    iou = np.array([[1.0, 0.2], [0.2, 0.0]])
    mugs = np.array(['mug', 'mug'], object)
    found = Comparison(iou, mugs, mugs, 2)
    assert weighted_iou(found, 0.1, 0.0, label_first=True) == pytest.approx(1.0 / 2)
    assert weighted_iou(found, 0.1, 1.0, label_first=True) == pytest.approx(1.0)   # two pairs


def test_report_by_hand() -> None:
    found = judge([thing(A80), thing(B)], [thing(A), thing(B), thing(FAR)])
    assert found.parts['iou_75'] == pytest.approx(1.8 / 3)
    assert found.parts['precision_95'] == 0.5 and found.parts['recall_50'] == pytest.approx(2 / 3)
    assert not found.is_correct
    assert judge([thing(A80)], [thing(A)]).is_correct          # though its reward is 0


@pytest.mark.parametrize(('answer', 'form'), [
    ('[]', 1), (json.dumps([thing(A)]), 1), ('[{}]', 0), ('none', 0),
    (f'{json.dumps([thing(A)])}</answer>', 0),                 # a tag twice
])
def test_format(answer, form) -> None:
    assert judge(answer, [thing(A)]).format == form


@pytest.mark.parametrize(('progress', 'accuracy'), [
    (0.0, 0.9), (0.1, 0.9), (0.11, 0), (None, 0),
])
def test_the_threshold_rises_with_the_training(progress, accuracy) -> None:
    assert judge([thing(A90)], [thing(A)], progress=progress).accuracy == pytest.approx(accuracy)


@pytest.mark.parametrize(('progress', 'value'), [
    (0, 0.85), (0.10, 0.85), (0.1001, 0.95), (0.25, 0.95), (0.2501, 0.99), (1, 0.99), (7, 0.99),
    (-1, 0.85), (None, 0.99), (float('nan'), 0.99),
])
def test_dynamic_iou(progress, value) -> None:
    assert DYNAMIC_IOU.at(progress) == value


@pytest.mark.parametrize(('setting', 'at_half'), [
    (0.5, [0.5]), ('dynamic', [0.99]), ([[0.5, 0.3], [1, 0.8]], [0.3]), ([[1, 0.8]], [0.8]),
    ('average', [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]),
])
def test_thresholds(setting, at_half) -> None:
    assert [steps.at(0.5) for steps in thresholds_from(setting)] == at_half


@pytest.mark.parametrize('setting', [
    0, 1.1, 'fixed', None, [], [[0.5, 0.5]], [[0.5, 0.5], [0.4, 0.6]], [[1, 2]], [0.5], {},
    float('nan'),
])
def test_wrong_thresholds(setting) -> None:
    with pytest.raises(ValueError):
        thresholds_from(setting)


def test_average_is_the_mean_over_ten_thresholds() -> None:
    found = judge([thing(A80)], [thing(A)], iou_threshold='average')
    assert found.accuracy == pytest.approx(0.7 * 0.8)          # 0.5 … 0.8


def test_answers_in_pixels_are_scaled_to_the_thousand() -> None:
    true = [thing([100, 250, 500, 750])]
    found = judge([thing([64, 120, 320, 360])], true, size=Size(640, 480), iou_threshold=0.99,
                  det_verifier_normalized=True)
    assert found.accuracy == pytest.approx(1)


@pytest.mark.parametrize(('parameters', 'message'), [
    ({'det_reward_ratio': {}}, 'no term a weight'),
    ({'det_reward_ratio': {'iou_completeness': 1.0}}, 'no term a weight'),
    ({'det_reward_ratio': {'mapp': 1.0}}, 'no "mapp"; did you mean "map"'),
    ({'det_reward_ratio': {'map': 2.0}}, 'map is 2.0, not a number from 0 to 1'),
    ({'iou_threshold': 'fixed'}, "not 'fixed'"),
    ({'det_verifier_normalized': True}, 'needs the image size'),
    ({'det_verifier_normalised': True}, 'did you mean "det_verifier_normalized"'),
])
def test_a_wrong_sample_is_named(parameters, message) -> None:
    with pytest.raises(SampleError, match=f"sample '7': .*{message}"):
        judge([], [thing(A)], **parameters)


def test_two_names_for_one_box_are_two_objects() -> None:
    both = [thing([0, 0, 9, 9], 'person'), thing([0, 0, 9, 9], 'player')]
    assert judge(both, both).is_correct
    assert judge([*both, both[0]], both).is_correct     # written twice, as in the released parser


def test_without_labels_nobody_looks_at_them() -> None:
    true = [{'bbox_2d': [0, 0, 9, 9]}]
    for predicted in (thing([0, 0, 9, 9], 'mug'), {'bbox_2d': [0, 0, 9, 9]}):
        found = judge([predicted], true, with_labels=False)
        assert found.accuracy == 1 and found.is_correct
    assert judge([thing([0, 0, 9, 9], 'mug')] * 2, true, with_labels=False).is_correct


def test_a_truth_in_thousandths_becomes_one_in_pixels() -> None:
    sample = Sample('detection', json.dumps([
        {'label': 'mug', 'bbox_2d': [500, 500, 1000, 1000], 'point_2d': [750, 600]}]),
        parameters={'det_verifier_normalized': True}, image_size=Size(400, 200))
    moved = in_pixels(sample)
    assert json.loads(moved.ground_truth) == [
        {'label': 'mug', 'bbox_2d': [200, 100, 400, 200], 'point_2d': [300, 120]}]
    assert not moved.parameters['det_verifier_normalized'] and in_pixels(moved) is moved
    with pytest.raises(SampleError, match='needs the image size'):
        in_pixels(replace(sample, image_size=None))
    with pytest.raises(SampleError, match='no JSON'):
        in_pixels(replace(sample, ground_truth='?'))


@pytest.mark.parametrize('extra', [
    ',{"bbox_2d":[1,2,3]}' * 5, ',{"bbox_2d":[1,2,3]}', ',{"label":"mug"}', ',{"bbox_2d":[1,2'])
def test_a_list_left_open_hides_no_object(extra) -> None:
    one = json.dumps([thing([0, 0, 90, 90])])[:-1]
    sample = Sample('detection', json.dumps([thing([0, 0, 90, 90])]))
    right, more = (DETECTION.prepare(sample)(Rollout(f'<answer>{text}</answer>', sample))
                   for text in (one, one + extra))
    assert right.accuracy == 1 and right.is_correct
    assert more.accuracy <= SIZE_PENALTY and not more.is_correct


def test_the_truth_needs_labels() -> None:
    with pytest.raises(SampleError, match='object 0 of the ground truth has no label'):
        judge([], [{'bbox_2d': A}])


def average_precision_by_definition(found: Comparison, threshold: float) -> float:
    """Walk over the 101 recall points of each label."""
    values = []
    for label in dict.fromkeys(found.true_labels.tolist()):
        true = [c for c, other in enumerate(found.true_labels) if other == label]
        mine = [r for r, other in enumerate(found.labels) if other == label]
        hits = most_hits([[found.iou[r, c] >= threshold for c in true] for r in mine])
        points = [100 * hits >= point * len(true) for point in range(101)]
        values.append(sum(points) / 101 * hits / len(mine) if hits else 0.0)
    return sum(values) / len(values) if values else 0.0


def most_hits(table: list[list[bool]]) -> int:
    if not table:
        return 0
    rest = most_hits(table[1:])
    return max([rest, *(1 + most_hits([row[:c] + row[c + 1:] for row in table[1:]])
                        for c, hit in enumerate(table[0]) if hit)])


BOXES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 15),
                           st.integers(1, 15), st.sampled_from('ab')), max_size=4)


def comparison(predicted, true) -> Comparison:
    sides = [np.array([(x, y, x + w, y + h) for x, y, w, h, _ in side], float).reshape(-1, 4)
             for side in (predicted, true)]
    labels = [np.array([label for *_, label in side], object) for side in (predicted, true)]
    return Comparison(box_iou_matrix(*sides), *labels, len(predicted))


@settings(max_examples=150, deadline=None)
@given(BOXES, BOXES, st.sampled_from([0.1, 0.3, 0.5, 0.75]))
def test_average_precision_is_that_of_its_definition(predicted, true, threshold) -> None:
    found = comparison(predicted, true)
    assert tied_average_precision(found, threshold) == pytest.approx(
        average_precision_by_definition(found, threshold))


@settings(max_examples=150, deadline=None)
@given(BOXES, BOXES, st.randoms(), st.floats(0, 1), st.booleans())
def test_bounds_order_and_thresholds(predicted, true, random, share, label_first) -> None:
    found = comparison(predicted, true)
    values = [weighted_iou(found, threshold, share, label_first=label_first)
              for threshold in (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)]
    assert all(0 <= value <= 1 for value in values)
    random.shuffle(predicted)
    random.shuffle(true)
    again = comparison(predicted, true)
    if label_first:   # with the IoU first, two labels may claim the same best pairs
        assert weighted_iou(again, 0.3, share, label_first=True) == pytest.approx(values[1])
        assert values[0] == pytest.approx(max(values))   # a stricter threshold never gives more


@settings(max_examples=150, deadline=None)
@given(BOXES, BOXES, st.floats(0, 1), st.floats(0, 1), st.sampled_from([0.1, 0.5, 0.9]))
def test_more_overlap_is_never_worth_less(predicted, true, share, more, threshold) -> None:
    found = comparison(predicted, true)
    better = Comparison(found.iou + (1 - found.iou) * more, found.labels, found.true_labels,
                        found.written)
    worth = [weighted_iou(each, threshold, share, label_first=True) for each in (found, better)]
    assert worth[1] >= worth[0] - 1e-12
