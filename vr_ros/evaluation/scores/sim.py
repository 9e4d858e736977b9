"""What the embedded model is measured by on the simulator: strict figures under their own names."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vr_ros.core.types import Task
from vr_ros.evaluation.metrics.absence import absence, absence_measures
from vr_ros.evaluation.metrics.answers import answer_measures
from vr_ros.evaluation.metrics.counting import count_error, count_measures
from vr_ros.evaluation.metrics.detection import match_boxes, match_measures
from vr_ros.evaluation.metrics.measure import Measure
from vr_ros.evaluation.metrics.segmentation import region_measures, region_overlap
from vr_ros.evaluation.runs.records import Record
from vr_ros.evaluation.runs.summary import Examination
from vr_ros.sim.templates import TEMPLATES

# What the embedded model aims at, see docs/evaluation.md.
TARGETS = {
    'hit rate': 0.80,
    'gIoU': 0.70,
    'exact count': 0.80,
    'absence recognised': 0.90,
    'VQA exact': 0.85,
}

_NAMES = {
    'box recall@0.5': 'hit rate',
    'box precision@0.5': 'precision',
    'gIoU': 'gIoU',
    'exact count': 'exact count',
    'no-object recall': 'absence recognised',
    'VQA exact': 'VQA exact',
}


def sim_measures(answered: Sequence[Record]) -> list[Measure]:
    """Sum up answers about scenes: hit rate, precision, gIoU, exact count of COUNTING
    instructions, absence recognised, VQA exact.

    :param answered: records whose kind is the template of the instruction.
    """
    pairs = [(r.truth, r.found) for r in answered]
    truths, found = [t for t, _ in pairs], [f for _, f in pairs]
    counts = [
        count_error(r.truth, r.found) if TEMPLATES[r.kind].task is Task.COUNTING else None
        for r in answered]
    measures = {measure.name: measure for measure in (
        *match_measures([match_boxes(t, f) for t, f in pairs], 'box'),
        *region_measures([region_overlap(t, f) for t, f in pairs]),
        *count_measures(counts),
        *absence_measures([absence(t, f) for t, f in pairs]),
        *answer_measures(truths, found),
    )}
    return [replace(measures[name], name=ours) for name, ours in _NAMES.items()]


def sim_examination(first_seed: int) -> Examination:
    """Say what figures scenes from a seed on have, and what they aim at."""
    return Examination('sim', sim_measures, TARGETS, first_seed)
