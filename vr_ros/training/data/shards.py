"""Rows in files of a split, written in order and resumed where a run was killed.

While a split is written its folder holds ``<split>-00000.partial`` for every whole file and
``<split>.journal.jsonl``, which names them; what the journal does not name does not count. At the
end the files get their names, ``<split>-00000-of-00002.parquet``, ``broken.jsonl`` lists what is
not among the rows, and ``<split>.json`` says what was written; then the journal goes.
"""
from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from vr_ros.training.data.journal import Journal, JournalBusyError
from vr_ros.training.data.schema import SCHEMA, Row, row_from_columns, wrong_types

BROKEN = 'broken.jsonl'
# Rows that are in memory at once, with their images; readers take as many.
GROUP_ROWS = 64


class ShardError(ValueError):
    """A folder that cannot be written to or read from, in one line that says why."""


@dataclass(frozen=True)
class Broken:
    """What did not become a row.

    :param place: in the source.
    :param reason: it is counted by.
    :param detail: which one, and what exactly.
    :param is_fault: it cannot be used; else it was not wanted.
    """

    place: int
    reason: str
    detail: str = ''
    is_fault: bool = True


@dataclass(frozen=True)
class Written:
    """What a folder holds of a split.

    :param places: of the source that are done; the next one is this.
    :param left_out: how many for which reason.
    :param faults: how many of those could not be used.
    :param tasks: rows by task.
    """

    places: int = 0
    rows: int = 0
    shards: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    faults: int = 0
    tasks: Mapping[str, int] = field(default_factory=dict)
    is_whole: bool = False


class ShardWriter:
    """Writes the rows of a split, place by place.

    :param identity: of the source and of all that decides about its rows: only a build with the
        same one goes on here.
    :param shard_rows: a file is closed behind the place that brings it to so many.
    :raises ShardError: the folder holds the split from elsewhere.
    """

    def __init__(self, folder: Path, split: str, identity: Mapping[str, Any],
                 shard_rows: int = 1000) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._split, self._shard_rows = folder, split, shard_rows
        self._identity = json.loads(json.dumps({**identity, 'shard_rows': shard_rows}))
        self._journal = Journal(folder / f'{split}.journal.jsonl')
        self._rows: list[dict[str, Any]] = []
        self._file: parquet.ParquetWriter | None = None
        self._in_file = 0
        self._tasks: Counter[str] = Counter()
        self._broken: list[Broken] = []
        self._done = self._resume()

    @property
    def written(self) -> Written:
        """What is there, and stays whatever happens now."""
        return self._done

    def add(self, place: int, rows: Iterable[Row], broken: Sequence[Broken] = ()) -> None:
        """Take what a place gave.

        :param place: the next one after those that are done; they follow each other.
        """
        self._broken.extend(broken)
        for row in rows:
            self._rows.append(row.to_columns())
            self._in_file += 1
            self._tasks[row.task] += 1
            if len(self._rows) == GROUP_ROWS:
                self._flush()
        if self._in_file >= self._shard_rows:
            self._close_shard(place + 1)

    def finish(self, places: int) -> Written:
        """Give the files their names, once all places are done.

        :param places: how many those were.
        """
        if not self._done.is_whole:
            if self._in_file or self._broken or not self._done.shards:
                self._close_shard(places)
            self._journal.append({'end': places})
        self._name_files(places)
        return self._done

    def close(self) -> None:
        """Give up the file that is not whole, and let others write here."""
        self._journal.close()
        if self._file is not None:
            self._file.close()
            self._file = None
        self._open_path.unlink(missing_ok=True)

    @property
    def _open_path(self) -> Path:
        return self._folder / f'{self._split}-open.tmp'

    def _partial(self, number: int) -> Path:
        return self._folder / f'{self._split}-{number:05d}.partial'

    def _flush(self) -> None:
        if self._file is None:
            self._file = parquet.ParquetWriter(self._open_path, SCHEMA)
        self._file.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
        self._rows = []

    def _close_shard(self, next_place: int) -> None:
        """Make the rows so far a whole file, then name it in the journal: in this order.

        Of no rows there is no file, unless it would be the only one.
        """
        has_file = bool(self._in_file or not self._done.shards)
        if has_file:
            self._flush()
            assert self._file is not None
            self._file.close()
            self._file = None
            _sync(self._open_path)
            os.replace(self._open_path, self._partial(self._done.shards))
        line = {'next': next_place, 'rows': self._in_file, 'shards': int(has_file),
                'tasks': dict(self._tasks), 'broken': [asdict(one) for one in self._broken]}
        self._journal.append(line)
        self._done = _after(self._done, line)
        self._in_file, self._broken, self._tasks = 0, [], Counter()

    def _resume(self) -> Written:
        done = read_written(self._folder, self._split)
        if done is not None:
            if done[1] != self._identity:
                raise ShardError(_other(self._folder, self._split, done[1], self._identity))
            self._journal.remove()
            return done[0]
        if any(self._folder.glob(f'{self._split}-*-of-*.parquet')) and not self._journal.exists:
            raise ShardError(f'{self._folder} holds a {self._split} split from elsewhere: name'
                             ' another folder')
        try:
            self._journal.open()
        except JournalBusyError as error:
            raise ShardError(f'{self._folder}: another process is writing its {self._split} split'
                             ) from error
        lines = self._journal.lines()
        if not lines:
            self._journal.append({'identity': self._identity})
            return Written()
        if lines[0].get('identity') != self._identity:
            self.close()
            raise ShardError(_other(self._folder, self._split, lines[0].get('identity') or {},
                                    self._identity))
        done_now = Written()
        for line in lines[1:]:
            if 'end' in line:
                self._done = done_now
                self._name_files(line['end'])
                return self._done
            done_now = _after(done_now, line)
        return done_now

    def _name_files(self, places: int) -> None:
        """Rename, list and describe; doing it twice does no harm."""
        if self._done.is_whole:
            return
        total = self._done.shards
        for number in range(total):
            name = f'{self._split}-{number:05d}-of-{total:05d}.parquet'
            if self._partial(number).exists():
                os.replace(self._partial(number), self._folder / name)
        self._list_broken()
        self._done = Written(**{**asdict(self._done), 'places': places, 'is_whole': True})
        _replace(self._folder / f'{self._split}.json', json.dumps(
            {'written': asdict(self._done), 'identity': self._identity}, indent=1) + '\n')
        self._journal.remove()

    def _list_broken(self) -> None:
        """Put what is broken beside that of other splits, which may be finished just now, too."""
        broken = [{'split': self._split, **one} for line in self._journal.lines()
                  for one in line.get('broken', ())]
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            others = [one for one in read_broken(self._folder) if one['split'] != self._split]
            _replace(self._folder / BROKEN, ''.join(
                json.dumps(one, ensure_ascii=False) + '\n' for one in (*others, *broken)))
        finally:
            os.close(folder)


