"""One row of training data names its own verifier, with parameters and weights.

Source: V-Triune, section 3.1 (sample-level data formatting). The columns are those of its files;
trainers that pass one text only (EasyR1, verl, TRL) get the same as JSON.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from vr_ros.core.spelling import nearest
from vr_ros.core.types import Size

# Qwen2.5-VL's image_grid_thw counts patches of so many pixels.
PATCH_PX = 14


class SampleError(ValueError):
    """A row that cannot be scored, whatever the response: the message names it and says why."""


class ParameterError(SampleError):
    """A parameter of a sample is wrong, whatever its ground truth."""


@dataclass(frozen=True)
class Sample:
    """What a response is held against.

    :param id: of the row, for messages.
    :param data_source: where the row comes from; metrics are kept apart by it.
    :param verifier: name of what scores it.
    :param ground_truth: a text that the verifier can read.
    :param parameters: of the verifier; JSON values.
    :param accuracy_ratio: weight of the accuracy; None takes the verifier's own.
    :param format_ratio: weight of the format; None takes the verifier's own, 0 switches it off.
    :param image_size: width, height in pixels of the image as the model saw it, if known.
    :param image: path or name, for verifiers that look at it.
    :raises SampleError: a value is not of its type, or a weight is negative.
    """

    verifier: str
    ground_truth: str
    data_source: str = ''
    id: str = ''
    parameters: Mapping[str, Any] = field(default_factory=dict)
    accuracy_ratio: float | None = None
    format_ratio: float | None = None
    image_size: Size | None = None
    image: str = ''

    def __post_init__(self) -> None:
        for name in ('verifier', 'ground_truth', 'data_source', 'id', 'image'):
            if not isinstance(getattr(self, name), str):
                raise SampleError(f'{self.title}: {name} is no text')
        if not isinstance(self.parameters, Mapping):
            raise SampleError(f'{self.title}: the parameters are no JSON object')
        for name in ('accuracy_ratio', 'format_ratio'):
            ratio = getattr(self, name)
            if ratio is not None and not is_weight(ratio):
                raise SampleError(f'{self.title}: {name} is {ratio!r}, not a number from 0 on')

    @property
    def title(self) -> str:
        """What messages call it."""
        return f'sample {self.id!r}' if self.id else 'a sample without id'

    @cached_property
    def key(self) -> str:
        """All of it as one text: equal samples have equal keys."""
        return self.to_json()

    def to_json(self) -> str:
        """Write it as one line of JSON; see :func:`sample_from_json`."""
        content = {
            'verifier': self.verifier, 'ground_truth': self.ground_truth,
            'data_source': self.data_source, 'id': self.id, 'parameters': dict(self.parameters),
            'accuracy_ratio': self.accuracy_ratio, 'format_ratio': self.format_ratio,
            'image_size': (
                None if self.image_size is None else
                [self.image_size.width, self.image_size.height]),
            'image': self.image,
        }
        kept = {key: value for key, value in content.items() if value not in (None, '', {})}
        try:
            return json.dumps(kept | {'ground_truth': self.ground_truth}, sort_keys=True)
        except (TypeError, ValueError) as error:
            raise SampleError(f'{self.title}: the parameters are not JSON: {error}') from error


def sample_from_json(text: str) -> Sample:
    """Read a sample from one line of JSON.

    :raises SampleError: it is none; the message says which value is wrong.
    """
    try:
        content = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise SampleError(f'a sample is no JSON: {error}') from error
    return sample_from_mapping(content)


def sample_from_mapping(content: Any) -> Sample:
    """Read a sample from a JSON object.

    :raises SampleError: a value is wrong or missing, or a key is not known.
    """
    if not isinstance(content, Mapping):
        raise SampleError('a sample is a JSON object')
    known = Sample.__dataclass_fields__
    for key in content:
        if key not in known:
            raise SampleError(f'a sample has no "{key}"; {suggestion(key, known)}')
    for key in ('verifier', 'ground_truth'):
        if key not in content:
            raise SampleError(f'a sample without "{key}"')
    values = dict(content)
    if values.get('image_size') is not None:
        values['image_size'] = _size(values['image_size'])
    return Sample(**values)


def sample_from_row(row: Mapping[str, Any]) -> Sample:
    """Read a row of V-Triune's files, read from Parquet into Python values.

    The image size comes from ``extra_info.image_size`` (width, height) or from
    ``extra_info.image_grid_thw``, in patches of 14 pixels. Parameters that are null are left out:
    Parquet puts one for every parameter of any other row.

    :raises SampleError: a column is missing or has another type.
    """
    model, extra = row.get('reward_model'), row.get('extra_info') or {}
    if not isinstance(model, Mapping) or not isinstance(extra, Mapping):
        raise SampleError('a row without reward_model, or with an extra_info that is no object')
    parameters = model.get('verifier_parm') or {}
    if isinstance(parameters, str):
        try:
            parameters = json.loads(parameters)
        except ValueError as error:
            raise SampleError(f'verifier_parm is no JSON: {error}') from error
    size, grid = extra.get('image_size'), extra.get('image_grid_thw')
    if size is None and grid is not None:
        if len(grid) != 3:
            raise SampleError('image_grid_thw is not three numbers')
        size = (int(grid[2]) * PATCH_PX, int(grid[1]) * PATCH_PX)
    return Sample(
        verifier=model.get('verifier') or '', ground_truth=model.get('ground_truth'),
        data_source=row.get('data_source') or '', id=str(extra.get('id') or ''),
        parameters=_without_nulls(parameters), accuracy_ratio=model.get('accuracy_ratio'),
        format_ratio=model.get('format_ratio'), image_size=None if size is None else _size(size),
        image=extra.get('image_path') or '')


def sample_to_row(sample: Sample) -> dict[str, Any]:
    """Give the columns of V-Triune's files that say how a row is scored.

    ``verifier_parm`` is a text: mixed objects would become one type with nulls in Parquet.
    """
    extra: dict[str, Any] = {'id': sample.id, 'image_path': sample.image}
    if sample.image_size is not None:
        extra['image_size'] = [sample.image_size.width, sample.image_size.height]
    return {
        'data_source': sample.data_source,
        'reward_model': {
            'answer': sample.ground_truth, 'ground_truth': sample.ground_truth,
            'accuracy_ratio': sample.accuracy_ratio, 'format_ratio': sample.format_ratio,
            'verifier': sample.verifier,
            'verifier_parm': json.dumps(dict(sample.parameters), sort_keys=True),
        },
        'extra_info': extra,
    }


def suggestion(name: str, known: Iterable[str]) -> str:
    """Say which known name a misspelt one most likely stands for, else which there are."""
    names = sorted(known)
    likely = nearest(str(name), names)
    return f'did you mean "{likely}"?' if likely else f'there are: {", ".join(names) or "none"}'


def is_weight(value: Any) -> bool:
    """Tell whether a value is a finite number from 0 on."""
    # Not isfinite: an integer of 400 digits is no float.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e300


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    return value


def _size(value: Any) -> Size:
    try:
        width, height = (int(side) for side in value)
    except (TypeError, ValueError, OverflowError) as error:
        raise SampleError(f'an image size is a width and a height, not {value!r}') from error
    if width < 1 or height < 1:
        raise SampleError(f'an image of {width}x{height} has no pixels')
    return Size(width, height)
