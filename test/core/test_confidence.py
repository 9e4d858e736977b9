"""Features of answers made by hand, their fusion, and agreement with other answers."""
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_steps import written

from vr_ros.core.answer import parse_answer
from vr_ros.core.confidence import (
    FEATURES,
    MOST_ODDS,
    Fusion,
    Term,
    consistency,
    contradiction,
    log_odds,
    mask_features,
    missing_objects,
    text_features,
)
from vr_ros.core.types import Detection, ParsedObject, Size

# Two objects; the second one's numbers were less sure, and the list might have ended before it.
PLAIN = [
    '<answer>', ('[{"bbox_2d": [', 0.9, {'[]': 0.1}), ('10,20,', 0.5, {}), ('30,40', 0.5, {}),
    ']}', (', ', 0.75, {']': 0.25}), '{"bbox_2d": [', ('50,60,', 0.25, {}), ('70,80', 1.0, {}),
    ']}]', '</answer>']
# The same first object, named in the reasoning, where it was doubtful, and copied with certainty.
REASONED = [
    '<think>', 'Red mug', ('.', 0.5, {}), ' On it:', ' r2c3', (' red', 0.5, {}), ' mug',
    (' yes', 0.8, {' no': 0.2}), '. Matching:', (' r2c3', 0.6, {' nothing': 0.4}),
    (' x10', 0.25, {}), ' y20', (' x30', 0.25, {}), ' y40', '</think>', '<answer>',
    '[{"bbox_2d": [', '10,20,', '30,40', ']}]', '</answer>']


def features_of(steps, ends=()):
    one = written(steps, ends)
    return text_features(one, parse_answer(one.text).objects)


def test_features_of_a_plain_answer():
    found = features_of(PLAIN)
    half = math.log(0.5)
    assert found['tokens'] == pytest.approx([half, half])           # two halves; a quarter and 1
    assert found['copy'] == pytest.approx(found['tokens'])
    assert found['margin'] == pytest.approx([math.log(9), math.log(3)])
    assert np.isnan(found['repeat']).all() and np.isnan(found['claim']).all()
    assert found['objects'] == pytest.approx([math.log(2)] * 2)
    assert found['opening'] == pytest.approx([0, 0])
    # Up to the list; the bracket was one of two ways to go on.
    assert found['doubt'] == pytest.approx([0, 0])
    assert found['choice'] == pytest.approx([math.log(0.9), math.log(0.75)])


def test_what_counts_is_where_a_box_was_written_first():
    found = features_of(REASONED, ends=('nothing',))
    assert found['tokens'] == pytest.approx([math.log(0.25) / 2])
    assert found['copy'] == pytest.approx([0.0])
    assert found['repeat'] == pytest.approx([1.0])
    assert found['margin'] == pytest.approx([math.log(0.6 / 0.4)])
    assert found['claim'] == pytest.approx([math.log(0.5 * 0.8)])    # r2c3 red mug yes
    assert found['opening'] == pytest.approx([0.0])                  # up to the full stop
    assert found['choice'] == pytest.approx([math.log(0.6)])         # r2c3 or nothing
    # The full stop, red, yes; places and coordinates are numbers.
    assert found['doubt'] == pytest.approx([math.log(0.5 * 0.5 * 0.8)])


COLOURS, THINGS = ('red', 'green', 'blue'), ('mug', 'bowl')


@pytest.mark.parametrize(('aim', 'said', 'expected'), [
    ('red mug', 'r2c3 small red mug yes', 0),
    ('green mug', 'r2c3 small red mug yes', 1),
    ('red object', 'red mug', 0),                    # one word to compare
    ('mug or bowl', 'red bowl', 0),                  # each will do
    ('blue or green mug', 'red mug', 1),
    ('Red Mug', 'the RED mug.', 0),
    ('object', 'red mug', math.nan),                 # nothing to compare
    ('red mug', '', math.nan),
    ('', 'red mug', math.nan),
    ('reddish mug', 'green', math.nan),              # other words
])
def test_contradictions(aim, said, expected):
    assert contradiction(aim, said, (COLOURS, THINGS)) == pytest.approx(expected, nan_ok=True)


def test_what_the_reasoning_or_the_label_says_is_held_against_the_aim():
    one = written(REASONED)
    objects = parse_answer(one.text).objects
    for aim, expected in (('red mug', 0), ('red bowl', 1)):
        assert text_features(one, objects, aim, (COLOURS, THINGS))['contradiction'] == [expected]
    labelled = written(['[{"bbox_2d": [1,2,3,4], "label": "blue bowl"}]'])
    found = text_features(labelled, parse_answer(labelled.text).objects, 'a green bowl', (COLOURS,))
    assert found['contradiction'] == [1]


def test_a_copy_that_went_wrong_is_noticed():
    wrong = [*REASONED[:-5], '[{"bbox_2d": [', '60,20,', '90,40', ']}]', '</answer>']
    found = features_of(wrong)
    assert found['repeat'] == pytest.approx([0.0])
    assert found['tokens'] == pytest.approx([0.0])                   # those of the answer
    assert np.isnan(found['claim']).all()


def test_spread_is_a_share_of_the_edges():
    steps = ['[{"bbox_2d": [', '10', ',', '20', ',', ('30', 0.5, {'34': 0.5}), ',', '40', ']}]']
    # 2 of a width of 20 for one number of four.
    assert features_of(steps)['spread'] == pytest.approx([math.log(0.1 / 4)], abs=1e-3)


