"""Answers to mathematical questions, compared by what they mean: 1/2 is 0.5 is \\frac{1}{2}.

By math-verify, which ``pip install vr_ros[math]`` brings; nothing else here needs it.
"""
from __future__ import annotations

from collections.abc import Sequence

from vr_ros.evaluation.metrics.answers import best_answer
from vr_ros.evaluation.metrics.measure import Measure, mean
from vr_ros.evaluation.samples import Found, Truth


class MathVerifyMissingError(ImportError):
    """math-verify is not installed."""


def same_value(expected: str, answered: str) -> float:
    """Give 1 where both mean the same number, expression, set or letter of a choice.

    A text in which nothing can be read is wrong. math-verify ends what takes too long by an alarm
    signal: call it from the main thread of a process.

    :raises MathVerifyMissingError: if math-verify is not installed.
    """
    return _verify(expected, answered, truth_first=True)


def published_same_value(expected: str, answered: str) -> float:
    """Compare as VisionReasoner's calculate_math_acc.py does, quirk included.

    Quirk: it hands over the answer in the place of the truth. math-verify treats the two
    differently: what it forgives in an answer is not forgiven, and the other way round.

    :raises MathVerifyMissingError: if math-verify is not installed.
    """
    return _verify(expected, answered, truth_first=False)


def math_measures(truths: Sequence[Truth], found: Sequence[Found]) -> list[Measure]:
    """Average over the samples with accepted answers.

    :raises MathVerifyMissingError: if math-verify is not installed.
    """
    values = [best_answer(t, f, same_value) for t, f in zip(truths, found, strict=True)]
    return [mean('mathematics', values)]


def _verify(expected: str, answered: str, *, truth_first: bool) -> float:
    try:
        import math_verify
    except ImportError as error:
        raise MathVerifyMissingError(
            'answers to mathematical questions need math-verify: pip install "vr_ros[math]"'
        ) from error
    readers = [
        math_verify.StringExtractionConfig(), math_verify.LatexExtractionConfig(),
        math_verify.ExprExtractionConfig()]
    # The published script wraps both like this, so that bare LaTeX is read as such.
    truth = math_verify.parse(f'${expected}$')
    answer = math_verify.parse(f'${answered}$', extraction_config=readers)
    pair = (truth, answer) if truth_first else (answer, truth)
    return float(math_verify.verify(*pair))
