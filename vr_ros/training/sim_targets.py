"""What the embedded model should answer on a simulated frame: perception first, then the choice,
then the boxes.

The reasoning lists every object with its place on a coarse grid before it says which of them
match, because a small model learns to choose among things that it has just named far sooner than
it learns to choose and locate at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vr_ros.core.types import Size, Task
from vr_ros.sim.instructions import SimInstruction
from vr_ros.sim.truth import FrameTruth, ObjectTruth

LIST_OPENING = 'On the table:'
MATCH_OPENING = '. Matching:'
NO_MATCH = '. Nothing matches.'
REASON_OPENING = '. Reason:'
CELL_PX = 28


@dataclass(frozen=True)
class ModelObject:
    """A target in the pixels of the model's input, in reading order of its cell.

    :param box: x_min, y_min, x_max, y_max, whole pixels.
    :param point: x, y, whole pixels.
    :param cell: row and column of the image token under the box centre.
    """

    truth: ObjectTruth
    box: tuple[int, int, int, int]
    point: tuple[int, int]
    cell: tuple[int, int]

    @property
    def place(self) -> str:
        return f' at r{self.cell[0]}c{self.cell[1]}'

    @property
    def name(self) -> str:
        return f' {self.truth.size_name} {self.truth.colour} {self.truth.kind}'


def model_objects(
    objects: Sequence[ObjectTruth], image_size: Size, model_size: Size
) -> list[ModelObject]:
    """Map objects into the model's input and sort them as a reader would: by row, then column of
    their cell."""
    scale_x, scale_y = model_size.width / image_size.width, model_size.height / image_size.height
    mapped = []
    for truth in objects:
        x_min, y_min, x_max, y_max = (
            int(value * scale + 0.5)
            for value, scale in zip(truth.box, (scale_x, scale_y) * 2, strict=True)
        )
        point = (int(truth.point[0] * scale_x + 0.5), int(truth.point[1] * scale_y + 0.5))
        row = min((y_min + y_max) // 2, model_size.height - 1) // CELL_PX
        column = min((x_min + x_max) // 2, model_size.width - 1) // CELL_PX
        mapped.append(ModelObject(truth, (x_min, y_min, x_max, y_max), point, (row, column)))
    return sorted(mapped, key=lambda o: (o.cell, o.box[0]))


def answer_list(objects: Sequence[ModelObject]) -> str:
    """Write objects as VisionReasoner does: no space after the commas inside a number list."""
    items = []
    for o in objects:
        box, point = ','.join(map(str, o.box)), ','.join(map(str, o.point))
        items.append(f'{{"bbox_2d": [{box}], "point_2d": [{point}]}}')
    return f'[{", ".join(items)}]'


def _anchor_places(instruction: SimInstruction, objects: Sequence[ModelObject]) -> str:
    return ''.join(o.place for o in objects if o.truth.id in instruction.anchor_ids)


def response(instruction: SimInstruction, truth: FrameTruth, model_size: Size) -> str:
    """Compose the whole response: reasoning that is true of the frame, then the answer.

    :param model_size: size of the model's resized input in pixels.
    :return: ``<think>…</think><answer>…</answer>``.
    """
    objects = model_objects(truth.targets, truth.size, model_size)
    seen = ';'.join(o.name + o.place for o in objects) or ' nothing'
    wanted = set(instruction.target_ids)
    matching = [o for o in objects if o.truth.id in wanted]
    why = (
        f'{REASON_OPENING} {instruction.reason}{_anchor_places(instruction, objects)}'
        if instruction.reason
        else ''
    )
    if instruction.task is Task.VQA:
        return f'<think>{LIST_OPENING}{seen}{why}.</think><answer>{instruction.answer}</answer>'
    if matching:
        chosen = MATCH_OPENING + ';'.join(o.name + o.place for o in matching) + '.'
    else:
        chosen = NO_MATCH
    return (
        f'<think>{LIST_OPENING}{seen}{why}{chosen}</think><answer>{answer_list(matching)}</answer>'
    )
