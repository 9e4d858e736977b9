"""A back-end that follows, frame by frame, what is bright.

Loaded by the real worker program. What is to be seen is in the picture: an object is where the
picture is bright, and hidden where it is dark everywhere. Imports no torch.
"""
from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vr_ros.core.events import EventSink
from vr_ros.core.rle import mask_to_rle, rle_area, rle_box
from vr_ros.core.types import Detection, Perception, Size, Status, Task
from vr_ros.pipeline.worker_tracking import Tracks

BRIGHT = 200


def make(card: str, **options: object) -> MovingBackend:
    """Load."""
    return MovingBackend(card, options)


def bright(image: np.ndarray) -> Detection | None:
    """Find the object of a picture."""
    mask = mask_to_rle(image.min(2) >= BRIGHT)
    box = rle_box(mask)
    if box is None:
        return None
    return Detection(0, tuple(map(float, box)), label='lamp', mask=mask, mask_score=0.9,
                     area_px=rle_area(mask))


class MovingBackend:
    """Answers with what is bright. A picture as dark as 13 kills it, 14 hangs it, 15 fails."""

    can_track = True

    def __init__(self, card: str, options: dict[str, object]) -> None:
        self.model_id = f'moving:{card}'
        self._followed: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._is_late = False

    def close(self) -> None:
        """Nothing to give back."""

    def perceive(self, image: np.ndarray, text: str, task: Task = Task.AUTO, *,
                 on_event: EventSink | None = None, **options: object) -> Perception:
        """Find the lamp; 'slow lamp' takes half a second, 'twin lamps' are two in one place.

        What is found of a 'late lamp' is followed half a second after the answer.
        """
        self._is_late = text.startswith('late')
        if text.startswith('slow'):
            time.sleep(0.5)
        found = bright(image)
        lamps = () if found is None else (found,)
        if text.startswith('twin'):
            lamps += tuple(replace(lamp, index=1) for lamp in lamps)
        return Perception(
            Status.OK if found else Status.NO_OBJECT, task, lamps,
            image_size=Size(image.shape[1], image.shape[0]), model_id=self.model_id)

    def watch(self, camera: str) -> None:
        """Nothing is remembered: the lamp is easily found again."""

    def follow(self, camera: str, seed_id: int, detections: Sequence[Detection] | None) -> None:
        """Follow the lamp."""
        if self._is_late:
            time.sleep(0.5)
        if detections is not None:
            self._followed[camera] = seed_id, tuple(found.index for found in detections)

    def forget(self, camera: str) -> None:
        """Follow nothing."""
        self._followed.pop(camera, None)

    def track(self, camera: str, image: np.ndarray) -> Tracks:
        """Find the lamp on the next frame."""
        if image.max() == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        if image.max() == 14:
            time.sleep(1000)
        if image.max() == 15:
            raise RuntimeError('cannot track')
        if camera not in self._followed:
            return Tracks()
        seed_id, indices = self._followed[camera]
        found = bright(image) or Detection(0, (0.0, 0.0, 0.0, 0.0), label='lamp')
        # A picture with a blue corner is of another place.
        return Tracks(seed_id, tuple(replace(found, index=index) for index in indices),
                      image[0, 0, 2] > BRIGHT > image[0, 0, 0])
