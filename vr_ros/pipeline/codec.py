"""Frozen dataclasses to JSON and back, checked field by field against their annotations.

Masks leave the JSON: their run lengths are little-endian uint32 in the binary payload, in the order
in which they are met.
"""
from __future__ import annotations

import array
import operator
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any

from vr_ros.core.types import Mask, Size
from vr_ros.pipeline.wire import ProtocolError

_RUN_BYTES = 4


class PayloadReader:
    """Hands out a payload piece by piece, in the order in which it was written."""

    def __init__(self, payload: bytes) -> None:
        self._rest = memoryview(payload)

    def take(self, length: int) -> memoryview:
        """:raises ProtocolError: fewer than length bytes are left."""
        if not 0 <= length <= len(self._rest):
            raise ProtocolError(f'payload ends {length - len(self._rest)} bytes early')
        piece, self._rest = self._rest[:length], self._rest[length:]
        return piece

    def finish(self) -> None:
        """:raises ProtocolError: something is left over."""
        if self._rest:
            raise ProtocolError(f'{len(self._rest)} bytes of payload are left over')


@dataclass(frozen=True)
class Codec:
    """How one type goes to JSON (and payload) and back. Both raise ProtocolError."""

    encode: Callable[[Any, bytearray], Any]
    decode: Callable[[Any, PayloadReader], Any]


