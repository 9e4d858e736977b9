"""A back-end that does nothing but say when it got which frame: the end of the way to the worker.

Loaded by the real worker program in place of a model. The clock is CLOCK_MONOTONIC, which all
processes of a machine share.
"""
from __future__ import annotations

import time
from struct import Struct
from typing import Any

import numpy as np

from vr_ros.core.types import Perception, Size, Status, Task

# The first pixels of each frame hold when it was published, in nanoseconds of the steady clock.
SENT = Struct('<Q')


def make(card: str, **options: object) -> ClockBackend:
    """Make the back-end; card and options have no effect."""
    return ClockBackend()


class ClockBackend:
    """Answers every instruction at once with two times."""

    model_id = 'clock'

    def close(self) -> None:
        """Nothing to give back."""

    def perceive(self, image: np.ndarray, text: str, task: Task = Task.AUTO,
                 **options: Any) -> Perception:
        """Answer with when the image was published and when it arrived here, decoded.

        :param image: (H, W, 3) uint8 RGB.
        """
        arrived_ns = time.monotonic_ns()
        sent_ns, = SENT.unpack_from(image)
        height, width = image.shape[:2]
        return Perception(Status.OK, task, answer=f'{sent_ns} {arrived_ns}',
                          image_size=Size(width, height), model_id=self.model_id)
