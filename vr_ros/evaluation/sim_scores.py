"""Scores of answers about the simulator: one per instruction, as records hold them, and figures."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vr_ros.core.types import Status, Task
from vr_ros.evaluation.metrics.measure import Measure, mean, ratio


@dataclass(frozen=True)
class Score:
    """How one instruction was answered.

    :param task: what the instruction really asks for.
    :param hits: true objects matched one-to-one at IoU >= 0.5.
    :param union_iou: IoU of the union masks, 1 when both are empty; None without masks or for VQA.
    :param exact: VQA: the answer is the expected one; otherwise: the number of objects is.
    """

    task: Task
    status: Status
    template: str
    true_objects: int
    found_objects: int
    hits: int
    union_iou: float | None
    exact: bool


def score_measures(scores: Sequence[Score]) -> list[Measure]:
    """Sum up scores: hit rate, precision, gIoU, exact count, absence recognised, VQA exact."""
    located = [s if s.task is not Task.VQA else None for s in scores]
    hits = [s.hits if s else 0 for s in located]
    return [
        ratio('hit rate', hits, [s.true_objects if s else 0 for s in located]),
        ratio('precision', hits, [s.found_objects if s else 0 for s in located]),
        mean('gIoU', [s.union_iou if s else None for s in located]),
        mean('exact count', [s.exact if s.task is Task.COUNTING else None for s in scores]),
        mean('absence recognised', [
            s.status is Status.NO_OBJECT if s and not s.true_objects else None for s in located]),
        mean('VQA exact', [s.exact if s.task is Task.VQA else None for s in scores]),
    ]
