"""Questions about one box: is the object there what an instruction asks for?

They teach the embedded model the check that ``confidence.existence`` of a model card makes. Half of
the answers are yes: boxes about as good as the model's own. The others are boxes of other objects,
boxes that lie beside what is asked for, and any boxes where what is asked for is not there.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vr_ros.core.geometry import box_iou_matrix
from vr_ros.core.types import Size, Task
from vr_ros.sim.instructions import SimInstruction
from vr_ros.sim.truth import FrameTruth
from vr_ros.training.sim_targets import (
    AIM_OPENING,
    NOTHING,
    ModelObject,
    describe,
    model_objects,
    verdict,
)

# In a card: user: the same, with its placeholders {box} and {question}.
QUESTION = 'Is the object at {box} what "{question}" asks for?'
AT_OPENING = '. At:'
# A box is right at this IoU, as the evaluation has it; a wrong one is clearly less.
RIGHT_IOU, WRONG_IOU = 0.6, 0.3
# Below, a box holds no object.
SEEN_IOU = 0.1
_TRIES = 20
# Standard deviation of the edges of the model's own boxes, as a share of the box.
_OWN_ERROR = 0.05

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Check:
    """One question about one box.

    :param text: the user's message.
    :param box: x_min, y_min, x_max, y_max, whole pixels of the model's input.
    :param seen: the object in the box, None where there is none.
    :param is_yes: the right answer.
    """

    text: str
    box: Box
    seen: ModelObject | None
    is_yes: bool
    instruction: SimInstruction
    task: Task = Task.VQA

    @property
    def response(self) -> str:
        """What the model should write: reasoning that is true of the frame, then yes or no."""
        seen = NOTHING
        if self.seen is not None:
            seen = self.seen.place + self.seen.name + verdict(self.instruction, self.seen.truth)
        aim = f'{AIM_OPENING} {describe(self.instruction.query)}'
        answer = 'yes' if self.is_yes else 'no'
        return f'<think>{aim}{AT_OPENING}{seen}</think><answer>{answer}</answer>'


def draw_check(
    instruction: SimInstruction, truth: FrameTruth, size: Size, rng: np.random.Generator
) -> Check | None:
    """Draw a question about one box.

    :param instruction: one that asks for objects.
    :param size: of the model's input in pixels.
    :return: None when this draw led nowhere.
    """
    objects = model_objects(truth.targets, truth.size, size)
    wanted = [o for o in objects if o.truth.id in instruction.target_ids]
    others = [o for o in objects if o.truth.id not in instruction.target_ids]
    kind = rng.choice(['right', 'other', 'beside'], p=[0.5, 0.3, 0.2])
    if not wanted or (kind == 'other' and others):
        box = _about(others[rng.integers(len(others))], size, rng) if others else None
    else:
        one = wanted[rng.integers(len(wanted))]
        box = _about(one, size, rng) if kind == 'right' else _beside(one, wanted, size, rng)
    return None if box is None else _check(instruction, box, objects)


def _check(
    instruction: SimInstruction, box: Box, objects: list[ModelObject]
) -> Check:
    seen, overlap = None, SEEN_IOU
    for one in objects:
        iou = _iou(box, one)
        if iou >= overlap:
            seen, overlap = one, iou
    is_yes = (
        seen is not None and overlap >= RIGHT_IOU and seen.truth.id in instruction.target_ids)
    numbers = ','.join(map(str, box))
    text = QUESTION.replace('{box}', f'[{numbers}]').replace('{question}', instruction.text)
    return Check(text, box, seen, is_yes, instruction)


def _about(one: ModelObject, size: Size, rng: np.random.Generator) -> Box | None:
    """Draw a box as good as those of a model."""
    return _drawn(one, size, lambda edges: rng.normal(0, _OWN_ERROR, 4) * edges,
                  lambda box: _iou(box, one) >= RIGHT_IOU)


def _beside(
    one: ModelObject, wanted: list[ModelObject], size: Size, rng: np.random.Generator
) -> Box | None:
    """Draw a box that misses everything that is asked for, yet lies near to some of it."""
    return _drawn(one, size, lambda edges: np.tile(rng.uniform(-1.2, 1.2, 2), 2) * edges,
                  lambda box: all(_iou(box, other) <= WRONG_IOU for other in wanted))


def _drawn(
    one: ModelObject, size: Size, shift: Callable[[np.ndarray], np.ndarray],
    fits: Callable[[Box], bool],
) -> Box | None:
    """Move an object's box until it fits; None when it does not.

    :param shift: gets the lengths of the edges that x_min, y_min, x_max, y_max move along.
    """
    edges = np.tile(np.maximum(np.subtract(one.box[2:], one.box[:2]), 1), 2)
    limits = np.array([size.width, size.height] * 2)
    for _ in range(_TRIES):
        moved = np.clip(np.rint(one.box + shift(edges)), 0, limits).astype(int)
        x_min, y_min, x_max, y_max = map(int, moved)
        if x_max - x_min >= 2 and y_max - y_min >= 2 and fits((x_min, y_min, x_max, y_max)):
            return x_min, y_min, x_max, y_max
    return None


def _iou(box: Box, one: ModelObject) -> float:
    return float(box_iou_matrix(np.array([box], float), np.array([one.box], float))[0, 0])
