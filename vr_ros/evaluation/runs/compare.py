"""Two runs on the same samples: every figure of both, and whether they differ."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vr_ros.evaluation.metrics.figures import ROUNDS, Comparison, compare
from vr_ros.evaluation.metrics.panel import image_groups, published_panel, strict_measures
from vr_ros.evaluation.runs.records import Record, RecordsError, Run
from vr_ros.evaluation.runs.sample_json import truth_to_json


@dataclass(frozen=True)
class RunComparison:
    """How a second run differs from a first.

    :param first, second: the models.
    :param samples: how many both answered; errors are answers.
    :param left_out: ids of samples that one of them skipped.
    """

    first: str
    second: str
    dataset: str
    samples: int
    comparisons: Sequence[Comparison]
    left_out: Sequence[str]


def compare_runs(first: Run, second: Run, rounds: int = ROUNDS) -> RunComparison:
    """Compare two runs sample by sample, with a paired bootstrap and a randomisation test.

    :param rounds: of both.
    :raises RecordsError: if they are of other samples, or one is not finished.
    """
    if (first.header.dataset, first.header.digest) != (second.header.dataset, second.header.digest):
        raise RecordsError(f'runs on other samples: {first.header.samples} of'
                           f' {first.header.dataset}, {second.header.samples} of'
                           f' {second.header.dataset}')
    for run in (first, second):
        if run.missing:
            raise RecordsError(f'{run.missing} of {run.header.samples} samples are missing of'
                               f' {run.header.model}: run it again, it goes on')
    others = {record.sample_id: record for record in second.answered}
    pairs = [(r, others[r.sample_id]) for r in first.answered if r.sample_id in others]
    if not pairs:
        raise RecordsError('no sample was answered by both')
    _require_same_truth(pairs)
    truths = [one.truth for one, _ in pairs]
    measures = []
    for answers in zip(*pairs, strict=True):
        found = [record.found for record in answers]
        measures.append({
            m.name: m for m in strict_measures(truths, found) + published_panel(truths, found)})
    groups = image_groups(truths)
    both = {pair[0].sample_id for pair in pairs}
    left_out = sorted({r.sample_id for run in (first, second)
                       for r in (*run.answered, *run.skipped)} - both)
    return RunComparison(
        first.header.model, second.header.model, first.header.dataset, len(pairs),
        [compare(measure, measures[1][name], groups, rounds=rounds)
         for name, measure in measures[0].items() if name in measures[1]], left_out)


def _require_same_truth(pairs: Sequence[tuple[Record, Record]]) -> None:
    for one, other in pairs:
        if truth_to_json(one.truth) != truth_to_json(other.truth):
            raise RecordsError(f'sample {one.sample_id}: what is true differs between the runs')
