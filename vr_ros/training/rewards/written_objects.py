"""The objects of an answer and of a truth as arrays: what can be read, and how much was written."""
from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from vr_ros.core.answer import ParseOutcome, parse_answer
from vr_ros.core.geometry import order_corners
from vr_ros.training.rewards.text_checks import answer_text

# More objects than an answer can hold are counted, but no longer compared.
MOST_COMPARED = 300
# A box so large would have an area without end.
TOO_LARGE = 1e30
_NUMBER_TYPES = frozenset((int, float))


class TruthError(ValueError):
    """A ground truth that cannot be read."""


@dataclass(frozen=True, eq=False)
class WrittenObjects:
    """Objects as they were written.

    :param boxes: (N, 4) x_min, y_min, x_max, y_max, ordered; those that can be read.
    :param points: (N, 2) x, y; NaN where there is none.
    :param items: (N) what each was read from.
    :param written: how many were written, readable or not.
    :param format_share: 0 to 2, mean over what was written: 1 for a box of four numbers with its
        corners in order, 1 for a point of two; 2 for an empty list, 0 for what is no JSON list.
    :param is_list: there is a list, perhaps an empty one; without it, nothing was answered.
    """

    boxes: np.ndarray
    points: np.ndarray
    items: Sequence[Any]
    written: int
    format_share: float
    is_list: bool = True

    def __len__(self) -> int:
        return len(self.boxes)

    def unlabelled(self) -> WrittenObjects:
        """Give the same objects without their labels."""
        return replace(self, items=[{}] * len(self))

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) lower case, stripped; empty where there is none."""
        return np.array([_label(item) for item in self.items], object)


def read_objects(response: str) -> WrittenObjects:
    """Read the objects of a response.

    What is no JSON list, or one in which no box can be read, is read as the node reads it at
    inference, so that a slip of the pen costs the format and not the objects. Never raises.
    """
    text = answer_text(response)
    if text is not None:
        try:
            items = json.loads(text)
        except (ValueError, RecursionError):
            items = None
        if isinstance(items, list):
            objects = objects_from_items(items)
            if len(objects) or not items:
                return objects
            read = _objects_as_at_inference(response)
            return read if len(read) else objects
    return _objects_as_at_inference(response)


def read_truth(text: str, *, needs_points: bool = False, needs_labels: bool = False
               ) -> WrittenObjects:
    """Read a ground truth: a JSON list of {"bbox_2d": [...], "point_2d": [...], "label": ...}.

    :raises TruthError: it is no such list; the message names the object.
    """
    try:
        items = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise TruthError(f'the ground truth is no JSON: {error}') from error
    if not isinstance(items, list):
        raise TruthError('the ground truth is no JSON list of objects')
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            raise TruthError(f'object {place} of the ground truth is no JSON object')
        box = _numbers(item, 'bbox_2d', 4)
        if box is None:
            raise TruthError(f'object {place} of the ground truth has no bbox_2d of 4 numbers')
        if not (box[0] <= box[2] and box[1] <= box[3]):
            raise TruthError(f'object {place} of the ground truth has a box with swapped corners')
        if (needs_points or 'point_2d' in item) and _numbers(item, 'point_2d', 2) is None:
            raise TruthError(f'object {place} of the ground truth has no point_2d of 2 numbers')
        if needs_labels and not isinstance(item.get('label'), str):
            raise TruthError(f'object {place} of the ground truth has no label')
    if len(items) > MOST_COMPARED:
        raise TruthError(f'the ground truth has {len(items)} objects; at most {MOST_COMPARED}')
    return objects_from_items(items)


def objects_from_items(items: Sequence[Any]) -> WrittenObjects:
    """Turn the items of a JSON list into arrays; those without a readable box are only counted."""
    if not items:
        return _nothing(0, 2.0)
    written = in_order = len(items)
    boxes, points = _boxes_and_points(items)
    pointed = written - int(np.count_nonzero(np.isnan(points[:, 0])))
    ordered = boxes[:, :2] <= boxes[:, 2:]   # NaN is in no order
    if not ordered.all():
        in_order = int(ordered.all(axis=1).sum())
        has_box = ~np.isnan(boxes[:, 0])
        boxes, points = order_corners(boxes[has_box]), points[has_box]
        items = [item for item, kept in zip(items, has_box, strict=True) if kept]
    return WrittenObjects(boxes[:MOST_COMPARED], points[:MOST_COMPARED], items[:MOST_COMPARED],
                          written, (in_order + pointed) / written)


def scaled_items(items: Sequence[Mapping[str, Any]], x: float, y: float,
                 rounded: Callable[[float], float]) -> list[dict[str, Any]]:
    """Scale the boxes and points of a list of objects; all else of them stays.

    :param x, y: factors.
    """
    factors = {'bbox_2d': (x, y, x, y), 'point_2d': (x, y)}
    return [
        {key: [rounded(value * factor)
               for value, factor in zip(content, factors[key], strict=True)]
         if key in factors and isinstance(content, list) else content
         for key, content in item.items()}
        for item in items]


def _objects_as_at_inference(response: str) -> WrittenObjects:
    answer = parse_answer(response)
    lost = answer.duplicates + answer.unread
    found = answer.objects
    if not found:
        return _nothing(lost, 0.0, is_list=answer.outcome is ParseOutcome.EMPTY)
    return WrittenObjects(
        np.array([thing.box for thing in found], float),
        np.array([thing.point if thing.has_point else (math.nan,) * 2 for thing in found], float),
        [{'label': thing.label} for thing in found], len(found) + lost, 0.0)


def _nothing(written: int, format_share: float, *, is_list: bool = True) -> WrittenObjects:
    return WrittenObjects(
        np.empty((0, 4)), np.empty((0, 2)), (), written, format_share, is_list)


def _boxes_and_points(items: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Take the boxes and points of all items.

    :return: (N, 4) and (N, 2) float64; NaN where an item has no list of so many finite numbers.
    """
    try:
        rows = [item['bbox_2d'] + item['point_2d'] for item in items]
        numbers = list(chain.from_iterable(rows))
        if (set(map(type, numbers)) <= _NUMBER_TYPES and set(map(len, rows)) == {6}
                and {len(item['point_2d']) for item in items} == {2}):
            values = np.array(numbers, float).reshape(-1, 6)
            if np.abs(values).max() < TOO_LARGE:   # NaN is not
                return values[:, :4], values[:, 4:]
    except (KeyError, TypeError, OverflowError):
        pass   # one that is not as it should be: look at each
    return tuple(
        np.array([_numbers(item, key, width) or [math.nan] * width for item in items], float)
        for key, width in (('bbox_2d', 4), ('point_2d', 2)))


def _numbers(item: Any, key: str, width: int) -> list[float] | None:
    values = item.get(key) if isinstance(item, dict) else None
    if not isinstance(values, list) or len(values) != width:
        return None
    if not set(map(type, values)) <= _NUMBER_TYPES:
        return None
    try:
        numbers = [float(value) for value in values]
    except OverflowError:
        return None
    return numbers if all(abs(number) < TOO_LARGE for number in numbers) else None


def _label(item: Any) -> str:
    label = item.get('label', '') if isinstance(item, dict) else ''
    return label.strip().lower() if isinstance(label, str) else ''
