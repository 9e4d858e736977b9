"""Comparisons of texts, by hand and against the definition of the edit distance."""
from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vr_ros.core.text_match import (
    anls,
    edit_distance,
    exact_match,
    normalise_answer,
    relaxed_match,
)

WORDS = st.text('ab c', max_size=6)


@pytest.mark.parametrize(('text', 'normal'), [
    ('Red.', 'red'),
    (' the  mug ', 'mug'),
    ('a red cube, two balls', 'red cube two balls'),
    ('', ''),
    ('an', 'an'),                             # alone it may be a letter to choose
    ('A.', 'a'),
    ('Yes!', 'yes'),
])
def test_normalised_answers(text: str, normal: str) -> None:
    assert normalise_answer(text) == normal


@pytest.mark.parametrize(('expected', 'answered', 'value'), [
    ('12 May', '12 may', 1.0),                # case
    ('12 May', ' 12   may', 5 / 9 + 4 / 9),   # surplus space is no edit
    ('abcd', 'abcx', 0.75),                   # one of four
    ('abcd', 'abxy', 0.5),                    # one half is enough
    ('abcde', 'abxyz', 0.0),                  # 0.4 is another answer
    ('ab', 'abcd', 0.5),                      # of the longer text
    ('', '', 1.0),
    ('a', '', 0.0),
])
def test_anls(expected: str, answered: str, value: float) -> None:
    assert anls(expected, answered) == pytest.approx(value)


def test_anls_divides_by_the_length_with_the_surplus_space() -> None:
    assert anls('abcd', 'abcx') == 0.75
    assert anls('abcd', 'abcx    ') == pytest.approx(7 / 8)


@pytest.mark.parametrize(('expected', 'answered', 'value'), [
    ('100', '105', 1.0),          # five per cent, both ends included
    ('100', '95', 1.0),
    ('100', '105.01', 0.0),
    ('-100', '-104', 1.0),        # below zero
    ('-100', '104', 0.0),
    ('12%', '0.12', 1.0),         # a percent sign divides by a hundred
    ('12%', '12', 0.0),
    ('5 %', '5%', 1.0),
    ('0', '0', 1.0),              # zero has no five per cent: the same text
    ('0', '0.0', 0.0),
    ('0', '0.001', 0.0),
    ('Red', ' red ', 1.0),        # text: case and space around it
    ('Red', 'reds', 0.0),
    ('2019', '2010', 1.0),        # years are numbers, as the rule has it
    ('ten', '10', 0.0),
    ('nan', 'nan', 1.0),          # no numbers
    ('inf', '5', 0.0),
    ('5', 'about 5', 0.0),
])
def test_relaxed_match(expected: str, answered: str, value: float) -> None:
    assert relaxed_match(expected, answered) == value


@cache
def edits(one: str, other: str) -> int:
    """By definition: drop, add or replace the last letter."""
    if not one or not other:
        return len(one) + len(other)
    return min(
        edits(one[:-1], other) + 1, edits(one, other[:-1]) + 1,
        edits(one[:-1], other[:-1]) + (one[-1] != other[-1]))


@given(WORDS, WORDS)
def test_edit_distance_is_that_of_its_definition(one: str, other: str) -> None:
    assert edit_distance(one, other) == edits(one, other)


@given(st.text(), st.text())
def test_comparisons_are_shares_and_a_text_is_itself(one: str, other: str) -> None:
    for compare in (exact_match, anls, relaxed_match):
        assert compare(one, one) == 1
        assert 0 <= compare(one, other) <= 1
