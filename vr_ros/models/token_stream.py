"""Turn generated token ids into text as they come, and remember which characters each token
wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = '\ufffd'  # what a decoder shows for a character whose bytes are not all there yet


class TokenStream:
    """Incremental decoding in constant time per token.

    A byte-level token may hold part of a character, and a decoder may treat the first token of a
    text specially, so each step decodes a short window that starts at the last place known to be
    whole.

    :param decode: token ids to text, without special tokens.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._window_start = 0
        self._window_end = 0
        self._length = 0
        self.spans: list[tuple[int, int]] = []

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(self._ids)

    def push(self, token: int) -> str:
        """Add a token.

        :return: the text that is now certain, '' while a character is incomplete.
        """
        self._ids.append(token)
        known = self._decode(self._ids[self._window_start : self._window_end])
        text = self._decode(self._ids[self._window_start :])
        if text.endswith(REPLACEMENT):
            self.spans.append((self._length, self._length))
            return ''
        piece = text[len(known) :]
        self.spans.append((self._length, self._length + len(piece)))
        self._length += len(piece)
        self._window_start, self._window_end = self._window_end, len(self._ids)
        return piece

    def flush(self) -> str:
        """:return: what an incomplete last character leaves behind."""
        known = self._decode(self._ids[self._window_start : self._window_end])
        piece = self._decode(self._ids[self._window_start :])[len(known) :]
        self._window_start = self._window_end = len(self._ids)
        self._length += len(piece)
        return piece
