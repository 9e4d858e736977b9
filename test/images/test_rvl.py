"""RVL against an encoder that is written here, as strings of binary digits, from the paper."""
from __future__ import annotations

import struct
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from vr_ros.core.cdr import CompressedView
from vr_ros.core.types import PerceptionError, Stamp, Status
from vr_ros.images.decode_depth_compressed import decode_compressed_depth
from vr_ros.images.rvl import decode_rvl


def digits(number: int) -> str:
    """Write a number in nibbles: three binary digits each, the lowest first, '1' before: more."""
    octal = f'{number:o}'[::-1]
    return ''.join(f'{"01"[place < len(octal) - 1]}{int(digit):03b}'
                   for place, digit in enumerate(octal))


def encode(depth: np.ndarray) -> bytes:
    """Encode (H, W) uint16, with width and height in front."""
    runs = [(measured, list(run))
            for measured, run in groupby(depth.ravel().tolist(), lambda sample: sample > 0)]
    text, before = '', 0
    if runs and runs[0][0]:
        text += digits(0)
    for measured, run in runs:
        text += digits(len(run))
        for sample in run if measured else ():
            change = sample - before
            text += digits(2 * change if change >= 0 else -2 * change - 1)
            before = sample
    if runs and not runs[-1][0]:
        text += digits(0)
    text += '0' * (-len(text) % 32)
    words = [int(text[at:at + 32], 2) for at in range(0, len(text), 32)]
    return struct.pack(f'<II{len(words)}I', depth.shape[1], depth.shape[0], *words)


def raw(width: int, height: int, *numbers: int) -> bytes:
    """Write numbers as they are, right or wrong."""
    text = ''.join(map(digits, numbers))
    text += '0' * (-len(text) % 32)
    return struct.pack('<II', width, height) + b''.join(
        struct.pack('<I', int(text[at:at + 32], 2)) for at in range(0, len(text), 32))


def view(format_text: str, data: bytes) -> CompressedView:
    return CompressedView(Stamp(1, 2), 'camera', format_text, memoryview(data))


@settings(max_examples=150, deadline=None)
@given(arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=20),
              elements=st.integers(0, 3) | st.integers(0, 0xffff)))
def test_what_was_encoded_comes_back(depth: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_rvl(encode(depth)), depth)


def test_a_code_written_by_hand() -> None:
    """Two zeros, two others: +5 is 10, in pieces 2 (more follow) and 1; -1 is 1."""
    code = struct.pack('<III', 2, 2, 0x22a11000)
    np.testing.assert_array_equal(decode_rvl(code), [[0, 0], [5, 4]])


def test_a_picture_of_a_camera() -> None:
    rows, columns = np.mgrid[:480, :640]
    depth = (600 + rows + columns // 3).astype(np.uint16)
    depth[np.random.default_rng(0).random(depth.shape) < 0.05] = 0
    content = encode(depth)
    assert len(content) < depth.nbytes / 2
    np.testing.assert_array_equal(decode_rvl(content), depth)


def test_metres_of_both_encodings() -> None:
    depth = np.array([[0, 1500, 2501], [65535, 0, 1]], np.uint16)
    millimetres = decode_compressed_depth(
        view('16UC1; compressedDepth rvl', bytes(12) + encode(depth)))
    np.testing.assert_allclose(
        millimetres, [[np.nan, 1.5, 2.501], [65.535, np.nan, 0.001]], atol=1e-6)
    a, b = 10100.0, -1009.0
    inverse = decode_compressed_depth(view(
        '32FC1; compressedDepth rvl', struct.pack('<iff', 0, a, b) + encode(depth)))
    assert inverse.dtype == np.float32
    np.testing.assert_allclose(inverse[depth > 0], a / (depth[depth > 0] - b), rtol=1e-6)
    assert np.isnan(inverse[depth == 0]).all()


GOOD = encode(np.arange(1, 101, dtype=np.uint16).reshape(10, 10))


@pytest.mark.parametrize(('content', 'words'), [
    (b'', 'cut off'),                                       # nothing
    (GOOD[:7], 'cut off'),                                  # within the size
    (GOOD[:8], 'cut off'),                                  # no runs
    (GOOD[:-3], 'cut off'),                                 # within a word
    (GOOD[:-8], 'cut off'),                                 # within a run
    (raw(4, 1, 2, 3, 2, 2, 2), 'more pixels'),              # a run of five in four
    (raw(4, 1, 0, 0, 0, 4, 2, 2, 2, 2), 'no pixels'),       # the encoder writes no such run
    (raw(2, 1, 0, 2, 2, 1), 'range'),                       # 1, then 0, which is no measurement
    (raw(2, 1, 0, 2, 2, 2 * 65535), 'range'),               # 1, then 65536
    (raw(2, 1, 0, 1, 2**34), 'more than 32 bits'),          # a number of twelve nibbles
    (struct.pack('<II', 2, 1) + bytes(16), 'too long'),     # eight words for two pixels
])
def test_what_is_no_code_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(PerceptionError, match=words) as caught:
        decode_rvl(content)
    assert caught.value.status is Status.BAD_IMAGE


@pytest.mark.parametrize(('size', 'status'), [
    ((0, 10), Status.BAD_IMAGE),                            # no pixels
    ((10, 11), Status.IMAGE_TOO_LARGE),                     # over the limit
    ((2**32 - 1, 2**32 - 1), Status.IMAGE_TOO_LARGE),
])
def test_a_size_is_checked_before_memory_is_taken(size: tuple[int, int], status: Status) -> None:
    content = bytes(12) + struct.pack('<II', *size) + GOOD[8:]
    with pytest.raises(PerceptionError) as caught:
        decode_compressed_depth(view('16UC1; compressedDepth rvl', content), max_pixels=100)
    assert caught.value.status is status
