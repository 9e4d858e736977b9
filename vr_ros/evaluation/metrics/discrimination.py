"""Whether scores tell right objects from wrong ones: the area under the ROC curve."""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vr_ros.evaluation.metrics.calibration import Confidences
from vr_ros.evaluation.metrics.measure import quotient


@dataclass(frozen=True, eq=False)
class Discrimination:
    """The share of pairs, one right and one wrong, in which the right one has the higher score.

    Equal scores count half: the Mann-Whitney statistic, which is the area under the ROC curve
    (Hanley and McNeil, 1982). Samples with weights count as often as their weight says.

    :param known: scores of each sample's found objects; None where truth is unknown.
    """

    known: tuple[Confidences | None, ...]
    name: str = 'AUROC'
    unit: str = 'share'
    better: str = 'higher'

    @property
    def samples(self) -> int:
        return len(self.known)

    @property
    def of(self) -> int:
        return len(self._ranked[0])

    @cached_property
    def _ranked(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """:return: sample, whether right, and rank among different scores, lowest score first."""
        places = [i for i, one in enumerate(self.known) if one is not None]
        some = [one for one in self.known if one is not None]
        sample = np.repeat(places, [len(one.scores) for one in some]).astype(int)
        scores = np.concatenate([one.scores for one in some]) if some else np.empty(0)
        right = np.concatenate([one.right for one in some]) if some else np.empty(0, bool)
        return sample, right.astype(bool), np.unique(scores, return_inverse=True)[1].reshape(-1)

    def values(self, weights: np.ndarray) -> np.ndarray:
        """:param weights: (R, samples) float64, >= 0."""
        sample, right, ranks = self._ranked
        number = int(ranks.max()) + 1 if ranks.size else 0
        pairs, total = np.zeros(len(weights)), np.zeros(len(weights))
        for row, each in enumerate(weights[:, sample]):
            hits = np.bincount(ranks[right], each[right], minlength=number)
            misses = np.bincount(ranks[~right], each[~right], minlength=number)
            below = np.cumsum(misses) - misses / 2
            pairs[row], total[row] = hits @ below, hits.sum() * misses.sum()
        return quotient(pairs, total)

    def joined(self, other: Discrimination) -> Discrimination:
        return replace(self, known=self.known + other.known)
