"""Parquet files of equal length, of rows that come in another order than they are to stand in."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from vr_ros.training.data.shards import GROUP_ROWS, ShardError

_PLACE = 'place'


def find_splits(folder: Path) -> list[str]:
    """Name the splits that a folder holds.

    :raises ShardError: none.
    """
    splits = {path.stem.rsplit('-', 3)[0] for path in folder.glob('*-*-of-*.parquet')}
    if not splits:
        raise ShardError(f'{folder} holds no files such as train-00000-of-00001.parquet')
    return sorted(splits)


def count_rows(files: Sequence[Path]) -> int:
    """Count the rows of all files.

    :raises ShardError: one is damaged.
    """
    rows = 0
    for path in files:
        try:
            rows += parquet.read_metadata(path).num_rows
        except (OSError, ValueError) as error:
            raise ShardError(f'{path} is damaged: {error}') from error
    return rows


class OrderedWriter:
    """Writes the rows of a split to files of equal length; to be used as a context.

    Rows come in any order and leave in that of their places; one file is in memory at a time.

    :param places: how many there are; some may stay empty.
    """

    def __init__(self, folder: Path, split: str, schema: pa.Schema, places: int,
                 files: int) -> None:
        self._folder, self._split, self._schema = folder, split, schema
        self._files = max(1, min(files, places))
        self._starts = np.linspace(0, places, self._files + 1).round().astype(int)
        self._placed = schema.append(pa.field(_PLACE, pa.int64()))
        self._held: dict[int, list[dict[str, Any]]] = {}
        self._writers: dict[int, Any] = {}
        self._is_sorted = True
        self._last = -1

    def add(self, place: int, row: Mapping[str, Any]) -> None:
        """Take a row.

        :param place: 0 to places - 1, each once.
        """
        self._is_sorted &= place > self._last
        self._last = place
        index = int(np.searchsorted(self._starts, place, side='right')) - 1
        held = self._held.setdefault(index, [])
        held.append({**row, _PLACE: place})
        # Many files share the memory for rows that wait.
        if len(held) >= max(1, GROUP_ROWS // max(1, len(self._writers))):
            self._flush(index)

    def __enter__(self) -> OrderedWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            for index in range(self._files):
                self._flush(index)
        for writer in self._writers.values():
            writer.close()
        if kind is None:
            for index in range(self._files):
                self._finish(index)

    def _flush(self, index: int) -> None:
        rows = self._held.pop(index, [])
        if index not in self._writers:
            self._writers[index] = parquet.ParquetWriter(self._partial(index), self._placed)
        if rows:
            self._writers[index].write_table(pa.Table.from_pylist(rows, self._placed))

    def _finish(self, index: int) -> None:
        """Put the rows of one file in order and take the places away."""
        path = self._folder / f'{self._split}-{index:05d}-of-{self._files:05d}.parquet'
        if self._is_sorted:
            with (parquet.ParquetFile(self._partial(index)) as file,
                  parquet.ParquetWriter(path, self._schema) as writer):
                for batch in file.iter_batches(GROUP_ROWS, columns=self._schema.names):
                    writer.write_batch(batch)
        else:
            table = parquet.read_table(self._partial(index)).sort_by(_PLACE).drop([_PLACE])
            parquet.write_table(table, path, row_group_size=GROUP_ROWS)
        self._partial(index).unlink()

    def _partial(self, index: int) -> Path:
        return self._folder / f'{self._split}-{index:05d}.partial'
