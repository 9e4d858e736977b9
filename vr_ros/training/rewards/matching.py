"""Predicted against true objects: the terms of every pair, and the best one-to-one matching.

Matrices are (K, N): K predicted, N true. At thirty objects it is the number of numpy calls that
takes the time: x and y go through them together.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

# What a true object without a point is scored by counts so much more: two terms of three are left.
POINTLESS_WORTH = 1.5
# Of the IoU, added to what is maximised: decides between pairings of equal worth, and only those.
TIE_BREAK = 1e-3
# Smaller than any area in pixels.
_NO_AREA = 1e-12


@dataclass(frozen=True)
class Tolerances:
    """Below which distance two count as the same, as shares of the root of the true box's area.

    At an object of 200 pixels they are the 10 and 30 pixels of the published reward.

    :param box: mean difference of the four numbers.
    :param point: distance of the points.
    :param box_floor_px: no tolerance is smaller: models round to whole pixels.
    :param point_floor_px: the same for points.
    """

    box: float = 0.05
    point: float = 0.15
    box_floor_px: float = 2.0
    point_floor_px: float = 4.0


@dataclass(frozen=True, eq=False)
class Targets:
    """True objects, prepared once for all rollouts of a prompt.

    :param boxes: (N, 4) x_min, y_min, x_max, y_max in pixels.
    :param points: (N, 2) x, y in pixels; NaN where there is none.
    """

    boxes: np.ndarray
    points: np.ndarray
    tolerances: Tolerances = Tolerances()

    def __len__(self) -> int:
        return len(self.boxes)

    @cached_property
    def columns(self) -> tuple[np.ndarray, ...]:
        """Corners (4, 1, N); area, box and point tolerance (N,), the tolerances as used below."""
        corners = self.boxes.T[:, None].copy()
        # An area of 0 would divide by 0 where the predicted box has none either.
        area = np.maximum((corners[2] - corners[0]) * (corners[3] - corners[1]), _NO_AREA)[0]
        side, t = np.sqrt(area), self.tolerances
        # The distances they are compared with are sums over four numbers, and squares.
        box_px = 4 * np.maximum(t.box * side, t.box_floor_px)
        point_px2 = np.maximum(t.point * side, t.point_floor_px) ** 2
        return corners, area, box_px, point_px2

    @cached_property
    def pointless(self) -> np.ndarray | None:
        """(N,) bool, the true objects without a point; None if all have one."""
        missing = np.isnan(self.points[:, 0])
        return missing if missing.any() else None


@dataclass(frozen=True, eq=False)
class Pairs:
    """The best one-to-one matching of one response.

    :param rows: (P,) places of the predicted objects, P = min(K, N).
    :param columns: (P,) places of the true ones.
    :param iou: (P,) 0 to 1.
    :param near: (P,) bool, the four numbers of the box are below its tolerance.
    :param pointed: (P,) bool, the point is nearer than its tolerance and inside its own box.
    """

    rows: np.ndarray
    columns: np.ndarray
    iou: np.ndarray
    near: np.ndarray
    pointed: np.ndarray

    @property
    def total(self) -> float:
        """The sum of all terms, 0 to 3 per pair."""
        return (float(self.iou.sum()) + int(np.count_nonzero(self.near))
                + int(np.count_nonzero(self.pointed)))


def match_objects(boxes: np.ndarray, points: np.ndarray, targets: Targets) -> Pairs:
    """Match one-to-one so that the sum of IoU, near boxes and hit points is largest.

    Of pairings with equal sums the one with more IoU is taken, so that the result does not hang on
    the order in which objects were written.
    Source: VisionReasoner, section 3.5, with a graded IoU and tolerances by object size.

    :param boxes: (K, 4) predicted, x_min, y_min, x_max, y_max in the pixels of the targets.
    :param points: (K, 2) predicted x, y; NaN where there is none.
    """
    iou, near, pointed = pair_terms(boxes, points, targets)
    worth = iou * (1 + TIE_BREAK)
    worth += near.view(np.int8) + pointed.view(np.int8)
    if targets.pointless is not None:
        worth[:, targets.pointless] *= POINTLESS_WORTH
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return Pairs(rows, columns, iou[rows, columns], near[rows, columns], pointed[rows, columns])


def pair_terms(
    boxes: np.ndarray, points: np.ndarray, targets: Targets
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare every predicted with every true object.

    :return: (K, N) IoU 0 to 1; (K, N) bool: the box is near; (K, N) bool: the point is near and
        inside its own predicted box, edges included.
    """
    true_corners, true_area, box_px, point_px2 = targets.columns
    # A copy: the results would be laid out as it is, and all that follows be half as fast.
    corners = boxes.T[:, :, None].copy()
    common = np.minimum(corners[2:], true_corners[2:])
    common -= np.maximum(corners[:2], true_corners[:2])
    np.maximum(common, 0, out=common)
    iou = common[0] * common[1]
    sides = corners[2:] - corners[:2]
    union = sides[0] * sides[1] + true_area
    union -= iou
    iou /= union

    near = cdist(boxes, targets.boxes, 'cityblock') < box_px
    pointed = cdist(points, targets.points, 'sqeuclidean') < point_px2
    inside = (points >= boxes[:, :2]) & (points <= boxes[:, 2:])
    pointed &= (inside[:, 0] & inside[:, 1])[:, None]
    return iou, near, pointed
