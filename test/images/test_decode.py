"""Images built sample by sample, decoded, and compared with the picture they were built from."""
from __future__ import annotations

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
from decode_pictures import PICTURE, STAMP, bayer, blocks, image_view, pad_rows, to_yuv

from vr_ros.core.cdr import ImageView
from vr_ros.core.types import PerceptionError, Status
from vr_ros.images.decode import decode_depth, decode_image
from vr_ros.images.encodings import ENCODINGS

HEIGHT, WIDTH = PICTURE.shape[:2]
ALPHA = np.full((HEIGHT, WIDTH, 1), 7, np.uint8)
DEEP = PICTURE.astype(np.uint16) * 257
GREY = PICTURE[..., 1]


@pytest.mark.parametrize(('encoding', 'samples', 'expected'), [
    ('rgb8', PICTURE, PICTURE),
    ('bgr8', PICTURE[..., ::-1], PICTURE),
    ('8UC3', PICTURE[..., ::-1], PICTURE),                            # as cv_bridge takes it
    ('rgba8', np.concatenate((PICTURE, ALPHA), 2), PICTURE),
    ('bgra8', np.concatenate((PICTURE[..., ::-1], ALPHA), 2), PICTURE),
    ('8UC4', np.concatenate((PICTURE[..., ::-1], ALPHA), 2), PICTURE),
    ('mono8', GREY, np.stack([GREY] * 3, 2)),
    ('8UC1', GREY, np.stack([GREY] * 3, 2)),
    ('rgb16', DEEP, PICTURE),
    ('bgr16', DEEP[..., ::-1], PICTURE),
    ('rgba16', np.concatenate((DEEP, ALPHA), 2), PICTURE),
    ('bgra16', np.concatenate((DEEP[..., ::-1], ALPHA), 2), PICTURE),
    ('mono16', DEEP[..., 1], np.stack([GREY] * 3, 2)),
])
@pytest.mark.parametrize('padding', [0, 1, 24])
@pytest.mark.parametrize('is_bigendian', [False, True])
def test_encodings_without_loss(
    encoding: str, samples: np.ndarray, expected: np.ndarray, padding: int, is_bigendian: bool
) -> None:
    view = image_view(encoding, samples, padding=padding, is_bigendian=is_bigendian)
    decoded = decode_image(view)
    assert decoded.dtype == np.uint8 and decoded.flags.c_contiguous and decoded.flags.writeable
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize(('sample', 'expected'), [
    (0, 0), (128, 0), (129, 1), (257, 1), (32767, 127), (32768, 128), (65406, 254), (65407, 255),
    (65535, 255),
])
def test_sixteen_bits_are_rounded(sample: int, expected: int) -> None:
    # One step of 8 bits is 257 of 16.
    assert round(sample / 257) == expected
    decoded = decode_image(image_view('mono16', np.full((2, 3), sample, np.uint16)))
    assert np.unique(decoded).tolist() == [expected]


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize('depth', [8, 16])
@pytest.mark.parametrize('padding', [0, 3])
def test_bayer(pattern: str, depth: int, padding: int) -> None:
    def decode(picture: np.ndarray) -> np.ndarray:
        mosaic = bayer(picture, pattern)
        samples = mosaic if depth == 8 else mosaic.astype(np.uint16) * 257
        return decode_image(image_view(f'bayer_{pattern}{depth}', samples, padding=padding))

    # Of one colour, the mosaic has lost nothing, border included.
    flat = np.full((6, 8, 3), (200, 90, 20), np.uint8)
    np.testing.assert_array_equal(decode(flat), flat)
    # Of a smooth picture, the average of the neighbours is within half a step of the slope.
    np.testing.assert_allclose(decode(PICTURE)[2:-2, 2:-2], PICTURE[2:-2, 2:-2], atol=6)


@pytest.mark.parametrize(('encoding', 'order'), [
    ('yuv422', 'uyvy'), ('uyvy', 'uyvy'), ('yuv422_yuy2', 'yuyv'), ('yuyv', 'yuyv')])
@pytest.mark.parametrize('padding', [0, 6])
def test_yuv422(encoding: str, order: str, padding: int) -> None:
    picture = blocks(PICTURE, 1, 2)
    y, u, v = to_yuv(picture)
    samples = np.empty((HEIGHT, WIDTH, 2), np.uint8)
    brightness, colour = (1, 0) if order == 'uyvy' else (0, 1)
    samples[..., brightness] = y
    samples[:, 0::2, colour], samples[:, 1::2, colour] = u[:, ::2], v[:, ::2]
    decoded = decode_image(image_view(encoding, samples, padding=padding))
    np.testing.assert_allclose(decoded, picture, atol=3)


