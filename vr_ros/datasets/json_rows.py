"""Tables in JSON, as sets lay them beside a folder of images: a list of objects, or one a line."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vr_ros.datasets.sample import DataSetError, SampleError, digest, read_json


class JsonRows:
    """Rows of a JSON file; the columns are the names that any row has, in their order.

    :param path: of the file; one object a line, or a list of them.
    :raises DataSetError: if it cannot be read, or has no row.
    """

    def __init__(self, path: Path) -> None:
        try:
            data = path.read_bytes()
            text = data.decode()
        except (OSError, UnicodeDecodeError) as error:
            raise DataSetError(f'{path}: {error}') from error
        if text.lstrip().startswith('['):
            try:
                self._rows: Sequence[Any] = read_json(text)
            except ValueError as error:
                raise DataSetError(f'{path}: {error}') from error
        else:
            # Not splitlines: JSON texts may hold other separators of lines.
            self._rows = [_line(line) for line in text.split('\n') if line.strip()]
        self.columns: Sequence[str] = list(dict.fromkeys(
            name for row in self._rows if isinstance(row, dict) for name in row))
        if not self.columns:
            raise DataSetError(f'{path}: no rows, each an object of JSON')
        self.name = f'{path.parent.resolve().name}/{path.name} {digest(data)}'

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, place: int) -> Mapping[str, Any]:
        """Give one row.

        :raises SampleError: if it is none.
        """
        row = self._rows[place]
        if not isinstance(row, dict):
            raise SampleError(f'row {place} is no object of JSON')
        return row


def _line(line: str) -> Any:
    """:return: None for a line that is no JSON."""
    try:
        return read_json(line)
    except ValueError:
        return None
