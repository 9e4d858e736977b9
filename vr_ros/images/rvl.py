"""Depth pictures in RVL, the lossless code that compressedDepth calls rvl.

Source: A. D. Wilson, "Fast Lossless Depth Image Compression", ISS 2017; in front of it,
compressed_depth_image_transport writes width and height. All numbers are little-endian here: the
writer's machine has its own order, and no robot's is the other one.

Pixels, row by row, are told as runs: how many are 0, how many follow that are not, and for each of
these what it differs by from the one before it that was not 0, with the sign in the lowest bit.
Each number is cut into pieces of three bits, the lowest first; the fourth bit of a nibble says that
more follow. Nibbles fill words of 32 bits from the top.
"""
from __future__ import annotations

import struct

import numpy as np

from vr_ros.core.types import PerceptionError, Status

_SIZE = struct.Struct('<II')
_WORD_BYTES = 4
# Numbers have at most 32 bits.
_MAX_NIBBLES = 11
# A difference of 16-bit depths takes six nibbles, and a run of two pixels at least two more.
_MAX_BYTES_PER_PIXEL = 4


def read_rvl_size(content: bytes) -> tuple[int, int]:
    """Read width and height in pixels.

    :raises PerceptionError: BAD_IMAGE, they are not there.
    """
    if len(content) < _SIZE.size:
        raise _bad('is cut off')
    width, height = _SIZE.unpack_from(content)
    return width, height


def decode_rvl(content: bytes) -> np.ndarray:
    """Decode a picture. Whether its size is one to take memory for is the caller's to see.

    :return: (H, W) uint16.
    :raises PerceptionError: BAD_IMAGE, these are not runs that fill the picture.
    """
    width, height = read_rvl_size(content)
    count, code = width * height, content[_SIZE.size:]
    if len(code) % _WORD_BYTES:
        raise _bad('is cut off')
    if len(code) > _MAX_BYTES_PER_PIXEL * count + _WORD_BYTES:
        raise _bad(f'of {width}x{height} is too long')
    numbers = _numbers(code)
    pixels, deltas = _runs(numbers, count)
    codes = numbers[deltas]
    depths = np.cumsum((codes >> 1) ^ -(codes & 1))
    if depths.size and not (1 <= depths.min() and depths.max() <= 0xffff):
        raise _bad('leaves the range of 16 bits')
    samples = np.zeros(count, np.uint16)
    samples[pixels] = depths
    return samples.reshape(height, width)


def _numbers(code: bytes) -> np.ndarray:
    """Put the numbers together: (N,) int64. What is not ended at the end is left out."""
    words = np.frombuffer(code, '<u4').astype('>u4').view(np.uint8)
    nibbles = np.empty(2 * words.size, np.uint8)
    nibbles[0::2], nibbles[1::2] = words >> 4, words & 0xf
    ends = np.flatnonzero(nibbles < 8)
    starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
    lengths = ends - starts + 1
    if ends.size and lengths.max() > _MAX_NIBBLES:
        raise _bad('has a number of more than 32 bits')
    numbers = (nibbles[starts] & 7).astype(np.int64)
    longer, place = np.flatnonzero(lengths > 1), 1
    while longer.size:
        pieces = (nibbles[starts[longer] + place] & 7).astype(np.int64)
        numbers[longer] |= pieces << 3 * place
        place += 1
        longer = longer[lengths[longer] > place]
    return numbers


def _runs(numbers: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Follow the runs.

    :return: (M,) pixels that are not 0, and (M,) which of the numbers tells each of them.
    """
    value, runs, at, pixel = numbers.item, [], 0, 0
    while pixel < count:
        if at + 2 > numbers.size:
            raise _bad('is cut off')
        zeros, measured = value(at), value(at + 1)
        if not zeros + measured:
            raise _bad('has a run of no pixels')
        runs.append((pixel + zeros, at + 2, measured))
        pixel += zeros + measured
        at += 2 + measured
    if pixel > count:
        raise _bad('has more pixels than it says')
    if at > numbers.size:
        raise _bad('is cut off')
    first_pixels, first_numbers, lengths = np.array(runs, np.int64).reshape(-1, 3).T
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(first_pixels, lengths) + within, np.repeat(first_numbers, lengths) + within


def _bad(what: str) -> PerceptionError:
    return PerceptionError(Status.BAD_IMAGE, f'the RVL picture of the depth {what}')
