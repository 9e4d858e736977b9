"""What is fuzzed: readers of bytes and texts from outside, what they are fed, what must hold.

A target returns for everything it can read, and for everything else raises the one error that its
docstring names. Anything else that it raises, and any result that is not sound, is a finding.
"""
from __future__ import annotations

import math
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from hypothesis import strategies as st

from vr_ros.core.answer import AnswerParser, ParserLimits, parse_answer
from vr_ros.core.cdr import (
    parse_camera_info,
    parse_compressed_image,
    parse_header,
    parse_image,
)
from vr_ros.core.types import PerceptionError, Size, Status
from vr_ros.images.decode import decode_compressed, decode_depth, decode_image
from vr_ros.images.decode_depth_compressed import decode_compressed_depth
from vr_ros.images.encodings import ENCODINGS
from vr_ros.images.image_header import read_image_header
from vr_ros.models.card import read_card
from vr_ros.pipeline import protocol
from vr_ros.pipeline.camera_model import DISTORTION_MODELS, CameraModel
from vr_ros.pipeline.wire import Packet, ProtocolError

CARDS = Path(__file__).parents[1] / 'config' / 'models'
# Small, so that a fuzzer on a small machine can reach the limit and never the machine's own.
MAX_PIXELS = 1 << 20
BAD_PICTURE = {Status.BAD_IMAGE, Status.IMAGE_TOO_LARGE, Status.UNSUPPORTED_ENCODING}


@dataclass(frozen=True)
class Target:
    """One reader.

    :param inputs: a hypothesis strategy.
    :param check: raises AssertionError, or whatever the reader raised, for a finding.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    check: Callable[[Any], None]


def cdr(fields: bytes, little: bool = True) -> bytes:
    return bytes((0, int(little), 0, 0)) + fields


def _string(text: bytes) -> bytes:
    text += b'\0'
    return struct.pack('<I', len(text)) + text + b'\0' * (-len(text) % 4)


def _image_message(width: int, height: int, encoding: str, step: int, data: bytes) -> bytes:
    fields = struct.pack('<iI', 1, 2) + _string(b'camera')
    fields += struct.pack('<II', height & 0xffffffff, width & 0xffffffff)
    text = encoding.encode()
    fields += struct.pack('<I', len(text) + 1) + text + b'\0' + b'\0'
    fields += b'\0' * (-len(fields) % 4) + struct.pack('<II', step & 0xffffffff, len(data)) + data
    return cdr(fields)


def _compressed_message(form: bytes, data: bytes) -> bytes:
    fields = struct.pack('<iI', 1, 2) + _string(b'camera') + _string(form)
    return cdr(fields + struct.pack('<I', len(data)) + data)


def _pictures() -> list[bytes]:
    """Encode small pictures in every way that is accepted."""
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (9, 13, 3), np.uint8)
    kinds = [('.jpg', colour, []), ('.jpg', colour[..., 0], []),
             ('.jpg', colour, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]), ('.png', colour, []),
             ('.png', colour[..., 0], []), ('.png', colour.astype(np.uint16) * 257, []),
             ('.png', np.dstack([colour, colour[..., :1]]), []), ('.bmp', colour, [])]
    return [bytes(cv2.imencode(suffix, pixels, options)[1]) for suffix, pixels, options in kinds]


@st.composite
def damaged(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """Change, cut, repeat and insert bytes."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.sampled_from(('set', 'number', 'cut', 'insert', 'repeat', 'remove')))
        if kind == 'set' and data:
            data[at] = draw(st.integers(0, 255))
        elif kind == 'number':
            value = draw(st.sampled_from((0, 1, 0x7fff, 0xffff, 2**31 - 1, 2**31, 2**32 - 1)))
            size = draw(st.sampled_from((2, 4)))
            data[at:at + size] = (value & (256**size - 1)).to_bytes(
                size, draw(st.sampled_from(('little', 'big'))))
        elif kind == 'cut':
            del data[at:]
        elif kind == 'insert':
            data[at:at] = draw(st.binary(max_size=16))
        elif kind == 'repeat':
            data[at:at] = data[at:at + draw(st.integers(1, 64))]
        else:
            del data[at:at + draw(st.integers(1, 16))]
    return bytes(data)


