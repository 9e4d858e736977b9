"""How instructions ended, counted: the same code for a demo, live, and for its bag afterwards."""
from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.failures import Kind, Situation, judge, situation_of
from vr_ros.evaluation.found import Found

Ending = tuple[Truth | None, Found]


def is_right(truth: Truth | None, found: Found) -> bool | None:
    """Tell whether an answer is right, as failures.py judges it.

    :return: None where the truth is not known.
    """
    if truth is None or situation_of(truth) is Situation.UNKNOWN:
        return None
    return judge(truth, found, truth.task).kind is Kind.RIGHT


def count_endings(endings: Iterable[Ending]) -> dict[str, int]:
    """Count instructions by how they ended."""
    endings = list(endings)
    known = [right for right in (is_right(*ending) for ending in endings) if right is not None]
    return {
        'instructions': len(endings),
        'answered': sum(not found.status.is_error for _, found in endings),
        'with known truth': len(known),
        'right': sum(known),
        'objects found': sum(len(found.boxes) for _, found in endings),
    }


def totals_line(totals: Mapping[str, int]) -> str:
    """Say in one line how it went.

    :param totals: of count_endings().
    """
    known = totals['with known truth']
    answered = f'{totals["answered"]} of {totals["instructions"]} answered'
    return f'{totals["right"]} of {known} right, {answered}' if known else answered


def median_ms(endings: Iterable[Ending]) -> float | None:
    """Give the median of the time of those answered, None where none was."""
    times = [found.latency_ms for _, found in endings if not found.status.is_error]
    return statistics.median(times) if times else None
