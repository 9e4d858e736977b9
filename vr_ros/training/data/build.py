"""Writes the rows of a source, by one process or several, resumed where an earlier run ended."""
from __future__ import annotations

import multiprocessing
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vr_ros.datasets.sample import SampleError
from vr_ros.progress import Meter
from vr_ros.training.data.convert import Converter, ObjectFilter
from vr_ros.training.data.schema import Row
from vr_ros.training.data.shards import Broken, ShardWriter, Written
from vr_ros.training.data.source import LeftOut, Source
from vr_ros.training.data.storage import Storage

Done = tuple[int, list[Row], list[Broken]]
_AHEAD = 8
# Names, numbers and paths: reasons that differ in them only are one.
_PARTICULAR = re.compile(
    r"""'[^']*'|"[^"]*"|\[[^\]]*\]|[^\s:;,]*\d[^\s:;,]*|[^\s:;,]*[./]\w[^\s:;,]*""")


@dataclass(frozen=True)
class Job:
    """What rows are made of; it goes to other processes.

    :param open_source: makes the source.
    :param open_filter: makes what looks at images and objects last, such as a segmenter.
    :param filter_name: says all that decides about what that filter takes.
    """

    open_source: Callable[[], Source]
    split: str
    storage: Storage
    open_filter: Callable[[], ObjectFilter] | None = None
    filter_name: str = ''


def build(
    job: Job, folder: Path, *, shard_rows: int = 1000, limit: int | None = None, processes: int = 1,
) -> Written:
    """Write a split, or the rest of it.

    :param limit: end with so many rows.
    :raises vr_ros.datasets.sample.DataSetError: the source cannot be opened.
    :raises vr_ros.training.data.shards.ShardError: the folder holds another build.
    """
    worker = _Worker(job)
    total = len(worker.source)
    writer = ShardWriter(folder, job.split, _identity(job, worker.source, limit), shard_rows)
    if writer.written.is_whole:
        return writer.written
    places, rows = writer.written.places, writer.written.rows
    try:
        if limit is None or rows < limit:
            with Meter(total if limit is None else limit,
                       places if limit is None else rows,
                       what='samples' if limit is None else 'rows') as meter:
                for place, made, broken in _load_all(worker, range(places, total), processes):
                    if limit is not None:
                        made = made[:limit - rows]
                    writer.add(place, made, broken)
                    places, rows = place + 1, rows + len(made)
                    meter.advance(1 if limit is None else len(made))
                    if rows == limit:
                        break
        return writer.finish(places)
    finally:
        writer.close()


def reason_of(message: str) -> str:
    """Make what is wrong countable: names, numbers and paths go out of it."""
    return ' '.join(_PARTICULAR.sub('…', message).split())


class _Worker:
    """Makes rows of places, in any process."""

    def __init__(self, job: Job) -> None:
        self.job, self.source = job, job.open_source()

    @cached_property
    def _converter(self) -> Converter:
        """Made where rows are: the filter may load a model."""
        job = self.job
        accept = job.open_filter() if job.open_filter else None
        return Converter(self.source.name, job.split, job.storage, accept)

    def load(self, place: int) -> Done:
        rows: list[Row] = []
        broken: list[Broken] = []
        name = str(getattr(self.source, 'ids', {place: place})[place])
        try:
            for draft in self.source.load(place):
                name = draft.id
                try:
                    rows.append(self._converter.row(draft))
                except (LeftOut, SampleError) as error:
                    broken.append(_broken(place, name, error))
        except (LeftOut, SampleError) as error:
            broken.append(_broken(place, name, error))
        return place, rows, broken


def _broken(place: int, name: str, error: Exception) -> Broken:
    if isinstance(error, LeftOut):
        return Broken(place, error.reason, f'{name}: {error.detail}' if error.detail else name,
                      is_fault=False)
    return Broken(place, reason_of(str(error)), f'{name}: {error}')


def _load_all(worker: _Worker, places: Iterable[int], processes: int) -> Iterator[Done]:
    if processes == 1:
        yield from map(worker.load, places)
        return
    context = multiprocessing.get_context('spawn')
    pool = ProcessPoolExecutor(processes, context, _start, (worker.job,))
    try:
        # A few ahead: rows with their images wait in memory.
        waiting = deque[Future[Done]]()
        for place in places:
            waiting.append(pool.submit(_load, place))
            if len(waiting) > processes * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


_worker: _Worker | None = None


def _start(job: Job) -> None:
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = _Worker(job)


def _end_with_parent() -> None:
    """A parent that is killed cannot end its processes."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _load(place: int) -> Done:
    assert _worker is not None
    return _worker.load(place)


def _identity(job: Job, source: Source, limit: int | None) -> dict[str, Any]:
    return {'source': source.identity, 'samples': len(source), 'split': job.split, 'limit': limit,
            'filter': job.filter_name, **asdict(job.storage)}