@cache
def codec_of(kind: Any) -> Codec:
    """Return the codec of a scalar, enumeration, dataclass, tuple, or an optional of these.

    :raises TypeError: the type cannot travel.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind is Mask:
        return Codec(_encode_mask, _decode_mask)
    if origin is dict:
        return Codec(_encode_dict, _decode_dict)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return _sequence_codec(codec_of(arguments[0]))
        return _fixed_tuple_codec([codec_of(argument) for argument in arguments])
    if origin in (types.UnionType, typing.Union) and type(None) in arguments:
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _optional_codec(codec_of(inner))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_codec(kind)
    if is_dataclass(kind):
        return _record_codec(kind)
    raise TypeError(f'{kind} cannot travel between node and worker')


def _expect(condition: bool, value: Any, wanted: str) -> None:
    if not condition:
        raise ProtocolError(f'expected {wanted}, got {value!r:.60}')


def _encode_int(value: Any, _: bytearray) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ProtocolError(f'expected an integer, got {value!r:.60}') from None


def _decode_int(value: Any, _: PayloadReader) -> int:
    _expect(isinstance(value, int) and not isinstance(value, bool), value, 'an integer')
    return value


def _encode_float(value: Any, _: bytearray) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ProtocolError(f'expected a number, got {value!r:.60}') from None


def _decode_float(value: Any, _: PayloadReader) -> float:
    _expect(isinstance(value, int | float) and not isinstance(value, bool), value, 'a number')
    return _encode_float(value, bytearray())


def _encode_bool(value: Any, _: bytearray) -> bool:
    _expect(type(value).__name__ in ('bool', 'bool_'), value, 'true or false')
    return bool(value)


def _decode_bool(value: Any, _: PayloadReader) -> bool:
    _expect(isinstance(value, bool), value, 'true or false')
    return value


def _text(value: Any, _: bytearray | PayloadReader) -> str:
    _expect(isinstance(value, str), value, 'text')
    return str(value)


def _encode_dict(value: Any, _: bytearray) -> dict[str, Any]:
    _expect(isinstance(value, dict) and all(isinstance(key, str) for key in value), value, 'a dict')
    return value


def _decode_dict(value: Any, _: PayloadReader) -> dict[str, Any]:
    _expect(isinstance(value, dict), value, 'a dict')
    return value


_SCALARS: dict[Any, Codec] = {
    int: Codec(_encode_int, _decode_int),
    float: Codec(_encode_float, _decode_float),
    bool: Codec(_encode_bool, _decode_bool),
    str: Codec(_text, _text),
}


def _enum_codec(kind: type[Enum]) -> Codec:
    def encode(value: Any, _: bytearray) -> Any:
        _expect(isinstance(value, kind), value, kind.__name__)
        return value.value

    def decode(value: Any, _: PayloadReader) -> Any:
        try:
            return kind(value)
        except ValueError:
            raise ProtocolError(f'{value!r:.60} is no {kind.__name__}') from None

    return Codec(encode, decode)


def _optional_codec(inner: Codec) -> Codec:
    return Codec(lambda value, out: None if value is None else inner.encode(value, out),
                 lambda value, rest: None if value is None else inner.decode(value, rest))


def _sequence_codec(item: Codec) -> Codec:
    def encode(values: Any, out: bytearray) -> list[Any]:
        _expect(isinstance(values, tuple | list), values, 'a sequence')
        return [item.encode(value, out) for value in values]

    def decode(values: Any, rest: PayloadReader) -> tuple[Any, ...]:
        _expect(isinstance(values, list), values, 'a list')
        return tuple(item.decode(value, rest) for value in values)

    return Codec(encode, decode)


def _fixed_tuple_codec(items: list[Codec]) -> Codec:
    def encode(values: Any, out: bytearray) -> list[Any]:
        _expect(hasattr(values, '__len__') and len(values) == len(items), values,
                f'{len(items)} values')
        return [item.encode(value, out) for item, value in zip(items, values, strict=True)]

    def decode(values: Any, rest: PayloadReader) -> tuple[Any, ...]:
        _expect(isinstance(values, list) and len(values) == len(items), values,
                f'{len(items)} values')
        return tuple(item.decode(value, rest) for item, value in zip(items, values, strict=True))

    return Codec(encode, decode)


def _record_codec(kind: type[Any]) -> Codec:
    hints = typing.get_type_hints(kind)
    codecs = {field.name: codec_of(hints[field.name]) for field in fields(kind)}

    def encode(value: Any, out: bytearray) -> dict[str, Any]:
        _expect(isinstance(value, kind), value, kind.__name__)
        return {name: codec.encode(getattr(value, name), out) for name, codec in codecs.items()}

    def decode(value: Any, rest: PayloadReader) -> Any:
        _expect(isinstance(value, dict) and value.keys() == codecs.keys(), value,
                f'the fields of {kind.__name__}')
        return kind(**{name: codec.decode(value[name], rest) for name, codec in codecs.items()})

    return Codec(encode, decode)


def _encode_mask(mask: Any, out: bytearray) -> list[int]:
    _expect(isinstance(mask, Mask), mask, 'Mask')
    try:
        runs = array.array('I', mask.counts)
        width, height = operator.index(mask.size.width), operator.index(mask.size.height)
    except (TypeError, OverflowError) as error:
        raise ProtocolError(f'run lengths are not unsigned 32-bit integers: {error}') from None
    _check_runs(runs, width, height)
    out += _little_endian(runs).tobytes()
    return [width, height, len(runs)]


def _decode_mask(value: Any, rest: PayloadReader) -> Mask:
    width, height, length = _MASK_HEAD.decode(value, rest)
    _expect(min(width, height, length) >= 0, value, 'width, height and run count')
    runs = array.array('I', rest.take(_RUN_BYTES * length).tobytes())
    runs = _little_endian(runs)
    _check_runs(runs, width, height)
    return Mask(Size(width, height), tuple(runs))


_MASK_HEAD = _fixed_tuple_codec([_SCALARS[int]] * 3)


def _check_runs(runs: array.array[int], width: int, height: int) -> None:
    if sum(runs) != width * height:
        raise ProtocolError(f'run lengths add up to {sum(runs)}, not to {width} x {height} pixels')


def _little_endian(runs: array.array[int]) -> array.array[int]:
    if sys.byteorder == 'big':
        runs.byteswap()
    return runs
