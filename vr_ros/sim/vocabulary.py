"""The words of the simulator's language: nouns, relations, extremes, comparisons and functions.

Everything that an instruction, an answer or a reason can say is built from these tables, so that a
very small model can learn the whole vocabulary. ``vr_ros.sim.relations`` says what the words mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from vr_ros.sim.truth import COLOURS, KINDS, SIZES, ObjectTruth

ANYTHING = ('object', 'thing')
EMPTY_CAPTION = 'an empty table'
NUMBERS = ('no', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten')


class Noun(NamedTuple):
    """A description of objects; an empty field admits everything.

    :param kind: one of KINDS, or '' which is said as 'object' or 'thing'.
    """

    size: str = ''
    colour: str = ''
    kind: str = ''

    def matches(self, thing: ObjectTruth) -> bool:
        return (
            (not self.kind or self.kind == thing.kind)
            and (not self.colour or self.colour == thing.colour)
            and (not self.size or self.size == thing.size_name)
        )

    def singular(self, anything: str = 'object') -> str:
        """'small red cube'."""
        return ' '.join(word for word in (self.size, self.colour, self.kind or anything) if word)

    def plural(self, anything: str = 'object') -> str:
        """'small red cubes': all kinds form their plural with an s."""
        return self.singular(anything) + 's'


ANY = Noun()
ALL_NOUNS = tuple(Noun(*words) for words in product(('', *SIZES), ('', *COLOURS), ('', *KINDS)))


def with_article(singular: str) -> str:
    """Put 'a' or 'an' before a singular noun phrase."""
    return f'{"an" if singular[0] in "aeiou" else "a"} {singular}'


# Relations of one object to another: name -> the ways to say it. The first is used in reasons.
SIDES = {
    'left': ('left of', 'to the left of', 'on the left of'),
    'right': ('right of', 'to the right of', 'on the right of'),
    'front': ('in front of', 'closer to the camera than'),
    'behind': ('behind', 'farther from the camera than'),
}
NEXT_TO = {'next_to': ('closest to', 'nearest to', 'next to')}
RELATIONS = {**SIDES, **NEXT_TO}
OPPOSITE = {
    'left': 'right',
    'right': 'left',
    'front': 'behind',
    'behind': 'front',
    'larger': 'smaller',
    'smaller': 'larger',
    'nearer': 'farther',
    'farther': 'nearer',
}

# Extremes among several objects: name -> words before the noun, phrases after it.
EXTREMES = {
    'nearest': (('nearest', 'closest'), ('nearest to the camera', 'closest to the camera')),
    'farthest': (('farthest',), ('farthest from the camera', 'farthest away')),
    'leftmost': (('leftmost',), ('farthest to the left',)),
    'rightmost': (('rightmost',), ('farthest to the right',)),
    'largest': (('largest', 'biggest'), ()),
    'smallest': (('smallest',), ()),
}
EXTREME_REASONS = {
    'nearest': 'is nearest to the camera',
    'farthest': 'is farthest from the camera',
    'leftmost': 'is farthest to the left',
    'rightmost': 'is farthest to the right',
    'largest': 'is the largest',
    'smallest': 'is the smallest',
}

# Comparisons of two objects: name -> the ways to say it.
COMPARISONS = {
    'larger': ('larger', 'bigger'),
    'smaller': ('smaller',),
    'nearer': ('closer to the camera', 'nearer to the camera'),
    'farther': ('farther from the camera',),
    'left': ('farther to the left',),
    'right': ('farther to the right',),
}


@dataclass(frozen=True)
class Function:
    """What objects are good for, or a property that follows from their kind.

    :param kinds: the kinds that have it.
    :param phrases: (as a question after 'what', as a clause after 'that'), both in the singular.
    :param reason: why these kinds match, as a short true sentence.
    """

    kinds: tuple[str, ...]
    phrases: tuple[tuple[str, str], ...]
    reason: str


def _same(*phrases: str) -> tuple[tuple[str, str], ...]:
    return tuple((phrase, phrase) for phrase in phrases)


FUNCTIONS = {
    # "Could": a standing cylinder counts, since it rolls once it is pushed over. Cones roll in
    # a circle.
    'roll': Function(
        ('ball', 'cylinder'),
        _same('could roll off the table', 'can roll away'),
        'balls and cylinders can roll',
    ),
    'drink': Function(
        ('mug',),
        (('can i drink from', 'i can drink from'), ('is for drinking', 'is for drinking')),
        'mugs are for drinking',
    ),
    'hold': Function(
        ('mug', 'bowl'),
        (
            *_same('could hold water', 'can hold soup'),
            ('can i fill with water', 'i can fill with water'),
        ),
        'mugs and bowls can hold water',
    ),
    'handle': Function(('mug',), _same('has a handle'), 'mugs have a handle'),
    'tip': Function(
        ('cone',), _same('has a pointed tip', 'has a sharp tip'), 'cones have a pointed tip'
    ),
    'flat': Function(
        ('cube', 'bar'),
        (*_same('has flat sides'), ('can i build a wall with', 'i can build a wall with')),
        'cubes and bars have flat sides',
    ),
    'eat': Function(
        ('bowl',), (('can i eat soup from', 'i can eat soup from'),), 'bowls are for soup'
    ),
    'bounce': Function(
        ('ball',),
        (*_same('could bounce'), ('can i play catch with', 'i can play catch with')),
        'balls can bounce',
    ),
    'long': Function(
        ('bar',), _same('is long and thin', 'could bridge a gap'), 'bars are long and thin'
    ),
}


def plural_verb(phrase: str) -> str:
    """Make a singular verb phrase agree with a plural subject; modal verbs stay as they are."""
    verb, _, rest = phrase.partition(' ')
    return ' '.join(({'has': 'have', 'is': 'are'}.get(verb, verb), rest))


def vocabulary_sentences() -> Iterator[str]:
    """Yield sentences with every word that only reasons and answers use."""
    for function in FUNCTIONS.values():
        yield function.reason
    yield from EXTREME_REASONS.values()
    for noun in ALL_NOUNS:
        yield f'there is no other {noun.singular()}'
        yield f'there are no {noun.plural()}'
        yield f'the {noun.singular()} is not {RELATIONS["left"][0]} {with_article(noun.singular())}'
    for number in NUMBERS[2:]:
        yield f'{with_article("orange ball")}, {number} cubes and a mug'
    yield EMPTY_CAPTION
    yield from ('yes', 'no', '0 1 2 3 4 5 6 7 8 9 10')
