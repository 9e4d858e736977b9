"""What answers by what it sees; in a module of its own, where other processes find it."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vr_ros.core.types import Detection, Perception, Status, Task


@dataclass(frozen=True)
class Teller:
    """Answers by the brightness of the image; makes itself, as LoadPerceiver makes a model."""

    def __call__(self, number: int = 0) -> Teller:
        return self

    def perceive(self, image: np.ndarray, text: str, task: Task = Task.AUTO) -> Perception:
        box = (float(image[0, 0, 0]), 2.0, 3.0, 4.0)
        return Perception(Status.OK, Task.DETECTION, (Detection(0, box),), answer=task.name)
