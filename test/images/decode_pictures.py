"""A picture with known colours, and the arithmetic that turns it into what cameras send."""
from __future__ import annotations

import numpy as np

from vr_ros.core.cdr import ImageView
from vr_ros.core.types import Stamp

STAMP = Stamp(12, 34)


def _picture() -> np.ndarray:
    """Paint smooth slopes, different ones in red, green and blue: (14, 18, 3) uint8."""
    rows, columns = np.mgrid[:14, :18]
    return np.stack(
        (30 + 5 * columns + 3 * rows, 200 - 6 * columns, 60 + 9 * rows), 2).astype(np.uint8)


PICTURE = _picture()


def image_view(
    encoding: str, samples: np.ndarray, *, padding: int = 0, is_bigendian: bool = False
) -> ImageView:
    """Lay out samples as a message does.

    :param samples: (H, W) or (H, W, C), in native byte order.
    :param padding: bytes of 0xAA behind each row.
    """
    stored = samples.astype(samples.dtype.newbyteorder('>' if is_bigendian else '<'))
    rows = np.frombuffer(stored.tobytes(), np.uint8).reshape(samples.shape[0], -1)
    height, width = samples.shape[:2]
    return ImageView(
        STAMP, 'camera', height, width, encoding, is_bigendian, rows.shape[1] + padding,
        memoryview(pad_rows(rows, padding)))


def pad_rows(rows: np.ndarray, padding: int) -> bytes:
    """Put bytes of 0xAA behind each row of (H, N) bytes."""
    return np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAA).tobytes()


def blocks(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Give each block of pixels the colour of its first."""
    return picture[::height, ::width].repeat(height, axis=0).repeat(width, axis=1)


def bayer(picture: np.ndarray, pattern: str) -> np.ndarray:
    """Take from each pixel the colour that its filter lets through.

    :param pattern: filters of the first two pixels of the first row, then of the second.
    """
    mosaic = np.empty(picture.shape[:2], np.uint8)
    for index, colour in enumerate(pattern):
        row, column = divmod(index, 2)
        mosaic[row::2, column::2] = picture[row::2, column::2, 'rgb'.index(colour)]
    return mosaic


def to_yuv(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Convert to the YUV of ITU-R BT.601, limited range: (H, W) uint8 each."""
    red, green, blue = (picture[..., channel] / 255 for channel in range(3))
    brightness = 0.299 * red + 0.587 * green + 0.114 * blue
    y = 16 + 219 * brightness
    u = 128 + 112 * (blue - brightness) / (1 - 0.114)
    v = 128 + 112 * (red - brightness) / (1 - 0.299)
    return tuple(np.rint(plane).astype(np.uint8) for plane in (y, u, v))
