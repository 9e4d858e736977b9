"""Read a YAML mapping strictly: every mistake is one line that names the file and the key."""
from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from vr_ros.core.spelling import nearest
from vr_ros.core.types import PerceptionError, Status

T = TypeVar('T')

# A card is a page of text; what is a thousand times that is something else.
MAX_FILE_BYTES = 1 << 20
MAX_PROBLEM_CHARS = 600

TYPE_NAMES = {str: 'a text', int: 'a whole number', float: 'a number', list: 'a list',
              dict: 'a mapping'}


def suggestion(word: str, known: list[str]) -> str:
    """Say which known word may have been meant.

    :return: ' (nearest: "…")', or '' when none is close.
    """
    match = nearest(word, known)
    return f' (nearest: "{match}")' if match else ''


def _shorten(line: str) -> str:
    """Keep both ends: what was wrong stands in front, what would be right at the end."""
    if len(line) <= MAX_PROBLEM_CHARS:
        return line
    half = MAX_PROBLEM_CHARS // 2
    return f'{line[:half]} … {line[-half:]}'


class Section:
    """One mapping of a YAML file: its keys are taken one by one; a key that is left is a mistake.

    :param values: the mapping itself.
    :param path: the file.
    :param where: the keys that lead here, such as 'reasoner.image'.
    """

    def __init__(self, values: object, path: Path, where: str = '') -> None:
        self.path = path
        self.where = where
        if not isinstance(values, dict):
            self.fail('', f'expected a mapping, got {values!r}')
        self._values: dict[Any, object] = dict(values)
        self._known: dict[str, None] = {}  # in the order in which they were asked for

    @classmethod
    def read(cls, path: Path) -> Section:
        """Open a YAML file.

        :raises PerceptionError: MODEL_UNAVAILABLE when it cannot be read or is no YAML mapping.
        """
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ValueError(f'it has more than {MAX_FILE_BYTES} bytes')
            values = yaml.safe_load(path.read_text(encoding='utf-8'))
        # Beside its own errors the parser lets through those of the values it makes: a date in a
        # thirteenth month, a number of five thousand digits, lists a thousand deep.
        except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
            reason = _shorten(' '.join(str(error).split()))
            raise PerceptionError(
                Status.MODEL_UNAVAILABLE, f'{path}: cannot be read: {reason}'
            ) from error
        return cls(values, path)

    def key(self, name: str) -> str:
        return f'{self.where}.{name}' if self.where and name else self.where + name

    def fail(self, name: str, problem: str) -> NoReturn:
        """:raises PerceptionError: always: MODEL_UNAVAILABLE, naming file, key and problem."""
        key = self.key(name)
        where = f'{self.path}: {key}' if key else str(self.path)
        line = _shorten(' '.join(problem.split()))
        raise PerceptionError(Status.MODEL_UNAVAILABLE, f'{where}: {line}')

    def has(self, name: str) -> bool:
        return self.peek(name) is not None

    def peek(self, name: str) -> object:
        """:return: a value that is left to be taken; its key counts as known."""
        self._known[name] = None
        return self._values.get(name)

    def names(self) -> list[Any]:
        """:return: keys that nothing has asked for yet."""
        return list(self._values)

    def take(self, name: str, kind: type[T], default: T | None = None) -> T:
        """Take one value.

        :param kind: str, int, float, list or dict; a bool is no int.
        :param default: for a key that is missing or null; None makes the key required.
        """
        self._known[name] = None
        value = self._values.pop(name, None)
        if value is None:
            if default is None:
                misspelt = suggestion(name, [str(key) for key in self._values])
                self.fail(name, f'missing, expected {TYPE_NAMES[kind]}{misspelt}')
            return default
        if not isinstance(value, kind) or isinstance(value, bool):
            self.fail(name, f'expected {TYPE_NAMES[kind]}, got {value!r}')
        return value

    def choice(self, name: str, known: tuple[str, ...], default: str | None = None) -> str:
        """Take one of a few words."""
        value = self.take(name, str, default)
        if value not in known:
            meant = suggestion(value, list(known))
            self.fail(name, f'unknown "{value}"; known: {", ".join(known)}{meant}')
        return value

    def positive(self, name: str, default: int | None = None) -> int:
        """Take a whole number above zero."""
        value = self.take(name, int, default)
        if value < 1:
            self.fail(name, f'must be above 0, got {value}')
        return value

    def number(self, name: str, default: float | None = None, *, low: float = -math.inf,
               high: float = math.inf) -> float:
        """Take a finite number; a whole one will do.

        :param low, high: least and greatest that may be.
        """
        if type(self._values.get(name)) is int:
            self._values[name] = float(self._values[name])  # type: ignore[arg-type]
        value = self.take(name, float, default)
        if not (math.isfinite(value) and low <= value <= high):
            span = '' if math.isinf(low) and math.isinf(high) else f' from {low:g} to {high:g}'
            self.fail(name, f'expected a finite number{span}, got {value!r}')
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Take a list of texts; missing is empty."""
        values = self.take(name, list, [])
        if not all(isinstance(value, str) and value for value in values):
            self.fail(name, f'expected a list of texts, got {values!r}')
        return tuple(values)

    def section(self, name: str) -> Section:
        """Take a mapping inside this one."""
        return Section(self.take(name, dict), self.path, self.key(name))

    def rest(self) -> Mapping[Any, object]:
        """Take everything that is left."""
        values, self._values = self._values, {}
        return values

    def end(self) -> None:
        """:raises PerceptionError: when a key is left that nothing asked for."""
        for name in self._values:
            known = [word for word in self._known if word != name]
            meant = suggestion(str(name), known)
            self.fail('', f'unknown key "{name}"; known: {", ".join(known)}{meant}')
