"""Values of mathematical answers: what is the same, and what happens without math-verify."""
from __future__ import annotations

import sys

import pytest

from vr_ros.core.mathematics import MathVerifyMissingError, same_value


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'math_verify', None)
    with pytest.raises(MathVerifyMissingError, match=r'pip install "vr_ros\[math\]"'):
        same_value('1', '1')


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
