"""Which choice an answer names, and the rules of public sets, worked out by hand."""
from __future__ import annotations

from itertools import combinations

import pytest

from vr_ros.core.types import Status
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.metrics.panel import strict_measures
from vr_ros.evaluation.metrics.rules import SCORES, chosen, rule_measures

COLOURS = ('red', 'light blue', 'blue', 'none of these')


@pytest.mark.parametrize(('answer', 'place'), [
    ('B', 1), ('b', None), (' B. ', 1), ('(B)', 1), ('**C**', 2),       # the letter alone
    ('B. light blue', 1), ('(C) blue', 2), ('D: none', 3), ('B) it is', 1),
    ('The answer is C', 2), ('Answer: (D)', 3), ('I choose option B, not C.', 1),
    ('The answer is not clear. Final answer: A', 0), ('answer is A because it is red', 0),
    (r'so \boxed{B}', 1), (r'\boxed{\text{C}}', 2),
    ('between (B) and (B)', 1), ('between (B) and (C)', None),
    ('red', 0), ('Red!', 0), ('the blue', 2),                             # the text alone
    ('it is red', 0), ('it is light blue', None),                        # two texts are in it
    ('a red one', 0), ('infrared', None),                                # whole words
    ('E', None), ('', None), ('A red cube', 0), ('A cube', None), ('the answer is A cube', None),
])
def test_chosen(answer: str, place: int | None) -> None:
    assert chosen(answer, COLOURS) == place


def test_a_letter_goes_before_a_text_that_is_a_letter() -> None:
    assert chosen('A', ('B', 'A')) == 0


def score(rule: str, answers: tuple[str, ...], answer: str, choices: tuple[str, ...] = ()) -> float:
    return SCORES[rule](Truth(answers=answers, choices=choices, rule=rule), answer)


@pytest.mark.parametrize(('answer', 'value'), [('C', 1.0), ('blue', 1.0), ('B', 0.0), ('?', 0.0)])
def test_choice(answer: str, value: float) -> None:
    assert score('choice accuracy', ('C', 'blue'), answer, COLOURS) == value


@pytest.mark.parametrize('agreeing', range(11))
def test_votes_are_those_of_any_nine(agreeing: int) -> None:
    answers = ('Nokia',) * agreeing + ('other',) * (10 - agreeing)
    nines = [sum(text == 'Nokia' for text in nine) for nine in combinations(answers, 9)]
    expected = sum(min(1, same / 3) for same in nines) / 10
    assert score('VQA accuracy', answers, 'a nokia.') == pytest.approx(expected)


@pytest.mark.parametrize(('wanted', 'answer', 'value'), [
    ('STOP', 'It says "stop" there.', 1.0),
    ('stop', 'st op', 0.0),
    ('two\nlines', 'two lines', 1.0),
    (r'\frac{1} {2}', r'x = \frac {1}{2}', 1.0),     # of a formula no space counts
])
def test_contained(wanted: str, answer: str, value: float) -> None:
    assert score('answer contained', ('nothing', wanted), answer) == value


def test_each_answer_is_scored_by_its_own_rule() -> None:
    truths = [
        Truth(answers=('A', 'red'), choices=COLOURS, rule='choice accuracy'),
        Truth(answers=('12',), rule='relaxed accuracy'),
        Truth(answers=('12',), rule='relaxed accuracy'),
        Truth(answers=('12',)),                       # of a set without a rule of its own
        Truth(count=3),
    ]
    found = [Found(answer='red'), Found(answer='12.1'), Found(Status.TIMEOUT), Found(), Found()]
    values = {f.name: (f.value, f.of) for f in figures(strict_measures(truths, found), rounds=0)}
    assert values['choice accuracy'] == (1.0, 1)
    assert values['answer score'] == (pytest.approx(2 / 3), 3)
    assert values['relaxed accuracy'] == (pytest.approx(2 / 4), 4)      # of all answers
    assert 'VQA accuracy' not in values


def test_a_rule_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError, match='guess'):
        rule_measures([Truth(answers=('1',), rule='guess')], [Found(answer='1')])
