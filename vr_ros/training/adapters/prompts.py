"""Prompts of rows, rendered from a model card as the node renders them.

Trainers take messages and add the chat tokens by the checkpoint's own chat template, which for the
Qwen2.5-VL family puts a system message of its own where none is given.
"""
from __future__ import annotations

from dataclasses import dataclass

from vr_ros.core.geometry import smart_resize
from vr_ros.core.prompt import clean_question, render_user_text, validate_instruction
from vr_ros.core.types import PerceptionError, Size
from vr_ros.models.card import FAMILIES, OBJECT_TASKS, TASK_KEYS
from vr_ros.models.card_types import ModelCard
from vr_ros.training.rewards.samples import SampleError, suggestion

IMAGE = '<image>'
# What a family's chat template says where no system message is given.
_TEMPLATE_SYSTEM = {'qwen2_5_vl': 'You are a helpful assistant.', 'qwen3_vl': ''}


@dataclass(frozen=True)
class Prompt:
    """What the model is told.

    :param system: '' for no system message.
    :param user: what follows the image.
    """

    system: str
    user: str


def render_prompt(card: ModelCard, problem: str, task: str) -> Prompt:
    """Put an instruction into the card's template.

    :param problem: as a user says it.
    :param task: name of a task in lower case.
    :raises SampleError: the card has no prompt for the task, or the instruction says nothing.
    """
    if task not in TASK_KEYS:
        raise SampleError(f'no task "{task}"; {suggestion(task, TASK_KEYS)}')
    reasoner = card.reasoner
    try:
        template = reasoner.template(TASK_KEYS[task])
        question = clean_question(
            validate_instruction(problem), reasoner.question_style(TASK_KEYS[task]))
    except PerceptionError as error:
        raise SampleError(error.message) from error
    return Prompt(template.system, render_user_text(template, question))


def template_system(card: ModelCard) -> str:
    """Give the system message that the checkpoint's chat template adds by itself."""
    return _TEMPLATE_SYSTEM[card.reasoner.family]


def image_size_for(card: ModelCard, task: str, size: Size) -> Size | None:
    """Tell how large an image has to be stored so that the truth's pixels are the model's.

    :param size: to which the truth refers.
    :return: None where any size will do: the model speaks of no pixels.
    """
    reasoner = card.reasoner
    if TASK_KEYS[task] not in OBJECT_TASKS or reasoner.coordinates != 'absolute_resized':
        return None
    policy = reasoner.image(TASK_KEYS[task])
    if policy.size is not None:
        return policy.size
    return smart_resize(size, FAMILIES[reasoner.family], policy.min_pixels, policy.max_pixels)
