"""What a model card makes of a row: the prompt, the image's size, and the truth's coordinates.

Trainers take messages and add the chat tokens by the checkpoint's own chat template, which for the
Qwen2.5-VL family puts a system message of its own where none is given.
"""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vr_ros.core.geometry import smart_resize
from vr_ros.core.prompt import clean_question, render_user_text, validate_instruction
from vr_ros.core.types import PerceptionError, Size, Task
from vr_ros.models.card import FAMILIES
from vr_ros.models.card_types import ModelCard, ReasonerCard
from vr_ros.training.rewards.samples import Sample, SampleError
from vr_ros.training.rewards.written_objects import scaled_items

# What a family's chat template says where no system message is given.
_TEMPLATE_SYSTEM = {'qwen2_5_vl': 'You are a helpful assistant.', 'qwen3_vl': ''}
_RELATIVE = Size(1000, 1000)


@dataclass(frozen=True)
class Prompt:
    """What the model is told.

    :param system: '' for no system message.
    :param user: what follows the image.
    """

    system: str
    user: str


def render_prompt(card: ReasonerCard, problem: str, task: Task) -> Prompt:
    """Put an instruction into the card's template, as the node does.

    :param problem: as a user says it.
    :raises SampleError: the card has no prompt for the task, or the instruction says nothing.
    """
    try:
        template = card.template(task)
        question = clean_question(validate_instruction(problem), card.question_style(task))
    except PerceptionError as error:
        raise SampleError(error.message) from error
    return Prompt(template.system, render_user_text(template, question))


def check_system(card: ModelCard, passes_system: bool, trainer: str) -> None:
    """Make sure that a trainer's prompts say what the node's say.

    :param passes_system: whether the trainer can be given a system message.
    :raises SampleError: it would say another one.
    """
    default = _TEMPLATE_SYSTEM[card.reasoner.family]
    for task, prompt in card.reasoner.tasks.items():
        system = prompt.template.system
        if system != default and (not system or not passes_system):
            raise SampleError(
                f'{card.name}: the system message for {task.name.lower()} is {system!r}, but '
                f'{trainer} can only give that of the chat template, {default!r}: write it into '
                'the card')


def model_size(card: ReasonerCard, stored: Size, task: Task) -> Size:
    """Tell how large the model sees an image.

    :raises SampleError: its sides differ too much.
    """
    policy = card.image(task)
    try:
        return policy.size or smart_resize(
            stored, FAMILIES[card.family], policy.min_pixels, policy.max_pixels)
    except ValueError as error:
        raise SampleError(f'its image: {error}') from error


def in_model_coordinates(sample: Sample, stored: Size, seen: Size, card: ReasonerCard) -> Sample:
    """Give a sample with its boxes and points in the numbers that the model writes.

    A truth in 0..1000 stays: its verifier brings answers in pixels there, and is told where the
    model writes thousandths itself. So does what holds no objects.

    :param stored: size of the image in whose pixels the truth is.
    :param seen: size of the image that the model sees.
    """
    parameters = dict(sample.parameters)
    is_relative = card.coordinates == 'relative_1000'
    if parameters.get('det_verifier_normalized'):
        parameters['det_verifier_normalized'] = not is_relative
        return replace(sample, image_size=seen, parameters=parameters)
    wanted = _RELATIVE if is_relative else seen
    if stored == wanted:
        return replace(sample, image_size=seen)
    if isinstance(parameters.get('objects'), list):   # of the verifier mixture
        parameters['objects'] = _scaled(parameters['objects'], stored, wanted)
    return replace(sample, image_size=seen, parameters=parameters,
                   ground_truth=_scaled_truth(sample.ground_truth, stored, wanted))


def _scaled_truth(truth: str, stored: Size, wanted: Size) -> str:
    try:
        items = json.loads(truth)
    except ValueError:
        return truth
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return truth
    return json.dumps(_scaled(items, stored, wanted))


def _scaled(items: Sequence[Mapping[str, Any]], stored: Size, wanted: Size
            ) -> list[dict[str, Any]]:
    """Scale a list of objects, rounding as VisionReasoner's data preparation does."""
    return scaled_items(items, wanted.width / stored.width, wanted.height / stored.height,
                        lambda value: int(value + 0.5))
