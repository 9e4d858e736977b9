"""What a model's answer amounts to: the status it ends with, and which of its points to believe."""
from __future__ import annotations

from collections.abc import Sequence

from vr_ros.core.answer import ParsedAnswer, ParseOutcome
from vr_ros.core.types import Detection, ParsedObject, Status, Task
from vr_ros.models.card_types import ConfidenceCard


def points_inside(found: ParsedObject) -> bool:
    """Tell whether the model pointed at the object: a point beside its own box is a slip.

    It would have the segmenter take in something else, and a gripper reach for it.
    """
    x_min, y_min, x_max, y_max = found.box
    x, y = found.point
    return found.has_point and x_min <= x <= x_max and y_min <= y <= y_max


def outcome_status(parsed: ParsedAnswer, finish_reason: str, task: Task) -> tuple[Status, str]:
    """Name how an answer ended.

    :return: the status and one line about it.
    """
    if finish_reason == 'cancelled':
        return Status.CANCELLED, 'stopped on request'
    if parsed.limit_reached:
        return Status.LIMIT_REACHED, f'more than {len(parsed.objects)} objects'
    if task is Task.VQA or parsed.outcome is ParseOutcome.TEXT:
        if not parsed.answer_text.strip():
            return Status.PARSE_ERROR, 'the model gave no answer'
        if finish_reason == 'length':
            return Status.PARTIAL, 'the answer was cut off at the token limit'
        return Status.OK, ''
    if finish_reason == 'length' or parsed.outcome is ParseOutcome.PARTIAL:
        if parsed.objects:
            return Status.PARTIAL, 'part of the answer was cut off or could not be read'
        return Status.PARSE_ERROR, 'the answer was cut off or could not be read'
    return {
        ParseOutcome.OBJECTS: (Status.OK, ''),
        ParseOutcome.EMPTY: (Status.NO_OBJECT, 'the model found nothing that matches'),
    }.get(parsed.outcome, (Status.PARSE_ERROR, 'the answer could not be read'))


def without(
    left_out: int, kept: Sequence[Detection], status: Status, message: str, card: ConfidenceCard
) -> tuple[Status, str]:
    """Say that objects were left out for their scores, or added from other answers.

    Nothing there is what is left of none; something is there where other answers name it. The raw
    text of the answer still has what was left out.

    :param card: which scores these are, and their threshold.
    :return: the status and one line about it.
    """
    if status is Status.NO_OBJECT and kept:
        status, message = Status.OK, 'named by other answers only'
    if not left_out:
        return status, message
    note = (f'{left_out} left out: score ({card.source.name.lower()}) below {card.threshold:g},'
            ' the threshold of the model card')
    if not kept and status is Status.OK:
        return Status.NO_OBJECT, note
    return status, f'{message}; {note}' if message else note
