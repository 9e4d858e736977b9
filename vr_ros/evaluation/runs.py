"""A whole run: what is not answered yet is asked, and everything put together, once each."""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from vr_ros.evaluation.datasets.sample import DataSet
from vr_ros.evaluation.records import (
    Header,
    Record,
    RecordsFile,
    Run,
    digest_ids,
    read_records,
)
from vr_ros.evaluation.runner import Job, RunError, ask_all


def header_of(data_set: DataSet, model: str, limit: int | None, **options: Any) -> Header:
    """Say what a run is about.

    :param limit: only the first samples; None: all.
    :param options: whatever else answers depend on.
    """
    ids = data_set.ids[:limit]
    return Header(model, data_set.name, len(ids), digest_ids(ids), {**options, 'limit': limit})


def complete(
    job: Job, data_set: DataSet, header: Header, path: Path | None, processes: int = 1,
) -> Run:
    """Ask what a file of records does not tell yet, with a bar that shows how far it is.

    :param path: of that file; None: nothing is kept.
    :return: all samples, in the order of the data set.
    :raises RunError: see ask_all; or a sample got lost.
    :raises RecordsError: if the file is of another run.
    """
    ids = data_set.ids[:header.samples]
    with ExitStack() as stack:
        file = stack.enter_context(RecordsFile(path, header)) if path else None
        done = file.done if file else frozenset()
        places = [place for place, sample_id in enumerate(ids) if sample_id not in done]
        progress = stack.enter_context(Progress(
            '{task.description}', BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=Console(stderr=True)))
        bar = progress.add_task('samples', total=len(ids), completed=len(done))
        new: list[Record] = []
        for record in stack.enter_context(closing(ask_all(job, places, processes))):
            if file:
                file.append([record])
            new.append(record)
            progress.advance(bar)
    return _in_order(header, ids, [*new, *(read_records(path).answered if path else ())])


def _in_order(header: Header, ids: Sequence[str], records: Sequence[Record]) -> Run:
    by_id = {record.sample_id: record for record in records}
    missing = [sample_id for sample_id in ids if sample_id not in by_id]
    if missing:
        raise RunError(f'{len(missing)} samples without a record, such as {missing[0]}')
    ordered = [by_id[sample_id] for sample_id in ids]
    return Run(header, tuple(r for r in ordered if not r.skipped),
               tuple(r for r in ordered if r.skipped))
