"""Read images and camera_info out of serialised ROS messages, in place.

A subscription with ``raw=True`` hands over the message as it came over the wire. Reading the few
fields in front of the pixels takes microseconds; deserialising would copy every frame, also those
that nobody looks at.
Source: OMG DDSI-RTPS (encapsulation) and CORBA CDR: numbers are aligned to their size, counted from
the byte after the encapsulation header; strings carry their length with a final zero.
"""
from __future__ import annotations

from dataclasses import dataclass
from struct import Struct, unpack_from

from vr_ros.core.types import PerceptionError, Stamp, Status

Serialized = bytes | bytearray | memoryview

_ENCAPSULATION_BYTES = 4
_STAMP = (Struct('>iI'), Struct('<iI'))
_UINT32 = (Struct('>I'), Struct('<I'))
_TWO_UINT32 = (Struct('>II'), Struct('<II'))


@dataclass(frozen=True)
class CdrHeader:
    """The std_msgs/Header at the start of a message.

    :param payload_offset: bytes from the start of the message to what follows the header, before
        alignment.
    """

    stamp: Stamp
    frame_id: str
    payload_offset: int


@dataclass(frozen=True)
class ImageView:
    """A sensor_msgs/Image whose pixels stay where they are.

    :param step: bytes from one row to the next.
    :param is_bigendian: byte order of samples of more than one byte.
    :param data: the rows; not checked against height and step.
    """

    stamp: Stamp
    frame_id: str
    height: int
    width: int
    encoding: str
    is_bigendian: bool
    step: int
    data: memoryview


@dataclass(frozen=True)
class CompressedView:
    """A sensor_msgs/CompressedImage whose bytes stay where they are."""

    stamp: Stamp
    frame_id: str
    format: str
    data: memoryview


@dataclass(frozen=True)
class CameraInfoView:
    """A sensor_msgs/CameraInfo: what a camera's pixels see.

    :param height, width: of the image at full resolution, in pixels.
    :param d: coefficients of the distortion model.
    :param k: row by row, 3 x 3 intrinsics of the raw image; all zero when not calibrated.
    :param r: row by row, 3 x 3 rotation to the rectified frame.
    :param p: row by row, 3 x 4 projection of the rectified image.
    :param binning_x, binning_y: how many pixels became one; 0 is the same as 1.
    :param roi: x_offset, y_offset, width, height of the part that was taken, in pixels of the full
        resolution; width and height 0: all.
    """

    stamp: Stamp
    frame_id: str
    height: int
    width: int
    distortion_model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    r: tuple[float, ...]
    p: tuple[float, ...]
    binning_x: int
    binning_y: int
    roi: tuple[int, int, int, int]


def parse_header(data: Serialized) -> CdrHeader:
    """Read the header of any message that starts with one, without what follows.

    :raises PerceptionError: BAD_IMAGE if it is cut off or not plain CDR.
    """
    reader = _Reader(data)
    stamp, frame_id = reader.header()
    return CdrHeader(stamp, frame_id, reader.offset)


def parse_image(data: Serialized) -> ImageView:
    """Read a sensor_msgs/Image.

    :return: a view that keeps ``data`` alive and copies no pixels.
    :raises PerceptionError: BAD_IMAGE if it is cut off, a length is wrong, or it is not plain CDR.
    """
    reader = _Reader(data)
    stamp, frame_id = reader.header()
    height, width = reader.two_uint32()
    encoding = reader.string('encoding')
    is_bigendian = reader.byte('is_bigendian') != 0
    step = reader.uint32()
    return ImageView(
        stamp, frame_id, height, width, encoding, is_bigendian, step, reader.sequence('data'))


def parse_compressed_image(data: Serialized) -> CompressedView:
    """Read a sensor_msgs/CompressedImage.

    :return: a view that keeps ``data`` alive and copies no bytes of the picture.
    :raises PerceptionError: BAD_IMAGE if it is cut off, a length is wrong, or it is not plain CDR.
    """
    reader = _Reader(data)
    stamp, frame_id = reader.header()
    return CompressedView(stamp, frame_id, reader.string('format'), reader.sequence('data'))


def parse_camera_info(data: Serialized) -> CameraInfoView:
    """Read a sensor_msgs/CameraInfo.

    :raises PerceptionError: BAD_IMAGE if it is cut off, a length is wrong, or it is not plain CDR.
    """
    reader = _Reader(data)
    stamp, frame_id = reader.header()
    height, width = reader.two_uint32()
    distortion_model = reader.string('distortion_model')
    d = reader.doubles(reader.uint32(), 'd')
    k, r, p = reader.doubles(9, 'k'), reader.doubles(9, 'r'), reader.doubles(12, 'p')
    binning_x, binning_y = reader.two_uint32()
    (x_offset, y_offset), (roi_height, roi_width) = reader.two_uint32(), reader.two_uint32()
    reader.byte('do_rectify')
    return CameraInfoView(
        stamp, frame_id, height, width, distortion_model, d, k, r, p, binning_x, binning_y,
        (x_offset, y_offset, roi_width, roi_height))


class _Reader:
    """Walks through one message; every step checks that the bytes are there."""

    __slots__ = ('_data', '_little', 'offset')

    def __init__(self, data: Serialized) -> None:
        self._data = memoryview(data).cast('B')
        if len(self._data) < _ENCAPSULATION_BYTES:
            raise _bad(f'the message has {len(self._data)} bytes, less than its encapsulation')
        if self._data[0] != 0 or self._data[1] > 1:
            kind = f'0x{self._data[0]:02x}{self._data[1]:02x}'
            raise _bad(f'the message is not plain CDR but of representation {kind}')
        self._little = self._data[1]
        self.offset = _ENCAPSULATION_BYTES

    def header(self) -> tuple[Stamp, str]:
        start = self._take(8, 'stamp')
        sec, nanosec = _STAMP[self._little].unpack_from(self._data, start)
        return Stamp(sec, nanosec), self.string('frame_id')

    def byte(self, name: str) -> int:
        return self._data[self._take(1, name)]

    def doubles(self, count: int, name: str) -> tuple[float, ...]:
        if not count:
            return ()
        # Numbers of eight bytes are aligned to eight, counted from behind the encapsulation.
        self.offset += (_ENCAPSULATION_BYTES - self.offset) % 8
        start = self._take(8 * count, name)
        return unpack_from(f'{"><"[self._little]}{count}d', self._data, start)

    def uint32(self) -> int:
        self._align()
        return _UINT32[self._little].unpack_from(self._data, self._take(4, 'number'))[0]

    def two_uint32(self) -> tuple[int, int]:
        self._align()
        return _TWO_UINT32[self._little].unpack_from(self._data, self._take(8, 'size'))

    def string(self, name: str) -> str:
        content = bytes(self.sequence(name))
        # The final zero is part of the length; writers exist that leave it out of empty strings.
        content = content[:-1] if content.endswith(b'\0') else content
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise _bad(f'{name} is not UTF-8: {content[:32]!r}') from None

    def sequence(self, name: str) -> memoryview:
        length = self.uint32()
        start = self._take(length, name)
        return self._data[start:start + length]

    def _align(self) -> None:
        # The encapsulation is four bytes, so counting from behind it or from the start is the same.
        self.offset = (self.offset + 3) & ~3

    def _take(self, length: int, name: str) -> int:
        start, self.offset = self.offset, self.offset + length
        if self.offset > len(self._data):
            raise _bad(f'the message ends at byte {len(self._data)}, its {name} at {self.offset}')
        return start


def _bad(message: str) -> PerceptionError:
    return PerceptionError(Status.BAD_IMAGE, message)
