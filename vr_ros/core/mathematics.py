"""Values compared by what they mean: 1/2 is 0.5 is \\frac{1}{2}.

By math-verify, which ``pip install vr_ros[math]`` brings; nothing else here needs it.
"""
from __future__ import annotations


class MathVerifyMissingError(ImportError):
    """math-verify is not installed."""


def same_value(expected: str, answered: str, *, truth_first: bool = True) -> float:
    """Give 1 where both mean the same number, expression, set or letter of a choice.

    A text in which nothing can be read is wrong. math-verify ends what takes too long by an alarm
    signal: call it from the main thread of a process.

    :param truth_first: false hands over the answer in the place of the truth. math-verify treats
        the two differently: what it forgives in an answer is not forgiven, and the other way round.
    :raises MathVerifyMissingError: if math-verify is not installed.
    """
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
