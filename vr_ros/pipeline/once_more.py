"""After memory ran out: one more attempt with a smaller image."""
from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from vr_ros.core.events import Event, EventSink, ObjectsEvent
from vr_ros.core.types import Perception, PerceptionError, Size, Status
from vr_ros.models.card import FAMILIES, ImageCard, ReasonerCard
from vr_ros.pipeline.worker_errors import is_out_of_memory, one_line
from vr_ros.pipeline.worker_memory import release_memory

_log = logging.getLogger('vr_ros.perceiver')

Model = TypeVar('Model')

NOTE = 'memory ran out at full size: answered from the image at half its width and height'


def answer_with_retry(attempt: Callable[[bool, EventSink], Perception], sink: EventSink,
                      should_stop: Callable[[], bool]) -> Perception:
    """Answer; when memory runs out, empty the cache and answer once more from a smaller image.

    :param attempt: gets whether the image is to be smaller, and where events go.
    :param sink: gets the events of one attempt only, those of the second if the first had none.
    :return: with a note in status_message when it is of the second attempt; what that one found has
        indices that none of the events did.
    :raises PerceptionError: OUT_OF_MEMORY, the second attempt ran out of memory as well.
    """
    heard, announced = False, 0

    def hear(event: Event) -> None:
        nonlocal heard, announced
        heard = True
        if isinstance(event, ObjectsEvent):
            announced = max([announced, *(found.index + 1 for found in event.detections)])
        sink(event)

    try:
        return attempt(False, hear)
    except Exception as error:
        if not is_out_of_memory(error) or should_stop():
            raise
        _log.warning('%s: once more with a smaller image', one_line(error))
    # Only here: as long as the exception is being handled its traceback holds on to the tensors.
    release_memory()
    try:
        perception = attempt(True, (lambda event: None) if heard else sink)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise PerceptionError(
            Status.OUT_OF_MEMORY,
            f'memory ran out also at half the image size: {one_line(error)}') from error
    message = f'{perception.status_message}; {NOTE}' if perception.status_message else NOTE
    # Other objects than those announced: under their indices they would be taken for them.
    return replace(perception, status_message=message, detections=tuple(
        replace(found, index=announced + found.index) for found in perception.detections))


def with_smaller_images(model: Model) -> Model:
    """Give a second view of a reasoner: the same weights, half the width and height of images.

    :param model: has a ReasonerCard as its card.
    """
    smaller = copy.copy(model)
    smaller.card = smaller_images(smaller.card)  # type: ignore[attr-defined]
    return smaller


def smaller_images(card: ReasonerCard) -> ReasonerCard:
    """Halve the size at which a card shows images, in whole image tokens."""
    factor = FAMILIES[card.family]
    return replace(card, tasks={
        task: replace(part, image=_smaller(part.image, factor))
        for task, part in card.tasks.items()})


def _smaller(image: ImageCard, factor: int) -> ImageCard:
    if image.size is not None:
        width, height = (max(factor, edge // 2 // factor * factor)
                         for edge in (image.size.width, image.size.height))
        return replace(image, size=Size(width, height))
    largest = max(factor * factor, image.max_pixels // 4)
    return replace(image, min_pixels=min(image.min_pixels, largest), max_pixels=largest)
