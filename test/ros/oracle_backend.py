"""A back-end for the worker that knows the simulator's scenes: it answers with the truth, and with
another object's where it is told to. Imports no torch."""
from __future__ import annotations

from functools import lru_cache

import numpy as np

from vr_ros.core.events import EventSink, MasksEvent, ObjectsEvent
from vr_ros.core.types import Detection, Perception, Size, Status, Task
from vr_ros.sim.instructions import HELDOUT_SEED, answer_key
from vr_ros.sim.renderer import Frame, render_scene

SCENES, OBJECTS = 40, 4


@lru_cache(maxsize=SCENES)
def scene(seed: int) -> Frame:
    return render_scene(seed, count=OBJECTS)


def make(card: str, **_: object) -> OracleBackend:
    """Make one that tells the 'truth', or always means 'another' object, or finds 'nothing'."""
    return OracleBackend(card)


class OracleBackend:
    """Recognises a picture by its pixels."""

    def __init__(self, card: str) -> None:
        self.model_id = card

    def close(self) -> None:
        """Nothing to give back."""

    def perceive(
        self, image: np.ndarray, text: str, task: Task = Task.AUTO, *, want_masks: bool = True,
        on_event: EventSink | None = None, **_: object,
    ) -> Perception:
        """Answer about a picture of a held-out scene."""
        truth = next(scene(seed).truth for seed in range(HELDOUT_SEED, HELDOUT_SEED + SCENES)
                     if np.array_equal(scene(seed).rgb, image))
        meant = set(answer_key(text, truth).target_ids)
        if self.model_id == 'another':
            meant = {next(o.id for o in truth.targets if o.id not in meant)}
        found = tuple(
            Detection(index, item.box, item.point, mask=item.mask) for index, item in enumerate(
                o for o in truth.targets if o.id in meant and self.model_id != 'nothing'))
        if found and on_event:
            on_event(ObjectsEvent(found, masks_pending=False))
            on_event(MasksEvent(found))
        height, width = image.shape[:2]
        return Perception(Status.OK if found else Status.NO_OBJECT, task, found,
                          image_size=Size(width, height), model_id=self.model_id)
