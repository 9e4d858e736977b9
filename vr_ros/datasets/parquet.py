"""Tables in Parquet or Arrow files, as `datasets` and the hub store them; read by pyarrow."""
from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vr_ros.datasets.sample import DataSetError, SampleError, digest, read_json

if TYPE_CHECKING:
    import pyarrow

_LAST_BYTES = 1 << 16


class File(Protocol):
    """A file of rows in groups: ``rows`` is how many each group has.

    ``schema`` is pyarrow's; `datasets` tells in it what numbers stand for.
    """

    name: str
    columns: Sequence[str]
    rows: Sequence[int]
    schema: pyarrow.Schema

    def read(self, group: int) -> pyarrow.Table | pyarrow.RecordBatch:
        """Read one group.

        :raises OSError, ValueError: if it is damaged.
        """


class Table:
    """Rows of several files, one after another; the row group read last stays in memory.

    :param files: in their order, all with the same columns.
    :param name: of the data set, with a digest of its contents.
    :raises DataSetError: if a file has other columns.
    """

    has_groups = True

    def __init__(self, files: Sequence[File], name: str) -> None:
        self.name = name
        self.columns: Sequence[str] = files[0].columns
        for file in files:
            if set(file.columns) != set(self.columns):
                raise DataSetError(f'{file.name}: columns {", ".join(file.columns)}, not'
                                   f' {", ".join(self.columns)} as in {files[0].name}')
        self._classes = class_names(files[0].schema.metadata or {})
        # A group is a file and the number of a row group in it; first row of each.
        self._groups = [(file, group) for file in files for group in range(len(file.rows))]
        self._starts = [0]
        for file, group in self._groups:
            self._starts.append(self._starts[-1] + file.rows[group])
        self._held: tuple[int, Any] | None = None

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
                raise SampleError(f'{file.name}: damaged: {error}') from error
        row = self._held[1].slice(place - self._starts[index], 1).to_pylist()[0]
        return row | {column: _named(row[column], names)
                      for column, names in self._classes.items() if column in row}


class ParquetFile:
    """A Parquet file, wherever it is.

    :param source: a path, or a file that is open for reading.
    :raises OSError, ValueError: if it is none.
    """

    def __init__(self, name: str, source: Any) -> None:
        from pyarrow import parquet

        self.name = name
        self._file = parquet.ParquetFile(source, pre_buffer=True)
        self.schema = self._file.schema_arrow
        self.columns = self.schema.names
        metadata = self._file.metadata
        self.rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]

    def read(self, group: int) -> pyarrow.Table:
        return self._file.read_row_group(group)


class ArrowFile:
    """A stream of record batches, as `save_to_disk` writes it; mapped, not read."""

    def __init__(self, path: Path) -> None:
        import pyarrow

        self.name = path.name
        with pyarrow.memory_map(str(path)) as mapped:
            self._batches = list(pyarrow.ipc.open_stream(mapped))
        self.schema = self._batches[0].schema if self._batches else pyarrow.schema([])
        self.columns = self.schema.names
        self.rows = [batch.num_rows for batch in self._batches]

    def read(self, group: int) -> pyarrow.RecordBatch:
        return self._batches[group]


def class_names(metadata: Mapping[bytes, bytes]) -> Mapping[str, Sequence[str]]:
    """Find the columns whose numbers stand for words, as `datasets` writes it beside a table.

    :return: the words by column, in the order of the numbers.
    """
    try:
        features = read_json(metadata[b'huggingface'])['info']['features']
        # A list of them, by its older and its newer name, is a feature in a feature.
        inner = {name: feature.get('feature', feature) for name, feature in features.items()}
        return {name: tuple(map(str, feature['names'])) for name, feature in inner.items()
                if feature.get('_type') == 'ClassLabel'}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}                       # not written by `datasets`


def _named(content: Any, names: Sequence[str]) -> Any:
    """Put words in the place of numbers; -1 stands for none."""
    if isinstance(content, list):
        return [_named(one, names) for one in content]
    if not isinstance(content, int):
        return content
    return names[content] if 0 <= content < len(names) else None


def open_table(paths: Sequence[Path], name: str) -> Table:
    """Open files of this machine as one table.

    :param paths: in their order.
    :param name: of the data set.
    :raises DataSetError: if a file cannot be read or has other columns, or pyarrow is missing.
    """
    files = [_open(path) for path in paths]
    parts = [f'{path.name} {path.stat().st_size}' for path in paths]
    return Table(files, f'{name} {digest(*parts, *map(_end, paths))}')


def missing_pyarrow(name: str, error: ModuleNotFoundError) -> DataSetError:
    """Say how to get what reads tables."""
    return DataSetError(f'{name}: needs {error.name}: pip install vr_ros[eval], or pyarrow')


def _open(path: Path) -> File:
    try:
        if path.suffix == '.parquet':
            return ParquetFile(path.name, path)
        return ArrowFile(path)
    except ModuleNotFoundError as error:
        raise missing_pyarrow(path.name, error) from error
    except (OSError, ValueError) as error:
        raise DataSetError(f'{path}: cannot be read: {error}') from error


def _end(path: Path) -> bytes:
    """Read the end of a file, where Parquet tells of its contents: all of it may take long."""
    with path.open('rb') as file:
        file.seek(max(0, path.stat().st_size - _LAST_BYTES))
        return file.read()
