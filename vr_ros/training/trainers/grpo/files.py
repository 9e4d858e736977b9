"""Files of training data, looked at first: `datasets` would not say which one is wrong."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from vr_ros.training.data.schema import SCHEMA
from vr_ros.training.data.shards import ShardError, find_files, iter_columns


class RowsError(ValueError):
    """Data that cannot be trained on; the message names the file or the row."""


def check_folders(folders: Sequence[Path], split: str) -> None:
    """Make sure that there is something of a split.

    :raises RowsError: a folder is missing, or the split is, or some of its files are.
    """
    for folder in folders:
        if not folder.is_dir():
            raise RowsError(f'--data {folder}: there is no such folder')
    if not any([files_of(folder, split) for folder in folders]):
        raise RowsError(f'no {split}-*.parquet in {", ".join(map(str, folders))}')


def files_of(folder: Path, split: str) -> list[Path]:
    """Find the files of a split, in their order.

    :return: none where the folder has no such split.
    :raises RowsError: some are missing.
    """
    if not any(folder.glob(f'{split}-*.parquet')):
        return []
    try:
        return find_files(folder, split)
    except ShardError as error:
        raise RowsError(str(error)) from error


def check_files(files: Sequence[Path], *, whole: bool = False) -> list[Path]:
    """Make sure that files can be read, and have the columns of training data.

    :param whole: read all of them, not only what they say of themselves.
    :return: those with rows.
    :raises RowsError: with the file that is wrong.
    """
    filled = []
    for path in files:
        if not path.is_file():
            raise RowsError(f'{path} is no file')
        try:
            with parquet.ParquetFile(path) as file:
                schema, rows = file.schema_arrow, file.metadata.num_rows
            if whole:
                for _ in iter_columns([path]):
                    pass
        except (OSError, pa.ArrowException, ShardError) as error:
            words = ' '.join(str(error).split())
            raise RowsError(words if isinstance(error, ShardError) else
                            f'{path} is damaged: {words}') from error
        _check_columns(path, schema)
        if rows:
            filled.append(path)
    return filled


def _check_columns(path: Path, schema: pa.Schema) -> None:
    missing = [name for name in SCHEMA.names if name not in schema.names]
    if missing:
        raise RowsError(f'{path} has no column {", ".join(missing)}')
    for wanted in SCHEMA:
        given = schema.field(wanted.name).type
        if not (_kind(given) == _kind(wanted.type) or pa.types.is_null(given)):
            raise RowsError(f'{path}: column {wanted.name} is {given}, not {wanted.type}')


def _kind(given: pa.DataType) -> str:
    """Name what a column holds, however wide it is stored."""
    if pa.types.is_string(given) or pa.types.is_large_string(given):
        return 'text'
    if pa.types.is_integer(given):
        return 'whole numbers'
    if pa.types.is_floating(given):
        return 'numbers'
    if pa.types.is_binary(given) or pa.types.is_large_binary(given):
        return 'bytes'
    if pa.types.is_struct(given):
        names = {field.name: _kind(field.type) for field in given}
        return ', '.join(f'{name}: {names.get(name)}' for name in ('bytes', 'path'))
    return str(given)
