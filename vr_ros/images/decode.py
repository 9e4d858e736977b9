"""Images of ROS messages to arrays: pictures to 8-bit RGB, depth to metres.

Sizes are checked before memory is taken for them. What comes back is always memory of its own, so
a message in shared memory may be overwritten afterwards.
"""
from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np

from vr_ros.core.cdr import (
    CompressedView,
    ImageView,
    Serialized,
    parse_compressed_image,
    parse_image,
)
from vr_ros.core.types import PerceptionError, Size, Status
from vr_ros.images.encodings import ENCODINGS, Encoding
from vr_ros.images.image_header import ImageHeader, read_image_header

MAX_PIXELS = 64_000_000

# Metres per unit, REP 118.
DEPTH_UNITS = {'16UC1': 0.001, '32FC1': 1.0}


def decode_image(image: ImageView | Serialized, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a sensor_msgs/Image, or its serialised form. How each encoding is taken: encodings.py.

    Encodings that are not known there go to cv_bridge where it is installed.

    :param max_pixels: images with more are refused before anything is allocated.
    :return: (H, W, 3) uint8 RGB.
    :raises PerceptionError: BAD_IMAGE, IMAGE_TOO_LARGE or UNSUPPORTED_ENCODING.
    """
    view = image if isinstance(image, ImageView) else parse_image(image)
    _check_size(Size(view.width, view.height), max_pixels)
    encoding = ENCODINGS.get(view.encoding)
    if encoding is None:
        return _decode_with_cv_bridge(view)
    try:
        return encoding.to_rgb(_samples(view, encoding))
    except cv2.error as error:
        raise _cannot_decode(view.encoding, error) from error


def decode_compressed(
    image: CompressedView | Serialized, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Decode a sensor_msgs/CompressedImage with a JPEG or PNG picture, or its serialised form.

    The pixels stay where the file has them: a rotation noted in EXIF data is not carried out.
    16-bit colours are reduced to 8; a 16-bit grey PNG is refused as depth, unless the message's
    format calls it mono16.

    :param max_pixels: pictures that say they have more are refused before they are decoded.
    :return: (H, W, 3) uint8 RGB.
    :raises PerceptionError: BAD_IMAGE, IMAGE_TOO_LARGE or UNSUPPORTED_ENCODING.
    """
    view = image if isinstance(image, CompressedView) else parse_compressed_image(image)
    content = bytes(view.data)
    header = read_image_header(content)
    if header is None:
        raise _not_a_picture(view.format, content)
    _check_size(header.size, max_pixels)
    _check_samples(header, view.format)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise _cannot_decode(header.codec, error) from error
    if picture is None or picture.shape != (header.size.height, header.size.width, 3):
        raise PerceptionError(Status.BAD_IMAGE, f'the {header.codec} picture cannot be decoded')
    return picture if _was_stored_as_rgb(view.format) else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def decode_depth(image: ImageView | Serialized, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a depth image: 32FC1 in metres or 16UC1 in millimetres, REP 118.

    :param max_pixels: images with more are refused before anything is allocated.
    :return: (H, W) float32 metres; NaN where there is no measurement (0 in 16UC1). Infinities of
        32FC1 stay: too near (negative) or too far.
    :raises PerceptionError: BAD_IMAGE, IMAGE_TOO_LARGE or UNSUPPORTED_ENCODING.
    """
    view = image if isinstance(image, ImageView) else parse_image(image)
    _check_size(Size(view.width, view.height), max_pixels)
    if view.encoding not in DEPTH_UNITS:
        raise PerceptionError(
            Status.UNSUPPORTED_ENCODING, f'depth of encoding {_short(view.encoding)} is not known;'
            f' known: {", ".join(DEPTH_UNITS)}')
    samples = _samples(view, ENCODINGS[view.encoding])
    depth = samples.astype(np.float32)
    if samples.dtype == np.uint16:
        depth *= np.float32(DEPTH_UNITS[view.encoding])
        depth[samples == 0] = np.nan
    return depth


def _check_size(size: Size, max_pixels: int) -> None:
    if size.width < 1 or size.height < 1:
        raise PerceptionError(
            Status.BAD_IMAGE, f'the image of {size.width}x{size.height} has no pixels')
    if size.width * size.height > max_pixels:
        raise PerceptionError(
            Status.IMAGE_TOO_LARGE,
            f'the image of {size.width}x{size.height} has more than {max_pixels} pixels')


def _samples(view: ImageView, encoding: Encoding) -> np.ndarray:
    """Show the samples of an image, (H, W) or (H, W, C), native byte order."""
    if view.width % encoding.block[0] or view.height % encoding.block[1]:
        raise PerceptionError(
            Status.BAD_IMAGE, f'{view.width}x{view.height} is not made of whole blocks of'
            f' {encoding.block[0]}x{encoding.block[1]} pixels, as {view.encoding} is')
    rows = view.height * 3 // 2 if encoding.chroma_rows else view.height
    row_bytes = view.width * encoding.pixel_bytes
    if view.step < row_bytes:
        raise PerceptionError(
            Status.BAD_IMAGE, f'step {view.step} is less than the {row_bytes} bytes of a row of'
            f' {view.width} {view.encoding} pixels')
    # The last row may come without its padding.
    needed = view.step * (rows - 1) + row_bytes
    data = memoryview(view.data).cast('B')
    if len(data) < needed:
        raise PerceptionError(
            Status.BAD_IMAGE, f'{len(data)} bytes of data, but {view.width}x{view.height}'
            f' {view.encoding} with step {view.step} takes {needed}')
    dtype = np.dtype(encoding.sample)
    stored = dtype.newbyteorder('>' if view.is_bigendian else '<')
    shape, strides = (rows, view.width), (view.step, encoding.pixel_bytes)
    if encoding.channels > 1:
        shape, strides = (*shape, encoding.channels), (*strides, dtype.itemsize)
    samples = np.ndarray(shape, stored, data, strides=strides)
    # OpenCV takes neither swapped bytes nor steps that are no multiple of the sample.
    return samples if dtype.itemsize == 1 else np.array(samples, dtype, order='C')


def _decode_with_cv_bridge(view: ImageView) -> np.ndarray:
    unsupported = Status.UNSUPPORTED_ENCODING
    try:
        from cv_bridge import CvBridge
    except ImportError as error:
        raise PerceptionError(
            unsupported, f'encoding {_short(view.encoding)} is not known, and cv_bridge is not'
            f' installed; known: {", ".join(sorted(ENCODINGS))}') from error
    message = SimpleNamespace(
        height=view.height, width=view.width, encoding=view.encoding,
        is_bigendian=int(view.is_bigendian), step=view.step, data=bytes(view.data))
    try:
        picture = CvBridge().imgmsg_to_cv2(message, 'rgb8')
    except Exception as error:  # its own error, TypeError for short data, AttributeError on NumPy 2
        raise PerceptionError(
            unsupported, f'encoding {_short(view.encoding)} is known neither here nor to'
            f' cv_bridge ({error}); known: {", ".join(sorted(ENCODINGS))}') from error
    return np.array(picture)


def _check_samples(header: ImageHeader, format_text: str) -> None:
    is_deep_grey = header.bits == 16 and header.channels == 1
    if is_deep_grey and not format_text.strip().startswith('mono16'):
        raise PerceptionError(
            Status.UNSUPPORTED_ENCODING,
            f'a 16-bit grey {header.codec} of format {_short(format_text)} is depth, not a picture')


def _was_stored_as_rgb(format_text: str) -> bool:
    """Tell whether the file's red and blue are swapped.

    compressed_image_transport hands pixels to an encoder that expects BGR, and notes in the format
    what it handed over: 'rgb8; jpeg compressed bgr8' is right, 'rgb8; jpeg compressed rgb8' is not.
    """
    _, _, stored = format_text.partition(' compressed ')
    return stored.strip().startswith('rgb')


def _not_a_picture(format_text: str, content: bytes) -> PerceptionError:
    if not content:
        return PerceptionError(Status.BAD_IMAGE, 'the compressed image is empty')
    words = set(format_text.lower().replace(';', ' ').split())
    if words & {'jpeg', 'jpg', 'png'} and 'compresseddepth' not in words:
        return PerceptionError(
            Status.BAD_IMAGE,
            f'the data of format {_short(format_text)} are neither a JPEG nor a PNG picture')
    return PerceptionError(
        Status.UNSUPPORTED_ENCODING,
        f'compressed images of format {_short(format_text)} are not known, only jpeg and png')


def _cannot_decode(encoding: str, error: cv2.error) -> PerceptionError:
    reason = ' '.join(str(error).split())
    return PerceptionError(Status.BAD_IMAGE, f'the {encoding} image cannot be decoded: {reason}')


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + '…')