@pytest.mark.parametrize(('encoding', 'first'), [('nv12', 'u'), ('nv21', 'v')])
@pytest.mark.parametrize('padding', [0, 10])
def test_yuv420(encoding: str, first: str, padding: int) -> None:
    picture = blocks(PICTURE, 2, 2)
    y, u, v = to_yuv(picture)
    chroma = np.empty((HEIGHT // 2, WIDTH), np.uint8)
    chroma[:, 0::2], chroma[:, 1::2] = (p[::2, ::2] for p in ((u, v) if first == 'u' else (v, u)))
    rows = pad_rows(np.concatenate((y, chroma)), padding)
    view = ImageView(
        STAMP, 'camera', HEIGHT, WIDTH, encoding, False, WIDTH + padding, memoryview(rows))
    np.testing.assert_allclose(decode_image(view), picture, atol=3)


@pytest.mark.parametrize(('encoding', 'values', 'expected'), [
    ('16UC1', [[0, 1000], [1254, 1127]], [[0, 1], [255, 128]]),            # 0 is no measurement
    ('16UC1', [[0, 0], [0, 0]], [[0, 0], [0, 0]]),                         # nothing measured
    ('16UC1', [[0, 7], [7, 7]], [[0, 255], [255, 255]]),                   # all alike
    ('16UC1', [[0, 1], [65535, 32768]], [[0, 1], [255, 128]]),             # full range
    ('32FC1', [[np.nan, 1.0], [3.0, 2.0]], [[0, 1], [255, 128]]),          # NaN is none
    ('32FC1', [[np.inf, -np.inf], [0.0, 4.0]], [[0, 0], [1, 255]]),        # too far, too near
    ('32FC1', [[np.nan, np.nan], [np.nan, np.nan]], [[0, 0], [0, 0]]),
    ('32FC1', [[-3e38, 3e38], [0.0, np.nan]], [[1, 255], [128, 0]]),       # no overflow
])
@pytest.mark.parametrize('is_bigendian', [False, True])
def test_measured_values_are_stretched(
    encoding: str, values: list, expected: list, is_bigendian: bool
) -> None:
    samples = np.array(values, np.uint16 if encoding == '16UC1' else np.float32)
    decoded = decode_image(image_view(encoding, samples, padding=3, is_bigendian=is_bigendian))
    np.testing.assert_array_equal(decoded, np.stack([np.array(expected)] * 3, 2))


@pytest.mark.parametrize('is_bigendian', [False, True])
@pytest.mark.parametrize(('encoding', 'values', 'metres'), [
    ('16UC1', [[0, 1], [1500, 65535]], [[np.nan, 0.001], [1.5, 65.535]]),
    ('32FC1', [[np.nan, 0.25], [np.inf, -np.inf]], [[np.nan, 0.25], [np.inf, -np.inf]]),
])
def test_depth_in_metres(encoding: str, values: list, metres: list, is_bigendian: bool) -> None:
    samples = np.array(values, np.uint16 if encoding == '16UC1' else np.float32)
    depth = decode_depth(image_view(encoding, samples, padding=5, is_bigendian=is_bigendian))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, metres, rtol=1e-6)


def test_depth_of_a_picture_is_refused() -> None:
    with pytest.raises(PerceptionError, match="'rgb8'.*16UC1, 32FC1") as caught:
        decode_depth(image_view('rgb8', PICTURE))
    assert caught.value.status is Status.UNSUPPORTED_ENCODING


@pytest.mark.parametrize('encoding', ['rgb8', 'mono8', 'bayer_rggb8'])
def test_the_result_outlives_the_message(encoding: str) -> None:
    samples = PICTURE if encoding == 'rgb8' else GREY
    memory = bytearray(samples.tobytes())
    width = samples.shape[1]
    view = ImageView(STAMP, 'camera', HEIGHT, width, encoding, False, len(memory) // HEIGHT,
                     memoryview(memory).toreadonly())
    decoded = decode_image(view)
    before = decoded.copy()
    memory[:] = bytes(len(memory))
    np.testing.assert_array_equal(decoded, before)
    assert before.any()


def test_the_last_row_may_lack_its_padding() -> None:
    view = image_view('bgr8', PICTURE[..., ::-1], padding=8)
    cut = ImageView(STAMP, 'camera', HEIGHT, WIDTH, 'bgr8', False, view.step, view.data[:-8])
    np.testing.assert_array_equal(decode_image(cut), PICTURE)


@pytest.mark.parametrize(('encoding', 'width', 'height', 'step', 'length', 'status'), [
    ('rgb8', 4, 2, 12, 23, Status.BAD_IMAGE),               # one byte short
    ('rgb8', 4, 2, 11, 24, Status.BAD_IMAGE),               # rows overlap
    ('rgb8', 4, 2, 0, 24, Status.BAD_IMAGE),                # no step
    ('rgb8', 0, 2, 12, 24, Status.BAD_IMAGE),               # no width
    ('rgb8', 4, 0, 12, 24, Status.BAD_IMAGE),               # no height
    ('rgb8', 4, 2, 2**32 - 1, 24, Status.BAD_IMAGE),        # a step of 4 GB
    ('rgb8', 8000, 8001, 24000, 24, Status.IMAGE_TOO_LARGE),
    ('mono8', 2**32 - 1, 2**32 - 1, 2**32 - 1, 24, Status.IMAGE_TOO_LARGE),
    ('nonsense', 2**32 - 1, 2**32 - 1, 0, 0, Status.IMAGE_TOO_LARGE),
    ('16UC1', 4, 2, 8, 15, Status.BAD_IMAGE),               # half a sample short
    ('yuv422', 3, 2, 6, 12, Status.BAD_IMAGE),              # half a pair of pixels
    ('nv12', 4, 3, 4, 18, Status.BAD_IMAGE),                # half a row of colour
    ('nv12', 4, 2, 4, 11, Status.BAD_IMAGE),                # colour cut off
])
def test_wrong_images_are_refused(
    encoding: str, width: int, height: int, step: int, length: int, status: Status
) -> None:
    view = ImageView(
        STAMP, 'camera', height, width, encoding, False, step, memoryview(bytes(length)))
    with pytest.raises(PerceptionError) as caught:
        decode_image(view)
    assert caught.value.status is status
    assert '\n' not in caught.value.message


def test_the_limit_is_the_callers() -> None:
    view = image_view('rgb8', PICTURE)
    decode_image(view, max_pixels=HEIGHT * WIDTH)
    with pytest.raises(PerceptionError) as caught:
        decode_image(view, max_pixels=HEIGHT * WIDTH - 1)
    assert caught.value.status is Status.IMAGE_TOO_LARGE


@pytest.mark.parametrize('encoding', ['', 'RGB8', '64FC9', 'x' * 1000])
def test_unknown_encodings_are_named_with_those_known(encoding: str) -> None:
    with pytest.raises(PerceptionError) as caught:
        decode_image(image_view(encoding, PICTURE))
    assert caught.value.status is Status.UNSUPPORTED_ENCODING
    assert repr(encoding)[:40] in caught.value.message
    assert all(known in caught.value.message for known in ENCODINGS)
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize('encoding', ENCODINGS)
@pytest.mark.parametrize('size', [(1, 1), (2, 1), (1, 2), (2, 2), (3, 3), (5, 2)])
def test_the_smallest_images(encoding: str, size: tuple[int, int]) -> None:
    width, height = size
    layout = ENCODINGS[encoding]
    step = width * layout.pixel_bytes
    data = bytes([1] * (step * height * 2))
    view = ImageView(STAMP, '', height, width, encoding, False, step, memoryview(data))
    if width % layout.block[0] or height % layout.block[1]:
        with pytest.raises(PerceptionError):
            decode_image(view)
    else:
        assert decode_image(view).shape == (height, width, 3)


# What both peers convert to rgb8, too; 8UC3 and the like they do not take as colours.
SHARED = [
    'rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', 'mono16', 'rgb16', 'bgr16', 'yuv422', 'yuv422_yuy2',
    'bayer_rggb8', 'bayer_bggr8', 'bayer_gbrg8', 'bayer_grbg8',
]


@pytest.mark.parametrize('peer', ['cv_bridge', 'rosbags.image'])
@pytest.mark.parametrize('encoding', SHARED)
def test_agrees_with_peers(encoding: str, peer: str) -> None:
    try:
        module = importlib.import_module(peer)
    except ImportError as error:
        pytest.skip(f'NOT COMPARED with {peer}: {error}')
    layout = ENCODINGS[encoding]
    shape = (HEIGHT, WIDTH, layout.channels)
    rng = np.random.default_rng(3)
    limit = 256 if layout.sample == 'u1' else 65536
    noise = rng.integers(0, limit, shape).astype(layout.sample)
    view = image_view(encoding, noise[..., 0] if layout.channels == 1 else noise)
    message = SimpleNamespace(
        height=HEIGHT, width=WIDTH, encoding=encoding, is_bigendian=0, step=view.step,
        data=bytes(view.data))
    if peer == 'cv_bridge':
        expected = module.CvBridge().imgmsg_to_cv2(message, 'rgb8')
    else:
        expected = module.message_to_cvimage(message, 'rgb8')
    # Peers copy the border of a mosaic from its neighbours, and cut off where we round.
    inside = slice(1, -1) if encoding.startswith('bayer') else slice(None)
    atol = 1 if layout.sample == 'u2' else 0
    np.testing.assert_allclose(
        decode_image(view)[inside, inside].astype(int), expected[inside, inside], atol=atol)
