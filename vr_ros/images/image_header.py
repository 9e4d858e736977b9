"""Read the size of a JPEG or PNG picture from its header, before anything is decoded.

A few kilobytes can claim to be a picture of gigabytes, and can decode to it. The headers are read
at least as strictly as the decoders do: what is accepted here is what they will allocate.
Sources: ITU-T T.81, annex B (JPEG); W3C PNG, section 11.2.1 (IHDR).
"""
from __future__ import annotations

import struct
from dataclasses import dataclass

from vr_ros.core.types import PerceptionError, Size, Status

JPEG_START = b'\xff\xd8\xff'
PNG_START = b'\x89PNG\r\n\x1a\n'

_START_OF_SCAN = 0xDA
_END_OF_IMAGE = b'\xff\xd9'
# SOF0..SOF15 without DHT (C4), JPG (C8) and DAC (CC), which lie between them.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNG_HEADER = struct.Struct('>I4sIIBB')
_PNG_COLOURS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}


@dataclass(frozen=True)
class ImageHeader:
    """What a picture says about itself.

    :param bits: per sample.
    :param channels: 1 for grey, 3 for colour, 4 for CMYK; alpha not counted.
    """

    codec: str
    size: Size
    bits: int
    channels: int


def read_image_header(data: bytes) -> ImageHeader | None:
    """Read the header of a JPEG or PNG picture, and see that its end is there.

    :return: None if it is neither.
    :raises PerceptionError: BAD_IMAGE if it is cut off or its header is wrong.
    """
    if data.startswith(JPEG_START):
        return _read_jpeg(data)
    if data.startswith(PNG_START):
        return _read_png(data)
    return None


def _read_jpeg(data: bytes) -> ImageHeader:
    header = None
    offset = 2
    while True:
        marker, start, end = _jpeg_segment(data, offset)
        if marker in _FRAME_MARKERS and header is None:
            if end - start < 6:
                raise _bad('JPEG', 'its frame header is too short')
            bits, height, width, channels = struct.unpack_from('>BHHB', data, start)
            header = ImageHeader('jpeg', Size(width, height), bits, channels)
        if marker == _START_OF_SCAN:
            break
        offset = end
    if header is None:
        raise _bad('JPEG', 'it has no frame header')
    # Decoders fill what is missing with grey and say nothing.
    if data.rfind(_END_OF_IMAGE) < offset:
        raise _bad('JPEG', 'it is cut off')
    return header


def _jpeg_segment(data: bytes, offset: int) -> tuple[int, int, int]:
    """Find the marker at an offset: its code, and start and end of its parameters."""
    while data[offset:offset + 2] == b'\xff\xff':
        offset += 1
    if offset + 4 > len(data) or data[offset] != 0xFF:
        raise _bad('JPEG', 'it is cut off, or a segment does not start where it should')
    marker, length = struct.unpack_from('>BH', data, offset + 1)
    end = offset + 2 + length
    if length < 2 or end > len(data) or not 0xC0 <= marker <= 0xFE or 0xD0 <= marker <= 0xD9:
        raise _bad('JPEG', f'its segment 0x{marker:02x} of {length} bytes is wrong or cut off')
    return marker, offset + 4, end


def _read_png(data: bytes) -> ImageHeader:
    if len(data) < len(PNG_START) + _PNG_HEADER.size:
        raise _bad('PNG', 'it is cut off')
    length, name, width, height, bits, colour = _PNG_HEADER.unpack_from(data, len(PNG_START))
    if length != 13 or name != b'IHDR' or colour not in _PNG_COLOURS:
        raise _bad('PNG', 'its header is wrong')
    if data.rfind(b'IEND') < 0:
        raise _bad('PNG', 'it is cut off')
    return ImageHeader('png', Size(width, height), bits, _PNG_COLOURS[colour])


def _bad(codec: str, what: str) -> PerceptionError:
    return PerceptionError(Status.BAD_IMAGE, f'the {codec} picture cannot be decoded: {what}')
