"""Characters of almost-JSON to tokens, one at a time, forgiving every dialect of quoting."""
from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

OPENERS = {'[': '[', '(': '(', '{': '{'}
CLOSERS = {']': '[', ')': '[', '}': '{'}
# A quote that may begin a string, and the ones that may end it.
_QUOTES = {'"': '"', "'": "'", '“': '”“"', '”': '”“"', '‘': "’‘'", '’': "’‘'"}
_SEPARATORS = frozenset(',;')
_BLANKS = frozenset('`\\')
_AFTER_STRING = frozenset(',;:]})')
_PUNCTUATION = frozenset('[](){}:') | _SEPARATORS | _BLANKS


@dataclass(frozen=True)
class Scalar:
    """A word, a number or a string.

    :param text: without its quotes, escapes not decoded.
    :param start: offset of its first character (the quote, if it has one).
    """

    text: str
    quoted: bool
    start: int


class TokenSink(Protocol):
    """Receives the tokens in the order of the text."""

    @property
    def in_prose(self) -> bool:
        """Whether quotes are ordinary punctuation here, because no list or object is open."""

    def is_known_key(self, text: str) -> bool:
        """Tell whether the text ends in a key that means something."""

    def open(self, bracket: str, at: int) -> None:
        """Take an opening bracket."""

    def close(self, bracket: str, at: int) -> None:
        """Take a closing bracket, named by the one that opens it."""

    def key(self, scalar: Scalar) -> None:
        """Take a scalar that names the value to come."""

    def value(self, scalar: Scalar) -> None:
        """Take a scalar that is a value."""

    def separator(self) -> None:
        """Take a comma."""


class _State(Enum):
    BETWEEN = auto()
    WORD = auto()
    STRING = auto()
    QUOTE_IN_STRING = auto()


class Tokenizer:
    """Split text into tokens; the cut between two calls of `put` never matters.

    Whether a scalar is a key is known only from what follows it, so one scalar is always held back.
    A quote ends a string only where something follows that can follow a string: apostrophes stay.
    """

    def __init__(self, sink: TokenSink) -> None:
        self._sink = sink
        self._state = _State.BETWEEN
        self._held: Scalar | None = None
        self._start = 0
        self._quotes = ''
        self._chars: list[str] = []
        self._blanks: list[str] = []
        self._escaped = False
        self._escaped_quotes = False
        self._last_blank = ''
        self._last_visible = ''

    def put(self, char: str, at: int) -> None:
        """Take the next character.

        :param at: its offset in the whole text.
        """
        if self._state is _State.QUOTE_IN_STRING:
            if char.isspace():
                self._blanks.append(char)
                return
            if char in _AFTER_STRING or char in _QUOTES or self._forgot_colon(char):
                self._hold(quoted=True)
            else:
                self._resume_string()
        if self._state is _State.STRING and not self._ends_string(char):
            return
        if self._state is _State.WORD:
            if not (char.isspace() or char in _PUNCTUATION):
                self._chars.append(char)
                return
            self._hold(quoted=False)
        self._between(char, at)

    def _between(self, char: str, at: int) -> None:
        after, self._last_blank = self._last_blank, char
        if char.isspace() or char in _BLANKS or (char in _QUOTES and self._sink.in_prose):
            return
        if char == ':':
            self._release(as_key=True)
        elif char in _SEPARATORS:
            self._release()
            self._sink.separator()
        elif char in OPENERS:
            self._release(as_key=bool(self._held) and self._sink.is_known_key(self._held.text))
            self._sink.open(char, at)
        elif char in CLOSERS:
            self._release()
            self._sink.close(CLOSERS[char], at)
        else:
            self._release()
            self._start = at
            self._quotes = _QUOTES.get(char, '')
            self._chars = [] if self._quotes else [char]
            self._state = _State.STRING if self._quotes else _State.WORD
            self._escaped = False
            self._escaped_quotes = after == '\\'
            self._last_visible = ''

    def _ends_string(self, char: str) -> bool:
        """Take a character of a string.

        :return: True when the character does not belong to the string and has still to be taken.
        """
        is_quote = char in self._quotes and self._escaped == self._escaped_quotes
        if is_quote and self._escaped:
            self._chars.pop()
        if self._escaped and not is_quote:
            self._escaped = False
        elif char == '\\':
            self._escaped = True
        elif is_quote:
            self._escaped = False
            self._state = _State.QUOTE_IN_STRING
            self._blanks = [char]
            return False
        elif char in '\r\n':
            self._hold(quoted=True)
            return True
        elif char in '[{(' and self._last_visible == ':' and self._forgot_closing_quote():
            return True
        self._chars.append(char)
        if not char.isspace():
            self._last_visible = char
        return False

    def _forgot_colon(self, char: str) -> bool:
        return char in '[{' and self._sink.is_known_key(''.join(self._chars[-64:]))

    def _forgot_closing_quote(self) -> bool:
        tail = ''.join(self._chars[-64:]).rstrip().removesuffix(':')
        if not self._sink.is_known_key(tail):
            return False
        self._chars = list(tail)
        self._hold(quoted=True)
        self._release(as_key=True)
        return True

    def _resume_string(self) -> None:
        self._chars += self._blanks
        self._state = _State.STRING

    def _hold(self, quoted: bool) -> None:
        self._held = Scalar(''.join(self._chars), quoted, self._start)
        self._state = _State.BETWEEN

    def _release(self, as_key: bool = False) -> None:
        scalar, self._held = self._held, None
        if scalar is None:
            return
        if as_key:
            self._sink.key(scalar)
        else:
            self._sink.value(scalar)