def find_files(folder: Path, split: str) -> list[Path]:
    """Find the files of a split in their order.

    :raises ShardError: there is none, or not all of them.
    """
    files = sorted(folder.glob(f'{split}-*-of-*.parquet'))
    if not files:
        raise ShardError(f'{folder} holds no whole {split}-00000-of-….parquet')
    total = int(files[0].stem.rpartition('-')[2])
    if len(files) != total:
        raise ShardError(f'{folder} holds {len(files)} of {total} files of {split}')
    return files


def iter_columns(files: Sequence[Path], columns: Sequence[str] | None = None
                 ) -> Iterator[dict[str, Any]]:
    """Give the values of columns, row by row.

    :param columns: only these; None: all.
    :raises ShardError: a file is damaged, lacks a column, or has one of another type.
    """
    for path in files:
        try:
            with parquet.ParquetFile(path) as file:
                missing = set(columns or SCHEMA.names) - set(file.schema_arrow.names)
                if missing:
                    raise ShardError(f'{path} has no column {", ".join(sorted(missing))}')
                if wrong := wrong_types(file.schema_arrow):
                    raise ShardError(f'{path}: column {"; ".join(wrong)}')
                for batch in file.iter_batches(GROUP_ROWS, columns=columns):
                    yield from batch.to_pylist()
        except (OSError, pa.ArrowInvalid) as error:
            raise ShardError(f'{path} is damaged: {error}') from error


def iter_rows(folder: Path, split: str) -> Iterator[Row]:
    """Give the rows of a split in their order.

    :raises ShardError: there is none, a file is missing or damaged.
    """
    yield from map(row_from_columns, iter_columns(find_files(folder, split)))


def read_broken(folder: Path) -> list[dict[str, Any]]:
    """Read what did not become a row, of all splits; see :class:`Broken`."""
    path = folder / BROKEN
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding='utf-8').split('\n') if line]


def read_written(folder: Path, split: str) -> tuple[Written, dict[str, Any]] | None:
    """Read what a split says of itself, and the identity it was written with.

    :return: None unless it is whole.
    """
    path = folder / f'{split}.json'
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding='utf-8'))
    return Written(**content['written']), content['identity']


def _after(done: Written, line: Mapping[str, Any]) -> Written:
    reasons = Counter(one['reason'] for one in line['broken'])
    return Written(
        line['next'], done.rows + line['rows'], done.shards + line['shards'],
        dict(Counter(done.left_out) + reasons),
        done.faults + sum(one['is_fault'] for one in line['broken']),
        dict(Counter(done.tasks) + Counter(line['tasks'])))


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f'{path.name}.tmp')
    temporary.write_text(text, encoding='utf-8')
    _sync(temporary)
    os.replace(temporary, path)


def _sync(path: Path) -> None:
    with path.open('rb') as file:
        os.fsync(file.fileno())


def _other(folder: Path, split: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    names = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    return (f'{folder} holds a {split} split of another build, with other {", ".join(names)}:'
            ' name another folder, or the same settings')
