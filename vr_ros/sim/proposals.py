"""Propose queries about a frame: plausible ones, whose truth is then checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vr_ros.core.types import Task
from vr_ros.sim import relations
from vr_ros.sim.dice import Dice
from vr_ros.sim.queries import Form, Query
from vr_ros.sim.truth import COLOURS, KINDS, SIZES, ObjectTruth
from vr_ros.sim.vocabulary import (
    ANY,
    COMPARISONS,
    EXTREMES,
    FUNCTIONS,
    OPPOSITE,
    RELATIONS,
    SIDES,
    Noun,
)

_TRIES = 6
_RELATIONS, _SIDES, _EXTREMES = tuple(RELATIONS), tuple(SIDES), tuple(EXTREMES)
_COMPARISONS, _FUNCTIONS = tuple(COMPARISONS), tuple(FUNCTIONS)
_SIZE_WORDS = ('largest', 'smallest', 'larger', 'smaller')

# Which of size, colour, kind a noun mentions; short descriptions are said more often.
_MENTIONS = (
    (0, 0, 1),
    (0, 1, 1),
    (0, 1, 0),
    (0, 1, 1),
    (1, 0, 1),
    (0, 0, 1),
    (1, 1, 1),
    (1, 0, 0),
    (1, 1, 0),
)
_NEXT_TO_MAX_M = 0.25  # farther away, nobody would call it next to


@dataclass(frozen=True)
class View:
    """What a proposal may look at.

    :param targets: from left to right.
    :param width: of the image, pixels.
    """

    targets: Sequence[ObjectTruth]
    width: int


def _describe(thing: ObjectTruth, mention: tuple[int, int, int]) -> Noun:
    return Noun(
        thing.size_name if mention[0] else '',
        thing.colour if mention[1] else '',
        thing.kind if mention[2] else '',
    )


def some_noun(view: View, dice: Dice) -> Noun | None:
    """A noun that at least one target matches."""
    return _describe(dice.choose(view.targets), dice.choose(_MENTIONS)) if view.targets else None


def _common_noun(view: View, dice: Dice) -> Noun | None:
    """A noun that preferably several targets match; sometimes all objects."""
    if not view.targets or dice.chance(0.08):
        return ANY if view.targets else None
    nouns = [some_noun(view, dice) for _ in range(1 + dice.below(4))]
    return max(nouns, key=lambda noun: sum(map(noun.matches, view.targets)))


def unique_noun(thing: ObjectTruth, view: View, dice: Dice, hide: int | None = None) -> Noun | None:
    """A noun that only one target matches.

    :param hide: index of the field of Noun that must not be mentioned.
    """
    start = dice.below(len(_MENTIONS))
    for mention in _MENTIONS[start:] + _MENTIONS[:start]:
        if hide is not None and mention[hide]:
            continue
        noun = _describe(thing, mention)
        if sum(map(noun.matches, view.targets)) == 1:
            return noun
    return None


def absent_noun(view: View, dice: Dice) -> Noun | None:
    """A noun that no target matches: mostly a near miss, whose words each fit some target."""
    for _ in range(_TRIES):
        if not view.targets or dice.chance(0.2):
            size, colour, kind = dice.choose(SIZES), dice.choose(COLOURS), dice.choose(KINDS)
        else:
            size, colour, kind = (
                dice.choose(view.targets).size_name,
                dice.choose(view.targets).colour,
                dice.choose(view.targets).kind,
            )
        mention = dice.choose(_MENTIONS)
        noun = Noun(
            size if mention[0] else '', colour if mention[1] else '', kind if mention[2] else ''
        )
        if not any(map(noun.matches, view.targets)):
            return noun
    return None


def _one(view: View, dice: Dice, task: Task, absent: bool) -> Query | None:
    if absent or not view.targets:
        noun = absent_noun(view, dice)
    else:
        noun = unique_noun(dice.choose(view.targets), view, dice)
    return noun and Query(Form.ONE, task, noun)


def _all(view: View, dice: Dice, task: Task, absent: bool) -> Query | None:
    noun = absent_noun(view, dice) if absent else _common_noun(view, dice)
    return noun and Query(Form.ALL, task, noun)


def _relation(
    form: Form, names: tuple[str, ...]
) -> Callable[[View, Dice, Task, bool], Query | None]:
    def propose(view: View, dice: Dice, task: Task, absent: bool) -> Query | None:
        if len(view.targets) < 2:
            return None
        relation = dice.choose(names)
        anchor = unique_noun(dice.choose(view.targets), view, dice)
        noun = some_noun(view, dice) if form is Form.RELATION else _common_noun(view, dice)
        if absent and dice.chance(0.5):
            lacking = absent_noun(view, dice)
            anchor, noun = (lacking, noun) if dice.chance(0.4) else (anchor, lacking)
        if anchor is None or noun is None:
            return None
        if relation == 'next_to' and not _is_someone_near(noun, anchor, view):
            return None
        return Query(form, task, noun, relation, anchor)

    return propose


def _is_someone_near(noun: Noun, anchor: Noun, view: View) -> bool:
    """Keep instructions from calling distant objects next to each other."""
    there = next((thing for thing in view.targets if anchor.matches(thing)), None)
    others = [thing for thing in view.targets if thing is not there and noun.matches(thing)]
    return (
        there is None
        or not others
        or any(relations.gap_m(thing, there) <= _NEXT_TO_MAX_M for thing in others)
    )


def _extreme(view: View, dice: Dice, task: Task, absent: bool) -> Query | None:
    name = dice.choose(_EXTREMES)
    if absent:
        noun = absent_noun(view, dice)
    else:
        noun = ANY if dice.chance(0.3) else some_noun(view, dice)
        if noun is None or sum(map(noun.matches, view.targets)) < 2:
            return None
    if noun is None or name in _SIZE_WORDS and noun.size:
        return None
    return Query(Form.EXTREME, task, noun, name)


def _function(view: View, dice: Dice, task: Task, absent: bool) -> Query | None:
    present = {thing.kind for thing in view.targets}
    fitting = [name for name in _FUNCTIONS if present.isdisjoint(FUNCTIONS[name].kinds) == absent]
    return Query(Form.FUNCTION, task, function=dice.choose(fitting)) if fitting else None


def _attribute(form: Form, hide: int) -> Callable[[View, Dice, Task, bool], Query | None]:
    def propose(view: View, dice: Dice, task: Task, absent: bool) -> Query | None:
        if not view.targets:
            return None
        noun = unique_noun(dice.choose(view.targets), view, dice, hide)
        return noun and Query(form, task, noun)

    return propose


def _exists(view: View, dice: Dice, task: Task, absent: bool) -> Query | None:
    noun = some_noun(view, dice) if dice.chance(0.5) else absent_noun(view, dice)
    return noun and Query(Form.EXISTS, task, noun)


def _two(
    view: View, dice: Dice, hide: int | None
) -> tuple[ObjectTruth, ObjectTruth, Noun, Noun] | None:
    thing, anchor = dice.choose(view.targets), dice.choose(view.targets)
    if thing is anchor:
        return None
    noun, other = unique_noun(thing, view, dice, hide), unique_noun(anchor, view, dice, hide)
    return (thing, anchor, noun, other) if noun and other else None


def _related(view: View, dice: Dice, task: Task, absent: bool) -> Query | None:
    pair = _two(view, dice, None) if len(view.targets) > 1 else None
    if pair is None:
        return None
    thing, anchor, noun, other = pair
    relation = dice.choose(_SIDES)
    # In a picture, half of the statements shall be true whatever the relation.
    if relations.holds(relation, thing, anchor, view.width) is not dice.chance(0.5):
        relation = OPPOSITE[relation]
    return Query(Form.RELATED, task, noun, relation, other)


def _compare(view: View, dice: Dice, task: Task, absent: bool) -> Query | None:
    relation = dice.choose(_COMPARISONS)
    hide = 0 if relation in _SIZE_WORDS else None
    pair = _two(view, dice, hide) if len(view.targets) > 1 else None
    return pair and Query(Form.COMPARE, task, pair[2], relation, pair[3])


def _caption(view: View, dice: Dice, task: Task, absent: bool) -> Query | None:
    return Query(Form.CAPTION, task)


# Form -> (view, dice, task, nothing shall match) -> a query, or None when this draw led nowhere.
PROPOSERS: dict[Form, Callable[[View, Dice, Task, bool], Query | None]] = {
    Form.ONE: _one,
    Form.ALL: _all,
    Form.RELATION: _relation(Form.RELATION, _RELATIONS),
    Form.RELATION_ALL: _relation(Form.RELATION_ALL, _SIDES),
    Form.EXTREME: _extreme,
    Form.FUNCTION: _function,
    Form.COLOUR: _attribute(Form.COLOUR, 1),
    Form.SHAPE: _attribute(Form.SHAPE, 2),
    Form.SIZE: _attribute(Form.SIZE, 0),
    Form.EXISTS: _exists,
    Form.RELATED: _related,
    Form.COMPARE: _compare,
    Form.CAPTION: _caption,
}
