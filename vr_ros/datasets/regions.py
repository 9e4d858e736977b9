"""Masks as data sets write them: COCO run lengths, polygons, pictures, rows of pixels.

Polygons are filled as COCO's mask API fills them, pixel by pixel the same, because its figures
depend on that.
"""
from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vr_ros.core.rle import mask_to_rle, rle_union, validate_rle
from vr_ros.core.types import Mask, Size
from vr_ros.datasets.sample import SampleError, check_sizes, read_file

# Points per pixel on the way along a polygon's edges.
_FINENESS = 5
# No image is so large; the way to such a corner would not fit into memory.
_FARTHEST_PX = 1e5


def read_region(content: Any, size: Size, folder: Path | None = None) -> Mask:
    """Read a mask in any of its forms.

    :param content: COCO run lengths as a dict, compressed or not; a polygon x, y, x, y … or a list
        of polygons, which are united; or the path of a picture whose pixels are not zero.
    :param size: of the image.
    :param folder: that the path starts from; None: no path is allowed.
    :raises SampleError: if it is none of these, or of another size.
    """
    try:
        mask = _read(content, size, folder)
        validate_rle(mask)
    except (KeyError, TypeError, ValueError, OSError, IndexError) as error:
        raise SampleError(f'broken mask: {type(error).__name__} {error}') from error
    check_sizes((mask,), size)
    return mask


def mask_from_pixels(values: Any, size: Size) -> Mask:
    """Read a mask from its pixels.

    :param values: (H, W) of numbers or bool; whatever is not zero is set.
    :raises SampleError: if rows differ in length, a number is not finite, or the size is another.
    """
    try:
        pixels = np.array(values, float)
    except (TypeError, ValueError) as error:
        raise SampleError(f'broken mask: {error}') from error
    if pixels.ndim != 2 or not pixels.size:
        raise SampleError(f'broken mask: shape {pixels.shape}, not rows of pixels')
    if not np.isfinite(pixels).all():
        raise SampleError('broken mask: NaN or infinite pixels')
    mask = mask_to_rle(pixels != 0)
    check_sizes((mask,), size)
    return mask


def polygon_to_rle(corners: Sequence[float], size: Size) -> Mask:
    """Fill a polygon.

    Its edges are walked in fifths of a pixel; where the walk passes the middle of a column, the
    column changes between outside and inside.

    :param corners: x, y, x, y … in pixels, at least three of them.
    :param size: of the image.
    :raises ValueError: if there are fewer corners, or one is not finite or far outside.
    """
    points = np.array(corners, float).reshape(-1, 2)
    if len(points) < 3:
        raise ValueError(f'a polygon of {len(points)} corners')
    if not (np.abs(points) < _FARTHEST_PX).all():
        raise ValueError('a corner is not finite, or far outside')
    fine = (_FINENESS * points + 0.5).astype(np.int64)
    walk = np.concatenate([_walk(a, b) for a, b in pairwise([*fine, fine[0]])])
    before, after = walk[:-1], walk[1:]
    crosses = before[:, 0] != after[:, 0]
    before, after = before[crosses], after[crosses]
    columns, rows = ((np.minimum(before, after) + 0.5) / _FINENESS - 0.5).T
    rows = np.ceil(np.clip(rows, 0, size.height))
    inside = (columns == np.floor(columns)) & (columns >= 0) & (columns <= size.width - 1)
    positions = columns[inside].astype(np.int64) * size.height + rows[inside].astype(np.int64)
    # Two changes at one place are none.
    places, times = np.unique(positions, return_counts=True)
    counts = np.diff([0, *places[times % 2 == 1], size.width * size.height])
    return Mask(size, tuple(int(c) for c in (counts if counts[-1] else counts[:-1])))


def decode_counts(text: str | bytes) -> tuple[int, ...]:
    """Decode COCO's compressed run lengths: five bits a character, differences to the last but one.

    :raises ValueError: if the text ends within a number or has other characters.
    """
    counts: list[int] = []
    value = shift = 0
    for byte in text.encode('ascii') if isinstance(text, str) else text:
        bits = byte - 48
        if not 0 <= bits < 64:
            raise ValueError(f'character {byte} in run lengths')
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError('run lengths are cut off')
    return tuple(counts)


def _read(content: Any, size: Size, folder: Path | None) -> Mask:
    if isinstance(content, dict):
        height, width = content['size']
        counts = content['counts']
        if isinstance(counts, str | bytes):
            counts = decode_counts(counts)
        return Mask(Size(int(width), int(height)), tuple(int(count) for count in counts))
    if isinstance(content, str) and folder is not None:
        with Image.open(io.BytesIO(read_file(folder / content))) as picture:
            pixels = np.array(picture)
        return mask_to_rle(pixels.any(2) if picture.mode == 'RGB' else pixels)
    if isinstance(content, list) and content:
        polygons = content if isinstance(content[0], list) else [content]
        return rle_union([polygon_to_rle(corners, size) for corners in polygons])
    raise ValueError('neither run lengths, polygons nor a picture')


def _walk(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Walk from corner to corner in whole steps along the longer axis.

    :return: (steps + 1, 2) int64 from start to end. Rounded from the smaller end of that axis, so
        that both directions pass the same points.
    """
    distance = np.abs(end - start)
    axis = 0 if distance[0] >= distance[1] else 1
    is_backward = start[axis] > end[axis]
    low, high = (end, start) if is_backward else (start, end)
    steps = np.arange(distance[axis] + 1)
    slope = (high - low)[1 - axis] / max(distance[axis], 1)
    points = np.empty((len(steps), 2), np.int64)
    points[:, axis] = low[axis] + steps
    points[:, 1 - axis] = (low[1 - axis] + slope * steps + 0.5).astype(np.int64)
    return points[::-1] if is_backward else points
