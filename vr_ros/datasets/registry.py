"""Which data sets there are, and which format a path has."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vr_ros.datasets.coco import Coco
from vr_ros.datasets.columns import Columns
from vr_ros.datasets.cvat import Cvat
from vr_ros.datasets.folder import Folder
from vr_ros.datasets.hub import cached_snapshot, is_hub_name, is_online, open_hub
from vr_ros.datasets.known import KNOWN, find_known
from vr_ros.datasets.lisa_plus import LisaPlus, is_lisa_plus
from vr_ros.datasets.parquet import Table, open_table
from vr_ros.datasets.photos import NAME as PHOTOS
from vr_ros.datasets.photos import Photos
from vr_ros.datasets.pictures import Pictures
from vr_ros.datasets.reasonseg import ReasonSeg, is_reasonseg
from vr_ros.datasets.refer import Refer, find_refs
from vr_ros.datasets.sample import DataSet, DataSetError
from vr_ros.datasets.splits import SUFFIXES, find_tables
from vr_ros.datasets.yolo import Yolo


def open_data_set(name_or_path: str, split: str = '') -> DataSet:
    """Open a data set by its path, or by its name on the hub.

    A folder that is called as a public set, or has its columns, is taken for it, see known.py.

    :param split: which part of it; empty where there is but one, or one is meant.
    :raises DataSetError: if there is none, in words that say how to get one.
    """
    path = Path(name_or_path)
    if not path.exists():
        return Photos(split) if name_or_path == PHOTOS else _open_named(name_or_path, split)
    formats = {name: open_ for name, (fits, open_) in _FORMATS.items() if fits(path)}
    if len(formats) != 1:
        raise DataSetError(
            f'{path}: files of {" and ".join(formats)}; name one of its files' if formats else
            f'{path}: no data set: no JSON lines, COCO JSON, Parquet or Arrow files, CVAT XML,'
            ' referring expressions, ReasonSeg shapes, LISA++ questions or YOLO labels')
    return next(iter(formats.values()))(path, split)


def _open_named(name: str, split: str) -> DataSet:
    known = find_known(name)
    # In a folder that is there, it is meant to be a path.
    hub_id = name if is_hub_name(name) and not Path(name).parent.is_dir() else known.hub_id
    if not hub_id:
        raise DataSetError(f'{name}: no such folder or file, and none of the known names'
                           f' {", ".join(KNOWN)}, {PHOTOS}')
    folder = None if is_online() else cached_snapshot(hub_id)
    if folder is not None:
        return _columns(open_table(find_tables(folder, split, known.split), hub_id), hub_id, folder)
    return _columns(open_hub(hub_id, split, known.split), hub_id)


def pick_file(path: Path, suffix: str, split: str) -> Path:
    """Find the file of a split: the only one, or the one whose name is, or ends with, its name."""
    if path.is_file():
        return path
    files = sorted([*path.glob(f'*{suffix}'), *path.glob(f'annotations/*{suffix}')])
    fit = [file for file in files if file.stem == split or file.stem.endswith(f'_{split}')]
    fit = fit if split else files
    if len(fit) != 1:
        raise DataSetError(f'{path}: --split is one of {", ".join(f.stem for f in files)}')
    return fit[0]


def _has(path: Path, *patterns: str) -> bool:
    return path.is_dir() and any(any(path.glob(pattern)) for pattern in patterns)


def _is_coco(path: Path) -> bool:
    if find_refs(path) or is_reasonseg(path) or is_lisa_plus(path):
        return False
    return path.suffix == '.json' or _has(path, 'annotations/*.json') or (
        _has(path, '*.json') and not _has(path, '**/*.arrow', '**/*.parquet'))


def _open_columns(path: Path, split: str) -> DataSet:
    name = path.resolve().name
    if path.is_file():
        return _columns(open_table([path], name), path.stem, path.parent)
    files = find_tables(path, split, find_known(name).split)
    return _columns(open_table(files, name), name, path)


def _columns(table: Table, name: str, folder: Path | None = None) -> DataSet:
    known = find_known(name, table.columns)
    return Columns(table, known, Pictures(folder, known.folder))


_FORMATS: dict[str, tuple[Callable[[Path], bool], Callable[[Path, str], DataSet]]] = {
    'JSON lines': (
        lambda path: path.suffix == '.jsonl' or _has(path, '*.jsonl'),
        lambda path, split: Folder(pick_file(path, '.jsonl', split))),
    'tables': (
        lambda path: path.suffix in SUFFIXES or _has(path, *(f'**/*{end}' for end in SUFFIXES)),
        _open_columns),
    'COCO JSON': (
        _is_coco,
        lambda path, split: Coco(pick_file(path, '.json', split), split)),
    'referring expressions': (lambda path: bool(find_refs(path)), Refer),
    'ReasonSeg': (is_reasonseg, ReasonSeg),
    'LISA++': (is_lisa_plus, lambda path, split: LisaPlus(path)),
    'CVAT XML': (
        lambda path: path.suffix == '.xml' or _has(path, 'annotations.xml'),
        lambda path, split: Cvat(path if path.is_file() else path / 'annotations.xml', split)),
    'YOLO labels': (lambda path: _has(path, 'labels'), Yolo),
}
