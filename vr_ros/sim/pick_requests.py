"""What a gripper can be asked for: one object of a frame, named by what it is or is good for."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vr_ros.sim.instructions import NoInstructionError, SimInstruction, generate
from vr_ros.sim.queries import Form, Query
from vr_ros.sim.truth import FrameTruth, ObjectTruth
from vr_ros.sim.vocabulary import EXTREMES, FUNCTIONS, RELATIONS

# Of the generator, in the order in which a demo goes through them.
TEMPLATES = ('detect_function', 'detect_one', 'detect_relation', 'detect_extreme')
_TRIES = 60


@dataclass(frozen=True)
class PickRequest:
    """A wish, and the instruction that finds what is meant.

    :param said: as a person says it: 'pick up the thing that i can drink from'.
    :param instruction: the same object in words that a perception model is asked with.
    :param target: the one object that is right.
    """

    said: str
    instruction: SimInstruction
    target: ObjectTruth


def draw_request(
    truth: FrameTruth, rng: np.random.Generator, templates: Sequence[str] = TEMPLATES
) -> PickRequest | None:
    """Draw a wish that exactly one object of a frame fulfils, in a wording held out from training.

    :param templates: tried one after the other until the frame gives occasion for one.
    :return: None where it gives none.
    """
    for template in templates:
        for _ in range(_TRIES):
            try:
                instruction = generate(truth, rng, 'heldout', template)
            except NoInstructionError:
                break
            if len(instruction.target_ids) == 1:
                target, = (o for o in truth.objects if o.id == instruction.target_ids[0])
                return PickRequest(
                    f'pick up {noun_phrase(instruction.query)}', instruction, target)
    return None


def noun_phrase(query: Query) -> str:
    """Name what a query asks for: 'the small red cube', 'the thing that has a handle'.

    :raises ValueError: the query's form names no single object.
    """
    noun = query.noun.singular('thing')
    if query.form is Form.ONE:
        return f'the {noun}'
    if query.form is Form.RELATION:
        return f'the {noun} {RELATIONS[query.relation][0]} the {query.anchor.singular("thing")}'
    if query.form is Form.EXTREME:
        return f'the {EXTREMES[query.relation][0][0]} {noun}'
    if query.form is Form.FUNCTION:
        return f'the thing that {FUNCTIONS[query.function].phrases[0][1]}'
    raise ValueError(f'{query.form.value} names no single object')


def label(item: ObjectTruth) -> str:
    """Name an object as the truth on the graph does: size, colour, kind."""
    return f'{item.size_name} {item.colour} {item.kind}'
