"""Write instructions as people do: politely, with a story around, with typing errors."""
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from vr_ros.core.word_router import CLASSES
from vr_ros.training.router_phrasings import (
    SLOT,
    Construction,
    constructions,
    contexts,
    wider,
    words,
)

T = TypeVar('T')

# Shares of the instructions that are changed so.
FRAMED, CONTEXT_BEFORE, CONTEXT_AFTER, TYPO = 0.4, 0.25, 0.12, 0.15
# An order that is not meant is a short one.
LONGEST_ORDER_WORDS = 5

_QUESTION = re.compile(
    r'(?:what|whats|which|where|wheres|who|whose|why|when|how|is|are|was|were|does|do|did|can|could'
    r"|would|will|should|has|have|any chance)(?:'s|n't)?\b(?!.*[.?])")
_DOUBLED = re.compile(r'(?:get|put|cut|drop|tag|grab|hit|grip|crop|flip|spot|skim|set|sit|run|stop|'
                      r'tot|tap|swap|plan|map|shut|let|dig)$')


def gerund(order: str) -> str:
    """Turn the first word of an order into its -ing form: 'pick up' becomes 'picking up'."""
    verb, blank, rest = order.partition(' ')
    if _DOUBLED.match(verb):
        verb += verb[-1]
    elif verb.endswith('e') and not verb.endswith(('ee', 'oe', 'ye')):
        verb = verb[:-1]
    return f'{verb}ing{blank}{rest}'


class Writer:
    """Writes instructions of one part.

    :param part: of which come the phrasings, the words and what stands around, see PARTS.
    :param rng: draws everything.
    :param known: which constructions to use; None: all.
    :param plain: nothing around the request, no typing errors.
    """

    def __init__(self, part: str, rng: np.random.Generator,
                 known: Sequence[Construction] | None = None, *, plain: bool = False) -> None:
        self._rng = rng
        self._plain = plain
        self._words = words(part)
        self._contexts = contexts(part)
        known = (*constructions(), *wider()) if known is None else known
        own = [one.of_part(part) for one in known]
        self._constructions = {
            kind: [one for one in own if one.kind == kind and one.phrasings] for kind in CLASSES}
        self._other_orders = [phrasing for one in own if one.is_order for phrasing in one.phrasings
                              if len(phrasing.split()) <= LONGEST_ORDER_WORDS]

    def write(self, kind: str) -> tuple[str, str]:
        """Write an instruction of a class: all its constructions are equally likely.

        :return: the instruction, and the line of its construction.
        """
        one = self._choose(self._constructions[kind])
        return self.fill(self._choose(one.phrasings), one.is_order), one.line

    def fill(self, phrasing: str, is_order: bool) -> str:
        """Write an instruction with a given phrasing."""
        if is_order and self._changes(FRAMED):
            phrasing = self._framed(phrasing)
        text = self._with_context(phrasing)
        text = ' '.join(SLOT.sub(lambda match: self._slot(match[1]), text).split())
        text = text.replace(' ,', ',')
        if self._changes(TYPO):
            text = self._with_typo(text)
        return self._as_typed(text)

    def _choose(self, entries: Sequence[T]) -> T:
        return entries[int(self._rng.integers(len(entries)))]

    def _chance(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def _changes(self, share: float) -> bool:
        return not self._plain and self._chance(share)

    def _framed(self, order: str) -> str:
        frame = self._choose(self._contexts['frame'])
        other = self._choose(self._other_orders)
        frame = frame.replace('{ordering}', gerund(other)).replace('{order}', other)
        return frame.replace('~ing', gerund(order)).replace('~', order)

    def _slot(self, name: str) -> str:
        if name in ('n', 'ns'):
            return self._choose(self._words.nouns)[name == 'ns']
        if name in ('person', 'people'):
            return self._choose(self._words.people)[name == 'people']
        if name in ('s', 'p'):
            return self._phrase(name == 'p')
        if name == 'a':
            phrase = self._phrase(plural=False)
            return f'{"an" if phrase[0] in "aeiou" else "a"} {phrase}'
        return self._choose(self._words.lists[name])

    def _phrase(self, plural: bool) -> str:
        phrase = self._choose(self._words.nouns)[plural]
        for slot, share in (('colour', 0.15), ('adjective', 0.3)):
            if self._chance(share):
                phrase = f'{self._slot(slot)} {phrase}'
        for slot, share in (('place', 0.15), ('clause', 0.06)):
            if self._chance(share):
                return f'{phrase} {self._slot(slot)}'
        return phrase

    def _with_context(self, text: str) -> str:
        """Put words around the request, and the mark that it may end with."""
        if _QUESTION.match(text):
            end = '?' if self._chance(0.7) else ''
        else:
            end = self._choose(('', '', '', '', '', '', '.', '.', '.', '!'))
        if self._changes(CONTEXT_AFTER):
            after = self._choose(self._contexts['after'])
            if after[0] == '.':
                text, end = f'{text}{end or "."}{after[1:]}', ''
            else:
                text += after if after[0] == ',' else f' {after}'
        text += '' if text.endswith('?') else end
        if self._changes(CONTEXT_BEFORE):
            before = self._choose(self._contexts['before'])
            begins = text[0].upper() + text[1:] if before[-1] in '.?!' else text
            text = f'{before} {begins}'
        return text

    def _with_typo(self, text: str) -> str:
        """Leave out, double, swap or replace a letter of one longer word."""
        pieces = text.split(' ')
        long = [place for place, piece in enumerate(pieces) if len(piece) > 3 and piece.isalpha()]
        if not long:
            return text
        place = self._choose(long)
        piece = pieces[place]
        at = 1 + int(self._rng.integers(len(piece) - 2))
        letter = chr(ord('a') + int(self._rng.integers(26)))
        pieces[place] = piece[:at] + self._choose((
            piece[at + 1:], piece[at] + piece[at:], piece[at + 1] + piece[at] + piece[at + 2:],
            letter + piece[at + 1:]))
        return ' '.join(pieces)

    def _as_typed(self, text: str) -> str:
        """Vary capitals and marks as people do."""
        if self._chance(0.1):
            text = re.sub(r"[.,:;!?']", '', text)
        if self._chance(0.03):
            return text.upper()
        if self._chance(0.35):
            return text.lower()
        return text[0].upper() + text[1:] if self._chance(0.7) else text


def instructions(part: str, number: int, seed: int,
                 known: Sequence[Construction] | None = None, *,
                 plain: bool = False) -> Iterator[tuple[str, str]]:
    """Draw instructions, as many of each class.

    :param part, known, plain: see Writer.
    :return: text and class, a name of CLASSES, of each.
    """
    for text, kind, _ in with_lines(part, number, seed, known, plain=plain):
        yield text, kind


def with_lines(part: str, number: int, seed: int,
               known: Sequence[Construction] | None = None, *,
               plain: bool = False) -> Iterator[tuple[str, str, str]]:
    """Draw as instructions does.

    :return: text, class and the line of its construction: what has a line in common goes right or
        wrong together.
    """
    writer = Writer(part, np.random.default_rng(seed), known, plain=plain)
    for place in range(number):
        kind = CLASSES[place % len(CLASSES)]
        text, line = writer.write(kind)
        yield text, kind, line
