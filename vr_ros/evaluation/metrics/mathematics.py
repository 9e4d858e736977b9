"""Answers to mathematical questions, by what they mean; see :mod:`vr_ros.core.mathematics`."""
from __future__ import annotations

from collections.abc import Sequence

from vr_ros.core.mathematics import same_value
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.answers import best_answer
from vr_ros.evaluation.metrics.measure import Measure, mean


def published_same_value(expected: str, answered: str) -> float:
    """Compare as VisionReasoner's calculate_math_acc.py does, quirk included.

    Quirk: it hands over the answer in the place of the truth.

    :raises MathVerifyMissingError: if math-verify is not installed.
    """
    return same_value(expected, answered, truth_first=False)


def math_measures(truths: Sequence[Truth], found: Sequence[Found]) -> list[Measure]:
    """Average over the samples with accepted answers.

    :raises MathVerifyMissingError: if math-verify is not installed.
    """
    values = [best_answer(t, f, same_value) for t, f in zip(truths, found, strict=True)]
    return [mean('mathematics', values)]
