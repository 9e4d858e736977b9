"""Phrasings and words of instructions of all classes, to train and examine a router of tasks.

They lie in router_data/. Each phrasing of phrasings.txt, and each word of a long list, belongs to
one part by a hash of itself: what is held out shares neither with the training. phrasings_wider.txt
is for the training alone, and brings it no word that only phrasings held out have;
phrasings_apart.txt is held out as a whole.
"""
from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from itertools import chain, product

from vr_ros.core.word_router import CLASSES, tokens_of

# Tenths of the phrasings and of the words, from 0.
PARTS: Mapping[str, range] = {'train': range(0, 7), 'choose': range(7, 8), 'heldout': range(8, 10)}
# A shorter list is grammar rather than vocabulary: all parts share it.
LONG_LIST = 30

SLOT = re.compile(r'\{(\w+)\}')
_CHOICE = re.compile(r'\(([^()]*)\)')
_LIST = re.compile(r'@(\w+)')


@dataclass(frozen=True)
class Construction:
    """One line of phrasings.txt.

    :param kind: a name of CLASSES.
    :param phrasings: all that its choices give; slots are still open.
    :param is_order: begins with a verb, around which a frame fits.
    :param only: the part to which all of its phrasings belong; '': each has its own.
    """

    kind: str
    line: str
    phrasings: tuple[str, ...]
    is_order: bool
    only: str = ''

    def of_part(self, part: str) -> Construction:
        """Keep the phrasings of a part."""
        kept = tuple(phrasing for phrasing in self.phrasings
                     if (self.only or part_of(phrasing)) == part)
        return replace(self, phrasings=kept)


@dataclass(frozen=True)
class Words:
    """What fills the slots, in one part.

    :param nouns: singular and plural.
    :param people: the same for people alone.
    :param lists: the other entries by slot.
    """

    nouns: tuple[tuple[str, str], ...]
    people: tuple[tuple[str, str], ...]
    lists: Mapping[str, tuple[str, ...]]


def part_of(text: str) -> str:
    """Tell to which of PARTS a phrasing or a word belongs."""
    tenth = zlib.crc32(text.encode()) % 10
    return next(part for part, tenths in PARTS.items() if tenth in tenths)