@given(st.lists(st.sampled_from([
    '<think>', '</think>', '<answer>', '</answer>', '[', ']', '{', '}', '"bbox_2d": ', '[1,2,3,4]',
    '{"bbox_2d": [5,6,7,8], "label": "a"}', ',', ' 12', '9', '.', 'a1 ', 'é', '"',
    "'box': (1 2 3 4)", '9' * 500, '[' + '7' * 400 + ',2,3,4]', '-', '1e999',
]), max_size=30))
def test_whatever_was_written_gets_a_number_or_nan_for_each_object(steps):
    one = written(steps)
    objects = parse_answer(one.text).objects
    found = text_features(one, objects)
    assert set(found) < set(FEATURES)
    for values in found.values():
        assert values.shape == (len(objects),) and not np.isinf(values).any()


def test_an_answer_of_many_objects_takes_little_work():
    """Each object looks at its own tokens: twice the objects ask for twice the rivals."""
    def asked(number: int) -> int:
        steps = ['['] + [part for i in range(number) for part in (
            '{"bbox_2d": [', f'{i}', ',', '2', ',', f'{i + 5}', ',', '9', ']}', ',')] + [']']
        one = written(steps)
        calls = []
        counted = replace(one, rivals=lambda token: calls.append(token) or one.rivals(token))
        text_features(counted, parse_answer(one.text).objects)
        return len(calls)

    assert asked(200) < 2.2 * asked(100) < 2.2 * 100 * 15


def test_features_of_masks():
    whole = Detection(0, (0, 0, 20, 10), mask_score=0.9)
    bare = Detection(1, (0, 0, 10, 10))
    found = mask_features([whole, bare], [(0, 0, 10, 10), None], Size(40, 20))
    assert found['area'] == pytest.approx(np.log([0.25, 0.125]))
    assert found['mask_iou'] == pytest.approx([0.9, math.nan], nan_ok=True)
    assert found['agreement'] == pytest.approx([0.5, math.nan], nan_ok=True)


BOXES = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], float)


@pytest.mark.parametrize(('samples', 'expected'), [
    ([BOXES, BOXES], [1, 1]),                                # all say the same
    ([BOXES[::-1]], [1, 1]),                                 # in another order
    ([BOXES, np.empty((0, 4))], [0.5, 0.5]),                 # one found nothing
    ([BOXES[:1], BOXES[:1], BOXES], [1, 1 / 3]),
    ([np.array([[0, 0, 10, 6.0]])], [0.6, 0]),               # overlap counts
    ([np.array([[0, 0, 10, 4.0]])], [0, 0]),                 # too little of it does not
    ([], [math.nan, math.nan]),
])
def test_consistency(samples, expected):
    assert consistency(BOXES, samples) == pytest.approx(expected, nan_ok=True)


def test_an_object_of_another_answer_supports_one_box_only():
    twins = np.array([[0, 0, 10, 10], [0, 0, 10, 9]], float)
    assert consistency(twins, [np.array([[0, 0, 10, 10.0]])]) == pytest.approx([1, 0])


def named(*boxes: tuple[float, ...]) -> tuple[ParsedObject, ...]:
    return tuple(ParsedObject(box, (0, 0)) for box in boxes)


LEFT, RIGHT, LOW = (0, 0, 10, 10), (20, 0, 30, 10), (0, 40, 10, 50)


@pytest.mark.parametrize(('own', 'samples', 'share', 'expected'), [
    ([LEFT], [[LEFT], [LEFT]], 0.0, []),                                # nothing new
    ([LEFT], [[LEFT, RIGHT], [LEFT]], 0.0, [RIGHT]),
    ([LEFT], [[LEFT, RIGHT], [LEFT]], 0.6, []),                         # too few name it
    ([], [[RIGHT], [RIGHT, LOW], [LOW], [RIGHT]], 0.0, [RIGHT, LOW]),   # most agreed first
    ([], [[RIGHT], [RIGHT, LOW], [LOW], [RIGHT]], 0.75, [RIGHT]),
    # Three boxes of one object: the one in the middle agrees best with the others.
    ([], [[(0, 0, 10, 8)], [(0, 0, 10, 9)], [(0, 0, 10, 10)]], 0.0, [(0, 0, 10, 9)]),
    ([(0, 0, 10, 9)], [[LEFT]], 0.0, []),                               # alike is known
    ([LEFT], [[], []], 0.0, []),
    ([LEFT], [], 0.0, []),
])
def test_what_other_answers_name_and_this_one_does_not(own, samples, share, expected):
    found = missing_objects(named(*own), [named(*boxes) for boxes in samples], share)
    assert [one.box for one in found] == expected


def test_fusion_is_logistic_and_the_mean_stands_in_for_what_is_not_known():
    fusion = Fusion(-1.0, {'tokens': Term(2.0, -0.5), 'mask_iou': Term(4.0, 0.75)})
    features = {'tokens': np.array([0.0, math.nan]), 'area': np.array([9.0, 9.0])}
    # -1 + 2 * 0 + 4 * 0.75 and -1 + 2 * -0.5 + 4 * 0.75
    expected = [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-1))]
    assert fusion.score(features, 2) == pytest.approx(expected)
    assert fusion.score({}, 0).shape == (0,)


def test_log_odds_are_bounded():
    found = log_odds([0.5, 0.9, 0.0, 1.0, math.nan, 1e-30])
    assert found == pytest.approx(
        [0, math.log(9), -MOST_ODDS, MOST_ODDS, math.nan, -MOST_ODDS], nan_ok=True)
