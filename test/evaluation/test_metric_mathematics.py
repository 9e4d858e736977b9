"""Mathematical answers over samples, and as the published script compares them."""
from __future__ import annotations

import pytest

from vr_ros.core.mathematics import same_value
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.metrics.mathematics import math_measures, published_same_value


def test_samples_without_answers_need_no_math_verify() -> None:
    assert math_measures([Truth(count=1)], [Found()])[0].of == 0   # nothing to compare


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
