"""The pixel encodings of sensor_msgs/Image, and how each becomes 8-bit RGB.

Colours follow cv_bridge: 8UC3 and 8UC4 are taken as BGR and BGRA, alpha is dropped, YUV is
ITU-R BT.601 of limited range, and 16-bit colours (also mono16) are divided by 257, so that 65535
becomes 255. Single channels of measured values (16UC1, 32FC1) have no such range: their valid
values, smallest to largest, are stretched over 1..255 and the rest becomes 0. Valid is what is not
0 (16UC1) or what is finite (32FC1), as in REP 118.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Convert = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Encoding:
    """How the pixels of one encoding lie in memory and become a picture.

    :param sample: numpy's type code of one sample: u1, u2 or f4.
    :param channels: samples per pixel in a row.
    :param to_rgb: takes (H, W) or (H, W, channels) samples, which it must not change, and returns
        (H, W, 3) uint8 in memory of its own.
    :param block: width and height of the block of pixels that share their colour; an image is made
        of whole ones.
    :param chroma_rows: a plane of colour with half as many rows follows the plane of brightness.
    """

    sample: str
    channels: int
    to_rgb: Convert
    block: tuple[int, int] = (1, 1)
    chroma_rows: bool = False

    @property
    def pixel_bytes(self) -> int:
        """Bytes from one pixel to the next in a row."""
        return int(self.sample[1]) * self.channels


def to_eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Bring samples of full range to 8 bits: 65535 becomes 255.

    :param pixels: (H, W) or (H, W, C) uint8 or uint16.
    """
    return pixels if pixels.dtype == np.uint8 else cv2.convertScaleAbs(pixels, alpha=1 / 257)


def stretch_to_rgb(pixels: np.ndarray) -> np.ndarray:
    """Make measured values visible: valid ones become 1..255, smallest to largest, the rest 0.

    :param pixels: (H, W) uint16 with 0 for invalid, or float32 with NaN or infinity for invalid.
    :return: (H, W, 3) uint8, grey.
    """
    valid = pixels != 0 if pixels.dtype == np.uint16 else np.isfinite(pixels)
    grey = np.zeros(pixels.shape, np.uint8)
    if valid.any():
        values = pixels[valid].astype(np.float64)
        low, high = values.min(), values.max()
        span = high - low
        scaled = (values - low) * (254 / span) + 1 if span > 0 else np.full_like(values, 255)
        grey[valid] = np.rint(scaled)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


def _colour(code: int) -> Convert:
    # Before the depth is reduced: demosaicing averages, and is better at 16 bits.
    return lambda pixels: to_eight_bits(cv2.cvtColor(pixels, code))


def _bayer(code: int) -> Convert:
    def demosaic(mosaic: np.ndarray) -> np.ndarray:
        # OpenCV only copies to the border, and leaves it black where there is nothing to copy;
        # mirroring by two keeps the pattern.
        framed = cv2.copyMakeBorder(mosaic, 2, 2, 2, 2, cv2.BORDER_REFLECT_101)
        return to_eight_bits(np.ascontiguousarray(cv2.cvtColor(framed, code)[2:-2, 2:-2]))

    return demosaic


def _copy(pixels: np.ndarray) -> np.ndarray:
    return pixels.copy()


_MONO = _colour(cv2.COLOR_GRAY2RGB)
_BGR = _colour(cv2.COLOR_BGR2RGB)
_RGBA = _colour(cv2.COLOR_RGBA2RGB)
_BGRA = _colour(cv2.COLOR_BGRA2RGB)
_UYVY = Encoding('u1', 2, _colour(cv2.COLOR_YUV2RGB_UYVY), block=(2, 1))
_YUYV = Encoding('u1', 2, _colour(cv2.COLOR_YUV2RGB_YUY2), block=(2, 1))
# OpenCV's codes of two letters name pixels of the second row; those of four begin where ROS does.
_BAYER = {
    'rggb': _bayer(cv2.COLOR_BayerRGGB2RGB),
    'bggr': _bayer(cv2.COLOR_BayerBGGR2RGB),
    'gbrg': _bayer(cv2.COLOR_BayerGBRG2RGB),
    'grbg': _bayer(cv2.COLOR_BayerGRBG2RGB),
}

ENCODINGS: dict[str, Encoding] = {
    'rgb8': Encoding('u1', 3, _copy),
    'bgr8': Encoding('u1', 3, _BGR),
    '8UC3': Encoding('u1', 3, _BGR),
    'rgba8': Encoding('u1', 4, _RGBA),
    'bgra8': Encoding('u1', 4, _BGRA),
    '8UC4': Encoding('u1', 4, _BGRA),
    'mono8': Encoding('u1', 1, _MONO),
    '8UC1': Encoding('u1', 1, _MONO),
    'rgb16': Encoding('u2', 3, to_eight_bits),
    'bgr16': Encoding('u2', 3, _BGR),
    'rgba16': Encoding('u2', 4, _RGBA),
    'bgra16': Encoding('u2', 4, _BGRA),
    'mono16': Encoding('u2', 1, _MONO),
    '16UC1': Encoding('u2', 1, stretch_to_rgb),
    '32FC1': Encoding('f4', 1, stretch_to_rgb),
    'yuv422': _UYVY,
    'uyvy': _UYVY,
    'yuv422_yuy2': _YUYV,
    'yuyv': _YUYV,
    'nv12': Encoding('u1', 1, _colour(cv2.COLOR_YUV2RGB_NV12), block=(2, 2), chroma_rows=True),
    'nv21': Encoding('u1', 1, _colour(cv2.COLOR_YUV2RGB_NV21), block=(2, 2), chroma_rows=True),
    **{f'bayer_{name}8': Encoding('u1', 1, convert) for name, convert in _BAYER.items()},
    **{f'bayer_{name}16': Encoding('u2', 1, convert) for name, convert in _BAYER.items()},
}
