"""What the demo asks: one instruction of every kind, over two scenes; then more, over new ones."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vr_ros.core.types import Task
from vr_ros.sim.instructions import NoInstructionError, SimInstruction, generate, generate_many
from vr_ros.sim.truth import FrameTruth

_TRIES = 60


@dataclass(frozen=True)
class Wish:
    """One kind of instruction.

    :param kind: for people.
    :param template: of the generator.
    :param absent: ask for what is not there.
    """

    kind: str
    template: str
    absent: bool = False

    def is_met_by(self, instruction: SimInstruction) -> bool:
        """Tell whether an instruction of the template asks for what is there, or is not."""
        if instruction.task is Task.VQA:
            return True
        return bool(instruction.target_ids) != self.absent


@dataclass(frozen=True)
class Question:
    """One instruction of the demo."""

    kind: str
    text: str


# The wishes for one scene after the other.
PARTS: tuple[tuple[Wish, ...], ...] = (
    (Wish('attribute', 'detect_one'), Wish('count', 'count_all'),
     Wish('function', 'detect_function'), Wish('colour', 'vqa_colour'),
     Wish('set, masks', 'segment_all')),
    (Wish('relation', 'detect_relation'), Wish('absence', 'detect_one', absent=True),
     Wish('existence', 'vqa_exists'), Wish('count by function', 'count_function'),
     Wish('caption', 'vqa_caption')),
)
QUESTIONS = sum(map(len, PARTS))


def questions(truth: FrameTruth, part: int, seed: int) -> Iterator[Question]:
    """Choose instructions about a frame, in wordings that training never saw.

    Where the frame gives no occasion for a kind, one of any other kind takes its place.

    :param part: of PARTS; they follow one another round and round.
    :param seed: of the choice.
    """
    rng = np.random.default_rng([seed, 8])
    asked: set[str] = set()
    for wish in PARTS[part % len(PARTS)]:
        question = _wanted(truth, rng, wish) or _any(truth, rng, asked)
        if question is not None:
            asked.add(question.text)
            yield question


def _wanted(truth: FrameTruth, rng: np.random.Generator, wish: Wish) -> Question | None:
    for _ in range(_TRIES):
        try:
            instruction = generate(truth, rng, 'heldout', wish.template)
        except NoInstructionError:
            return None
        if wish.is_met_by(instruction):
            return Question(wish.kind, instruction.text)
    return None


def _any(truth: FrameTruth, rng: np.random.Generator, asked: set[str]) -> Question | None:
    for instruction in generate_many(truth, rng, len(asked) + 1, 'heldout'):
        if instruction.text not in asked:
            return Question(instruction.template.replace('_', ' '), instruction.text)
    return None
