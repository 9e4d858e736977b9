"""A whole run: what is not answered yet is asked, and everything put together, once each."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from vr_ros.datasets.sample import DataSet
from vr_ros.evaluation.runs.records import (
    Header,
    Record,
    RecordsFile,
    Run,
    digest_ids,
    read_records,
)
from vr_ros.evaluation.runs.runner import Job, RunError
from vr_ros.evaluation.runs.shards import SHARD, WHOLE, Shard
from vr_ros.progress import Meter

# Puts samples, by their places, to models; gives records as they are done.
Asker = Callable[[Job, Sequence[int]], Iterator[Sequence[Record]]]


def header_of(
    data_set: DataSet, model: str, limit: int | None, shard: Shard | None = None, **options: Any,
) -> Header:
    """Say what a run is about.

    :param limit: only the first samples; None: all.
    :param shard: only that part of them; None: all.
    :param options: whatever else answers depend on.
    """
    ids = data_set.ids[:limit]
    options = {**options, 'limit': limit}
    if shard:
        options |= {SHARD: str(shard), WHOLE: [len(ids), digest_ids(ids)]}
        places = shard.places(len(ids))
        ids = ids[places.start:places.stop]
    return Header(model, data_set.name, len(ids), digest_ids(ids), options)


def complete(
    job: Job, data_set: DataSet, header: Header, path: Path | None, ask: Asker,
) -> Run:
    """Ask what a file of records does not tell yet, and show how far it is.

    :param header: of :func:`header_of`, about the same data set.
    :param path: of that file; None: nothing is kept.
    :return: all samples, in the order of the data set.
    :raises RunError: what ``ask`` raises; or the disk is full, or a sample got lost.
    :raises RecordsError: if the file is of another run.
    """
    places = _places(data_set, header)
    ids = [data_set.ids[place] for place in places]
    with ExitStack() as stack:
        file = stack.enter_context(RecordsFile(path, header)) if path else None
        done = file.done if file else frozenset()
        new: list[Record] = []
        meter = stack.enter_context(Meter(len(ids), len(done)))
        waiting = [place for place in places if data_set.ids[place] not in done]
        for records in stack.enter_context(closing(ask(job, waiting))):
            if file:
                _keep(file, records)
            new += records
            meter.advance(len(records))
    return _in_order(header, ids, [*new, *(read_records(path).answered if path else ())])


def _keep(file: RecordsFile, records: Sequence[Record]) -> None:
    try:
        file.append(records)
    except OSError as error:
        raise RunError(f'{file.path}: {error.strerror}; what is there stays, and the same command'
                       ' goes on once there is room') from error


def _places(data_set: DataSet, header: Header) -> range:
    shard = header.options.get(SHARD)
    number = len(data_set.ids[:header.options['limit']])
    return Shard.parse(shard).places(number) if shard else range(number)


def _in_order(header: Header, ids: Sequence[str], records: Sequence[Record]) -> Run:
    by_id = {record.sample_id: record for record in records}
    missing = [sample_id for sample_id in ids if sample_id not in by_id]
    if missing:
        raise RunError(f'{len(missing)} samples without a record, such as {missing[0]}')
    ordered = [by_id[sample_id] for sample_id in ids]
    return Run(header, tuple(r for r in ordered if not r.skipped),
               tuple(r for r in ordered if r.skipped))
