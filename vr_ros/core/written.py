"""Which tokens of an answer wrote what: the numbers of each box, where it was first named, and how
near the model was to naming nothing more."""
from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vr_ros.core.geometry import box_iou_matrix, order_corners
from vr_ros.core.types import ParsedObject

# Not the 2 of bbox_2d, nor a number that goes on as a word.
_NUMBER = re.compile(r'(?<![\d._])-?\d+(?:\.\d+)?(?![\d.]*[A-Za-z])')
_DIGITS = re.compile(r'\d+')
_CLAUSE_END = re.compile(r'[.;:\n]')
# The word in front of a number, which itself may have a letter, as x135 has.
_NAME = re.compile(r'\b([A-Za-z]\w*\d\w*)\W+[A-Za-z]?$')
# What ends an answer, besides the bracket that closes its list.
ENDS = ('</', '<|im_end|>', '<|endoftext|>')
# A probability that is not among the best few is at most this much and no less than nothing.
LEAST = 1e-6
_MOST, _MOST_DIGITS = 1e9, 9


@dataclass(frozen=True, eq=False)
class Written:
    """An answer and how sure its author was of each token.

    :param spans: (T, 2) first and last + 1 character that each token wrote, in order.
    :param log_probs: (T, K) of the best tokens of each step; the first was written.
    :param rivals: gives the texts of the best tokens of a step, in that order.
    :param ends: further texts that say that no object follows, such as 'nothing'.
    """

    text: str
    spans: np.ndarray
    log_probs: np.ndarray
    rivals: Callable[[int], Sequence[str]]
    ends: tuple[str, ...] = ()

    @cached_property
    def _numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """:return: (N,) values and (N, 2) characters of all numbers in the text."""
        found = list(_NUMBER.finditer(self.text))
        # A number may be of any length; no box has one beyond these.
        values = np.clip([float(match.group()) for match in found], -_MOST, _MOST)
        return values, np.array([match.span() for match in found], int).reshape(-1, 2)

    @cached_property
    def _depths(self) -> np.ndarray:
        """:return: (characters + 1,) how many brackets are open before each."""
        steps = [(char in '[{') - (char in ']}') for char in self.text]
        return np.concatenate(([0], np.cumsum(steps, dtype=int)))

    def tokens_of(self, start: int, end: int) -> range:
        """Give the tokens that wrote any of the characters from start to end."""
        first = int(np.searchsorted(self.spans[:, 1], start, 'right'))
        return range(first, max(first, int(np.searchsorted(self.spans[:, 0], end, 'left'))))

    def sum_of(self, start: int, end: int) -> float:
        """Add up the log-probabilities of the tokens that begin within these characters."""
        first, last = np.searchsorted(self.spans[:, 0], (start, end), 'left')
        return float(self.log_probs[first:last, 0].sum())

    def sum_of_words(self, end: int) -> float:
        """Add up the log-probabilities of the tokens before a character that wrote no number."""
        tokens = np.arange(int(np.searchsorted(self.spans[:, 0], end, 'left')))
        numbers = [token for place in self._numbers[1] for token in self.tokens_of(*place)]
        return float(self.log_probs[np.setdiff1d(tokens, numbers), 0].sum())

    def least_of(self, tokens: range) -> float:
        """Give the lowest log-probability of some tokens; 0 of none."""
        return float(self.log_probs[tokens.start:tokens.stop, 0].min(initial=0.0))

    def mean_of(self, places: np.ndarray) -> float:
        """Average the log-probabilities of the tokens that wrote any of these characters.

        :param places: (N, 2) first and last + 1 character.
        """
        tokens = sorted({token for place in places for token in self.tokens_of(*place)})
        return float(self.log_probs[tokens, 0].mean())

    def find_box(
        self, box: Sequence[float], start: int, end: int
    ) -> tuple[np.ndarray, float] | None:
        """Find the four numbers in a row that are most like a box, their corners in either order.

        :param start, end: characters between which they stand.
        :return: (4, 2) characters of each, and the IoU with the box; the first of those equally
            alike. None: there are no four numbers.
        """
        values, places = self._numbers
        first = int(np.searchsorted(places[:, 0], start, 'left'))
        last = int(np.searchsorted(places[:, 1], end, 'right'))
        if last - first < 4:
            return None
        rows = order_corners(np.lib.stride_tricks.sliding_window_view(values[first:last], 4))
        alike = box_iou_matrix(np.array([box], float), rows)[0]
        # Boxes without area overlap nothing, themselves included.
        alike[(rows == np.asarray(box)).all(axis=1)] = 1.0
        best = int(alike.argmax())
        return places[first + best:first + best + 4], float(alike[best])

    def spread(self, start: int, end: int) -> float:
        """Say how far a number might have been another: its standard deviation over the best few.

        Of a number of several tokens each varies alone, by its place value.

        :param start, end: the number's characters.
        :return: in the number's own unit; a fraction counts as whole steps of its last digit.
        """
        variance = 0.0
        for token in self.tokens_of(start, end):
            first, last = self.spans[token]
            own = _digits(self.text[first:last])
            if own is None:
                continue
            place = 10.0 ** min(sum(map(str.isdigit, self.text[last:end])), _MOST_DIGITS)
            pairs = [
                ((other - own) * place, math.exp(chance))
                for other, chance in zip(
                    map(_digits, self.rivals(token)), self.log_probs[token], strict=True)
                if other is not None]
            if not pairs:
                continue
            steps, chances = np.array(pairs).T
            mean = np.average(steps, weights=chances)
            variance += float(np.average((steps - mean) ** 2, weights=chances))
        return math.sqrt(variance)

    def chance_of_end(self, tokens: range, list_start: int | None) -> float:
        """Give the probability that the list had ended instead, where that was most likely.

        :param tokens: between what stands before the object and its first number.
        :param list_start: character of the bracket that opens the list; None outside of one.
        :return: at least LEAST. What is not among the best few cannot be told from nothing, but is
            no more likely than the last of them.
        """
        found, bound = 0.0, 1.0
        for token in tokens:
            chances = np.exp(self.log_probs[token])
            depth = 0
            if list_start is not None:
                place = max(list_start, int(self.spans[token, 0]))
                depth = int(self._depths[place] - self._depths[list_start])
            rivals = self.rivals(token)
            ending = [
                chance for text, chance in zip(rivals[1:], chances[1:], strict=True)
                if self._ends(text, depth, list_start is not None)]
            found = max(found, float(sum(ending)))
            bound = min(bound, float(chances[-1]))
        return min(max(found or bound, LEAST), 1.0)

    def _ends(self, text: str, depth: int, in_list: bool) -> bool:
        if text.strip().startswith((*ENDS, *self.ends)):
            return True
        if not in_list:
            return False
        for char in text:
            depth += (char in '[{') - (char in ']}')
            if char == ']' and depth == 0:
                return True
        return False

    def clause_start(self, place: int) -> int:
        """Give the character behind the last mark that ends a clause before a place."""
        marks = [match.end() for match in _CLAUSE_END.finditer(self.text, 0, place)]
        return marks[-1] if marks else 0

    def clause_about(self, place: int) -> tuple[int, int] | None:
        """Find an earlier clause about what is named right before a place, such as r2c3 or item4.

        :param place: character at which the numbers begin that follow the name.
        :return: from the name to the clause's end, in characters; None: it has no name of its own,
            or that was not written before.
        """
        match = _NAME.search(self.text, max(0, place - 32), place)
        if match is None:
            return None
        before = self.text.find(match.group(1), 0, match.start())
        if before < 0:
            return None
        end = _CLAUSE_END.search(self.text, before)
        return before, min(end.start() if end else len(self.text), match.start())


def list_start(text: str, objects: Sequence[ParsedObject]) -> int | None:
    """Find the bracket that opens the list of objects; None where one stands alone."""
    if not objects:
        return None
    before = text[:objects[0].span[0]].rstrip()
    return len(before) - 1 if before.endswith('[') else None


def _digits(text: str) -> int | None:
    match = _DIGITS.search(text)
    return int(match.group()[-_MOST_DIGITS:]) if match else None
