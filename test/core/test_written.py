"""Which tokens wrote what: found by hand in answers of a few tokens."""
from __future__ import annotations

import math

import numpy as np
import pytest
from written_steps import written

from vr_ros.core.answer import parse_answer
from vr_ros.core.written import LEAST, list_start


@pytest.mark.parametrize(('start', 'end', 'tokens'), [
    (0, 1, [0]),         # the first character
    (1, 3, [0, 1]),      # across a border
    (2, 4, [1]),         # exactly one
    (4, 5, [3]),         # a token without text in front is not meant
    (9, 12, []),         # behind the end
])
def test_tokens_of_characters(start, end, tokens):
    assert list(written(['ab', 'cd', '', 'ef']).tokens_of(start, end)) == tokens


@pytest.mark.parametrize(('text', 'box', 'found', 'alike'), [
    ('"bbox_2d": [10,20,30,40]', (10, 20, 30, 40), ['10', '20', '30', '40'], 1.0),
    ('[30,40,10,20]', (10, 20, 30, 40), ['30', '40', '10', '20'], 1.0),      # corners swapped
    ('{"point_2d": [1,2], "bbox_2d": [10,20,30,40]}', (10, 20, 30, 40),
     ['10', '20', '30', '40'], 1.0),                                         # the point in front
    (' r2c3 x10 y20 x30 y40 x20 y30', (10, 20, 30, 40), ['10', '20', '30', '40'], 1.0),
    ('[10.5,20,30,40]', (10.5, 20, 30, 40), ['10.5', '20', '30', '40'], 1.0),
    ('[10,20,20,40]', (10, 20, 30, 40), ['10', '20', '20', '40'], 0.5),      # half of it
    ('[5,5,5,5]', (5, 5, 5, 5), ['5', '5', '5', '5'], 1.0),                  # without area
    ('[10,20,30]', (10, 20, 30, 40), None, 0.0),                             # three numbers
    ('', (10, 20, 30, 40), None, 0.0),
])
def test_where_a_box_stands(text, box, found, alike):
    place = written([text]).find_box(box, 0, len(text))
    if found is None:
        assert place is None
    else:
        assert [text[a:b] for a, b in place[0]] == found
        assert place[1] == pytest.approx(alike)


def test_a_box_is_looked_for_between_the_characters_given():
    text = '1 2 3 4 and 1 2 3 4'
    (places, _) = written([text]).find_box((1, 2, 3, 4), 5, len(text))
    assert places[0, 0] == 12


@pytest.mark.parametrize(('steps', 'spread'), [
    # One token per number: 40 or 44, alike.
    ([(' x40', 0.5, {' x44': 0.5})], 2.0),
    # A digit each: tens 4 or 6, ones certain.
    ([('4', 0.5, {'6': 0.5}), '0'], 10.0),
    # Both vary: the root of 10 squared + 1 squared.
    ([('4', 0.5, {'6': 0.5}), ('0', 0.5, {'2': 0.5})], math.sqrt(101)),
    # Three to one: deviations of 1 and 3 from the mean.
    ([('40', 0.75, {'44': 0.25})], math.sqrt(0.75 * 1 + 0.25 * 9)),
    # What is no number has no say.
    ([('40', 0.5, {'nothing': 0.5})], 0.0),
    (['40'], 0.0),
])
def test_spread_of_a_number(steps, spread):
    one = written(steps)
    start = one.text.index('4')
    assert one.spread(start, len(one.text)) == pytest.approx(spread, abs=1e-3)


# In place of the second object: the end, as a token that closes the last object, too.
FIRST = ['<answer>', '[', '{"bbox_2d": [', '1,2,3,4']
SECOND = ['{"bbox_2d": [', '5,6,7,8', ']}', ']', '</answer>']


@pytest.mark.parametrize(('between', 'chance'), [
    ([']}', (', ', 0.75, {']': 0.25})], 0.25),                       # a bracket of its own
    ([(']},', 0.5, {']}]': 0.25, ']}]</': 0.125}), ' '], 0.375),     # two ways to end
    ([(']},', 0.5, {']},\n': 0.5}), ' '], LEAST),                    # only ways to go on
    ([']}', (', ', 0.75, {'</answer>': 0.125}),], 0.125),            # without closing the list
    ([']}', (', ', 0.75, {'<|im_end|>': 0.125}),], 0.125),
    ([']}', (', ', 0.75, {' no more': 0.125}),], 0.125),             # the card's own words
    ([(']', 0.5, {'},': 0.5}), '}', ', '], LEAST),                   # the end of a list of numbers
])
def test_chance_that_the_list_had_ended(between, chance):
    one = written([*FIRST, *between, *SECOND], ends=('no more',))
    opens = one.text.index('[')
    tokens = range(4, 4 + len(between) + 1)
    assert one.chance_of_end(tokens, opens) == pytest.approx(chance, rel=1e-6)


def test_chance_of_an_empty_list():
    one = written([('[{"bbox_2d": [', 0.7, {'[]': 0.2, '[{"': 0.1}), '1,2,3,4', ']}]'])
    assert one.chance_of_end(range(1), 0) == pytest.approx(0.2)


def test_brackets_end_nothing_outside_of_a_list():
    one = written([('ab', 0.5, {']': 0.5}), '1 2 3 4'])
    assert one.chance_of_end(range(1), None) == LEAST


REASONING = 'Two. On it: r2c3 red mug yes; r4c5 blue bowl no. Matching: r2c3 x1 y2 x3 y4'


@pytest.mark.parametrize(('before', 'clause'), [
    ('1 y2', 'r2c3 red mug yes'),
    ('2 x3', None),            # y2 and x1 are named nowhere else
    ('2. On', None),           # the text has no such place
])
def test_the_clause_that_speaks_of_what_is_named(before, clause):
    place = REASONING.find(before)
    found = written([REASONING]).clause_about(max(place, 0))
    assert (found and REASONING[slice(*found)]) == clause


def test_clause_start_is_behind_the_last_mark():
    one = written([REASONING])
    assert REASONING[one.clause_start(REASONING.index('r4c5')):].startswith(' r4c5')
    assert one.clause_start(2) == 0


@pytest.mark.parametrize(('text', 'start'), [
    ('<answer>[{"bbox_2d": [1,2,3,4]}]</answer>', 8),
    ('<answer>[ \n{"bbox_2d": [1,2,3,4]}]</answer>', 8),
    ('<answer>{"bbox_2d": [1,2,3,4]}</answer>', None),   # one object that stands alone
    ('<answer>[]</answer>', None),
])
def test_where_the_list_opens(text, start):
    assert list_start(text, parse_answer(text).objects) == start


def test_sums_and_means_are_of_whole_tokens():
    one = written(['a', ('bc', 0.5, {}), ('d', 0.25, {})])
    assert one.sum_of(0, 3) == pytest.approx(math.log(0.5))       # tokens that begin there
    assert one.mean_of(np.array([[2, 3], [3, 4]])) == pytest.approx(math.log(0.125) / 2)
