"""Builds a mixture: the rows of its parts one after another, then all of them in a drawn order.

Both go on where they were killed. Parts lie in ``parts/`` below the mixture until it is whole.
"""
from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np

from vr_ros.datasets.sample import DataSetError
from vr_ros.progress import Meter
from vr_ros.training.data.build import Job, build
from vr_ros.training.data.command import job_of
from vr_ros.training.data.mixtures.recipe import Mixture, Part, part_options
from vr_ros.training.data.registry import builders
from vr_ros.training.data.schema import Row
from vr_ros.training.data.shards import (
    Broken,
    ShardWriter,
    Written,
    iter_rows,
    read_broken,
    read_written,
)

PARTS = 'parts'


@dataclass(frozen=True)
class Taken:
    """What a part came to.

    :param wanted: rows, copies included; None: all there are.
    :param rows: taken, copies included.
    :param looked: places of the source that were looked at for them.
    :param left_out: how many for which reason.
    :param missing: why the set could not be read at all.
    """

    part: str
    wanted: int | None
    rows: int = 0
    looked: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    missing: str = ''

    @property
    def is_short(self) -> bool:
        return bool(self.missing) or self.rows < (self.wanted or 0)


def build_mixture(
    mixture: Mixture, folder: Path, data: Path, split: str = 'train', *, shard_rows: int = 1000,
    processes: int = 1, skip_missing: bool = False, keep_parts: bool = False,
    announce: Callable[[str], object] | None = None,
) -> tuple[Written, list[Taken]]:
    """Build a mixture, or the rest of it.

    :param data: the folder that the public sets lie in.
    :param skip_missing: parts whose set is not there have no rows, instead of stopping all.
    :param announce: is told the name of each part before it is built.
    :return: what was written, and what each part came to.
    :raises DataSetError: a set is not there or cannot be read; one line names all of these.
    :raises vr_ros.training.data.shards.ShardError: the folder holds another build.
    """
    report = folder / f'{split}.mixture.json'
    done = read_written(folder, split)
    if done and report.exists() and done[1].get('mixture') == mixture.identity:
        _remove_parts(folder, keep_parts)
        return done[0], [Taken(**one) for one in json.loads(report.read_text(encoding='utf-8'))]
    jobs = {part.name: _job(part, mixture, split, data, folder) for part in mixture.parts}
    missing = {name: why for name, job in jobs.items() if (why := _why_missing(job))}
    if missing and not skip_missing:
        raise DataSetError('; '.join(dict.fromkeys(missing.values())))
    taken: list[Taken] = []
    for part in mixture.parts:
        wanted = None if part.rows is None else part.rows * part.times
        if part.name in missing:
            taken.append(Taken(part.name, wanted, missing=missing[part.name]))
            continue
        if announce:
            announce(part.name)
        written = build(jobs[part.name], _folder(folder, part), shard_rows=shard_rows,
                        limit=part.rows, processes=processes)
        taken.append(Taken(part.name, wanted, written.rows * part.times, written.places,
                           dict(written.left_out)))
    rows = {one.part: one.rows for one in taken}
    identity = {'mixture': mixture.identity, 'rows': rows}
    merged = _merge(mixture, folder, split, identity, rows, shard_rows)
    report.write_text(json.dumps([asdict(one) for one in taken], indent=1), encoding='utf-8')
    _remove_parts(folder, keep_parts)
    return merged, taken


def _remove_parts(folder: Path, keep: bool) -> None:
    if not keep:
        shutil.rmtree(folder / PARTS, ignore_errors=True)


def drawn_parts(mixture: Mixture, rows: Mapping[str, int]) -> list[str]:
    """Draw from which part each row of the mixture comes."""
    names = [name for part in mixture.parts for name in [part.name] * rows[part.name]]
    return [names[place] for place in np.random.default_rng(mixture.seed).permutation(len(names))]


def _merge(mixture: Mixture, folder: Path, split: str, identity: Mapping[str, object],
           rows: Mapping[str, int], shard_rows: int) -> Written:
    """Write the rows of all parts in a drawn order, each part's own in theirs."""
    writer = ShardWriter(folder, split, identity, shard_rows)
    if writer.written.is_whole:
        return writer.written
    order, start = drawn_parts(mixture, rows), writer.written.places
    before, used = Counter(order[:start]), Counter(part.source for part in mixture.parts)
    sources = {
        part.name: islice(_rows(part, folder, split, used[part.source] > 1), before[part.name],
                          None)
        for part in mixture.parts if rows[part.name]}
    # What was left out of the parts is told once, with the first row.
    broken = _broken(mixture, folder)
    try:
        with Meter(len(order), start, what='mixed rows') as meter:
            for place in range(start, len(order)):
                row = next(sources[order[place]])
                writer.add(place, [row], () if place else broken)
                meter.advance(1)
        return writer.finish(len(order))
    finally:
        writer.close()


def _rows(part: Part, folder: Path, split: str, shares_source: bool) -> Iterator[Row]:
    """Give a part's rows as often as it says; ids tell copies, and parts of one source, apart."""
    end = f'@{part.name}' if shares_source else ''
    return chain.from_iterable(
        (_renamed(row, end + (f'#{number + 1}' if number else ''))
         for row in iter_rows(_folder(folder, part), split)) for number in range(part.times))


def _renamed(row: Row, end: str) -> Row:
    if not end:
        return row
    name = row.id + end
    return replace(row, id=name, reward_spec=replace(row.sample, id=name).to_json())


def _broken(mixture: Mixture, folder: Path) -> list[Broken]:
    return [Broken(one['place'], f'{part.name}: {one["reason"]}', one['detail'], one['is_fault'])
            for part in mixture.parts for one in read_broken(_folder(folder, part))]


def _folder(folder: Path, part: Part) -> Path:
    return folder / PARTS / part.name


def _job(part: Part, mixture: Mixture, split: str, data: Path, folder: Path) -> Job:
    options = part_options(part, mixture, split, data)
    return job_of(part.source, options, _folder(folder, part))


def _why_missing(job: Job) -> str:
    """Say what to get from where; empty if the set is there."""
    assert isinstance(job.open_source, partial)
    name, options = job.open_source.args
    declared = getattr(builders()[name], 'declared', None)
    if declared is None or options.data.exists():
        return ''
    return f'{options.data} is not there. {declared.how_to_get}'
