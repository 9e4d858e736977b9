"""Which of several accepted answers counts."""
from __future__ import annotations

import pytest

from vr_ros.core.text_match import anls, exact_match
from vr_ros.core.types import Status
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.answers import best_answer


def test_the_best_accepted_answer_counts() -> None:
    truth = Truth(answers=('twelve', '12'))
    assert best_answer(truth, Found(answer='12'), exact_match) == 1
    assert best_answer(truth, Found(answer='13'), exact_match) == 0
    assert best_answer(truth, Found(answer='twelvo'), anls) == pytest.approx(5 / 6)
    assert best_answer(truth, Found(Status.TIMEOUT, answer='12'), exact_match) == 0
    assert best_answer(Truth(count=12), Found(answer='12'), exact_match) is None
