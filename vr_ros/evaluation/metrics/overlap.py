"""How far boxes and masks cover each other; masks stay run lengths throughout."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vr_ros.core.geometry import box_area, box_iou_matrix
from vr_ros.core.rle import (
    rle_area,
    rle_difference,
    rle_intersection,
    rle_iou_matrix,
    rle_union,
)
from vr_ros.core.types import Mask
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found


@dataclass(frozen=True, eq=False)
class Overlaps:
    """What was found against what is true.

    :param iou: (true, found), crowds included.
    :param inside: (true, found) share of a found object's area that lies in a true one's.
    :param ignored: (found,) share of it that lies in the region to be ignored.
    :param found_areas_px: (found,).
    """

    iou: np.ndarray
    inside: np.ndarray
    ignored: np.ndarray
    found_areas_px: np.ndarray


def box_overlaps(truth: Truth, found: Found) -> Overlaps | None:
    """Compare boxes; None if the true ones are unknown.

    A region to be ignored is one of pixels, not of boxes: it plays no part here.
    """
    if truth.boxes is None:
        return None
    areas = box_area(found.boxes)
    top_left = np.maximum(truth.boxes[:, None, :2], found.boxes[None, :, :2])
    bottom_right = np.minimum(truth.boxes[:, None, 2:], found.boxes[None, :, 2:])
    common = np.maximum(bottom_right - top_left, 0).prod(axis=2)
    return Overlaps(
        box_iou_matrix(truth.boxes, found.boxes), _shares(common, areas),
        np.zeros(len(found.boxes)), areas)


def mask_overlaps(truth: Truth, found: Found) -> Overlaps | None:
    """Compare masks; None if the true ones are unknown. A missing mask overlaps nothing."""
    if truth.masks is None:
        return None
    areas = np.array([0 if mask is None else rle_area(mask) for mask in found.masks], float)
    iou = np.zeros((len(truth.masks), len(found.masks)))
    inside, ignored = np.zeros_like(iou), np.zeros(len(found.masks))
    there = [column for column, mask in enumerate(found.masks) if mask is not None]
    if there:
        iou[:, there] = rle_iou_matrix(truth.masks, found.known_masks)
    for column in there:
        mask = found.masks[column]
        for row in np.flatnonzero(truth.crowd):
            inside[row, column] = rle_intersection(truth.masks[row], mask)
        if truth.ignore is not None:
            ignored[column] = rle_intersection(truth.ignore, mask)
    return Overlaps(iou, _shares(inside, areas), _shares(ignored, areas), areas)


def _shares(common: np.ndarray, areas: np.ndarray) -> np.ndarray:
    return np.divide(common, areas, out=np.zeros_like(common), where=areas > 0)


@dataclass(frozen=True)
class RegionOverlap:
    """Two sets of pixels, the ignored ones left out.

    :param is_rightly_empty: nothing is there, and nothing was claimed.
    """

    intersection_px: int
    union_px: int
    is_rightly_empty: bool = False

    @property
    def iou(self) -> float:
        """1 where rightly nothing was found."""
        if self.union_px:
            return self.intersection_px / self.union_px
        return float(self.is_rightly_empty)


def compare_regions(
    true: Sequence[Mask], found: Sequence[Mask], ignore: Mask | None = None
) -> RegionOverlap:
    """Compare the unions of two sets of masks, without what is to be ignored.

    A mask without a pixel claims an object all the same; one whose pixels are all to be ignored
    does not.
    """
    kept = [_without(masks, ignore) for masks in (true, found)]
    areas = [0 if mask is None else rle_area(mask) for mask in kept]
    common = rle_intersection(kept[0], kept[1]) if all(areas) else 0
    claimed = bool(found) and not any(rle_area(mask) for mask in found)
    union = sum(areas) - common
    return RegionOverlap(common, union, union == 0 and not claimed)


def _without(masks: Sequence[Mask], ignore: Mask | None) -> Mask | None:
    if not masks:
        return None
    union = rle_union(masks)
    return union if ignore is None else rle_difference(union, ignore)
