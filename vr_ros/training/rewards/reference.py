"""VisionReasoner's reward as it is published, quirks included: for comparisons and nothing else.

Source: VisionReasoner (ICLR 2026), sections 3.4 and 3.5, and the published code of its training.
What the two say differently is as in the code; every quirk stands at its function.
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from vr_ros.training.rewards.text_checks import (
    answer_text,
    reference_non_repetition,
    reference_think_format,
)

MOST_OBJECTS = 120
LEAST_IOU = 0.5
BOX_PX = 10
POINT_PX = 30
_FAILURES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True)
class VisionReasonerReward:
    """The parts of the reward; their sum is what is trained on.

    :param think_format: 0 or 1.
    :param answer_format: 0 to 2; the paper says 0 or 1.
    :param accuracy: 0 to 3.
    :param non_repetition: 0 or 1.
    """

    think_format: float
    answer_format: float
    accuracy: float
    non_repetition: float

    @property
    def total(self) -> float:
        """0 to 7."""
        return self.think_format + self.answer_format + self.accuracy + self.non_repetition


def reference_reward(response: str, truth: str) -> VisionReasonerReward:
    """Score a response.

    :param truth: JSON list of {"bbox_2d": [...], "point_2d": [...]}, pixels of the 840 x 840 image.
    """
    return VisionReasonerReward(
        reference_think_format(response), reference_answer_format(response),
        reference_accuracy(response, truth), reference_non_repetition(response))


def reference_answer_format(response: str) -> float:
    """Average over the items: 1 for a ``bbox_2d`` that is a list of 4, 1 for a ``point_2d`` of 2.

    Quirks: what is in the lists does not matter; an empty list gets 0; where an item cannot be
    looked into, those in front of it count and those behind do not; an item that is a text or a
    list is looked into, and counts 0.
    """
    items = _load(answer_text(response))
    total = 0.0
    try:
        for item in items:
            marks = 0.0
            for key, length in (('bbox_2d', 4), ('point_2d', 2)):
                if key in item:
                    value = item[key]
                    marks += isinstance(value, list) and len(value) == length
            total += marks / len(items)
    except TypeError:
        return total
    return total


def reference_accuracy(response: str, truth: str) -> float:
    """Sum up the terms of the best matching and divide by the larger number of objects, 0 to 3.

    The terms of a pair: IoU > 0.5; the mean difference of the four numbers < 10 pixels; the points
    less than 30 pixels apart and the predicted one in its own box, edges included.
    Quirks: an empty list on either side gets 0, also where both are empty; one item without a box
    or a point, or with another number of values, makes all of it 0; only the first 120 objects
    count on either side; a box ends one pixel behind its last one; the distance of the points is
    Euclidean, where the paper says L1.
    """
    try:
        true_items, items = json.loads(truth), json.loads(answer_text(response) or '')
        boxes, points, true_boxes, true_points = (
            np.array([item[key] for item in side][:MOST_OBJECTS])
            for side in (items, true_items) for key in ('bbox_2d', 'point_2d'))
        with np.errstate(all='ignore'):
            gain = _terms(boxes, points, true_boxes, true_points)
    except _FAILURES:
        return 0.0   # the published rule: what cannot be computed is worth nothing
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return float(gain[rows, columns].sum() / max(gain.shape))


def _terms(
    boxes: np.ndarray, points: np.ndarray, true_boxes: np.ndarray, true_points: np.ndarray
) -> np.ndarray:
    """:return: (K, N) 0 to 3.

    The arrays have the type that the JSON gives them: whole numbers stay whole.
    """
    for array, width in ((boxes, 4), (points, 2), (true_boxes, 4), (true_points, 2)):
        if array.ndim != 2 or array.shape[1] != width:
            raise ValueError(f'not (N, {width}): {array.shape}')
    x0, y0, x1, y1 = boxes.T[:, :, None]
    true_x0, true_y0, true_x1, true_y1 = true_boxes.T
    common = (np.maximum(0, np.minimum(x1, true_x1) - np.maximum(x0, true_x0) + 1)
              * np.maximum(0, np.minimum(y1, true_y1) - np.maximum(y0, true_y0) + 1))
    area = (x1 - x0 + 1) * (y1 - y0 + 1)
    true_area = (true_x1 - true_x0 + 1) * (true_y1 - true_y0 + 1)
    overlaps = common / (area + true_area - common) > LEAST_IOU
    near = np.abs(boxes[:, None] - true_boxes).mean(axis=2) < BOX_PX
    x, y = points.T[:, :, None]
    inside = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    apart = np.sqrt(((points[:, None] - true_points) ** 2).sum(axis=2))
    return overlaps.astype(float) + near + ((apart < POINT_PX) & inside)


def _load(text: str | None) -> Any:
    """Read JSON; what cannot be read is an empty list."""
    try:
        return json.loads(text or '')
    except (ValueError, RecursionError):
        return []
