"""Pictures for people: masks over an image, as data URIs for a page that needs no other file."""
from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np

from vr_ros.core.palette import colour
from vr_ros.core.rle import rle_to_mask
from vr_ros.core.types import Detection, Size

# Questions are about colours: what a mask covers has to keep its own.
MASK_OPACITY = 0.12
# The larger side of an image whose masks have an outline of one pixel.
_THIN_OUTLINE_PX = 320


def jpeg_uri(image: np.ndarray, quality: int = 88) -> str:
    """Encode an image as a data URI.

    :param image: (H, W, 3) uint8 RGB.
    """
    done, data = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f'cannot encode an image of shape {image.shape}')
    return 'data:image/jpeg;base64,' + base64.b64encode(data.tobytes()).decode()


def mask_layer(detections: Sequence[Detection], size: Size) -> np.ndarray:
    """Paint masks on a transparent layer, their outlines opaque.

    :return: (H, W, 4) uint8 RGBA.
    """
    outline_px = max(1, round(max(size.width, size.height) / _THIN_OUTLINE_PX))
    layer = np.zeros((size.height, size.width, 4), np.uint8)
    for found in detections:
        if found.mask is None:
            continue
        mask = rle_to_mask(found.mask)
        layer[mask] = (*colour(found.index), round(255 * MASK_OPACITY))
        inner = cv2.erode(
            mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=outline_px)
        outline = mask & ~inner.astype(bool)
        layer[outline] = (*colour(found.index), 255)
    return layer


def png_uri(layer: np.ndarray) -> str:
    """Encode an RGBA layer as a data URI.

    :param layer: (H, W, 4) uint8 RGBA.
    """
    done, data = cv2.imencode('.png', cv2.cvtColor(layer, cv2.COLOR_RGBA2BGRA))
    if not done:
        raise ValueError(f'cannot encode a layer of shape {layer.shape}')
    return 'data:image/png;base64,' + base64.b64encode(data.tobytes()).decode()
