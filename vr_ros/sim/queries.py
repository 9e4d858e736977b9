"""Structured questions about a frame, and their answers from its truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from vr_ros.core.types import Task
from vr_ros.sim import relations
from vr_ros.sim.truth import FrameTruth, ObjectTruth
from vr_ros.sim.vocabulary import (
    ANY,
    COMPARISONS,
    EMPTY_CAPTION,
    EXTREME_REASONS,
    FUNCTIONS,
    NUMBERS,
    RELATIONS,
    Noun,
    with_article,
)


class Form(Enum):
    """The closed set of things that can be asked."""

    ONE = 'one'  # the small red cube
    ALL = 'all'  # all blue objects
    RELATION = 'relation'  # the cone left of the mug
    RELATION_ALL = 'relation_all'  # all cones left of the mug
    EXTREME = 'extreme'  # the object nearest to the camera
    FUNCTION = 'function'  # what could roll off the table
    COLOUR = 'colour'  # what colour is the mug
    SHAPE = 'shape'  # what shape is the blue object
    SIZE = 'size'  # how big is the mug
    EXISTS = 'exists'  # is there a red ball
    RELATED = 'related'  # is the cone left of the mug
    COMPARE = 'compare'  # which is larger, the mug or the bowl
    CAPTION = 'caption'  # describe the scene


LOCATION_FORMS = (Form.ONE, Form.ALL, Form.RELATION, Form.RELATION_ALL, Form.EXTREME, Form.FUNCTION)
COUNT_FORMS = (Form.ALL, Form.RELATION_ALL, Form.FUNCTION)
VQA_FORMS = (
    Form.COLOUR,
    Form.SHAPE,
    Form.SIZE,
    Form.EXISTS,
    Form.RELATED,
    Form.COMPARE,
    Form.CAPTION,
)


@dataclass(frozen=True)
class Query:
    """What an instruction asks, without its wording.

    :param task: DETECTION or SEGMENTATION for LOCATION_FORMS, COUNTING for COUNT_FORMS, VQA for
        VQA_FORMS.
    :param noun: what is asked for.
    :param relation: a key of RELATIONS, EXTREMES or COMPARISONS, as the form demands; '' otherwise.
    :param anchor: the object that a relation refers to.
    :param function: a key of FUNCTIONS for Form.FUNCTION; '' otherwise.
    """

    form: Form
    task: Task
    noun: Noun = ANY
    relation: str = ''
    anchor: Noun = ANY
    function: str = ''


@dataclass(frozen=True)
class Resolution:
    """The truth about a query in one frame.

    :param target_ids: objects to box, mask or count, from left to right; empty for VQA.
    :param answer: the count in digits, the words that answer a VQA, '' for a location.
    :param reason: a short true phrase that says why, '' for plain names.
    :param anchor_ids: the objects that a relation refers to or a VQA answer rests on.
    :param problem: '' when well posed, else what is wrong with the query in this frame.
    """

    task: Task
    target_ids: tuple[int, ...] = ()
    answer: str = ''
    reason: str = ''
    anchor_ids: tuple[int, ...] = ()
    problem: str = ''


class IllPosedError(ValueError):
    """The query has no clear answer in this frame: a premise fails, or it is too close to call."""


def resolve(query: Query, truth: FrameTruth) -> Resolution:
    """Answer a query from the truth of a frame. Only its targets are ever named or counted."""
    return resolve_among(query, ordered_targets(truth), truth.size.width)


def is_well_posed(query: Query, truth: FrameTruth) -> bool:
    """Tell whether a query has exactly one defensible answer in a frame."""
    return not resolve(query, truth).problem


def ordered_targets(truth: FrameTruth) -> tuple[ObjectTruth, ...]:
    """The frame's targets from left to right by their boxes' centres, then from top to bottom."""
    return tuple(sorted(truth.targets, key=lambda o: (o.box[0] + o.box[2], o.box[1] + o.box[3])))


def resolve_among(query: Query, targets: Sequence[ObjectTruth], width: int) -> Resolution:
    """Like :func:`resolve`, for targets that are already chosen and ordered.

    :param targets: as :func:`ordered_targets` gives them.
    :param width: of the image, pixels.
    """
    try:
        if query.task is Task.VQA:
            return _ANSWERS[query.form](query, targets, width)
        found, reason, anchors = _FINDERS[query.form](query, targets, width)
    except IllPosedError as error:
        return Resolution(query.task, problem=str(error))
    return Resolution(
        query.task,
        tuple([o.id for o in found]),
        str(len(found)) if query.task is Task.COUNTING else '',
        reason,
        tuple([o.id for o in anchors]),
    )


def _only(noun: Noun, targets: Sequence[ObjectTruth]) -> ObjectTruth:
    found = [o for o in targets if noun.matches(o)]
    if len(found) != 1:
        raise IllPosedError(f'{len(found)} objects match {noun.singular()!r}')
    return found[0]


def _none_of(noun: Noun) -> str:
    return f'there are no {noun.plural()}'


_Found = tuple[Sequence[ObjectTruth], str, Sequence[ObjectTruth]]


def _find_one(query: Query, targets: Sequence[ObjectTruth], width: int) -> _Found:
    found, reason, _ = _find_all(query, targets, width)
    if len(found) > 1:
        raise IllPosedError(f'{len(found)} objects match {query.noun.singular()!r}')
    return found, reason and f'there is no {query.noun.singular()}', ()


def _find_all(query: Query, targets: Sequence[ObjectTruth], width: int) -> _Found:
    found = [o for o in targets if query.noun.matches(o)]
    return found, '' if found else _none_of(query.noun), ()


def _find_related(query: Query, targets: Sequence[ObjectTruth], width: int) -> _Found:
    anchors = [o for o in targets if query.anchor.matches(o)]
    if not anchors:
        return (), f'there is no {query.anchor.singular()}', ()
    anchor = _only(query.anchor, anchors)
    candidates = [o for o in targets if o is not anchor and query.noun.matches(o)]
    if not candidates:
        other = 'other ' if query.noun.matches(anchor) else ''
        return (), f'there is no {other}{query.noun.singular()}', anchors
    if query.relation == 'next_to':
        closest = relations.closest_to(candidates, anchor)
        if closest is None:
            raise IllPosedError('two objects are equally close')
        found = [closest]
    else:
        verdicts = [relations.holds(query.relation, o, anchor, width) for o in candidates]
        if None in verdicts:
            raise IllPosedError('too close to call')
        found = [o for o, verdict in zip(candidates, verdicts, strict=True) if verdict]
    phrase = f'{RELATIONS[query.relation][0]} the {query.anchor.singular()}'
    return found, f'is {phrase}' if found else f'no {query.noun.singular()} is {phrase}', anchors


def _find_one_related(query: Query, targets: Sequence[ObjectTruth], width: int) -> _Found:
    found, reason, anchors = _find_related(query, targets, width)
    if len(found) > 1:
        raise IllPosedError(f'{len(found)} objects match')
    return found, reason, anchors


def _find_extreme(query: Query, targets: Sequence[ObjectTruth], width: int) -> _Found:
    candidates = [o for o in targets if query.noun.matches(o)]
    if not candidates:
        return (), f'there is no {query.noun.singular()}', ()
    found = relations.extreme(query.relation, candidates, width)
    if found is None:
        raise IllPosedError('too close to call')
    return (found,), EXTREME_REASONS[query.relation], ()


def _find_useful(query: Query, targets: Sequence[ObjectTruth], width: int) -> _Found:
    function = FUNCTIONS[query.function]
    found = [o for o in targets if o.kind in function.kinds]
    if found:
        return found, function.reason, ()
    return (), 'there are no ' + ' or '.join(f'{kind}s' for kind in function.kinds), ()


_FINDERS = {
    Form.ONE: _find_one,
    Form.ALL: _find_all,
    Form.RELATION: _find_one_related,
    Form.RELATION_ALL: _find_related,
    Form.EXTREME: _find_extreme,
    Form.FUNCTION: _find_useful,
}


def _attribute(query: Query, targets: Sequence[ObjectTruth], width: int) -> Resolution:
    thing = _only(query.noun, targets)
    answer = {Form.COLOUR: thing.colour, Form.SHAPE: thing.kind, Form.SIZE: thing.size_name}[
        query.form
    ]
    said = with_article(answer) if query.form is Form.SHAPE else answer
    return Resolution(
        query.task,
        answer=answer,
        anchor_ids=(thing.id,),
        reason=f'the {query.noun.singular()} is {said}',
    )


def _exists(query: Query, targets: Sequence[ObjectTruth], width: int) -> Resolution:
    found = [o.id for o in targets if query.noun.matches(o)]
    if not found:
        return Resolution(query.task, answer='no', reason=f'there is no {query.noun.singular()}')
    return Resolution(
        query.task,
        answer='yes',
        anchor_ids=tuple(found),
        reason=f'there is {with_article(query.noun.singular())}',
    )


def _pair(query: Query, targets: Sequence[ObjectTruth]) -> tuple[ObjectTruth, ObjectTruth]:
    thing, anchor = _only(query.noun, targets), _only(query.anchor, targets)
    if thing is anchor:
        raise IllPosedError('both names mean the same object')
    return thing, anchor


def _related(query: Query, targets: Sequence[ObjectTruth], width: int) -> Resolution:
    thing, anchor = _pair(query, targets)
    verdict = relations.holds(query.relation, thing, anchor, width)
    if verdict is None:
        raise IllPosedError('too close to call')
    return Resolution(
        query.task,
        answer='yes' if verdict else 'no',
        anchor_ids=(thing.id, anchor.id),
        reason=f'the {query.noun.singular()} is {"" if verdict else "not "}'
        f'{RELATIONS[query.relation][0]} the {query.anchor.singular()}',
    )


def _compare(query: Query, targets: Sequence[ObjectTruth], width: int) -> Resolution:
    thing, anchor = _pair(query, targets)
    verdict = relations.holds(query.relation, thing, anchor, width)
    if verdict is None:
        raise IllPosedError('too close to call')
    winner, loser = query.noun.singular(), query.anchor.singular()
    if not verdict:
        winner, loser = loser, winner
    return Resolution(
        query.task,
        answer=f'the {winner}',
        anchor_ids=(thing.id, anchor.id),
        reason=f'the {winner} is {COMPARISONS[query.relation][0]} than the {loser}',
    )


def _number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def caption(targets: Sequence[ObjectTruth]) -> str:
    """Say what is there, grouped by colour and kind, in the order of each group's leftmost object.

    :param targets: as :func:`ordered_targets` gives them.
    :return: for instance 'a red cube, two blue balls and a green mug'.
    """
    counts: dict[Noun, int] = {}
    for thing in targets:
        noun = Noun(colour=thing.colour, kind=thing.kind)
        counts[noun] = counts.get(noun, 0) + 1
    parts = [
        with_article(noun.singular()) if count == 1 else f'{_number(count)} {noun.plural()}'
        for noun, count in counts.items()
    ]
    if not parts:
        return EMPTY_CAPTION
    return parts[0] if len(parts) == 1 else f'{", ".join(parts[:-1])} and {parts[-1]}'


def _caption(query: Query, targets: Sequence[ObjectTruth], width: int) -> Resolution:
    return Resolution(query.task, answer=caption(targets), anchor_ids=tuple(o.id for o in targets))


_ANSWERS = {
    Form.COLOUR: _attribute,
    Form.SHAPE: _attribute,
    Form.SIZE: _attribute,
    Form.EXISTS: _exists,
    Form.RELATED: _related,
    Form.COMPARE: _compare,
    Form.CAPTION: _caption,
}
