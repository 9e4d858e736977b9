"""Messages serialised by rosbags, an independent implementation of CDR, read back in place."""
from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_typestore

from vr_ros.core.cdr import parse_camera_info, parse_compressed_image, parse_header, parse_image
from vr_ros.core.types import PerceptionError, Stamp, Status

STORE = get_typestore(Stores.ROS2_JAZZY)
PARSERS = (parse_header, parse_image, parse_compressed_image, parse_camera_info)

SECONDS = st.integers(-2**31, 2**31 - 1)
UINT32 = st.integers(0, 2**32 - 1)
# A string of a ROS message is UTF-8 without zeros.
TEXT = st.text(st.characters(exclude_characters='\0', exclude_categories=['Cs']), max_size=12)
BYTES = st.binary(max_size=40)


def header(sec: int, nanosec: int, frame_id: str) -> Any:
    stamp = STORE.types['builtin_interfaces/msg/Time'](sec=sec, nanosec=nanosec)
    return STORE.types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame_id)


def serialize(kind: str, message: Any, little_endian: bool) -> bytes:
    name = f'sensor_msgs/msg/{kind}'
    return bytes(STORE.serialize_cdr(message, name, little_endian=little_endian))


def image(frame_id: str = 'camera', encoding: str = 'rgb8', little_endian: bool = True) -> bytes:
    """Serialise an image of 2 x 3 pixels."""
    message = STORE.types['sensor_msgs/msg/Image'](
        header=header(7, 8, frame_id), height=2, width=3, encoding=encoding, is_bigendian=1,
        step=9, data=np.arange(18, dtype=np.uint8))
    return serialize('Image', message, little_endian)


@given(SECONDS, UINT32, TEXT, UINT32, UINT32, TEXT, st.booleans(), UINT32, BYTES, st.booleans())
def test_image(
    sec: int, nanosec: int, frame_id: str, height: int, width: int, encoding: str,
    is_bigendian: bool, step: int, data: bytes, little_endian: bool,
) -> None:
    message = STORE.types['sensor_msgs/msg/Image'](
        header=header(sec, nanosec, frame_id), height=height, width=width, encoding=encoding,
        is_bigendian=int(is_bigendian), step=step, data=np.frombuffer(data, np.uint8))
    view = parse_image(serialize('Image', message, little_endian))
    assert view.stamp == Stamp(sec, nanosec) and view.frame_id == frame_id
    assert (view.height, view.width, view.encoding) == (height, width, encoding)
    assert (view.is_bigendian, view.step, bytes(view.data)) == (is_bigendian, step, data)


@given(SECONDS, UINT32, TEXT, TEXT, BYTES, st.booleans())
def test_compressed_image(
    sec: int, nanosec: int, frame_id: str, format_text: str, data: bytes, little_endian: bool
) -> None:
    message = STORE.types['sensor_msgs/msg/CompressedImage'](
        header=header(sec, nanosec, frame_id), format=format_text,
        data=np.frombuffer(data, np.uint8))
    serialized = serialize('CompressedImage', message, little_endian)
    view = parse_compressed_image(serialized)
    assert view.stamp == Stamp(sec, nanosec) and view.frame_id == frame_id
    assert (view.format, bytes(view.data)) == (format_text, data)
    assert parse_header(serialized).stamp == view.stamp


def camera_info(
    frame_id: str = 'camera', d: tuple[float, ...] = (0.1, 0.2), model: str = 'plumb_bob',
    little_endian: bool = True,
) -> bytes:
    """Serialise a camera_info in which all numbers are different."""
    roi = STORE.types['sensor_msgs/msg/RegionOfInterest'](
        x_offset=11, y_offset=12, height=13, width=14, do_rectify=True)
    message = STORE.types['sensor_msgs/msg/CameraInfo'](
        header=header(7, 8, frame_id), height=480, width=640, distortion_model=model,
        d=np.array(d), k=np.arange(9.0), r=np.arange(10.0, 19), p=np.arange(20.0, 32),
        binning_x=2, binning_y=3, roi=roi)
    return serialize('CameraInfo', message, little_endian)


@given(TEXT, st.lists(st.floats(allow_nan=False), max_size=14), TEXT, st.booleans())
def test_camera_info(frame_id: str, d: list[float], model: str, little_endian: bool) -> None:
    # Texts of any length: the numbers behind them are aligned to eight bytes.
    view = parse_camera_info(camera_info(frame_id, tuple(d), model, little_endian))
    assert (view.stamp, view.frame_id) == (Stamp(7, 8), frame_id)
    assert (view.height, view.width, view.distortion_model) == (480, 640, model)
    assert view.d == tuple(d)
    assert (view.k, view.r, view.p) == (
        tuple(range(9)), tuple(range(10, 19)), tuple(range(20, 32)))
    assert (view.binning_x, view.binning_y, view.roi) == (2, 3, (11, 12, 14, 13))


