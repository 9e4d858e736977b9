"""Tables in Parquet or Arrow files, as `datasets` and the hub store them; read by pyarrow."""
from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vr_ros.evaluation.datasets.sample import DataSetError, SampleError, digest

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = ('.parquet', '.arrow')
_LAST_BYTES = 1 << 16
_SHARD = re.compile(r'(?P<stem>.*)-(?P<number>\d{5})-of-(?P<all>\d{5})$')


class Table:
    """Rows of several files, one after another; the row group read last stays in memory.

    :param files: in their order, all with the same columns.
    :param name: of the data set.
    :raises DataSetError: if a file cannot be read or has other columns, or pyarrow is missing.
    """

    def __init__(self, files: Sequence[Path], name: str) -> None:
        self._files = [_open(path) for path in files]
        self.columns: Sequence[str] = self._files[0].columns
        for file in self._files:
            if set(file.columns) != set(self.columns):
                raise DataSetError(f'{file.path}: columns {", ".join(file.columns)}, not'
                                   f' {", ".join(self.columns)} as in {files[0].name}')
        # A group is a file and the number of a row group in it; first row of each.
        self._groups = [(file, group) for file in self._files for group in range(len(file.rows))]
        self._starts = [0]
        for file, group in self._groups:
            self._starts.append(self._starts[-1] + file.rows[group])
        self._held: tuple[int, Any] | None = None
        parts = [f'{path.name} {path.stat().st_size}' for path in files]
        self.name = f'{name} {digest(*parts, *map(_end, files))}'

    def __len__(self) -> int:
        return self._starts[-1]

    def row(self, place: int) -> Mapping[str, Any]:
        """Give one row.

        :raises SampleError: if its part of the file is damaged.
        """
        index = bisect_right(self._starts, place) - 1
        if self._held is None or self._held[0] != index:
            file, group = self._groups[index]
            try:
                self._held = index, file.read(group)
            except (OSError, ValueError) as error:
                raise SampleError(f'{file.path.name}: damaged: {error}') from error
        return self._held[1].slice(place - self._starts[index], 1).to_pylist()[0]


class _Parquet:
    def __init__(self, path: Path) -> None:
        from pyarrow import parquet

        self.path = path
        self._file = parquet.ParquetFile(path)
        self.columns = self._file.schema_arrow.names
        metadata = self._file.metadata
        self.rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]

    def read(self, group: int) -> pyarrow.Table:
        return self._file.read_row_group(group)


class _Arrow:
    """A stream of record batches, as `save_to_disk` writes it; mapped, not read."""

    def __init__(self, path: Path) -> None:
        import pyarrow

        self.path = path
        with pyarrow.memory_map(str(path)) as mapped:
            self._batches = list(pyarrow.ipc.open_stream(mapped))
        self.columns = self._batches[0].schema.names if self._batches else []
        self.rows = [batch.num_rows for batch in self._batches]

    def read(self, group: int) -> pyarrow.RecordBatch:
        return self._batches[group]


def _open(path: Path) -> _Parquet | _Arrow:
    try:
        return _Parquet(path) if path.suffix == '.parquet' else _Arrow(path)
    except ModuleNotFoundError as error:
        raise DataSetError(
            f'{path.name}: needs {error.name}: pip install vr_ros[eval], or pyarrow') from error
    except (OSError, ValueError) as error:
        raise DataSetError(f'{path}: cannot be read: {error}') from error


def _end(path: Path) -> bytes:
    """Read the end of a file, where Parquet tells of its contents: all of it may take long."""
    with path.open('rb') as file:
        file.seek(max(0, path.stat().st_size - _LAST_BYTES))
        return file.read()


def find_tables(folder: Path, split: str = '') -> list[Path]:
    """Find the files of one split, in their order.

    :param split: the beginning of their names, or the folder they are in; empty: the only one.
    :raises DataSetError: if a shard is missing, or which split is meant is not clear.
    """
    splits: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(p for p in folder.rglob('*') if p.suffix in SUFFIXES):
        shard = _SHARD.match(path.stem)
        stem = shard['stem'] if shard else path.stem
        # save_to_disk calls all files data and has a folder per split.
        splits[path.parent.name if stem == 'data' and path.parent != folder else stem].append(path)
    if split and split not in splits or not split and len(splits) > 1:
        raise DataSetError(f'{folder}: --split is one of {", ".join(sorted(splits))}')
    files = splits[split] if split else next(iter(splits.values()))
    _require_all_shards(files)
    return files


def _require_all_shards(files: Sequence[Path]) -> None:
    shards = [match for path in files if (match := _SHARD.match(path.stem))]
    if not shards:
        return
    expected = int(shards[0]['all'])
    missing = sorted(set(range(expected)) - {int(shard['number']) for shard in shards})
    if missing or len(shards) != len(files) or len(files) != expected:
        raise DataSetError(
            f'{files[0].parent}: {len(files)} of {expected} shards, missing:'
            f' {", ".join(map(str, missing)) or "none, but there are others"}')
