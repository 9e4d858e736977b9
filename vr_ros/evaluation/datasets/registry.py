"""Which data sets there are, and which format a path has."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vr_ros.evaluation.datasets.coco import Coco
from vr_ros.evaluation.datasets.columns import Columns
from vr_ros.evaluation.datasets.folder import Folder
from vr_ros.evaluation.datasets.parquet import SUFFIXES, Table, find_tables
from vr_ros.evaluation.datasets.sample import DataSet, DataSetError
from vr_ros.evaluation.datasets.yolo import Yolo


@dataclass(frozen=True)
class Published:
    """A data set of the hub with the columns that VisionReasoner's scripts read.

    :param hub_id: owner/name.
    """

    hub_id: str
    columns: Sequence[str]


_OWNER = 'Ricky06662'
_REFERRING = ('text', 'mask', 'bbox', 'image_id')
PUBLISHED = {
    **{name: Published(f'{_OWNER}/{name}', _REFERRING) for name in (
        'refcoco_val', 'refcoco_testA', 'refcocoplus_val', 'refcocoplus_testA', 'refcocog_val',
        'refcocog_test')},
    'grefcoco_val_all': Published(f'{_OWNER}/grefcoco_val_all', ('text', 'mask', 'image_id')),
    **{name: Published(f'{_OWNER}/{name}', ('text', 'mask', 'image_id')) for name in (
        'ReasonSeg_val', 'ReasonSeg_test')},
    'coco_val': Published(f'{_OWNER}/coco_val', ('text', 'bbox', 'image_id', 'cat_id')),
    **{name: Published(f'{_OWNER}/{name}', ('text', 'count', 'image_id')) for name in (
        'counting_pixmo_validation', 'counting_pixmo_test', 'counting_countbench')},
}


def open_data_set(name_or_path: str, split: str = '') -> DataSet:
    """Open a data set by its path; a folder that is called as a published one is taken for it.

    :param split: which part of it; empty where there is but one.
    :raises DataSetError: if there is none, in words that say how to get one.
    """
    path = Path(name_or_path)
    if not path.exists():
        known = PUBLISHED.get(path.name)
        if known is None:
            raise DataSetError(f'{name_or_path}: no such folder or file, and none of the known'
                               f' names {", ".join(PUBLISHED)}')
        raise DataSetError(
            f'{name_or_path}: not on this machine; hf download {known.hub_id} --repo-type dataset'
            f' --local-dir {path.name}, then: evaluate dataset {path.name}')
    formats = {name: open_ for name, (fits, open_) in _FORMATS.items() if fits(path)}
    if len(formats) != 1:
        raise DataSetError(
            f'{path}: files of {" and ".join(formats)}; name one of its files' if formats else
            f'{path}: no data set: no JSON lines, COCO JSON, Parquet or Arrow files, or YOLO'
            ' labels')
    return next(iter(formats.values()))(path, split)


def _pick(path: Path, suffix: str, split: str) -> Path:
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


def _open_columns(path: Path, split: str) -> DataSet:
    name = path.resolve().name
    known = PUBLISHED.get(name)
    files = [path] if path.is_file() else find_tables(path, split)
    return Columns(Table(files, name), known.columns if known else ())


_FORMATS: dict[str, tuple[Callable[[Path], bool], Callable[[Path, str], DataSet]]] = {
    'JSON lines': (
        lambda path: path.suffix == '.jsonl' or _has(path, '*.jsonl'),
        lambda path, split: Folder(_pick(path, '.jsonl', split))),
    'tables': (
        lambda path: path.suffix in SUFFIXES or _has(path, *(f'**/*{end}' for end in SUFFIXES)),
        _open_columns),
    'COCO JSON': (
        lambda path: path.suffix == '.json' or _has(path, 'annotations/*.json') or (
            _has(path, '*.json') and not _has(path, '**/*.arrow', '**/*.parquet')),
        lambda path, split: Coco(_pick(path, '.json', split), split)),
    'YOLO labels': (lambda path: _has(path, 'labels'), Yolo),
}
