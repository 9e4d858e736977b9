"""A router of tasks that is a table of words: hashed n-grams and one weight per class for each.

Words that the table does not know, as most nouns, count as one and the same gap: 'find the mug' and
'find the pangolin' look alike. Their letters count too, by threes, so that a misspelt word is not
lost. What is refused ('do not count them') counts apart. What the rules say is one feature more.
Needs numpy alone, and about a millisecond.
"""
from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from vr_ros.core.router import Route, route
from vr_ros.core.types import Task

# VisionReasoner's router knows four types: the first two of these are one there. Nothing here can
# edit a picture: such a request is answered in words.
CLASSES = ('detection', 'segmentation', 'counting', 'editing', 'vqa')
CLASS_TASKS = (Task.DETECTION, Task.SEGMENTATION, Task.COUNTING, Task.VQA, Task.VQA)

# Goes up when features_of changes: a table fits the features that it was fitted on.
FEATURES_VERSION = 1
# A request is in its first words, or in its last: the middle of a long story is not looked at.
MAX_TOKENS = 160
GAP, NUMBER = '_', '#'
LONGEST_NGRAM = 4
REACH = 5  # tokens between which pairs of words count
_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)?|[?!.,:;]")
_MARKS = frozenset('?!.,:;')
_LETTERS = 'abcdefghijklmnopqrstuvwxyz'
SHORTEST_TYPO, LONGEST_TYPO = 4, 14  # letters

# What begins a request that is not meant, what may not follow, and what ends it beside a mark.
_REFUSALS = frozenset(('not', "don't", 'dont', 'without', 'never'))
_REFUSALS_OF_TWO = frozenset((
    ('instead', 'of'), ('rather', 'than'), ('no', 'need'), ('forget', 'about'), ('no', 'point')))
_NO_REFUSAL = frozenset(('you', 'we', 'forget', 'hesitate', 'stop', 'only', ''))
_BUT = frozenset(('but', 'just', 'only', 'simply'))
_BEFORE_GERUND = frozenset((
    'mind', 'by', 'start', 'begin', 'about', 'of', 'without', 'than', 'stop', 'keep', 'continue',
    'try', 'consider', 'finish', 'with', 'suggest', 'not', 'bother', 'skip', 'in'))


def hash_of(text: str) -> int:
    """:return: 32 bits, the same on every machine."""
    return zlib.crc32(text.encode('utf-8', 'surrogatepass'))


