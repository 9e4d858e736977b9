"""The segmenter alone: true boxes in the place of a reasoner's, and its masks for them.

So masks can be judged where no reasoner is at hand, and apart from its mistakes. Without the
segmenter's weights the boxes alone go the whole way, and every mask is left out of the truth, so
that no figure speaks of masks.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from vr_ros.core.rle import rle_box, rle_to_mask
from vr_ros.core.types import Detection, Mask, Perception, PerceptionError, Status, Task
from vr_ros.datasets.sample import DataSet, Sample
from vr_ros.datasets.truth import Truth

if TYPE_CHECKING:
    from vr_ros.models.card_types import SegmenterCard
    from vr_ros.models.segmenter import ImageFeatures, Segmenter


class TrueBoxes:
    """A data set, and what answers its questions with their true boxes; both ways of one job.

    :param open_: opens the data set; can be pickled.
    :param card: of the segmenter; None: boxes alone.
    :param with_points: prompt with a point deep inside each object, too, as VisionReasoner does.
    """

    def __init__(
        self, open_: Callable[[], DataSet], card: SegmenterCard | None, device: str = 'auto',
        with_points: bool = False,
    ) -> None:
        self._open, self._card, self._device = open_, card, device
        self._with_points = with_points
        self._data_set: DataSet | None = None
        self._segmenter: Segmenter | None = None
        self._asked: list[Sample] = []
        self._seen: tuple[np.ndarray, ImageFeatures] | None = None

    def open(self) -> TrueBoxes:
        """Open the data set, in the process that asks."""
        self._data_set = self._open()
        self.name, self.ids = self._data_set.name, self._data_set.ids
        return self

    def make(self, number: int = 0) -> TrueBoxes:
        """Load the segmenter, in the process that asks.

        :param number: of the process, which says the GPU.
        :raises PerceptionError: MODEL_UNAVAILABLE with what is missing and how to get it.
        """
        if self._card is not None:
            import torch

            from vr_ros.evaluation.runs.runner import device_for
            from vr_ros.models.device import pick_device
            from vr_ros.models.segmenters import load_segmenter

            device = device_for(self._device, number, torch.cuda.device_count())
            self._segmenter = load_segmenter(self._card, pick_device(device))
        return self

    def load(self, place: int) -> Sample:
        """Read one sample, and remember what is true of it until it is asked for.

        :raises SampleError: if it cannot be used.
        """
        if self._data_set is None:
            raise ValueError('the data set is not open')
        sample = self._data_set.load(place)
        if self._card is None:
            sample = replace(sample, truth=without_masks(sample.truth))
        self._asked.append(sample)
        return sample

    def perceive(self, image: np.ndarray, text: str, task: Task = Task.AUTO) -> Perception:
        """Answer with the true boxes of the sample whose image this is.

        :raises PerceptionError: BAD_INSTRUCTION where no boxes are known.
        """
        sample = next(one for one in self._asked if one.image is image and one.instruction == text)
        self._asked.remove(sample)
        boxes, points = prompts(sample.truth)
        if self._segmenter is None or not len(boxes):
            found = tuple(Detection(i, tuple(map(float, box))) for i, box in enumerate(boxes))
            return Perception(Status.OK if found else Status.NO_OBJECT, task, found)
        results = self._segmenter.decode(
            self._features(image), boxes, points if self._with_points else None)
        found = tuple(
            Detection(i, tuple(map(float, box)), mask=result.mask, mask_score=result.score,
                      area_px=result.area_px)
            for i, (box, result) in enumerate(zip(boxes, results, strict=True)))
        return Perception(Status.OK, task, found)

    def _features(self, image: np.ndarray) -> ImageFeatures:
        """Encode an image once for all questions that follow each other about it."""
        assert self._segmenter is not None
        if self._seen is None or not np.array_equal(self._seen[0], image):
            self._seen = image, self._segmenter.encode(image)
        return self._seen[1]


def prompts(truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Make the prompts that a perfect reasoner would give.

    :return: (N, 4) boxes, and (N, 2) points deep inside the objects, NaN where no mask is known.
    :raises PerceptionError: BAD_INSTRUCTION where no boxes are known.
    """
    masks = truth.masks
    if masks is None and truth.boxes is None and truth.region is not None:
        masks = (truth.region,)
    if truth.boxes is not None:
        boxes = truth.boxes
    elif masks is not None:
        boxes = np.array([box for mask in masks if (box := rle_box(mask))], float).reshape(-1, 4)
        masks = tuple(mask for mask in masks if rle_box(mask))
    else:
        raise PerceptionError(
            Status.BAD_INSTRUCTION, 'neither boxes nor masks are known of this sample')
    points = [(np.nan, np.nan)] * len(boxes) if masks is None else [deepest(m) for m in masks]
    return boxes, np.array(points, float).reshape(-1, 2)


def deepest(mask: Mask) -> tuple[float, float]:
    """Find the middle of the pixel that is farthest from the edge of a mask; NaN if it is empty."""
    pixels = np.pad(rle_to_mask(mask).astype(np.uint8), 1)
    if not pixels.any():
        return np.nan, np.nan
    distances = cv2.distanceTransform(pixels, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    row, column = np.unravel_index(distances.argmax(), distances.shape)
    return float(column) - 0.5, float(row) - 0.5


def without_masks(truth: Truth) -> Truth:
    """Leave out masks, and keep or make boxes."""
    try:
        boxes = prompts(truth)[0]
    except PerceptionError:
        return truth
    # What is known object by object stays where the objects do.
    is_same = truth.boxes is not None
    return replace(
        truth, boxes=boxes, masks=None, region=None, ignore=None,
        areas_px=truth.areas_px if is_same else None, crowd=truth.crowd if is_same else None)
