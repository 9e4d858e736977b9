"""Compressed depth images to metres: compressedDepth of image_transport, and plain 16-bit PNG.

Source: compressed_depth_image_transport. Its data begin with a header of twelve bytes (int32
format, float32 A, float32 B, as the writer's machine has them) before a picture in PNG or RVL.
16UC1 is stored as it is, in millimetres; 32FC1 as 16-bit q = A / depth + B, 0 where nothing was
measured.
"""
from __future__ import annotations

import struct

import cv2
import numpy as np

from vr_ros.core.cdr import CompressedView, Serialized, parse_compressed_image
from vr_ros.core.types import PerceptionError, Size, Status
from vr_ros.images.decode import DEPTH_UNITS, MAX_PIXELS
from vr_ros.images.image_header import PNG_START, read_image_header
from vr_ros.images.rvl import decode_rvl, read_rvl_size

_CONFIG = struct.Struct('<iff')


def decode_compressed_depth(
    image: CompressedView | Serialized, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Decode a depth image of a sensor_msgs/CompressedImage, or its serialised form.

    Known formats: 32FC1 or 16UC1, then '; compressedDepth png' (older writers leave the codec out)
    or '; compressedDepth rvl'; and a 16-bit grey PNG of 16UC1 or mono16.

    :param max_pixels: pictures that say they have more are refused before they are decoded.
    :return: (H, W) float32 metres, NaN where nothing was measured.
    :raises PerceptionError: BAD_IMAGE, IMAGE_TOO_LARGE or UNSUPPORTED_ENCODING.
    """
    view = image if isinstance(image, CompressedView) else parse_compressed_image(image)
    encoding, _, codec = (part.strip() for part in view.format.partition(';'))
    content = bytes(view.data)
    if 'compressedDepth' not in view.format:
        samples = _decode_png(content, max_pixels)
        encoding = encoding if encoding in DEPTH_UNITS else '16UC1'
        parameters = None
    else:
        decode = _DECODERS.get(' '.join(codec.split()[1:]) or 'png')
        if decode is None or encoding not in DEPTH_UNITS:
            raise PerceptionError(
                Status.UNSUPPORTED_ENCODING, f'depth of format {view.format!r:.60} is not known;'
                f' known: 16UC1 and 32FC1; compressedDepth {" or ".join(_DECODERS)}')
        if len(content) < _CONFIG.size:
            raise PerceptionError(Status.BAD_IMAGE, 'the compressed depth is cut off')
        parameters = _CONFIG.unpack_from(content)
        samples = decode(content[_CONFIG.size:], max_pixels)
    valid = samples != 0
    if encoding == '16UC1':
        metres = samples * np.float32(DEPTH_UNITS[encoding])
    elif parameters is None:
        raise PerceptionError(Status.UNSUPPORTED_ENCODING, 'a PNG cannot hold depth of 32FC1')
    else:
        _, a, b = parameters
        shifted = samples.astype(np.float32) - np.float32(b)
        valid &= shifted > 0
        if not (np.isfinite((a, b)).all() and a > 0):
            raise PerceptionError(
                Status.BAD_IMAGE, f'the compressed depth is quantised by {a}, {b}')
        metres = np.float32(a) / np.where(valid, shifted, np.float32(1))
    return np.where(valid, metres, np.float32(np.nan)).astype(np.float32)


def _decode_png(content: bytes, max_pixels: int) -> np.ndarray:
    """Decode a 16-bit grey PNG: (H, W) uint16."""
    header = read_image_header(content) if content.startswith(PNG_START) else None
    if header is None or (header.bits, header.channels) != (16, 1):
        raise PerceptionError(Status.UNSUPPORTED_ENCODING, 'the depth is no 16-bit grey PNG')
    _check_size(header.size, max_pixels)
    try:
        samples = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        samples = None
    if samples is None or samples.shape != (header.size.height, header.size.width):
        raise PerceptionError(Status.BAD_IMAGE, 'the PNG of the depth cannot be decoded')
    return samples


def _decode_rvl(content: bytes, max_pixels: int) -> np.ndarray:
    """Decode an RVL picture: (H, W) uint16."""
    _check_size(Size(*read_rvl_size(content)), max_pixels)
    return decode_rvl(content)


_DECODERS = {'png': _decode_png, 'rvl': _decode_rvl}


def _check_size(size: Size, max_pixels: int) -> None:
    if size.width < 1 or size.height < 1:
        raise PerceptionError(Status.BAD_IMAGE, 'the depth image has no pixels')
    if size.width * size.height > max_pixels:
        raise PerceptionError(
            Status.IMAGE_TOO_LARGE,
            f'depth of {size.width}x{size.height} has more than {max_pixels} pixels')
