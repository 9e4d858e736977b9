"""Answers in words: exact match, ANLS, relaxed accuracy; the best accepted answer counts."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from vr_ros.core.text_match import anls, exact_match, relaxed_match
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.measure import Measure, mean


def best_answer(
    truth: Truth, found: Found, compare: Callable[[str, str], float]
) -> float | None:
    """Give the best comparison with an accepted answer; None where no answer is asked for.

    An error is no answer and counts 0.
    """
    if not truth.answers:
        return None
    if found.status.is_error:
        return 0.0
    return max(float(compare(expected, found.answer)) for expected in truth.answers)


def answer_measures(truths: Sequence[Truth], found: Sequence[Found]) -> list[Measure]:
    """Average over the samples with accepted answers: exact match, ANLS, relaxed accuracy."""
    comparisons = {'VQA exact': exact_match, 'ANLS': anls, 'relaxed accuracy': relaxed_match}
    return [
        mean(name, [best_answer(t, f, compare) for t, f in zip(truths, found, strict=True)])
        for name, compare in comparisons.items()]
