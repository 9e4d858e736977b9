"""Data sets as tables, with the columns of VisionReasoner's: one row, one instruction.

All have image, text, image_id, img_height and img_width; then mask (H rows of W bool) with or
without bbox, bbox alone, count, or answer (VQA, whose text may be called question). A row may name
its category (text, where only bbox is there). Source: the sets under Ricky06662/ on the hub.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from vr_ros.core.types import Size, Task
from vr_ros.evaluation.datasets.regions import mask_from_pixels
from vr_ros.evaluation.datasets.sample import (
    DataSetError,
    Sample,
    SampleError,
    check_boxes,
    decode_image,
    size_of,
)
from vr_ros.evaluation.samples import Truth

TRUE = ('mask', 'bbox', 'count', 'answer', 'answers')
TEXTS = ('text', 'question')


class Rows(Protocol):
    """A table: ``name`` identifies it with its contents, ``columns`` are their names."""

    name: str
    columns: Sequence[str]

    def __len__(self) -> int: ...

    def row(self, place: int) -> Mapping[str, Any]:
        """Give one row; an image is a dict with its file's ``bytes``."""


class Columns:
    """Samples from the rows of a table; the ids are the numbers of the rows, from 0.

    :param required: columns that it must have besides an image, a text and something true.
    :raises DataSetError: with the columns that are missing, or if there is no row.
    """

    def __init__(self, rows: Rows, required: Sequence[str] = ()) -> None:
        missing = [name for name in ('image', *required) if name not in rows.columns]
        for choice in (TEXTS, TRUE):
            if not set(choice) & {*rows.columns, *missing}:
                missing.append(' or '.join(choice))
        if missing:
            raise DataSetError(f'{rows.name}: lacks the columns {", ".join(missing)};'
                               f' it has {", ".join(rows.columns)}')
        if not len(rows):
            raise DataSetError(f'{rows.name}: no rows')
        self._rows = rows
        self.name = rows.name
        self.ids = tuple(map(str, range(len(rows))))

    def load(self, place: int) -> Sample:
        """Read one sample.

        :raises SampleError: if its image or what is true of it cannot be used.
        """
        row = self._rows.row(place)
        image = _image(row['image'])
        size = size_of(image)
        stated = Size(row.get('img_width') or size.width, row.get('img_height') or size.height)
        if stated != size:
            raise SampleError(f'an image of {size.width}x{size.height}, stated to be'
                              f' {stated.width}x{stated.height}')
        text = next((row[name] for name in TEXTS if row.get(name)), None)
        if not isinstance(text, str):
            raise SampleError(f'the text is {text!r}')
        known = {name for name in TRUE if row.get(name) is not None}
        if not known:
            raise SampleError('says nothing true: all of mask, bbox, count, answer are empty')
        image_id = row.get('image_id')
        name = f'row {place}' if image_id is None else str(image_id)
        try:
            return Sample(image, text, _truth(row, known, name, size), _task(known))
        except (TypeError, ValueError) as error:
            raise SampleError(str(error)) from error


def _image(content: Any) -> np.ndarray:
    if not isinstance(content, Mapping) or not isinstance(content.get('bytes'), bytes):
        raise SampleError('broken image: no bytes of an image file in the column')
    return decode_image(content['bytes'])


def _task(known: set[str]) -> Task:
    for name, task in (
            ('count', Task.COUNTING), ('mask', Task.SEGMENTATION), ('bbox', Task.DETECTION)):
        if name in known:
            return task
    return Task.VQA


def _truth(row: Mapping[str, Any], known: set[str], image: str, size: Size) -> Truth:
    """One box with a mask is one object; a mask with none or many is all pixels asked for."""
    answers = _answers(row, known)
    if 'count' in known:
        count = row['count']
        if not isinstance(count, int | float) or count < 0 or count % 1 != 0:
            raise SampleError(f'count {count} is no number of objects')
        return Truth(image, size, count=int(count), answers=answers)
    category = ''
    boxes = check_boxes(row['bbox'], size) if 'bbox' in known else None
    if 'mask' not in known:
        category = '' if boxes is None else str(row.get('category') or row.get('text') or '')
        return Truth(image, size, category, boxes, answers=answers)
    region = mask_from_pixels(row['mask'], size)
    if not any(region.counts[1::2]):
        return Truth(image, size, boxes=[], masks=(), answers=answers)
    if boxes is not None and len(boxes) == 1:
        return Truth(image, size, boxes=boxes, masks=(region,), answers=answers)
    return Truth(image, size, boxes=boxes, region=region, answers=answers)


def _answers(row: Mapping[str, Any], known: set[str]) -> tuple[str, ...]:
    name = 'answers' if 'answers' in known else 'answer'
    content = row.get(name)
    if content is None:
        return ()
    answers = (content,) if isinstance(content, str) else tuple(content)
    if not all(isinstance(answer, str) for answer in answers):
        raise SampleError(f'{name} {content!r} are no texts')
    return answers
