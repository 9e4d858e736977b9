"""Compressed depth, written as compressed_depth_image_transport writes it, and read back."""
from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from vr_ros.core.cdr import CompressedView
from vr_ros.core.types import PerceptionError, Stamp, Status
from vr_ros.images.decode_depth_compressed import decode_compressed_depth

DEPTH = np.random.default_rng(0).uniform(0.4, 9.5, (12, 17)).astype(np.float32)
DEPTH[2, 3:5] = np.nan
QUANTIZATION, MAX_M = 100.0, 10.0


def view(format_text: str, data: bytes) -> CompressedView:
    return CompressedView(Stamp(1, 2), 'camera', format_text, memoryview(data))


def png(samples: np.ndarray) -> bytes:
    done, data = cv2.imencode('.png', samples)
    assert done
    return data.tobytes()


def inverse_depth(depth: np.ndarray) -> bytes:
    """Quantise as the plug-in's codec.cpp does: A / depth + B, rounded."""
    a = QUANTIZATION * (QUANTIZATION + 1)
    b = 1 - a / MAX_M
    quantised = np.where(np.isnan(depth), 0, np.rint(a / depth + b)).astype(np.uint16)
    return struct.pack('<iff', 0, a, b) + png(quantised)


def millimetres(depth: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(depth), 0, np.rint(depth * 1000)).astype(np.uint16)


@pytest.mark.parametrize('format_text', ['32FC1; compressedDepth png', '32FC1; compressedDepth'])
def test_inverse_depth(format_text: str) -> None:
    decoded = decode_compressed_depth(view(format_text, inverse_depth(DEPTH)))
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(decoded), np.isnan(DEPTH))
    # Half a step of the inverse is depth^2 / 2A of the depth.
    limit = 0.51 * DEPTH**2 / (QUANTIZATION * (QUANTIZATION + 1)) + 1e-4
    assert (np.abs(decoded - DEPTH)[~np.isnan(DEPTH)] <= limit[~np.isnan(DEPTH)]).all()


@pytest.mark.parametrize(('format_text', 'header'), [
    ('16UC1; compressedDepth png', bytes(12)),        # the plug-in leaves the header unset
    ('16UC1; compressedDepth', b'\xff' * 12),
    ('16UC1; png compressed ', b''),                  # compressed_image_transport
    ('png', b''),                                     # plain
    ('mono16; png compressed', b''),
])
def test_millimetres(format_text: str, header: bytes) -> None:
    decoded = decode_compressed_depth(view(format_text, header + png(millimetres(DEPTH))))
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, np.round(DEPTH.astype(float), 3), atol=1e-6)


GOOD = inverse_depth(DEPTH)
BAD, UNKNOWN = Status.BAD_IMAGE, Status.UNSUPPORTED_ENCODING


@pytest.mark.parametrize(('format_text', 'data', 'status'), [
    ('32FC1; compressedDepth png', b'', BAD),                                # nothing
    ('32FC1; compressedDepth png', GOOD[:11], BAD),                          # within the header
    ('32FC1; compressedDepth png', GOOD[:60], BAD),                          # within the picture
    ('32FC1; compressedDepth png', GOOD[:12], UNKNOWN),                      # no picture
    ('32FC1; compressedDepth zstd', GOOD, UNKNOWN),                          # another codec
    ('64FC1; compressedDepth png', GOOD, UNKNOWN),                           # another encoding
    ('compressedDepth', GOOD, UNKNOWN),                                      # none
    ('32FC1; png compressed', GOOD[12:], UNKNOWN),                           # floats as plain PNG
    ('png', png(np.zeros((3, 4), np.uint8)), UNKNOWN),                       # 8 bits
    ('16UC1; png compressed', png(np.zeros((3, 4, 3), np.uint16)), UNKNOWN), # colour
    ('32FC1; compressedDepth png',
     struct.pack('<iff', 0, float('nan'), 0.0) + GOOD[12:], BAD),            # quantised by nothing
    ('32FC1; compressedDepth png',
     struct.pack('<iff', 0, 0.0, 0.0) + GOOD[12:], BAD),
])
def test_what_cannot_be_read_has_a_status(format_text: str, data: bytes, status: Status) -> None:
    with pytest.raises(PerceptionError) as caught:
        decode_compressed_depth(view(format_text, data))
    assert caught.value.status == status


def test_large_pictures_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(PerceptionError) as caught:
        decode_compressed_depth(view('32FC1; compressedDepth png', GOOD), max_pixels=100)
    assert caught.value.status == Status.IMAGE_TOO_LARGE
