"""Objects matched one-to-one, without scores: precision, recall, F1, LRP, PQ."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vr_ros.core.geometry import box_iou_matrix
from vr_ros.core.matching import best_pairs
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.measure import Measure, Sums, quotient, ratio
from vr_ros.evaluation.metrics.overlap import Overlaps, box_overlaps, mask_overlaps

# 0.5, 0.55, ... 0.95 with the very digits of COCO's evaluation.
THRESHOLDS = np.linspace(0.5, 0.95, 10)
HIT_IOU = 0.5


@dataclass(frozen=True, eq=False)
class Matches:
    """How the objects of one sample were found.

    :param true: true objects, crowds left out.
    :param hits: (10,) pairs by IoU threshold.
    :param found: (10,) found objects that count: those in crowds or ignored regions do not,
        unless they are one of a pair.
    :param hit_iou: sum of the IoU of the pairs at 0.5.
    """

    true: int
    hits: np.ndarray
    found: np.ndarray
    hit_iou: float


def count_hits(true_boxes: np.ndarray, found_boxes: np.ndarray, threshold: float = HIT_IOU) -> int:
    """Match boxes one-to-one so that as many as possible overlap by ``threshold``.

    :param true_boxes: (N, 4), :param found_boxes: (M, 4) x_min, y_min, x_max, y_max.
    """
    return len(best_pairs(box_iou_matrix(true_boxes, found_boxes), threshold)[0])


def match(overlaps: Overlaps | None, crowd: np.ndarray) -> Matches | None:
    """Match one sample at all thresholds; None if the true objects are unknown.

    :param crowd: (true,) bool. What no pair takes and lies in a crowd or in the ignored region by
        the threshold does not count.
    """
    if overlaps is None:
        return None
    iou = overlaps.iou[~crowd]
    shelter = np.maximum(overlaps.inside[crowd].max(axis=0, initial=0), overlaps.ignored)
    hits, found = np.zeros(len(THRESHOLDS), int), np.zeros(len(THRESHOLDS), int)
    hit_iou = 0.0
    for place, threshold in enumerate(THRESHOLDS):
        rows, columns = best_pairs(iou, threshold)
        counts = shelter < threshold
        counts[columns] = True
        hits[place], found[place] = len(rows), counts.sum()
        if place == 0:
            hit_iou = float(iou[rows, columns].sum())
    return Matches(len(iou), hits, found, hit_iou)


def match_boxes(truth: Truth, found: Found) -> Matches | None:
    """Match boxes; None if the true ones are unknown."""
    return match(box_overlaps(truth, found), truth.crowd)


def match_masks(truth: Truth, found: Found) -> Matches | None:
    """Match masks; None if the true ones are unknown. What has no mask was found in vain."""
    return match(mask_overlaps(truth, found), truth.crowd)


def match_measures(matches: Sequence[Matches | None], kind: str) -> list[Measure]:
    """Sum up matches, over objects, not over samples.

    F1 = 2 hits / (true + found); F1@[.5:.95] is its mean over the ten thresholds.
    LRP = (sum of (1 - IoU) / (1 - 0.5) over pairs + unmatched true + unmatched found) / (pairs +
    unmatched): Oksuz et al., ECCV 2018; 0 is best, 1 worst.
    PQ = sum of IoU over pairs / (pairs + half of the unmatched): Kirillov et al., CVPR 2019. Its
    pairs overlap by more than one half; here one half is enough, as everywhere else.

    :param kind: 'box' or 'mask', for the names.
    """
    known = [m for m in matches if m is not None]
    true, found = sum(m.true for m in known), sum(int(m.found[0]) for m in known)
    nothing = np.zeros(2 * len(THRESHOLDS) + 2)
    rows = np.array([
        nothing if m is None else np.concatenate((m.hits, m.found, (m.true, m.hit_iou)))
        for m in matches]).reshape(-1, len(nothing))
    hits_at_half, found_at_half, true_column, iou_column = rows[:, (0, len(THRESHOLDS), -2, -1)].T
    at_half = np.stack((hits_at_half, found_at_half, true_column, iou_column), axis=1)

    def f1(sums: np.ndarray) -> np.ndarray:
        hits, found = np.split(sums[..., :-2], 2, axis=-1)
        values = quotient(2 * hits, found + sums[..., -2, None])
        # Without true objects, what counts may begin at a higher threshold only.
        return quotient(np.nansum(values, axis=-1), np.isfinite(values).sum(axis=-1))

    def lrp(sums: np.ndarray) -> np.ndarray:
        hits, found, true, iou = np.moveaxis(sums, -1, 0)
        return quotient((hits - iou) / (1 - HIT_IOU) + found + true - 2 * hits, found + true - hits)

    def pq(sums: np.ndarray) -> np.ndarray:
        hits, found, true, iou = np.moveaxis(sums, -1, 0)
        return quotient(iou, (found + true) / 2)

    return [
        ratio(f'{kind} recall@0.5', hits_at_half, true_column),
        ratio(f'{kind} precision@0.5', hits_at_half, found_at_half),
        ratio(f'{kind} F1@0.5', 2 * hits_at_half, found_at_half + true_column),
        Sums(f'{kind} F1@[.5:.95]', rows, f1, true + found),
        Sums(f'{kind} LRP@0.5', at_half, lrp, true + found, better='lower'),
        Sums(f'{kind} PQ@0.5', at_half, pq, true + found),
    ]
