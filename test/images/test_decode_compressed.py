"""JPEG and PNG pictures written by Pillow, decoded; broken, lying and unwanted ones refused."""
from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from decode_pictures import PICTURE, STAMP
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vr_ros.core.cdr import CompressedView
from vr_ros.core.types import PerceptionError, Size, Status
from vr_ros.images.decode import decode_compressed
from vr_ros.images.image_header import read_image_header

HEIGHT, WIDTH = PICTURE.shape[:2]
ERRORS = (Status.BAD_IMAGE, Status.IMAGE_TOO_LARGE, Status.UNSUPPORTED_ENCODING)


def view(content: bytes, format_text: str = 'jpeg') -> CompressedView:
    return CompressedView(STAMP, 'camera', format_text, memoryview(content))


def write(picture: Image.Image, codec: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, codec, **options)
    return file.getvalue()


def jpeg(**options: object) -> bytes:
    return write(Image.fromarray(PICTURE), 'JPEG', quality=97, subsampling=0, **options)


def png(picture: np.ndarray = PICTURE) -> bytes:
    return write(Image.fromarray(picture), 'PNG')


def png_of_sixteen_bits(samples: np.ndarray, colour: int) -> bytes:
    """Write a PNG by hand, which Pillow does not for colours of 16 bits.

    :param colour: type of the IHDR: 0 grey, 2 RGB.
    """
    rows = samples.astype('>u2').reshape(samples.shape[0], -1)
    content = b''.join(b'\0' + row.tobytes() for row in rows)
    header = struct.pack('>IIBBBBB', samples.shape[1], samples.shape[0], 16, colour, 0, 0, 0)
    chunks = ((b'IHDR', header), (b'IDAT', zlib.compress(content)), (b'IEND', b''))
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        for name, data in chunks)


@pytest.mark.parametrize('format_text', [
    'jpeg', 'jpg', 'JPEG', 'rgb8; jpeg compressed bgr8', 'bgr8; jpeg compressed bgr8',
    'bayer_rggb8; jpeg compressed bgr8', 'mono8; jpeg compressed mono8', 'rgb8;jpeg compressed',
    '',                                            # some drivers leave it empty
    'png',                                         # the data know better
])
@pytest.mark.parametrize('options', [
    {}, {'progressive': True}, {'optimize': True}, {'comment': b'\xff\xd9\xff\xc0' * 9},
])
def test_jpeg(format_text: str, options: dict) -> None:
    decoded = decode_compressed(view(jpeg(**options), format_text))
    assert decoded.dtype == np.uint8 and decoded.flags.c_contiguous and decoded.flags.writeable
    np.testing.assert_allclose(decoded.astype(int), PICTURE, atol=4)


@pytest.mark.parametrize('format_text', ['png', 'rgb8; png compressed bgr8', 'jpeg', 'PNG'])
def test_png_without_loss(format_text: str) -> None:
    np.testing.assert_array_equal(decode_compressed(view(png(), format_text)), PICTURE)


def test_red_and_blue_that_were_swapped_when_written_are_swapped_back() -> None:
    # Pixels in RGB order, given to an encoder that expects BGR.
    content = png(PICTURE[..., ::-1])
    decoded = decode_compressed(view(content, 'rgb8; png compressed rgb8'))
    np.testing.assert_array_equal(decoded, PICTURE)