def tokens_of(text: str) -> list[str]:
    """Cut an instruction into lower-case words and marks; a number is #."""
    found = _TOKEN.findall(text.lower().replace('’', "'"))
    if len(found) > MAX_TOKENS:
        found = found[:MAX_TOKENS // 2] + found[-MAX_TOKENS // 2:]
    return [NUMBER if word[0].isdigit() else word for word in found]


class Vocabulary:
    """The words that stand for themselves.

    :param is_known: whether a word is one.
    """

    def __init__(self, is_known: Callable[[str], bool]) -> None:
        self._is_known = is_known
        self.read = lru_cache(maxsize=4096)(self._read)

    def _read(self, word: str) -> str:
        """Give the known word that a word is, or that is one typing error away; '' for none.

        The first letter is taken to be right.
        """
        if self._is_known(word):
            return word
        return next(filter(self._is_known, _respelled(word)), '')

    def verb(self, word: str) -> str:
        """Give the known verb of an -ing form; '' for none."""
        if not word.endswith('ing'):
            return ''
        stem = word[:-3]
        single = stem[:-1] if stem[-1:] == stem[-2:-1] else stem
        return next(filter(self._is_known, (stem, f'{stem}e', single)), '')


def _respelled(word: str) -> Iterator[str]:
    """Give what a word may stand for: two letters swapped, one double, one missing.

    A wrong letter is left out: too many words, such as court and count, differ by one.
    """
    length = len(word)
    if not SHORTEST_TYPO <= length <= LONGEST_TYPO:
        return
    for at in range(1, length - 1):
        yield word[:at] + word[at + 1] + word[at] + word[at + 2:]
    for at in range(1, length):
        if word[at] == word[at - 1]:
            yield word[:at] + word[at + 1:]
    if length > SHORTEST_TYPO:
        for at in range(1, length + 1):
            for letter in _LETTERS:
                yield word[:at] + letter + word[at:]


def features_of(text: str, known: Vocabulary, verdict: Route | None) -> set[str]:
    """Name what of an instruction counts.

    :param verdict: what the rules say; None leaves it out.
    """
    found: set[str] = set()
    if verdict is not None:
        found |= {f'r {verdict.task.name}', f'r {verdict.task.name} {verdict.confident}'}
    line, refused, before = ['^'], [''], ''
    for token, is_refused in _with_refusals(tokens_of(text)):
        word = token if token in _MARKS or token == NUMBER else known.read(token)
        if before in _BEFORE_GERUND:  # 'would you mind counting' is an order, 'a man counting' not
            word = known.verb(token) or word
        before = token
        if is_refused:
            found |= {f'n {word or GAP}', f'n {refused[-1]} {word or GAP}'}
            refused.append(word or GAP)
            continue
        if word or line[-1] != GAP:
            line.append(word or GAP)
        if not word and len(token) > 3:
            framed = f'<{token[:LONGEST_TYPO]}>'
            found.update(f'x {framed[at:at + 3]}' for at in range(len(framed) - 2))
    line.append('$')
    for length in range(1, LONGEST_NGRAM + 1):
        found.update(' '.join(line[at:at + length]) for at in range(len(line) - length + 1))
    for at, first in enumerate(line):
        found.update(f'{first} ~ {second}' for second in line[at + 2:at + REACH + 1])
    found.update(_openings(line))
    return found


def _with_refusals(tokens: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Tell of each token whether it is part of what is not wanted: 'do not count them, find …'."""
    is_refused = False
    for at, token in enumerate(tokens):
        after = tokens[at + 1] if at + 1 < len(tokens) else ''
        if token in _MARKS or token in _BUT:
            is_refused = False
        yield token, is_refused
        begins = token in _REFUSALS or (token, after) in _REFUSALS_OF_TWO
        if begins and after not in _NO_REFUSAL and (at == 0 or tokens[at - 1] != 'why'):
            is_refused = True


def _openings(line: Sequence[str]) -> Iterator[str]:
    """Name how each clause begins, and apart from these how the last one does."""
    starts = [at for at in range(1, len(line) - 1)
              if (at == 1 or line[at - 1] in _MARKS) and line[at] not in _MARKS]
    for at in starts:
        for length in (1, 2, 3):
            opening = ' '.join(line[at:at + length])
            yield f'c {opening}'
            if at == starts[-1]:
                yield f'l {opening}'


@dataclass(frozen=True, eq=False)
class WordRouter:
    """The table.

    :param words: (W,) uint32, ascending: hashes of the words that stand for themselves.
    :param features: (F,) uint32, ascending: hashes of what counts.
    :param weights: (F, 5) int8, by class, in units of ``scales``.
    :param scales: (5,) float32.
    :param bias: (5,) float32.
    """

    words: np.ndarray
    features: np.ndarray
    weights: np.ndarray
    scales: np.ndarray
    bias: np.ndarray

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        hashes = frozenset(self.words.tolist())
        return Vocabulary(lambda word: hash_of(word) in hashes)

    def probabilities(self, text: str, *, with_rules: bool = True) -> np.ndarray:
        """Give each class's probability.

        :param with_rules: as the table was fitted.
        :return: (5,) float64 in the order of CLASSES, sum 1.
        """
        names = features_of(text, self._vocabulary, route(text) if with_rules else None)
        hashes = np.fromiter((hash_of(name) for name in names), np.uint32, len(names))
        places = np.minimum(np.searchsorted(self.features, hashes), len(self.features) - 1)
        rows = places[self.features[places] == hashes]
        # Long texts have many features: the root keeps their sum in the range of short ones.
        total = self.weights[rows].sum(axis=0, dtype=np.int64) / np.sqrt(max(1, len(rows)))
        scores = total * self.scales.astype(np.float64) + self.bias
        powers = np.exp(scores - scores.max())
        return powers / powers.sum()
