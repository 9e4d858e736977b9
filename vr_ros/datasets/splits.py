"""Which files are which part of a data set, by their names; on this machine or on the hub."""
from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from vr_ros.datasets.sample import DataSetError

SUFFIXES = ('.parquet', '.arrow')
# 'test-00000-of-00002', older ones with a digest behind.
_SHARD = re.compile(r'(?P<stem>.*)-(?P<number>\d{5})-of-(?P<all>\d{5})(-[0-9a-f]{16})?$')
# Names that say nothing of the part: those of save_to_disk, and of the hub's own conversion.
_UNNAMED = re.compile(r'data|\d{4}')


def find_tables(folder: Path, split: str = '', default: str = '') -> list[Path]:
    """Find the files of one part of a data set in a folder, see :func:`pick_split`."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob('*')]
    return [folder / name for name in pick_split(names, split, default, folder)]


def pick_split(
    names: Iterable[str], split: str, default: str, where: object,
) -> list[str]:
    """Pick the files of one part of a data set, in their order.

    A part is called by the beginning of its files' names, else by their folder; by both where two
    folders have parts of one name, such as ``DocVQA/validation``.

    :param names: paths within the data set; those that are no tables are left out.
    :param split: a part, or a pattern such as ``*/validation`` for several; empty: the default,
        else the only one.
    :param default: the part that is meant, if it is there.
    :param where: what to call the data set.
    :raises DataSetError: if a shard is missing, or which part is meant is not clear.
    """
    parts: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        path = PurePosixPath(name)
        # What `datasets` keeps of its own computations is no data.
        if path.suffix in SUFFIXES and not path.name.startswith('cache-'):
            parts[_part(path)].append(name)
    if not parts:
        raise DataSetError(f'{where}: no Parquet or Arrow files')
    chosen = _choose(list(parts), split or default)
    if not chosen and not split and len(parts) == 1:
        chosen = list(parts)
    if not chosen:
        raise DataSetError(f'{where}: --split is one of {", ".join(sorted(parts))}')
    for part in chosen:
        _require_all_shards(parts[part], where)
    return [name for part in chosen for name in parts[part]]


def _part(path: PurePosixPath) -> str:
    shard = _SHARD.match(path.stem)
    stem = shard['stem'] if shard else path.stem
    folders = [name for name in path.parent.parts if name != 'data']
    if folders and (_UNNAMED.fullmatch(stem) or folders[-1] == stem):
        return '/'.join(folders)
    return '/'.join([*folders, stem])


def _choose(parts: Sequence[str], split: str) -> list[str]:
    if split in parts:
        return [split]
    if '*' in split:
        return [part for part in parts if fnmatchcase(part, split)]
    ends = [part for part in parts if part.rpartition('/')[2] == split]
    return ends if len(ends) == 1 else []


def _require_all_shards(names: Sequence[str], where: object) -> None:
    shards = [match for name in names if (match := _SHARD.match(PurePosixPath(name).stem))]
    if not shards:
        return
    expected = int(shards[0]['all'])
    missing = sorted(set(range(expected)) - {int(shard['number']) for shard in shards})
    if missing or len(shards) != len(names) or len(names) != expected:
        raise DataSetError(
            f'{where}: {len(names)} of {expected} shards, missing:'
            f' {", ".join(map(str, missing)) or "none, but there are others"}')
