"""How images are stored in rows, and what that does to coordinates and masks."""
from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from vr_ros.core.rle import mask_to_rle, rle_to_mask
from vr_ros.core.types import Mask, Size

# Lossless, and fast: the slower levels of PNG save a tenth.
_PNG_LEVEL = 1
_PILLOW = {'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Storage:
    """How images are stored.

    :param size: all get this one, and lose their aspect ratio; None: they keep theirs.
    :param interpolation: ``area`` as VisionReasoner prepared its data, by OpenCV; ``bilinear`` and
        ``bicubic`` as models do at inference, by Pillow.
    :param min_pixels, max_pixels: of images that keep their aspect ratio; 0: no limit.
    :param jpeg_quality: 1 to 100; 0: PNG, without loss.
    :param with_masks: rows tell the objects' masks.
    """

    size: Size | None = Size(840, 840)
    interpolation: Literal['area', 'bilinear', 'bicubic'] = 'area'
    min_pixels: int = 0
    max_pixels: int = 0
    jpeg_quality: int = 0
    with_masks: bool = False

    def fit(self, image: Size) -> Size:
        """Choose the stored size of an image."""
        if self.size is not None:
            return self.size
        pixels = image.width * image.height
        scale = 1.0
        if self.max_pixels and pixels > self.max_pixels:
            scale = math.sqrt(self.max_pixels / pixels)
        elif pixels < self.min_pixels:
            scale = math.sqrt(self.min_pixels / pixels)
        if scale == 1.0:
            return image
        # To the inside of the limit, whichever it is.
        to_whole = math.floor if scale < 1 else math.ceil
        return Size(*(max(1, to_whole(side * scale)) for side in (image.width, image.height)))

    def resize(self, image: np.ndarray) -> np.ndarray:
        """Bring an image to its stored size.

        :param image: (H, W, 3) uint8 RGB.
        """
        given = Size(image.shape[1], image.shape[0])
        wanted = self.fit(given)
        if wanted == given:
            return image
        sides = wanted.width, wanted.height
        if self.interpolation == 'area':
            return cv2.resize(image, sides, interpolation=cv2.INTER_AREA)
        return np.array(Image.fromarray(image).resize(sides, _PILLOW[self.interpolation]))

    def encode(self, image: np.ndarray) -> bytes:
        """Write an image as a file.

        :param image: (H, W, 3) uint8 RGB, of its stored size.
        """
        file = io.BytesIO()
        picture = Image.fromarray(image)
        if self.jpeg_quality:
            picture.save(file, 'JPEG', quality=self.jpeg_quality, subsampling=0)
        else:
            picture.save(file, 'PNG', compress_level=_PNG_LEVEL)
        return file.getvalue()


def scale_boxes(boxes: np.ndarray, given: Size, wanted: Size) -> np.ndarray:
    """Map boxes to another size of the image, in whole pixels, inside of it, none without area.

    :param boxes: (N, 4) x_min, y_min, x_max, y_max in pixels, the last two exclusive.
    :return: (N, 4) int. Source: VisionReasoner's data preparation, ``int(v * 840 / width + 0.5)``.
    """
    limits = np.array((wanted.width, wanted.height) * 2)
    scaled = _scaled(np.reshape(boxes, (-1, 4)), limits, (given.width, given.height) * 2)
    scaled = np.clip(scaled, 0, limits)
    low = np.minimum(scaled[:, :2], limits[:2] - 1)
    return np.concatenate((low, np.maximum(scaled[:, 2:], low + 1)), 1)


def scale_points(points: np.ndarray, given: Size, wanted: Size) -> np.ndarray:
    """Map points to another size of the image, in whole pixels, inside of it.

    :param points: (N, 2) x, y in pixels.
    :return: (N, 2) int.
    """
    limits = np.array((wanted.width, wanted.height))
    scaled = _scaled(np.reshape(points, (-1, 2)), limits, (given.width, given.height))
    return np.clip(scaled, 0, limits - 1)


def scale_mask(mask: Mask, wanted: Size) -> Mask:
    """Bring a mask to another size: each pixel is the one at its centre."""
    if mask.size == wanted:
        return mask
    rows, columns = (
        ((np.arange(to) + 0.5) * of / to).astype(int)
        for to, of in ((wanted.height, mask.size.height), (wanted.width, mask.size.width)))
    return mask_to_rle(rle_to_mask(mask)[np.ix_(rows, columns)])


def _scaled(values: np.ndarray, limits: np.ndarray, given: tuple[int, ...]) -> np.ndarray:
    return (values * limits / np.array(given) + 0.5).astype(int)
