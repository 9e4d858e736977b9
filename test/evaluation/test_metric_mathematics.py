"""Mathematical answers: what is the same, and what happens without math-verify."""
from __future__ import annotations

import sys

import pytest

from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.metrics.mathematics import (
    MathVerifyMissingError,
    math_measures,
    published_same_value,
    same_value,
)
from vr_ros.evaluation.samples import Found, Truth


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'math_verify', None)
    with pytest.raises(MathVerifyMissingError, match=r'pip install "vr_ros\[math\]"'):
        same_value('1', '1')
    assert math_measures([Truth(count=1)], [Found()])[0].of == 0   # nothing to compare


@pytest.mark.parametrize(('expected', 'answered', 'value'), [
    (r'\frac{1}{2}', '0.5', 1.0),
    ('1/2', r'\frac{2}{4}', 1.0),
    ('12', '12.0', 1.0),
    ('12', '13', 0.0),
    (r'\sqrt{8}', r'2\sqrt{2}', 1.0),
    ('x+1', '1+x', 1.0),
    ('(x+1)^2', 'x^2+2x+1', 1.0),
    ('12', 'no idea', 0.0),
    ('12', '', 0.0),
    ('B', 'B', 1.0),                 # the letter of a choice
    ('B', 'C', 0.0),
    ('135', r'135^\circ', 1.0),
])
def test_same_value(expected: str, answered: str, value: float) -> None:
    pytest.importorskip('math_verify')
    assert same_value(expected, answered) == value


def test_math_is_averaged_over_samples_with_answers() -> None:
    pytest.importorskip('math_verify')
    truths = [Truth(answers=('0.5', '2')), Truth(answers=('3',)), Truth(count=1)]
    found = [Found(answer='1/2'), Found(answer='4'), Found()]
    figure = figures(math_measures(truths, found), rounds=0)[0]
    assert (figure.value, figure.of) == (0.5, 2)


def test_the_published_script_takes_the_answer_for_the_truth() -> None:
    pytest.importorskip('math_verify')
    # An answer may be an equation that ends in the value, and a truth may not.
    assert same_value('5', '2+3=5') == 1 and published_same_value('5', '2+3=5') == 0
    assert published_same_value('5', '5') == 1