def read_sections(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Read lines under headings of the form [class]; what begins with # is a comment.

    :return: class and line of each.
    :raises ValueError: a line stands under no heading, or a heading names no class.
    """
    kind = ''
    for line in _without_comments(lines):
        heading = re.fullmatch(r'\[(\w+)\]', line)
        if heading:
            kind = heading[1]
            if kind not in CLASSES:
                raise ValueError(f'[{kind}] is no class; known: {", ".join(CLASSES)}')
        elif not kind:
            raise ValueError(f'under no heading: {line}')
        else:
            yield kind, line


def _without_comments(lines: Iterable[str]) -> Iterator[str]:
    return (line.rstrip() for line in lines if line.strip() and not line.startswith('#'))


def _file(name: str) -> list[str]:
    folder = resources.files('vr_ros.training').joinpath('router_data')
    return folder.joinpath(name).read_text('utf-8').splitlines()


@lru_cache
def constructions() -> tuple[Construction, ...]:
    """Give all lines of phrasings.txt with everything that they can say."""
    return tuple(_read('phrasings.txt'))


@lru_cache
def apart() -> tuple[Construction, ...]:
    """Give phrasings_apart.txt: all of it is held out, but what the training says as well."""
    used = {phrasing for part in ('train', 'choose')
            for _, phrasing in phrasings_of(part, constructions())}
    return tuple(_kept(one, 'heldout', lambda phrasing: phrasing not in used)
                 for one in _read('phrasings_apart.txt'))


@lru_cache
def wider() -> tuple[Construction, ...]:
    """Give phrasings_wider.txt, for the training, but nothing that would tell what is held out."""
    own = known_words(constructions())
    away = [phrasing for part, known in (('choose', constructions()), ('heldout', constructions()),
                                         ('heldout', apart()))
            for _, phrasing in phrasings_of(part, known)]
    phrasings, words_away = set(away), _words_of(away) - own
    return tuple(
        _kept(one, 'train', lambda phrasing:
              phrasing not in phrasings and part_of(phrasing) == 'train'
              and not words_away & _words_of((phrasing,)))
        for one in _read('phrasings_wider.txt'))


def _read(name: str) -> Iterator[Construction]:
    lines = _file(name)
    lists = dict(line[1:].split(': ', 1) for line in lines if line.startswith('@'))
    for kind, line in read_sections(line for line in lines if not line.startswith('@')):
        yield Construction(kind, line, tuple(_expand(line.removeprefix('> '), lists)),
                           line.startswith('> '))


def _kept(one: Construction, part: str, keeps: Callable[[str], bool]) -> Construction:
    return replace(one, phrasings=tuple(filter(keeps, one.phrasings)), only=part)


def _expand(line: str, lists: Mapping[str, str]) -> Iterator[str]:
    line = _CHOICE.sub(
        lambda choice: _LIST.sub(lambda match: lists[match[1]], choice[0]), line)
    line = _LIST.sub(lambda match: f'({lists[match[1]]})', line)
    pieces = _CHOICE.split(line)
    choices = [piece.split('|') if at % 2 else [piece] for at, piece in enumerate(pieces)]
    for chosen in product(*choices):
        yield ' '.join(''.join(chosen).split())


@lru_cache
def contexts(part: str) -> Mapping[str, tuple[str, ...]]:
    """Give what may stand 'before' and 'after' a request, and each 'frame' of an order."""
    found: dict[str, list[str]] = {}
    for line in _without_comments(_file('contexts.txt')):
        place, _, text = line.partition(': ')
        if part_of(text) == part:
            found.setdefault(place, []).append(text)
    return {place: tuple(texts) for place, texts in found.items()}


def known_words(known: Sequence[Construction] | None = None) -> frozenset[str]:
    """Give the words of the phrasings and contexts trained on: those that stand for themselves.

    :param known: the constructions trained on; None: all.
    """
    known = (*constructions(), *wider()) if known is None else known
    return _words_of(chain((phrasing for _, phrasing in phrasings_of('train', known)),
                           *contexts('train').values()))


def _words_of(texts: Iterable[str]) -> frozenset[str]:
    found = {token for text in texts for token in tokens_of(SLOT.sub(' ', text))}
    return frozenset(token for token in found if token[0].isalpha())


@lru_cache
def words(part: str) -> Words:
    """Give the words of a part."""
    nouns: list[tuple[str, str]] = []
    people: list[tuple[str, str]] = []
    lists: dict[str, tuple[str, ...]] = {}
    for line in _without_comments(_file('words.txt')):
        slot, _, rest = line.partition(': ')
        entries = tuple(entry.strip() for entry in rest.split(','))
        if slot in ('noun', 'person'):
            pairs = [_forms(entry) for entry in entries if part_of(entry) == part]
            nouns += pairs
            if slot == 'person':
                people += pairs
        else:
            lists[slot] = entries if len(entries) < LONG_LIST else tuple(
                entry for entry in entries if part_of(entry) == part)
    return Words(tuple(nouns), tuple(people), lists)


def _forms(entry: str) -> tuple[str, str]:
    """Split 'knife/knives'; make the plural of all others."""
    one, mark, many = entry.partition('/')
    if not mark:
        many = f'{one}es' if one.endswith(('s', 'x', 'ch', 'sh')) else f'{one}s'
    return one, many


def phrasings_of(part: str, known: Sequence[Construction]) -> Iterator[tuple[Construction, str]]:
    """List every phrasing of a part with its construction."""
    for one in known:
        for phrasing in one.of_part(part).phrasings:
            yield one, phrasing
