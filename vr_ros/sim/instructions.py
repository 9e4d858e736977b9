"""Generate instructions about a frame together with their answer key."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from vr_ros.core.types import Task
from vr_ros.sim import phrasings
from vr_ros.sim.dice import Dice
from vr_ros.sim.proposals import PROPOSERS, View
from vr_ros.sim.queries import Query, Resolution, ordered_targets, resolve, resolve_among
from vr_ros.sim.templates import TEMPLATES
from vr_ros.sim.truth import FrameTruth
from vr_ros.sim.vocabulary import vocabulary_sentences

# Scenes from this seed on are for evaluation; training must stay below it.
HELDOUT_SEED = 1_000_000

# Share of location and counting instructions that nothing in the frame matches.
ABSENT_SHARE = 0.12

# Per cent of all instructions; a template that a frame gives no occasion for is drawn again.
WEIGHTS = {
    'detect_one': 9,
    'detect_all': 5,
    'detect_relation': 5,
    'detect_relation_all': 2,
    'detect_extreme': 3,
    'detect_function': 4,
    'segment_one': 8,
    'segment_all': 4,
    'segment_relation': 4,
    'segment_relation_all': 2,
    'segment_extreme': 2,
    'segment_function': 3,
    'count_all': 11,
    'count_relation_all': 3,
    'count_function': 5,
    'vqa_colour': 5,
    'vqa_shape': 4,
    'vqa_size': 3,
    'vqa_exists': 6,
    'vqa_related': 5,
    'vqa_compare': 3,
    'vqa_caption': 4,
}
_NAMES = tuple(WEIGHTS)
_CUMULATIVE = tuple(accumulate(WEIGHTS.values()))

_PROPOSALS = 10  # tries to fill one template before another is drawn


class NoInstructionError(ValueError):
    """The frame gives no occasion for the template that was asked for."""


@dataclass(frozen=True)
class SimInstruction:
    """An instruction and its truth in one frame.

    :param text: as a user would type it.
    :param target_ids: ids of the objects to box, mask or count, from left to right; empty for VQA.
    :param answer: the count in digits, the words that answer a VQA, '' for a location.
    :param reason: a short true phrase that says why, '' for plain names.
    :param template: a key of WEIGHTS.
    :param split: 'train' or 'heldout': which wordings the text is drawn from.
    :param anchor_ids: objects that a relation refers to, or that a VQA answer rests on.
    """

    text: str
    task: Task
    query: Query
    target_ids: tuple[int, ...]
    answer: str
    reason: str
    template: str
    split: str
    anchor_ids: tuple[int, ...] = ()


def is_heldout(seed: int) -> bool:
    """Tell whether a scene is for evaluation only."""
    return seed >= HELDOUT_SEED


def generate(
    truth: FrameTruth, rng: np.random.Generator, split: str, template: str | None = None
) -> SimInstruction:
    """Draw one instruction with a clear answer.

    :param split: which wordings to use, 'train' or 'heldout'.
    :param template: a key of WEIGHTS, or None to draw one.
    :raises NoInstructionError: if the frame gives no occasion for the given template.
    """
    view = View(ordered_targets(truth), truth.size.width)
    return _generate(view, Dice(rng), split, template)


def generate_many(
    truth: FrameTruth, rng: np.random.Generator, n: int, split: str
) -> list[SimInstruction]:
    """Draw n instructions whose texts differ in more than case and marks.

    :return: fewer than n if the frame gives no occasion for more.
    """
    view, dice = View(ordered_targets(truth), truth.size.width), Dice(rng)
    found: dict[str, SimInstruction] = {}
    for _ in range(20 * n):
        if len(found) == n:
            break
        instruction = _generate(view, dice, split, None)
        found.setdefault(instruction.text.lower().rstrip('?.'), instruction)
    return list(found.values())


def answer_key(text: str, truth: FrameTruth) -> SimInstruction | None:
    """Give the truth for any text that the generator could have written, whoever wrote it.

    :return: None when the text is not understood, or has no clear answer in this frame.
    """
    parsed = phrasings.parse(text)
    if parsed is None:
        return None
    query, split = parsed
    resolution = resolve(query, truth)
    return None if resolution.problem else _instruction(text, query, resolution, split)


def corpus(split: str, repeats: int = 4, seed: int = 0) -> Iterator[str]:
    """Yield texts with every word of instructions, reasons and answers, to train a tokenizer on.

    :param repeats: how often each wording of the split is shown, with queries drawn at random.
    """
    dice = Dice(np.random.default_rng(seed))
    yield from phrasings.samples(split, repeats, dice)
    yield from vocabulary_sentences()


def _generate(view: View, dice: Dice, split: str, template: str | None) -> SimInstruction:
    while True:
        name = template or _NAMES[bisect_right(_CUMULATIVE, dice.uniform() * _CUMULATIVE[-1])]
        task = TEMPLATES[name].task
        absent = task is not Task.VQA and dice.chance(ABSENT_SHARE)
        # A frame may lack what the draw asks for (no kind is missing, nothing is there).
        for nothing in (absent, not absent) if template and task is not Task.VQA else (absent,):
            answered = _propose(name, view, dice, nothing)
            if answered is not None:
                query, resolution = answered
                return _instruction(
                    phrasings.verbalise(query, dice, split), query, resolution, split
                )
        if template:
            raise NoInstructionError(f'the frame gives no occasion for {template!r}')


def _propose(name: str, view: View, dice: Dice, nothing: bool) -> tuple[Query, Resolution] | None:
    template = TEMPLATES[name]
    propose = PROPOSERS[template.form]
    for _ in range(_PROPOSALS):
        query = propose(view, dice, template.task, nothing)
        if query is None:
            continue
        resolution = resolve_among(query, view.targets, view.width)
        if not resolution.problem and (
            template.task is Task.VQA or (not resolution.target_ids) == nothing
        ):
            return query, resolution
    return None


def _instruction(text: str, query: Query, resolution: Resolution, split: str) -> SimInstruction:
    return SimInstruction(
        text,
        query.task,
        query,
        resolution.target_ids,
        resolution.answer,
        resolution.reason,
        phrasings.template_of(query).name,
        split,
        resolution.anchor_ids,
    )
