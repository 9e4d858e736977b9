"""Texts that a model writes side by side: each is followed, and ends, by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import StoppingCriteria

from vr_ros.core.types import Task
from vr_ros.models.token_stream import TokenStream


def _ignore(text: str) -> None:
    """Hear nothing."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A question about an image, and who follows the answer.

    :param image: (H, W, 3) uint8 RGB.
    :param question: a validated instruction.
    :param on_text: called with each new piece of text.
    :param is_answered: asked at a stop string: models repeat the prompt's tags while they think.
    :param should_stop: asked after each token; True ends the answer there.
    :param keep_prefix: whether more will be asked about the image.
    """

    image: np.ndarray
    question: str
    task: Task
    on_text: Callable[[str], None] = _ignore
    is_answered: Callable[[], bool] = lambda: True
    should_stop: Callable[[], bool] = lambda: False
    keep_prefix: bool = False


class Row:
    """One text while it is being written: sees each token, and says when it ends.

    :param decode: token ids to text, without special tokens.
    :param stop: texts that end it.
    :param ends: token ids that end it.

    ``finish_reason`` is 'stop', 'length' or 'cancelled'; times are those of time.perf_counter().
    """

    def __init__(
        self, asked: Asked, decode: Callable[[Sequence[int]], str], stop: Sequence[str],
        ends: Collection[int],
    ) -> None:
        self._asked, self._stop, self._ends = asked, stop, ends
        self._stream = TokenStream(decode)
        self._pieces: list[str] = []
        self._tail = ''
        self._tail_length = max(map(len, stop), default=0)
        self.finish_reason = 'length'
        self.has_ended = False
        self.first_token_at = self.last_token_at = 0.0

    @property
    def text(self) -> str:
        """What is certain of the text so far."""
        return ''.join(self._pieces)

    @property
    def token_ids(self) -> tuple[int, ...]:
        """All that was written, the end included."""
        return self._stream.ids

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """First and last + 1 character of the text that each token wrote."""
        return tuple(self._stream.spans)

    def see(self, token: int) -> None:
        """Take the next token; none after the end."""
        piece = self._stream.push(token)
        self.last_token_at = time.perf_counter()
        self.first_token_at = self.first_token_at or self.last_token_at
        self._take(piece)
        window = self._tail + piece
        self._tail = window[-self._tail_length:] if self._tail_length else ''
        if any(stop in window for stop in self._stop) and self._asked.is_answered():
            self._end('stop')
        elif self._asked.should_stop():
            self._end('cancelled')
        if token in self._ends:
            self._end('stop')

    def close(self) -> None:
        """Give out what an incomplete last character leaves behind."""
        self._take(self._stream.flush())

    def _take(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
            self._asked.on_text(piece)

    def _end(self, reason: str) -> None:
        self.finish_reason, self.has_ended = reason, True


class Rows(StoppingCriteria):
    """Shows each row its tokens; a row that has ended sees none of the padding behind it."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __call__(
        self, input_ids: torch.Tensor, scores: torch.Tensor | None, **_: object
    ) -> torch.Tensor:
        for row, token in zip(self._rows, input_ids[:, -1].tolist(), strict=True):
            if not row.has_ended:
                row.see(token)
        return torch.tensor([row.has_ended for row in self._rows], device=input_ids.device)


def left_padded(rows: Sequence[torch.Tensor], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Put prompts of different lengths under each other so that all end at the same place.

    :param rows: (L,) token ids each.
    :param padding: the id in front of shorter ones.
    :return: (N, longest) ids, and as many int64: 1 where a prompt is.
    """
    width = max(map(len, rows))
    ids = torch.stack([
        torch.nn.functional.pad(row, (width - len(row), 0), value=padding) for row in rows])
    lengths = torch.tensor([len(row) for row in rows], device=ids.device)
    places = torch.arange(width, device=ids.device)
    return ids, (places >= (width - lengths)[:, None]).long()