IMAGES = st.builds(
    _image_message, st.integers(0, 20) | st.integers(0, 2**32 - 1),
    st.integers(0, 20) | st.integers(0, 2**32 - 1),
    st.sampled_from([*ENCODINGS, 'holographic', '']), st.integers(0, 200) | st.integers(0, 2**32),
    st.binary(max_size=900) | st.integers(0, 4000).map(bytes))
COMPRESSED = st.builds(
    _compressed_message,
    st.sampled_from([b'jpeg', b'png', b'rgb8; jpeg compressed bgr8', b'mono16; png compressed ',
                     b'16UC1; compressedDepth', b'\xff', b'']),
    damaged(st.sampled_from(_pictures())) | st.binary(max_size=200))


def check_picture(data: bytes) -> None:
    """Read one message as every kind there is."""
    for read in (parse_header, parse_image, parse_compressed_image):
        _named(read, data, {Status.BAD_IMAGE})
    _named(read_image_header, data, {Status.BAD_IMAGE})
    view = _named(parse_image, data, {Status.BAD_IMAGE})
    picture = _named(lambda d: decode_image(d, MAX_PIXELS), data, BAD_PICTURE)
    if picture is not None:
        assert view is not None and picture.shape == (view.height, view.width, 3)
        assert picture.dtype == np.uint8
    depth = _named(lambda d: decode_depth(d, MAX_PIXELS), data, BAD_PICTURE)
    assert depth is None or (depth.ndim == 2 and depth.dtype == np.float32)
    picture = _named(lambda d: decode_compressed(d, MAX_PIXELS), data, BAD_PICTURE)
    if picture is not None:
        assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8
        assert picture.shape[0] * picture.shape[1] <= MAX_PIXELS


def _nibbles(numbers: list[int]) -> bytes:
    """Write numbers as RVL does, be they runs or not."""
    digits = ''
    for number in numbers:
        while number > 7:
            digits += f'{8 + number % 8:x}'
            number //= 8
        digits += f'{number:x}'
    digits += '0' * (-len(digits) % 8)
    return b''.join(struct.pack('<I', int(digits[at:at + 8], 16))
                    for at in range(0, len(digits), 8))


def _run_code(width: int, height: int, numbers: list[int]) -> bytes:
    return struct.pack('<II', width & 0xffffffff, height & 0xffffffff) + _nibbles(numbers)


@st.composite
def _runs(draw: st.DrawFn) -> bytes:
    """Write an RVL picture whose runs fill it, or nearly."""
    width, height = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    numbers, left = [], width * height
    while left > 0:
        zeros = draw(st.integers(0, left))
        measured = draw(st.integers(0, left - zeros))
        numbers += [zeros, measured, *draw(st.lists(
            st.integers(0, 40), min_size=measured, max_size=measured))]
        left -= zeros + measured + draw(st.sampled_from((0, 0, 0, 0, 1)))
    return _run_code(width, height, numbers)


_CODES = _runs() | st.builds(
    _run_code, st.integers(0, 20) | st.integers(0, 2**32 - 1),
    st.integers(0, 20) | st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 30) | st.integers(0, 2**36), max_size=60))
_DEPTH_PNG = bytes(cv2.imencode('.png', np.arange(60, dtype=np.uint16).reshape(6, 10) * 999)[1])
_PARAMETERS = st.builds(
    lambda a, b: struct.pack('<iff', 0, a, b), st.just(10100.0) | st.floats(width=32),
    st.just(-1009.0) | st.floats(width=32))
COMPRESSED_DEPTH = st.builds(
    lambda form, parameters, data: _compressed_message(form, parameters + data),
    st.sampled_from([b'16UC1; compressedDepth rvl', b'32FC1; compressedDepth rvl',
                     b'16UC1; compressedDepth png', b'32FC1; compressedDepth',
                     b'64FC1; compressedDepth rvl', b'16UC1; png compressed ', b';;', b'']),
    _PARAMETERS | st.binary(max_size=12),
    _CODES | damaged(_CODES) | damaged(st.just(_DEPTH_PNG)))


def check_compressed_depth(data: bytes) -> None:
    """Read one message as compressed depth."""
    depth = _named(lambda d: decode_compressed_depth(d, MAX_PIXELS), data, BAD_PICTURE)
    if depth is not None:
        assert depth.ndim == 2 and depth.dtype == np.float32 and depth.size <= MAX_PIXELS
        assert not (depth <= 0).any()


