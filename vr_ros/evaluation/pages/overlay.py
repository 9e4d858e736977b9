"""Pictures for people: boxes and masks over an image, for a page that needs no other file."""
from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from vr_ros.core.palette import colour, colour_hex
from vr_ros.core.rle import rle_to_mask
from vr_ros.core.types import Detection, Mask, Size

# Questions are about colours: what a mask covers has to keep its own.
MASK_OPACITY = 0.12
_SHADE_OPACITY = 0.6
# The larger side of an image whose masks have an outline of one pixel.
_THIN_OUTLINE_PX = 320
# Least height of a picture on the page, and the most that its longer side gets for it, in CSS
# pixels.
_MIN_HEIGHT_PX, _MAX_SIDE_PX = 60, 40_000


def picture(
    size: Size, image: np.ndarray | None, detections: Sequence[Detection],
    true: Sequence[Detection] = (), side_px: int | None = None, ignored: Mask | None = None,
) -> dict[str, Any]:
    """Prepare an image and what lies over it for the macro ``view`` of the templates.

    :param size: of the image, whose pixels boxes and masks are in.
    :param image: (H, W, 3) uint8 RGB; None: only the layers.
    :param true: what ought to have been found.
    :param side_px: of a copy to show in place of a larger image, its longer side.
    :param ignored: pixels that count neither way: a shade.
    """
    wide_px = min(_MIN_HEIGHT_PX * size.width / size.height, _MAX_SIDE_PX)
    layers = [('truth', shade_layer(ignored, size)), ('masks', mask_layer(detections, size)),
              ('truth', outline_layer(true, size))]
    shown = [('', jpeg_uri(_shrink(image, side_px)))] if image is not None else []
    return {
        'width': size.width, 'height': size.height, 'unit': line_unit(size),
        'is_blank': image is None,
        # Both scroll: a flat one sideways, a tall one upright.
        'min_width_px': round(wide_px),
        'max_width_px': max(1, _MAX_SIDE_PX * size.width // size.height),
        'images': shown + [(kind, png_uri(_shrink(layer, side_px)))
                           for kind, layer in layers if layer.any()],
        'truth': [_rectangle(found) for found in true],
    }


def drawn(found: Detection, size: Size | None) -> dict[str, Any]:
    """Prepare an object for the macros ``view`` and ``table`` of the templates.

    :param size: of the image; None: there is none.
    """
    margin = 12 * (line_unit(size) if size else 1.0)
    return {
        **_rectangle(found), 'index': found.index, 'colour': colour_hex(found.index),
        'tag_x': max(found.box[0], margin), 'tag_y': max(found.box[1], margin),
        'point': found.point, 'label': found.label,
        'score': '' if math.isnan(found.score) else f'{found.score:.2f}',
        'area_px': str(found.area_px) if found.mask else '',
    }


def line_unit(size: Size) -> float:
    """Width of a thin line in pixels of the image, so that all sizes look alike on the page."""
    short, long = sorted((size.width, size.height))
    return round(min(long / 640, short / 40), 4)


def mask_layer(detections: Sequence[Detection], size: Size) -> np.ndarray:
    """Paint masks on a transparent layer, their outlines opaque.

    :return: (H, W, 4) uint8 RGBA.
    """
    layer = np.zeros((size.height, size.width, 4), np.uint8)
    for found in detections:
        if found.mask is not None:
            mask, outline = _mask_and_outline(found.mask)
            layer[mask] = (*colour(found.index), round(255 * MASK_OPACITY))
            layer[outline] = (*colour(found.index), 255)
    return layer


def outline_layer(detections: Sequence[Detection], size: Size) -> np.ndarray:
    """Paint the outlines of masks in white on a transparent layer.

    :return: (H, W, 4) uint8 RGBA.
    """
    layer = np.zeros((size.height, size.width, 4), np.uint8)
    for found in detections:
        if found.mask is not None:
            layer[_mask_and_outline(found.mask)[1]] = 255
    return layer


def shade_layer(mask: Mask | None, size: Size) -> np.ndarray:
    """Darken what a mask covers.

    :return: (H, W, 4) uint8 RGBA.
    """
    layer = np.zeros((size.height, size.width, 4), np.uint8)
    if mask is not None:
        layer[rle_to_mask(mask), 3] = round(255 * _SHADE_OPACITY)
    return layer


def jpeg_uri(image: np.ndarray, quality: int = 88) -> str:
    """Encode an image as a data URI.

    :param image: (H, W, 3) uint8 RGB.
    """
    done, data = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f'cannot encode an image of shape {image.shape}')
    return 'data:image/jpeg;base64,' + base64.b64encode(data.tobytes()).decode()


def png_uri(layer: np.ndarray) -> str:
    """Encode an RGBA layer as a data URI.

    :param layer: (H, W, 4) uint8 RGBA.
    """
    done, data = cv2.imencode('.png', cv2.cvtColor(layer, cv2.COLOR_RGBA2BGRA))
    if not done:
        raise ValueError(f'cannot encode a layer of shape {layer.shape}')
    return 'data:image/png;base64,' + base64.b64encode(data.tobytes()).decode()


def _mask_and_outline(mask: Mask) -> tuple[np.ndarray, np.ndarray]:
    """:return: (H, W) bool each, the outline within the mask."""
    pixels = rle_to_mask(mask)
    outline_px = max(1, round(max(pixels.shape) / _THIN_OUTLINE_PX))
    inner = cv2.erode(pixels.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=outline_px)
    return pixels, pixels & ~inner.astype(bool)


def _shrink(image: np.ndarray, side_px: int | None) -> np.ndarray:
    """:param side_px: of the longer side; a smaller image, and None, stays as it is."""
    scale = (side_px or math.inf) / max(image.shape[:2])
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _rectangle(found: Detection) -> dict[str, float]:
    x_min, y_min, x_max, y_max = found.box
    return {'x': x_min, 'y': y_min, 'width': x_max - x_min, 'height': y_max - y_min}