def test_camera_info_cut_off_anywhere_is_an_error() -> None:
    serialized = camera_info()
    parse_camera_info(serialized)
    # What follows the last field is padding.
    for length in range(len(serialized.rstrip(b'\0'))):
        with pytest.raises(PerceptionError):
            parse_camera_info(serialized[:length])


def test_camera_info_that_promises_too_many_coefficients_is_an_error() -> None:
    serialized = bytearray(camera_info())
    at = serialized.index(b'plumb_bob\0') + 12
    assert serialized[at:at + 4] == struct.pack('<I', 2)
    serialized[at:at + 4] = struct.pack('<I', 2**32 - 1)
    with pytest.raises(PerceptionError):
        parse_camera_info(bytes(serialized))


@pytest.mark.parametrize('frame_id', ['', 'a', 'ab', 'abc', 'abcd', 'kamera_öß'])
def test_header_says_where_the_payload_starts(frame_id: str) -> None:
    parsed = parse_header(image(frame_id))
    assert parsed.stamp == Stamp(7, 8) and parsed.frame_id == frame_id
    # Encapsulation, two numbers of the stamp, length, text and its zero.
    assert parsed.payload_offset == 4 + 8 + 4 + len(frame_id.encode()) + 1


def test_data_are_not_copied() -> None:
    serialized = bytearray(image())
    view = parse_image(serialized)
    serialized[-1] = 99
    assert view.data[17] == 99


def test_takes_what_is_behind_a_memoryview_of_another_type() -> None:
    serialized = image()
    padded = serialized + bytes(-len(serialized) % 4)
    assert bytes(parse_image(memoryview(padded).cast('I')).data) == bytes(range(18))


def test_empty_string_without_its_zero() -> None:
    written = struct.pack('<4BiII', 0, 1, 0, 0, 7, 8, 0)
    assert parse_header(written).frame_id == ''


@pytest.mark.parametrize('parse', [parse_image, parse_compressed_image])
def test_cut_off_anywhere_is_an_error(parse: Callable[[bytes], object]) -> None:
    if parse is parse_image:
        serialized = image()
    else:
        message = STORE.types['sensor_msgs/msg/CompressedImage'](
            header=header(1, 2, 'camera'), format='jpeg', data=np.arange(5, dtype=np.uint8))
        serialized = serialize('CompressedImage', message, True)
    parse(serialized)
    for length in range(len(serialized)):
        with pytest.raises(PerceptionError) as caught:
            parse(serialized[:length])
        assert caught.value.status is Status.BAD_IMAGE


def patched(offset: int, content: bytes) -> bytes:
    serialized = bytearray(image())
    serialized[offset:offset + len(content)] = content
    return bytes(serialized)


@pytest.mark.parametrize(('serialized', 'says'), [
    (patched(0, b'\x00\x03'), '0x0003'),                         # a parameter list, little endian
    (patched(0, b'\x00\x02'), '0x0002'),                         # a parameter list, big endian
    (patched(0, b'\x00\x07'), '0x0007'),                         # XCDR version 2
    (patched(0, b'\x01\x01'), '0x0101'),                         # no representation at all
    (patched(12, b'\xff\xff\xff\xff'), 'frame_id'),              # a string of 4 GB
    (patched(len(image()) - 22, b'\x13\x00\x00\x00'), 'data'),   # one byte more than there is
    (patched(16, b'\xff'), 'UTF-8'),                             # a frame_id that is no text
    (b'', '0 bytes'),                                            # nothing
])
def test_wrong_messages_are_refused(serialized: bytes, says: str) -> None:
    with pytest.raises(PerceptionError, match=says) as caught:
        parse_image(serialized)
    assert caught.value.status is Status.BAD_IMAGE
    assert '\n' not in caught.value.message


def outcome(parse: Callable[[bytes], object], data: bytes) -> object:
    """Give the result or the error's status; anything else raised fails the test."""
    try:
        return parse(data)
    except PerceptionError as error:
        assert error.status is Status.BAD_IMAGE
        return error.status


@given(st.binary(max_size=80))
@example(b'\x00\x01\x00\x00')
def test_any_bytes_give_a_result_or_a_named_error(data: bytes) -> None:
    for parse in PARSERS:
        outcome(parse, data)
        outcome(parse, b'\x00\x01\x00\x00' + data)
        outcome(parse, b'\x00\x00\x00\x00' + data)


@given(st.integers(0, len(image()) - 1), st.integers(0, 255), st.booleans())
def test_any_changed_byte_gives_a_result_or_a_named_error(
    offset: int, value: int, little_endian: bool
) -> None:
    serialized = bytearray(image(little_endian=little_endian))
    serialized[offset] = value
    for parse in PARSERS:
        outcome(parse, bytes(serialized))