def _info_message(
    size: tuple[int, int], model: bytes, numbers: list[float], count: int, binning: tuple[int, int],
    region: tuple[int, int, int, int],
) -> bytes:
    fields = struct.pack('<iI', 1, 2) + _string(b'camera') + struct.pack('<II', *size)
    fields += _string(model) + struct.pack('<I', count & 0xffffffff)
    fields += b'\0' * (-len(fields) % 8)
    fields += struct.pack(f'<{len(numbers)}d', *numbers)
    return cdr(fields + struct.pack('<IIIIII', *binning, *region) + b'\0')


_NUMBER = st.sampled_from((0.0, 1.0, -0.2, 60.0, 31.5)) | st.floats()
_PIXELS = st.integers(0, 64) | st.integers(0, 2**32 - 1)


@st.composite
def _infos(draw: st.DrawFn) -> bytes:
    """Write a camera_info, calibrated or not, of a lens that exists or not."""
    model = draw(st.sampled_from([*DISTORTION_MODELS, '', 'unheard of']))
    count = draw(st.sampled_from([0, *DISTORTION_MODELS.get(model, (3,))]))
    matrix = [60.0, 0.0, 31.5, 0.0, 60.0, 23.5, 0.0, 0.0, 1.0]
    projection = [60.0, 0.0, 31.5, 0.0, 0.0, 60.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    numbers = [*draw(st.lists(st.floats(-1, 1) | _NUMBER, min_size=count, max_size=count)),
               *matrix, *([0.0] * 9), *projection]
    for _ in range(draw(st.integers(0, 3))):
        numbers[draw(st.integers(0, len(numbers) - 1))] = draw(_NUMBER)
    size = draw(st.just((64, 48)) | st.tuples(_PIXELS, _PIXELS))
    return _info_message(
        size, model.encode(), numbers, draw(st.sampled_from((count, count, count, 2**32 - 1))),
        draw(st.tuples(*2 * [st.integers(0, 4)])),
        draw(st.just((0, 0, 0, 0)) | st.tuples(*4 * [_PIXELS])))


def check_camera_info(data: bytes) -> None:
    """Read one message as camera_info, and look through the camera in both ways."""
    info = _named(parse_camera_info, data, {Status.BAD_IMAGE})
    for rectified in (False, True) if info is not None else ():
        try:
            model = CameraModel.from_info(info, rectified)
        except ValueError as error:
            assert str(error) and '\n' not in str(error) and len(str(error)) < 4000
            continue
        assert model.size.width > 0 and model.size.height > 0
        small = model.scaled_to(Size(8, 6))
        rays = small.rays()
        assert rays.shape == (6, 8, 2) and not np.isinf(rays).any()
        assert small.project(np.array([[0.1, -0.1, 1.0]])).shape == (1, 2)


def _named(read: Callable[[Any], Any], data: Any, allowed: set[Status]) -> Any:
    """Return what is read, or None after a named error of one line."""
    try:
        return read(data)
    except PerceptionError as error:
        assert error.status in allowed, f'{error.status!r}: {error.message}'
        assert error.message and '\n' not in error.message, repr(error.message)
        assert len(error.message) < 4000, f'{len(error.message)} characters of error'
        return None


_WORDS = ('~', '~nobody-of-that-name', '.', '..', '/', '\0', '*a', '&a [*a, *a]', '!!python/object',
          '!!python/object/apply:os.system [id]', '{{{', '[[[', '- ', '? ', ': ', '2001-13-41',
          '.nan', '.inf', '1e400', '9' * 5000, '0x', 'null', 'true', '"\\n"', "'", '"', '|', '>',
          '\t', '\u2028', '\ud800', '<<: *a', '%YAML 9.9', '---', '...', '!!binary "*"',
          '1:60:60', '{}', '[]')
_CARD_TEXTS = [path.read_text(encoding='utf-8') for path in sorted(CARDS.glob('*.yaml'))]


@st.composite
def cards(draw: st.DrawFn) -> bytes:
    """Change lines and values of cards that are shipped."""
    lines = draw(st.sampled_from(_CARD_TEXTS)).splitlines()
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(lines) - 1))
        word = draw(st.sampled_from(_WORDS) | st.text(max_size=8))
        key, colon, _ = lines[at].partition(':')
        kind = draw(st.sampled_from(('value', 'line', 'remove', 'nest', 'indent', 'key')))
        if kind == 'value':
            lines[at] = f'{key}{colon} {word}'
        elif kind == 'line':
            lines.insert(at, word)
        elif kind == 'remove' and len(lines) > 1:
            del lines[at]
        elif kind == 'nest':
            lines[at] = f'{key}{colon} ' + draw(st.sampled_from('[{')) * draw(
                st.sampled_from((1, 50, 2000)))
        elif kind == 'indent':
            lines[at] = ' ' * draw(st.integers(0, 6)) + lines[at].lstrip()
        else:
            lines[at] = f'{key}{word}{colon} 1'
    return '\n'.join(lines).encode('utf-8', 'surrogatepass')


