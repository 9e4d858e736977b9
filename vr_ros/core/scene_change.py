"""Whether a camera still shows what was reasoned about."""
from __future__ import annotations

import numpy as np

ROWS, COLUMNS = 24, 32
# So many pixels in either direction are enough to know the mean of a block.
SAMPLES = 8
# Frames of one slow orbit correlate by 0.7 and more after a third of a second, frames of two
# different tables by less than 0.2.
SAME_SCENE = 0.3


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Shrink an image to what matters of its layout.

    :param image: (H, W, 3) uint8.
    :return: (24, 32, 3) float32, each channel about its mean; smaller when the image is smaller.
    """
    rows, columns = min(ROWS, image.shape[0]), min(COLUMNS, image.shape[1])
    height, width = image.shape[0] // rows, image.shape[1] // columns
    steps = max(1, height // SAMPLES), max(1, width // SAMPLES)
    blocks = image[:rows * height, :columns * width].reshape(rows, height, columns, width, 3)
    small = blocks[:, ::steps[0], :, ::steps[1]].mean((1, 3), dtype=np.float32)
    return small - small.mean((0, 1))


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Correlate two thumbnails.

    :return: 1 for the same layout at any brightness, about 0 for unrelated ones.
    """
    if one.shape != other.shape:
        return 0.0
    scale = float(np.sqrt((one * one).sum() * (other * other).sum()))
    if scale == 0.0:  # an even surface is like another one, and like nothing else
        return float(not one.any() and not other.any())
    return float((one * other).sum()) / scale
