"""One row of training data, and the columns of its files. See docs/training.md, "Data"."""
from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa

from vr_ros.core.types import Size, Task
from vr_ros.training.rewards.samples import Sample, SampleError, sample_from_json

SCHEMA = pa.schema([
    *(pa.field(name, pa.string()) for name in ('id', 'data_source', 'ability', 'split')),
    pa.field('image', pa.struct([('bytes', pa.binary()), ('path', pa.string())])),
    pa.field('width', pa.int32()), pa.field('height', pa.int32()),
    *(pa.field(name, pa.string()) for name in ('problem', 'task', 'reward_spec', 'masks')),
    pa.field('progress', pa.float64()), pa.field('extra', pa.string()),
])
TASKS = {task.name.lower(): task for task in Task if task is not Task.AUTO}
_TEXTS = ('id', 'data_source', 'ability', 'split', 'problem', 'task', 'reward_spec')


class RowError(ValueError):
    """A row that is none; the message names it and the column."""


@dataclass(frozen=True)
class Row:
    """One instruction about one image, or about none, and what its answer is held against.

    :param id: each once in a split.
    :param ability: what is practised: detection, segmentation, counting, vqa, math, …
    :param image: contents of a PNG or JPEG file; None for a row of text alone.
    :param image_path: what the image was called.
    :param width, height: of the stored image in pixels; 0 without one.
    :param problem: the instruction as a user says it, without any prompt around it.
    :param task: name of a Task in lower case, not auto.
    :param reward_spec: :meth:`vr_ros.training.rewards.samples.Sample.to_json`; its numbers are in
        pixels of the stored image, unless its parameters say otherwise.
    :param masks: JSON list of {"size": [height, width], "counts": [...]}, uncompressed COCO run
        lengths of the stored image, in the order of the objects.
    :param progress: share of the training at which the row comes, 0 to 1.
    :param extra: JSON object, further facts of the source.
    """

    id: str
    data_source: str
    ability: str
    split: str
    problem: str
    task: str
    reward_spec: str
    image: bytes | None = None
    image_path: str | None = None
    width: int = 0
    height: int = 0
    masks: str | None = None
    progress: float | None = None
    extra: str = '{}'

    @property
    def size(self) -> Size:
        """Width and height of the stored image; 0 without one."""
        return Size(self.width, self.height)

    @property
    def sample(self) -> Sample:
        """What a response is held against.

        :raises vr_ros.training.rewards.samples.SampleError: it cannot be read.
        """
        return sample_from_json(self.reward_spec)

    def to_columns(self) -> dict[str, Any]:
        """Give the values of the columns."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values['image'] = {'bytes': self.image, 'path': values.pop('image_path')}
        return values


def wrong_types(given: pa.Schema) -> list[str]:
    """Say which columns of a file hold something else than the schema says, and what.

    Other widths of numbers and other ways of storing texts are read alike, and so are columns
    without any value. What is missing or unknown is not told.
    """
    return [f'{name} is of type {given.field(name).type}, not {SCHEMA.field(name).type}'
            for name in given.names
            if name in SCHEMA.names and not _reads_as(given.field(name).type,
                                                      SCHEMA.field(name).type)]


def _reads_as(given: pa.DataType, wanted: pa.DataType) -> bool:
    types = pa.types
    if types.is_dictionary(given):
        given = given.value_type
    if types.is_null(given):
        return True
    if types.is_struct(wanted):
        names = [field.name for field in given] if types.is_struct(given) else []
        return 'bytes' in names and all(
            _reads_as(given.field(one.name).type, one.type) for one in wanted if one.name in names)
    if types.is_string(wanted):
        return types.is_string(given) or types.is_large_string(given) or types.is_string_view(given)
    if types.is_binary(wanted):
        return types.is_binary(given) or types.is_large_binary(given) or types.is_binary_view(given)
    return types.is_integer(given) or types.is_floating(wanted) and types.is_floating(given)


def row_from_columns(columns: Mapping[str, Any]) -> Row:
    """Make a row of the values of all columns.

    :raises RowError: a column is missing.
    """
    missing = [name for name in SCHEMA.names if name not in columns]
    if missing:
        raise RowError(f'{_title(columns.get("id"))} lacks {", ".join(missing)}')
    values = {name: columns[name] for name in SCHEMA.names}
    image = values.pop('image') or {}
    return Row(**values, image=image.get('bytes'), image_path=image.get('path'))


def check_row(row: Row) -> Sample:
    """Make sure that a row is what the schema promises.

    :return: what a response to it is held against.
    :raises RowError: with the column that is wrong, and why.
    """
    for name in _TEXTS:
        value = getattr(row, name)
        if not isinstance(value, str) or not value.strip():
            raise _error(row, name, 'is no text, or empty')
    if row.task not in TASKS:
        raise _error(row, 'task', f'{row.task!r} is none of {", ".join(TASKS)}')
    if row.image is None:
        if row.size != Size(0, 0) or row.masks is not None:
            raise _error(row, 'image', 'is missing, yet there is a size or a mask of it')
    elif not row.image or min(row.size.width, row.size.height) < 1:
        raise _error(row, 'image', f'of {row.width}x{row.height} has no pixels')
    if row.progress is not None and not (
            math.isfinite(row.progress) and 0 <= row.progress <= 1):
        raise _error(row, 'progress', f'{row.progress!r} is not from 0 to 1')
    if not isinstance(_json(row, 'extra'), dict):
        raise _error(row, 'extra', 'is no JSON object')
    _check_masks(row)
    try:
        sample = row.sample
    except SampleError as error:
        raise _error(row, 'reward_spec', str(error)) from error
    if (sample.id, sample.data_source) != (row.id, row.data_source):
        raise _error(row, 'reward_spec', f'is of {sample.data_source} {sample.id}')
    return sample


def _check_masks(row: Row) -> None:
    if row.masks is None:
        return
    masks = _json(row, 'masks')
    if not isinstance(masks, list):
        raise _error(row, 'masks', 'are no JSON list')
    for mask in masks:
        if not isinstance(mask, dict) or mask.get('size') != [row.height, row.width]:
            raise _error(row, 'masks', f'are not of {row.width}x{row.height}')
        if sum(mask.get('counts', ())) != row.height * row.width:
            raise _error(row, 'masks', 'have run lengths that do not add up to the image')


def _json(row: Row, name: str) -> Any:
    try:
        return json.loads(getattr(row, name))
    except (TypeError, ValueError, RecursionError) as error:
        raise _error(row, name, f'is no JSON: {error}') from error


def _error(row: Row, name: str, what: str) -> RowError:
    return RowError(f'{_title(row.id)}: {name} {what}')


def _title(name: Any) -> str:
    return f'row {name!r}' if name else 'a row without id'
