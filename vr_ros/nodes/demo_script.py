"""What the demo asks: one instruction of every kind that the scene gives occasion for."""
from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from vr_ros.core.types import Task
from vr_ros.sim.instructions import NoInstructionError, SimInstruction, generate, generate_many
from vr_ros.sim.truth import FrameTruth

_TRIES = 60


def _is_there(instruction: SimInstruction) -> bool:
    return instruction.task is Task.VQA or bool(instruction.target_ids)


def _is_absent(instruction: SimInstruction) -> bool:
    return not instruction.target_ids


# Template, and which of its instructions to take.
PROGRAMME: tuple[tuple[str, Callable[[SimInstruction], bool]], ...] = (
    ('detect_one', _is_there),
    ('count_all', _is_there),
    ('detect_function', _is_there),
    ('vqa_colour', _is_there),
    ('segment_all', _is_there),
    ('detect_one', _is_absent),
    ('detect_relation', _is_there),
    ('vqa_exists', _is_there),
    ('count_function', _is_there),
    ('vqa_caption', _is_there),
)


def programme(truth: FrameTruth, seed: int) -> Iterator[SimInstruction]:
    """Choose instructions about a frame, in wordings that training never saw.

    First one of each kind, then more of any kind, without end as long as the frame has any.

    :param seed: of the choice.
    """
    rng = np.random.default_rng([seed, 8])
    for template, is_wanted in PROGRAMME:
        for _ in range(_TRIES):
            try:
                instruction = generate(truth, rng, 'heldout', template)
            except NoInstructionError:
                break
            if is_wanted(instruction):
                yield instruction
                break
    while more := generate_many(truth, rng, 8, 'heldout'):
        yield from more
