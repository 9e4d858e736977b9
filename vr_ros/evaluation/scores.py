"""Scores of answers against known truth: one record per instruction, figures over many."""
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from vr_ros.core.geometry import box_iou_matrix
from vr_ros.core.rle import rle_iou, rle_union
from vr_ros.core.types import Detection, Mask, Status, Task

HIT_IOU = 0.5


@dataclass(frozen=True)
class Score:
    """How one instruction was answered.

    :param task: what the instruction really asks for.
    :param hits: true objects matched one-to-one at IoU >= 0.5.
    :param union_iou: IoU of the union masks, 1 when both are empty; None without masks or for VQA.
    :param exact: VQA: the answer is the expected one; otherwise: the number of objects is.
    """

    task: Task
    status: Status
    template: str
    true_objects: int
    found_objects: int
    hits: int
    union_iou: float | None
    exact: bool


def count_hits(true_boxes: np.ndarray, found_boxes: np.ndarray, threshold: float = HIT_IOU) -> int:
    """Match boxes one-to-one so that as many as possible overlap by ``threshold``.

    :param true_boxes: (N, 4), :param found_boxes: (M, 4) x_min, y_min, x_max, y_max.
    """
    if not len(true_boxes) or not len(found_boxes):
        return 0
    overlaps = box_iou_matrix(true_boxes, found_boxes) >= threshold
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    return int(overlaps[rows, columns].sum())


def union_iou(true_masks: Sequence[Mask], found_masks: Sequence[Mask]) -> float:
    """Compare the unions of two sets of masks: 1 when both are empty, 0 when one is."""
    if not true_masks or not found_masks:
        return float(not true_masks and not found_masks)
    return rle_iou(rle_union(true_masks), rle_union(found_masks))


def normalise_answer(text: str) -> str:
    """Lower case, without punctuation, articles at the front and surplus space."""
    words = re.sub(r'[^\w\s]', ' ', text.lower()).split()
    return ' '.join(words[1:] if words[:1] in (['a'], ['an'], ['the']) else words)


def box_array(detections: Sequence[Detection]) -> np.ndarray:
    """:return: (N, 4) boxes of detections."""
    return np.array([d.box for d in detections], float).reshape(-1, 4)


@dataclass(frozen=True)
class Figure:
    """A share over some instructions or objects.

    :param value: None when nothing counted.
    :param of: how many instructions or objects it is a share of.
    """

    name: str
    value: float | None
    of: int


def _mean(name: str, values: Sequence[float]) -> Figure:
    return Figure(name, float(np.mean(values)) if values else None, len(values))


def figures(scores: Sequence[Score]) -> list[Figure]:
    """Sum up scores: hit rate, precision, gIoU, exact count, absence recognised, VQA exact."""
    located = [s for s in scores if s.task is not Task.VQA]
    true_objects = sum(s.true_objects for s in located)
    found_objects = sum(s.found_objects for s in located)
    hits = sum(s.hits for s in located)
    return [
        Figure('hit rate', hits / true_objects if true_objects else None, true_objects),
        Figure('precision', hits / found_objects if found_objects else None, found_objects),
        _mean('gIoU', [s.union_iou for s in located if s.union_iou is not None]),
        _mean('exact count', [float(s.exact) for s in located if s.task is Task.COUNTING]),
        _mean('absence recognised', [
            float(s.status is Status.NO_OBJECT) for s in located if not s.true_objects
        ]),
        _mean('VQA exact', [float(s.exact) for s in scores if s.task is Task.VQA]),
    ]