def check_card(content: bytes) -> None:
    """Read a file as a model card; no code in it is run, and no file is opened."""
    with tempfile.NamedTemporaryFile(suffix='.yaml') as file:
        file.write(content)
        file.flush()
        _named(read_card, Path(file.name), {Status.MODEL_UNAVAILABLE})


_ANSWERS = st.lists(st.sampled_from((
    '<think>', '</think>', '<answer>', '</answer>', '<', '[', ']', '{', '}', '(', '},{', ',', ':',
    '```json\n', '"', "'", '\\', '\\ud800', '"bbox_2d": [', '[1,2,3,4]', '"point_2d": [5,6]',
    '{"bbox_2d": [1,2,3,4], "point_2d": [2,3], "label": "cup"},', '1e400', 'NaN', '-Infinity',
    '9' * 400, '\x00', '\ud800', '\u2028', '<|im_end|>', ' ')) | st.text(max_size=5),
    max_size=60).map(''.join)


def check_answer(text: str) -> None:
    """Read a text as the answer of a model, at once and in pieces."""
    whole = parse_answer(text)
    limits = ParserLimits()
    assert len(whole.objects) <= limits.max_objects
    for found in whole.objects:
        x_min, y_min, x_max, y_max = found.box
        assert all(map(math.isfinite, (*found.box, *found.point)))
        assert x_min <= x_max and y_min <= y_max
        assert 0 <= found.span[0] <= found.span[1] <= len(text)
    parser = AnswerParser()
    for start in range(0, len(text), 7):
        parser.feed(text[start:start + 7])
    assert parser.finish() == whole


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(('status', 'detections', 'request_id', 'text', 'box', 'mask', 'size')),
        inner, max_size=4), max_leaves=12)
_RECORDS = {kind: protocol.to_packet(message) for kind, message in {
    'Text': protocol.Text(1, 'cup'), 'Started': protocol.Started(1),
    'Heartbeat': protocol.Heartbeat(1), 'Cancel': protocol.Cancel(1),
    'Load': protocol.Load('sim_tiny', {})}.items()}


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    """Put something wrong into a header that is right."""
    kind = draw(st.sampled_from(sorted(protocol._TYPES)))
    known = _RECORDS.get(kind)
    body = dict(known.header['body']) if known is not None else draw(_JSON)
    if isinstance(body, dict) and body:
        body[draw(st.sampled_from(sorted(body)))] = draw(_JSON)
    header = {'type': kind, 'body': body} if draw(st.booleans()) else draw(_JSON)
    return Packet(header if isinstance(header, dict) else {'type': header},
                  draw(st.binary(max_size=40)))


def check_packet(packet: Packet) -> None:
    """Read a packet as a message between node and worker."""
    try:
        message = protocol.from_packet(packet)
    except ProtocolError:
        return
    assert protocol.to_packet(message).payload == packet.payload


TARGETS = (
    Target('image messages', damaged(IMAGES), check_picture),
    Target('compressed image messages', COMPRESSED | damaged(COMPRESSED), check_picture),
    Target('compressed depth messages', COMPRESSED_DEPTH | damaged(COMPRESSED_DEPTH),
           check_compressed_depth),
    Target('camera_info messages', _infos() | damaged(_infos()), check_camera_info),
    Target('model cards', cards() | st.binary(max_size=300), check_card),
    Target('answers of models', _ANSWERS, check_answer),
    Target('packets between node and worker', packets(), check_packet),
)
