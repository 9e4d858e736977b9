"""What the embedded model should answer on a simulated frame, in steps that are each easy to learn.

The reasoning says what it looks for and lists every object by its place on a coarse grid, each with
a verdict right behind the words that decide it. Then it names the places that match and gives the
box of each right behind its place: at that moment one look at the image token of that place is
enough. The answer only copies. A question about two objects names both in this way, a caption sorts
and groups all of them before it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vr_ros.core.types import Size, Task
from vr_ros.sim.instructions import SimInstruction
from vr_ros.sim.queries import Form, Query
from vr_ros.sim.relations import order_by
from vr_ros.sim.truth import FrameTruth, ObjectTruth
from vr_ros.sim.vocabulary import COMPARISONS, EXTREMES, FUNCTIONS, RELATIONS

AIM_OPENING = 'Looking for:'
LIST_OPENING = '. On the table:'
MATCH_OPENING = '. Matching:'
NOTHING = ' nothing'
YES, NO, REFERENCE = ' yes', ' no', ' reference'
CELL_PX = 28
# Questions whose answer does not follow from the verdicts alone.
SECOND_LOOKS = (Form.RELATED, Form.COMPARE, Form.CAPTION)


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
        return f' r{self.cell[0]}c{self.cell[1]}'

    @property
    def name(self) -> str:
        return f' {self.truth.size_name} {self.truth.colour} {self.truth.kind}'

    @property
    def coordinates(self) -> str:
        """Box and point as the reasoning writes them, every number one token."""
        return ''.join(f' {"xy"[i % 2]}{v}' for i, v in enumerate((*self.box, *self.point)))


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


def describe(query: Query) -> str:
    """Say in fixed words what a query looks for, however its instruction put it."""
    noun, anchor = query.noun.singular(), query.anchor.singular()
    match query.form:
        case Form.ONE | Form.ALL:
            return noun
        case Form.RELATION | Form.RELATION_ALL:
            return f'{noun} {RELATIONS[query.relation][0]} the {anchor}'
        case Form.EXTREME:
            return f'{EXTREMES[query.relation][0][0]} {noun}'
        case Form.FUNCTION:
            function = FUNCTIONS[query.function]
            return f'{" or ".join(function.kinds)}, since {function.reason}'
        case Form.COLOUR | Form.SHAPE | Form.SIZE:
            return f'{query.form.value} of the {noun}'
        case Form.EXISTS:
            return f'any {noun}'
        case Form.RELATED:
            return f'whether the {noun} is {RELATIONS[query.relation][0]} the {anchor}'
        case Form.COMPARE:
            return f'whether the {noun} is {COMPARISONS[query.relation][0]} than the {anchor}'
        case Form.CAPTION:
            return 'all objects'


def verdict(instruction: SimInstruction, thing: ObjectTruth) -> str:
    """Tell whether a thing fits the words; whether it also stands where it should comes later."""
    query, ids = instruction.query, instruction.anchor_ids
    if query.form in (Form.RELATED, Form.COMPARE):
        return YES if thing.id == ids[0] else REFERENCE if thing.id == ids[1] else NO
    if query.form in (Form.RELATION, Form.RELATION_ALL) and thing.id in ids:
        return REFERENCE
    if query.form is Form.FUNCTION:
        return YES if thing.kind in FUNCTIONS[query.function].kinds else NO
    return YES if query.noun.matches(thing) else NO


def matching(
    instruction: SimInstruction, objects: Sequence[ModelObject]
) -> list[list[ModelObject]]:
    """Groups in the order in which the reasoning names them behind the list.

    :param objects: as :func:`model_objects` gives them.
    :return: for a caption, the objects of one colour and kind each, from the left; else one object
        each: those asked for in reading order, or the two that a question is about. Those of a
        comparison are in an order that does not depend on its sense (from the left, the near, the
        small), and then comes the one that it chooses.
    """
    query = instruction.query
    by_id = {o.truth.id: o for o in objects}
    if query.form is Form.CAPTION:
        groups: dict[tuple[str, str], list[ModelObject]] = {}
        for thing in (by_id[i] for i in instruction.anchor_ids):
            groups.setdefault((thing.truth.colour, thing.truth.kind), []).append(thing)
        return list(groups.values())
    if query.form is Form.RELATED:
        return [[by_id[i]] for i in instruction.anchor_ids]
    if query.form is Form.COMPARE:
        first, second = (by_id[i] for i in instruction.anchor_ids)
        is_first = instruction.answer == f'the {query.noun.singular()}'
        pair = sorted((first, second), key=lambda o: order_by(query.relation, o.truth))
        return [[o] for o in (*pair, first if is_first else second)]
    return [[o] for o in objects if o.truth.id in instruction.target_ids]


def _say_matching(
    instruction: SimInstruction, groups: Sequence[Sequence[ModelObject]]
) -> str:
    query = instruction.query
    if query.form is Form.CAPTION:
        return ';'.join(
            f'{first.place} {first.truth.colour} {first.truth.kind}'
            + ''.join(o.place for o in others) for first, *others in groups) or NOTHING
    if query.form is Form.COMPARE:
        *pair, (chosen,) = groups
        return ''.join(o.place + o.coordinates for o, in pair) + (
            f':{chosen.place}{verdict(instruction, chosen.truth)}')
    return ''.join(o.place + o.coordinates for group in groups for o in group) or NOTHING


def response(
    instruction: SimInstruction, truth: FrameTruth, model_size: Size, *, direct: bool = False
) -> str:
    """Compose the whole response: reasoning that is true of the frame, then the answer.

    :param model_size: size of the model's resized input in pixels.
    :param direct: say no reasoning.
    :return: ``<think>…</think><answer>…</answer>``.
    """
    objects = model_objects(truth.targets, truth.size, model_size)
    groups = matching(instruction, objects)
    is_question = instruction.task is Task.VQA
    answer = instruction.answer if is_question else answer_list([o for o, in groups])
    reasoning = '' if direct else _reason(instruction, objects, groups)
    return f'<think>{reasoning}</think><answer>{answer}</answer>'


def _reason(
    instruction: SimInstruction, objects: Sequence[ModelObject],
    groups: Sequence[Sequence[ModelObject]],
) -> str:
    query = instruction.query
    seen = ';'.join(o.place + o.name + verdict(instruction, o.truth) for o in objects) or NOTHING
    said = f'{AIM_OPENING} {describe(query)}{LIST_OPENING}{seen}'
    if instruction.task is Task.VQA and query.form not in SECOND_LOOKS:
        return said
    return said + MATCH_OPENING + _say_matching(instruction, groups)
