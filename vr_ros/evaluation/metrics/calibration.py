"""Whether scores are probabilities: of objects with score 0.8, 80 % ought to be right."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.measure import Measure, Sums, quotient, ratio
from vr_ros.evaluation.metrics.ranking import Kind, rank

BINS = 10


@dataclass(frozen=True, eq=False)
class Confidences:
    """The scores of one sample's found objects.

    :param scores: (D,) 0 to 1.
    :param right: (D,) bool: took a true object at IoU 0.5, best score first.
    """

    scores: np.ndarray
    right: np.ndarray


def confidences(truth: Truth, found: Found, kind: Kind = 'box') -> Confidences | None:
    """Say which found objects are right; None if the true ones are unknown.

    What has no score is left out, as is what lies in a crowd and takes no true object.

    :raises ValueError: if a score is not from 0 to 1.
    """
    ranking = rank(truth, found, kind=kind, max_found=max(len(found.boxes), 1))
    if ranking is None:
        return None
    counts = np.isfinite(ranking.scores) & (ranking.hits[0] | ranking.misses[0])
    scores = ranking.scores[counts]
    if scores.size and not 0 <= scores.min() <= scores.max() <= 1:
        raise ValueError(f'scores from {scores.min()} to {scores.max()} are no probabilities')
    return Confidences(scores, ranking.hits[0][counts])


def calibration_measures(known: Sequence[Confidences | None], bins: int = BINS) -> list[Measure]:
    """Sum up: ECE and Brier score, over found objects.

    ECE: objects in bins of equal width by score, upper ends included (Guo et al., ICML 2017); mean
    over objects of |mean score - share of right ones| of their bin. It is never below what chance
    makes of few objects: compare runs of one size.
    Brier score: mean squared difference of the score and 1 for right, 0 for wrong.
    """
    rows = np.zeros((len(known), 3 * bins + 1))
    for row, sample in zip(rows, known, strict=True):
        if sample is None:
            continue
        place = np.clip(np.ceil(sample.scores * bins).astype(int) - 1, 0, bins - 1)
        for part, weights in enumerate((None, sample.scores, sample.right)):
            row[part * bins:(part + 1) * bins] = np.bincount(place, weights, minlength=bins)
        row[-1] = ((sample.scores - sample.right) ** 2).sum()

    def ece(sums: np.ndarray) -> np.ndarray:
        number, score, right = np.split(sums[..., :-1], 3, axis=-1)
        return quotient(np.abs(score - right).sum(axis=-1), number.sum(axis=-1))

    number = rows[:, :bins].sum(axis=1)
    return [
        Sums('ECE', rows, ece, int(number.sum()), better='lower'),
        ratio('Brier score', rows[:, -1], number, better='lower'),
    ]
