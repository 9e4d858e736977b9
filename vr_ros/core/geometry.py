"""Boxes, points and image sizes: pure functions on arrays, named by what they turn into what."""
from __future__ import annotations

import math

import numpy as np

from vr_ros.core.types import Size

# Qwen2-VL refuses thinner images; its positions are not trained for them.
MAX_ASPECT_RATIO = 200


def boxes_to_image(
    boxes: np.ndarray, model_size: Size, image_size: Size, *, reference_rounding: bool = False
) -> np.ndarray:
    """Map boxes from the model's input to the camera image.

    :param boxes: (N, 4) x_min, y_min, x_max, y_max in pixels of the model's input; corners may be
        swapped.
    :param model_size: width, height of the resized image that the model saw.
    :param image_size: width, height of the camera image.
    :param reference_rounding: round to whole pixels as VisionReasoner does,
        ``int(v * factor + 0.5)``.
    :return: (N, 4) float32 in pixels of the camera image, clipped to it, with x_min <= x_max and
        y_min <= y_max.
    :raises ValueError: if the shape is wrong, or a size is not positive.
    """
    corners = _rows(boxes, 4).reshape(-1, 2, 2)
    mapped = _scale(corners, model_size, image_size, reference_rounding).reshape(-1, 4)
    return clip_boxes(order_corners(mapped), image_size)


def points_to_image(
    points: np.ndarray, model_size: Size, image_size: Size, *, reference_rounding: bool = False
) -> np.ndarray:
    """Map points from the model's input to the camera image.

    :param points: (N, 2) x, y in pixels of the model's input.
    :param model_size: width, height of the resized image that the model saw.
    :param image_size: width, height of the camera image.
    :param reference_rounding: round to whole pixels as VisionReasoner does,
        ``int(v * factor + 0.5)``.
    :return: (N, 2) float32 in pixels of the camera image, clipped to it.
    :raises ValueError: if the shape is wrong, or a size is not positive.
    """
    mapped = _scale(_rows(points, 2), model_size, image_size, reference_rounding)
    return np.clip(mapped, 0, (image_size.width, image_size.height)).astype(np.float32)


def relative_to_pixels(
    coordinates: np.ndarray, image_size: Size, scale: float = 1000.0
) -> np.ndarray:
    """Turn coordinates relative to the image's width and height into pixels, without clipping.

    :param coordinates: (..., 2k) x and y in turn, 0 to ``scale``; Qwen3-VL writes 0 to 1000.
    :param image_size: width, height in pixels.
    :return: same shape, float64, in pixels.
    :raises ValueError: if x and y are not in pairs.
    """
    values = np.asarray(coordinates, np.float64)
    if values.shape[-1] % 2:
        raise ValueError(f'x and y come in pairs, not in shape {values.shape}')
    factors = np.tile((image_size.width / scale, image_size.height / scale), values.shape[-1] // 2)
    return values * factors


def smart_resize(size: Size, factor: int, min_pixels: int, max_pixels: int) -> Size:
    """Choose the size to which Qwen2-VL's family resizes an image.

    Both sides become multiples of ``factor``; where the area leaves min_pixels..max_pixels, both
    are scaled alike and rounded down (too large) or up (too small). Source: Qwen2-VL, dynamic
    resolution (section 2.1).

    :param size: width, height of the image.
    :param factor: pixels per side of one language token: patch size times merge size.
    :raises ValueError: if a side is not positive, or one is more than 200 times the other.
    """
    width, height = size.width, size.height
    if width < 1 or height < 1:
        raise ValueError(f'an image of {width}x{height} has no pixels')
    if max(width, height) / min(width, height) > MAX_ASPECT_RATIO:
        raise ValueError(
            f'{width}x{height}: one side is more than {MAX_ASPECT_RATIO} times the other')

    # Halves go to the even multiple, as Python's round does and the published rule therefore too.
    wide, high = (round(side / factor) * factor for side in (width, height))
    if wide * high > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        wide, high = (
            max(factor, math.floor(side / shrink / factor) * factor) for side in (width, height))
    elif wide * high < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        wide, high = (math.ceil(side * grow / factor) * factor for side in (width, height))
    return Size(max(wide, factor), max(high, factor))


def box_iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Divide intersection by union for every pair of boxes.

    :param a: (N, 4) x_min, y_min, x_max, y_max.
    :param b: (M, 4) the same.
    :return: (N, M) float64, 0 to 1; 0 where both boxes are without area.
    :raises ValueError: if a shape is wrong.
    """
    a, b = _rows(a, 4), _rows(b, 4)
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.maximum(bottom_right - top_left, 0).prod(axis=2)
    union = box_area(a)[:, None] + box_area(b)[None, :] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def box_area(boxes: np.ndarray) -> np.ndarray:
    """Compute the areas of boxes.

    :param boxes: (N, 4) x_min, y_min, x_max, y_max.
    :return: (N,) float64; 0 where the corners are swapped.
    """
    boxes = _rows(boxes, 4)
    return np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1)


def xyxy_to_xywh(boxes: np.ndarray) -> np.ndarray:
    """Turn (N, 4) x_min, y_min, x_max, y_max into x_min, y_min, width, height."""
    boxes = np.asarray(boxes)
    return np.concatenate((boxes[..., :2], boxes[..., 2:] - boxes[..., :2]), axis=-1)


def xywh_to_xyxy(boxes: np.ndarray) -> np.ndarray:
    """Turn (N, 4) x_min, y_min, width, height into x_min, y_min, x_max, y_max."""
    boxes = np.asarray(boxes)
    return np.concatenate((boxes[..., :2], boxes[..., :2] + boxes[..., 2:]), axis=-1)


def order_corners(boxes: np.ndarray) -> np.ndarray:
    """Swap coordinates where needed, so that x_min <= x_max and y_min <= y_max.

    :param boxes: (N, 4) any two opposite corners.
    :return: (N, 4) x_min, y_min, x_max, y_max.
    """
    corners = np.asarray(boxes).reshape(-1, 2, 2)
    return np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)


def clip_boxes(boxes: np.ndarray, image_size: Size) -> np.ndarray:
    """Clip boxes to the image.

    :param boxes: (N, 4) x_min, y_min, x_max, y_max in pixels.
    :return: (N, 4) float32 within 0..width and 0..height; a box outside the image loses its area.
    """
    limits = (image_size.width, image_size.height) * 2
    return np.clip(_rows(boxes, 4), 0, limits).astype(np.float32)


def _rows(values: np.ndarray, columns: int) -> np.ndarray:
    """Take (N, columns) as float64; an empty list is no rows."""
    array = np.asarray(values, np.float64)
    if array.size == 0 and array.ndim < 2:
        return array.reshape(0, columns)
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(f'expected shape (N, {columns}), got {array.shape}')
    return array


def _scale(
    values: np.ndarray, model_size: Size, image_size: Size, reference_rounding: bool
) -> np.ndarray:
    """Scale (..., 2) x, y from one image size to another."""
    if min(model_size.width, model_size.height, image_size.width, image_size.height) < 1:
        raise ValueError(f'no scale from {model_size} to {image_size}')
    factors = (image_size.width / model_size.width, image_size.height / model_size.height)
    scaled = values * factors
    # Truncation, not floor: that is what int() does to coordinates left of the image, too.
    return np.trunc(scaled + 0.5) if reference_rounding else scaled
