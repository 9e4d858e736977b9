"""Files of training data, looked at first: `datasets` would not say which one is wrong."""
from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

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

    :param whole: read all of them, not only their first rows.
    :return: those with rows.
    :raises RowsError: with the file that is wrong.
    """
    filled = []
    for path in files:
        if not path.is_file():
            raise RowsError(f'{path} is no file')
        try:
            rows = iter_columns([path])
            if next(rows, None) is not None:
                filled.append(path)
            if whole:
                deque(rows, maxlen=0)
        except ShardError as error:
            raise RowsError(' '.join(str(error).split())) from error
    return filled
