"""Whether a model says so when nothing there is what it was asked for, strict."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.measure import Measure, ratio


@dataclass(frozen=True)
class Absence:
    """One sample that asks for objects.

    :param is_absent: there is none.
    :param says_absent: the model says so; an error says nothing.
    """

    is_absent: bool
    says_absent: bool


def absence(truth: Truth, found: Found) -> Absence | None:
    """Compare; None for a sample that asks for no object."""
    if truth.is_absent is None:
        return None
    return Absence(truth.is_absent, found.says_absent)


def absence_measures(known: Sequence[Absence | None]) -> list[Measure]:
    """Sum up, 'no object' being what is looked for: recall, precision, F1."""
    absent = [bool(a and a.is_absent) for a in known]
    said = [bool(a and a.says_absent) for a in known]
    both = [truly and says for truly, says in zip(absent, said, strict=True)]
    return [
        ratio('no-object recall', both, absent),
        ratio('no-object precision', both, said),
        ratio('no-object F1', [2 * b for b in both],
              [a + s for a, s in zip(absent, said, strict=True)]),
    ]
