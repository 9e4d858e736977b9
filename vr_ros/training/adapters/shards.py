"""Parquet files of a split, and writing others of as many rows in a drawn order."""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow

# Rows that are in memory at once, with their images.
BATCH_ROWS = 64
_NAME = re.compile(r'(?P<split>.+)-\d{5}-of-\d{5}\.parquet')
_PLACE = 'place'


class ShardError(ValueError):
    """Files that are no training data; the message names the file and says why."""


def find_splits(folder: Path) -> dict[str, list[Path]]:
    """Find the files ``<split>-00000-of-00002.parquet`` of a folder.

    :return: in their order, by the name of the split.
    :raises ShardError: there are none.
    """
    splits: dict[str, list[Path]] = {}
    for path in sorted(folder.glob('*.parquet')):
        found = _NAME.fullmatch(path.name)
        if found:
            splits.setdefault(found['split'], []).append(path)
    if not splits:
        raise ShardError(f'{folder} holds no files such as train-00000-of-00001.parquet')
    return splits


def count_rows(files: Sequence[Path], columns: Sequence[str]) -> int:
    """Count the rows of all files.

    :param columns: that each has to have.
    :raises ShardError: one is damaged, or lacks a column.
    """
    from pyarrow import parquet

    rows = 0
    for path in files:
        try:
            with parquet.ParquetFile(path) as file:
                missing = [name for name in columns if name not in file.schema_arrow.names]
                rows += file.metadata.num_rows
        except (OSError, ValueError) as error:
            raise ShardError(f'{path} is damaged: {error}') from error
        if missing:
            raise ShardError(f'{path} has no column {", ".join(missing)}')
    return rows


def read_rows(files: Sequence[Path], columns: Sequence[str] | None = None
              ) -> Iterator[dict[str, Any]]:
    """Give the rows of all files, one after another.

    :param columns: only these.
    :raises ShardError: a file is damaged.
    """
    from pyarrow import parquet

    for path in files:
        try:
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                    yield from batch.to_pylist()
        except (OSError, ValueError) as error:
            raise ShardError(f'{path} is damaged: {error}') from error


class ShardWriter:
    """Writes the rows of a split to files of equal length; to be used as a context.

    Rows come in any order and leave in that of their places; one file is in memory at a time.

    :param places: how many there are; some may stay empty.
    """

    def __init__(self, folder: Path, split: str, schema: pyarrow.Schema, places: int,
                 files: int) -> None:
        import pyarrow as pa

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
        if len(held) >= max(1, BATCH_ROWS // max(1, len(self._writers))):
            self._flush(index)

    def __enter__(self) -> ShardWriter:
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
        import pyarrow as pa
        from pyarrow import parquet

        rows = self._held.pop(index, [])
        if index not in self._writers:
            self._writers[index] = parquet.ParquetWriter(self._partial(index), self._placed)
        if rows:
            self._writers[index].write_table(pa.Table.from_pylist(rows, self._placed))

    def _finish(self, index: int) -> None:
        """Put the rows of one file in order and take the places away."""
        from pyarrow import parquet

        path = self._folder / f'{self._split}-{index:05d}-of-{self._files:05d}.parquet'
        if self._is_sorted:
            with (parquet.ParquetFile(self._partial(index)) as file,
                  parquet.ParquetWriter(path, self._schema) as writer):
                for batch in file.iter_batches(BATCH_ROWS, columns=self._schema.names):
                    writer.write_batch(batch)
        else:
            table = parquet.read_table(self._partial(index)).sort_by(_PLACE).drop([_PLACE])
            parquet.write_table(table, path, row_group_size=BATCH_ROWS)
        self._partial(index).unlink()

    def _partial(self, index: int) -> Path:
        return self._folder / f'{self._split}-{index:05d}.partial'
