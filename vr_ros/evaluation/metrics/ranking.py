"""COCO's greedy matching: found objects of one sample, best score first, take true ones in turn.

Source: COCO's evaluation (Lin et al., 2014) as pycocotools runs it, to which the tests compare it
digit by digit, with crowds, ignored objects and equal scores.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vr_ros.datasets.truth import Truth, true_areas_px
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.detection import THRESHOLDS
from vr_ros.evaluation.metrics.overlap import Overlaps, box_overlaps, mask_overlaps

Kind = Literal['box', 'mask']
ScoreBy = Literal['own', 'area', 'constant']
# Square pixels, both ends included, as COCO has them.
AREA_RANGES_PX = {
    'all': (0.0, 1e10), 'small': (0.0, 32.0**2), 'medium': (32.0**2, 96.0**2),
    'large': (96.0**2, 1e10),
}
MAX_FOUND = 100
_BELOW_ALL = -np.inf


@dataclass(frozen=True, eq=False)
class Ranking:
    """One sample's found objects, best first.

    :param scores: (D,) falling; those without a score come last, as -inf.
    :param hits: (10, D) bool by IoU threshold: it took a true object that counts.
    :param misses: (10, D) bool: it took none, and counts. Neither: it is ignored.
    :param true: true objects that count.
    """

    category: str
    scores: np.ndarray
    hits: np.ndarray
    misses: np.ndarray
    true: int


def ranking_scores(truth: Truth, found: Found, by: ScoreBy) -> np.ndarray:
    """Give the numbers by which found objects are ranked.

    :param by: 'own': the model's scores; 'area': area of the box / area of the image, as the
        published script has it; 'constant': 1, so that only the order within a sample remains.
    :return: (M,) float64.
    :raises ValueError: if the image's size is needed and unknown.
    """
    if by == 'own':
        return np.where(np.isnan(found.scores), _BELOW_ALL, found.scores)
    if by == 'constant':
        return np.ones(len(found.boxes))
    if min(truth.size.width, truth.size.height) < 1:
        raise ValueError(f'scores by area need the size of image {truth.image!r}')
    x_min, y_min, x_max, y_max = found.boxes.T
    # Whole pixels first and one division: products of quotients would order ties by chance.
    return (x_max - x_min) * (y_max - y_min) / (truth.size.width * truth.size.height)


def rank(
    truth: Truth, found: Found, *, kind: Kind = 'box', by: ScoreBy = 'own', area: str = 'all',
    max_found: int = MAX_FOUND,
) -> Ranking | None:
    """Match one sample as COCO does; None if the true objects are unknown.

    :param area: key of AREA_RANGES_PX; true objects of other areas are ignored, as are found ones
        that take none.
    :param max_found: of those with the best scores.
    """
    overlaps = (box_overlaps if kind == 'box' else mask_overlaps)(truth, found)
    if overlaps is None:
        return None
    scores = ranking_scores(truth, found, by)
    order = np.argsort(-scores, kind='stable')[:max_found]
    low, high = AREA_RANGES_PX[area]
    ignored = truth.crowd
    if area != 'all':
        areas = true_areas_px(truth)
        ignored = ignored | (areas < low) | (areas > high)
    took = _take(_coco_iou(overlaps, truth.crowd)[order], truth.crowd, ignored)
    out_of_range = (overlaps.found_areas_px < low) | (overlaps.found_areas_px > high)
    hits = (took >= 0) & ~np.append(ignored, True)[took]
    return Ranking(
        truth.category, scores[order], hits, (took < 0) & ~out_of_range[order],
        int((~ignored).sum()))


def _coco_iou(overlaps: Overlaps, crowd: np.ndarray) -> np.ndarray:
    """:return: (found, true) IoU; with crowds: the share of the found object that lies inside."""
    return np.where(crowd[:, None], overlaps.inside, overlaps.iou).T


def _take(iou: np.ndarray, crowd: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Let found objects choose in turn: the best free one that counts, else the best ignored one.

    Of equally good ones the last is chosen; crowds are never used up.

    :param iou: (D, G), best score first.
    :return: (T, D) which true object each took by threshold, -1: none.
    """
    least = np.minimum(THRESHOLDS, 1 - 1e-10)
    took = np.full((len(least), len(iou)), -1)
    if not iou.size or iou.max() < least[0]:
        return took
    free = np.ones((len(least), iou.shape[1]), bool)
    each = np.arange(len(least))
    for place, row in enumerate(iou):
        if row.max() < least[0]:
            continue
        possible = free & (row >= least[:, None])
        for group in (~ignored, ignored):
            fits = np.where(possible & group, row, -1.0)
            best = fits.shape[1] - 1 - fits[:, ::-1].argmax(axis=1)
            chosen = (fits[each, best] >= 0) & (took[:, place] < 0)
            took[chosen, place] = best[chosen]
            used = chosen & ~crowd[best]
            free[each[used], best[used]] = False
    return took