@pytest.mark.parametrize(('picture', 'expected'), [
    (Image.fromarray(PICTURE[..., 0]), np.stack([PICTURE[..., 0]] * 3, 2)),              # grey
    (Image.fromarray(np.dstack((PICTURE, PICTURE[..., 0]))), PICTURE),                   # alpha
    (Image.fromarray(PICTURE // 128 * 255).quantize(8), PICTURE // 128 * 255),           # palette
    (Image.fromarray(PICTURE[..., 0] > 90),
     np.stack([(PICTURE[..., 0] > 90) * 255] * 3, 2)),                                   # one bit
])
def test_kinds_of_png(picture: Image.Image, expected: np.ndarray) -> None:
    decoded = decode_compressed(view(write(picture, 'PNG'), 'png'))
    np.testing.assert_array_equal(decoded, expected)


def test_grey_jpeg() -> None:
    content = write(Image.fromarray(PICTURE[..., 2]), 'JPEG', quality=97)
    decoded = decode_compressed(view(content))
    np.testing.assert_allclose(decoded.astype(int), np.stack([PICTURE[..., 2]] * 3, 2), atol=3)


def test_sixteen_bit_colours_are_reduced() -> None:
    content = png_of_sixteen_bits(PICTURE.astype(np.uint16) * 257, colour=2)
    np.testing.assert_array_equal(decode_compressed(view(content, 'png')), PICTURE)


@pytest.mark.parametrize('format_text', [
    'png', '16UC1; png compressed ', '16UC1; png compressed 16UC1', 'depth mono16'])
def test_sixteen_bit_grey_is_depth(format_text: str) -> None:
    content = png_of_sixteen_bits(PICTURE[..., 0].astype(np.uint16) * 257, colour=0)
    with pytest.raises(PerceptionError, match='depth') as caught:
        decode_compressed(view(content, format_text))
    assert caught.value.status is Status.UNSUPPORTED_ENCODING


def test_sixteen_bit_grey_is_a_picture_where_the_message_says_so() -> None:
    content = png_of_sixteen_bits(PICTURE[..., 0].astype(np.uint16) * 257, colour=0)
    decoded = decode_compressed(view(content, 'mono16; png compressed mono16'))
    np.testing.assert_array_equal(decoded, np.stack([PICTURE[..., 0]] * 3, 2))


def test_pixels_stay_where_they_are_stored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6      # orientation: to be shown turned by 90 degrees
    decoded = decode_compressed(view(jpeg(exif=exif)))
    np.testing.assert_allclose(decoded.astype(int), PICTURE, atol=4)


def test_bytes_behind_the_end_are_ignored() -> None:
    decoded = decode_compressed(view(jpeg() + bytes(300)))      # USB cameras pad their buffers
    np.testing.assert_allclose(decoded.astype(int), PICTURE, atol=4)


@pytest.mark.parametrize('content', [jpeg(), jpeg(progressive=True), png()])
def test_cut_off_anywhere_is_an_error(content: bytes) -> None:
    end = len(content) - (8 if content.startswith(b'\x89PNG') else 0)
    for length in range(3, end):
        with pytest.raises(PerceptionError) as caught:
            decode_compressed(view(content[:length]))
        assert caught.value.status is Status.BAD_IMAGE, length


def test_a_thumbnail_does_not_hide_that_a_picture_is_cut_off() -> None:
    exif = Image.Exif()
    exif[0x9286] = jpeg()      # a whole JPEG picture with its own end, in a comment
    content = jpeg(exif=exif)
    decode_compressed(view(content))
    with pytest.raises(PerceptionError, match='cut off'):
        read_image_header(content[:-2])


@pytest.mark.parametrize('length', [8, 30, 60, len(png()) - 8])
def test_png_headers_are_not_trusted_without_the_end(length: int) -> None:
    with pytest.raises(PerceptionError, match='cut off'):
        read_image_header(png()[:length])


def test_tables_in_front_of_the_frame_are_not_taken_for_it() -> None:
    content = jpeg()
    frame, tables = content.index(b'\xff\xc0'), content.index(b'\xff\xc4')
    scan = content.index(b'\xff\xda')
    assert frame < tables < scan
    moved = content[:frame] + content[tables:scan] + content[frame:tables] + content[scan:]
    np.testing.assert_array_equal(
        decode_compressed(view(moved)), decode_compressed(view(content)))


def claiming_png(width: int, height: int) -> bytes:
    header = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return png()[:12] + header + struct.pack('>I', zlib.crc32(header)) + png()[33:]


def claiming_jpeg(width: int, height: int) -> bytes:
    content = jpeg()
    start = content.index(b'\xff\xc0') + 5
    return content[:start] + struct.pack('>HH', height, width) + content[start + 4:]


@pytest.mark.parametrize(('content', 'status'), [
    (claiming_png(60000, 60000), Status.IMAGE_TOO_LARGE),
    (claiming_jpeg(65535, 65535), Status.IMAGE_TOO_LARGE),
    (claiming_png(2**31 - 1, 2**31 - 1), Status.IMAGE_TOO_LARGE),
    (claiming_png(0, 10), Status.BAD_IMAGE),
    (claiming_jpeg(10, 0), Status.BAD_IMAGE),
    (claiming_png(3000, 3000), Status.BAD_IMAGE),       # within the limit, but not there
])
def test_pictures_that_claim_a_size(content: bytes, status: Status) -> None:
    with pytest.raises(PerceptionError) as caught:
        decode_compressed(view(content))
    assert caught.value.status is status


def test_the_limit_is_the_callers() -> None:
    assert decode_compressed(view(png()), max_pixels=HEIGHT * WIDTH).shape == PICTURE.shape
    with pytest.raises(PerceptionError) as caught:
        decode_compressed(view(png()), max_pixels=HEIGHT * WIDTH - 1)
    assert caught.value.status is Status.IMAGE_TOO_LARGE


@pytest.mark.parametrize(('content', 'format_text', 'status'), [
    (b'', 'jpeg', Status.BAD_IMAGE),                                             # nothing
    (b'GIF89a' + bytes(50), 'jpeg', Status.BAD_IMAGE),                           # something else
    (b'\0\0\0\1\x67' + bytes(50), 'h264', Status.UNSUPPORTED_ENCODING),          # a video
    (bytes(12) + png(), '16UC1; compressedDepth png', Status.UNSUPPORTED_ENCODING),
    (b'\xff\xd8\xff', 'jpeg', Status.BAD_IMAGE),                                 # three bytes
    (b'\xff\xd8\xff\xd9', 'jpeg', Status.BAD_IMAGE),                             # an empty JPEG
    (b'\xff\xd8\xff\xc0\0\1', 'jpeg', Status.BAD_IMAGE),                         # length below 2
    (b'\xff\xd8\xff\xc0\0\4\1\1' + bytes(9), 'jpeg', Status.BAD_IMAGE),          # frame too short
    (b'\x89PNG\r\n\x1a\n' + bytes(40), 'png', Status.BAD_IMAGE),                 # no header chunk
])
def test_other_data_are_refused(content: bytes, format_text: str, status: Status) -> None:
    with pytest.raises(PerceptionError) as caught:
        decode_compressed(view(content, format_text))
    assert caught.value.status is status
    assert '\n' not in caught.value.message


@pytest.mark.parametrize(('content', 'codec', 'bits', 'channels'), [
    (jpeg(), 'jpeg', 8, 3),
    (jpeg(progressive=True), 'jpeg', 8, 3),
    (write(Image.fromarray(PICTURE[..., 0]), 'JPEG'), 'jpeg', 8, 1),
    (write(Image.fromarray(PICTURE).convert('CMYK'), 'JPEG'), 'jpeg', 8, 4),
    (png(), 'png', 8, 3),
    (png(PICTURE[..., 0]), 'png', 8, 1),
    (png_of_sixteen_bits(PICTURE[..., 0], colour=0), 'png', 16, 1),
])
def test_headers(content: bytes, codec: str, bits: int, channels: int) -> None:
    header = read_image_header(content)
    assert header is not None and header.size == Size(WIDTH, HEIGHT)
    assert (header.codec, header.bits, header.channels) == (codec, bits, channels)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from((jpeg(), jpeg(progressive=True), png())), st.data())
def test_damaged_pictures_give_a_picture_or_a_named_error(
    content: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_compressed(view(bytes(damaged)), max_pixels=10_000)
    except PerceptionError as error:
        assert error.status in ERRORS
    else:
        assert decoded.ndim == 3 and decoded.shape[2] == 3 and decoded.size <= 30_000
