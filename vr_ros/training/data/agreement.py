"""Keep objects that a segmenter finds again: the masks of their boxes and points are the true ones.

Source: VisionReasoner's data preparation keeps an object if SAM 2.1's mask of its box and point has
an IoU of at least 0.6 with the true one. Here an instruction goes as a whole: without one of its
objects it would not be true.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vr_ros.core.rle import rle_iou
from vr_ros.core.types import Mask
from vr_ros.training.data.ground_truth import Objects
from vr_ros.training.data.source import LeftOut

# Image (H, W, 3), boxes (N, 4) and points (N, 2) in its pixels -> N masks of its size.
Segment = Callable[[np.ndarray, np.ndarray, np.ndarray], Sequence[Mask]]


@dataclass(frozen=True)
class Agreement:
    """Looks at the stored image and its objects; see :class:`.convert.Converter`.

    :param least: IoU of every object, 0 to 1.
    """

    segment: Segment
    least: float

    def __call__(self, image: np.ndarray, objects: Objects) -> None:
        """:raises LeftOut: the segmenter draws another mask, or there is none to compare with."""
        if not len(objects.boxes):
            return
        if objects.masks is None:
            raise LeftOut('no masks to compare with')
        found = self.segment(image, objects.boxes, objects.points)
        worst = min(rle_iou(*pair) for pair in zip(objects.masks, found, strict=True))
        if worst < self.least:
            raise LeftOut('the segmenter does not agree', f'IoU {worst:.2f}')
