"""The values of one object while a language model is still writing it."""
from __future__ import annotations

import re
import sys
import unicodedata
from dataclasses import dataclass
from enum import Enum, auto

from vr_ros.core.json_tokens import Scalar
from vr_ros.core.types import ParsedObject

_FLOAT32_MAX = 3.4e38
_NUMBER = re.compile(r'[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?')
_KEY_NAME = re.compile(r'([A-Za-z0-9_]+)[\s"\'\\]*$')
_ESCAPE = re.compile(r'\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.)', re.DOTALL)
_ESCAPED = {'n': '\n', 'r': '\r', 't': '\t', 'b': '', 'f': ''}
_NULL = frozenset({'null', 'none'})


@dataclass(frozen=True)
class ParserLimits:
    """Bounds on what one answer may contain.

    :param max_objects: further objects are dropped and reported by `limit_reached`.
    :param max_depth: brackets nested deeper are skipped with all that is in them.
    :param max_label_chars: longer labels are cut.
    """

    max_objects: int = 300
    max_depth: int = 64
    max_label_chars: int = 256


class Role(Enum):
    """What a key's value stands for."""

    BOX = auto()
    POINT = auto()
    POINT_LIST = auto()
    LABEL = auto()


ROLES = {
    'bbox_2d': Role.BOX, 'bbox': Role.BOX, 'box_2d': Role.BOX, 'box': Role.BOX,
    'point_2d': Role.POINT, 'point': Role.POINT, 'points_1': Role.POINT,
    'points': Role.POINT_LIST, 'label': Role.LABEL,
}


def key_name(text: str) -> str:
    """Read the identifier that ends a text, lower-cased; a lost quote may put more before it."""
    match = _KEY_NAME.search(text[-64:])
    return match.group(1).lower() if match else ''


def _number(text: str) -> float | None:
    """Read a number, or None where the text is none or does not fit a float32."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if abs(value) <= _FLOAT32_MAX else None


def numbers_in(scalar: Scalar) -> list[float | None]:
    """Read the numbers of a scalar; a string may hold several; None is an unreadable one."""
    if scalar.text.lower() in _NULL:
        return []
    text = scalar.text.strip('"\' ')
    if not scalar.quoted:
        return [_number(text)]
    return [_number(part) for part in re.split(r'[\s,;\[\]()]+', text.strip('[]()'))]


def _readable_label(text: str, max_chars: int) -> str:
    def unescape(match: re.Match[str]) -> str:
        code = match.group(1)
        if len(code) == 1:
            return _ESCAPED.get(code, code)
        number = int(code[1:], 16)
        return chr(number) if number <= sys.maxunicode else '\ufffd'

    text = _ESCAPE.sub(unescape, text[:12 * max_chars])
    text = text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')
    text = ''.join(' ' if unicodedata.category(char) == 'Cc' else char for char in text)
    return text[:max_chars].strip()


class Draft:
    """The values of one object while it is being written."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.numbers: dict[Role, list[float | None]] = {}
        self.words: list[str] = []
        self.closed: set[Role] = set()

    def add(self, role: Role, scalar: Scalar) -> None:
        if role is Role.LABEL:
            if scalar.quoted or scalar.text.lower() not in _NULL:
                self.words.append(scalar.text)
            return
        self.numbers.setdefault(role, []).extend(numbers_in(scalar))

    def has(self, role: Role) -> bool:
        return role in self.closed or role in self.numbers

    def box(self) -> tuple[float, float, float, float] | None:
        numbers = self.numbers.get(Role.BOX, ()) if Role.BOX in self.closed else ()
        if len(numbers) != 4 or None in numbers:
            return None
        x0, y0, x1, y1 = numbers
        return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)

    def point(self) -> tuple[tuple[float, float] | None, bool]:
        """Read the point.

        :return: the point or None, and whether what was written as a point could be read.
        """
        numbers = self.numbers.get(Role.POINT, []) if Role.POINT in self.closed else []
        if not numbers and Role.POINT_LIST in self.closed:
            numbers = self.numbers.get(Role.POINT_LIST, [])[:2]
        if len(numbers) == 2 and None not in numbers:
            return (numbers[0], numbers[1]), True
        return None, not numbers

    def build(self, end: int, limits: ParserLimits) -> tuple[ParsedObject | None, bool]:
        """Make the object of what is closed so far.

        :param end: offset behind its last character.
        :return: the object, or None without a readable box; and whether all of it was readable.
        """
        box = self.box()
        if box is None:
            return None, False
        point, clean = self.point()
        centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        words = ' '.join(self.words) if Role.LABEL in self.closed else ''
        label = _readable_label(words, limits.max_label_chars)
        has_point = point is not None
        return ParsedObject(box, point or centre, has_point, label, (self.start, end)), clean
