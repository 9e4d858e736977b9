"""COCO's average precision of ranked samples, for any weights of the samples.

A sample is one category in one image. Where scores are equal the order of the samples decides,
as in pycocotools, which takes images in the order of their ids.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vr_ros.evaluation.metrics.measure import Measure, quotient
from vr_ros.evaluation.metrics.ranking import Ranking

# The recalls at which precision is read.
_RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, eq=False)
class _Category:
    """All found objects of one category, best first.

    :param sample: (D,) to which each belongs.
    :param hits: (T, D), :param misses: (T, D).
    :param true: (samples,) how many true objects count.
    """

    sample: np.ndarray
    hits: np.ndarray
    misses: np.ndarray
    true: np.ndarray


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """Mean over categories and IoU thresholds of the precision at 101 recalls.

    :param rankings: one per sample, None where the true objects are unknown.
    :param places: of the thresholds 0.5, 0.55, ... that are used.
    """

    name: str
    rankings: tuple[Ranking | None, ...]
    places: tuple[int, ...] = tuple(range(10))
    unit: str = 'share'
    better: str = 'higher'

    @cached_property
    def _categories(self) -> list[_Category]:
        known: dict[str, list[tuple[int, Ranking]]] = {}
        for place, ranking in enumerate(self.rankings):
            if ranking is not None:
                known.setdefault(ranking.category, []).append((place, ranking))
        return [self._gather(pairs) for pairs in known.values()]

    def _gather(self, known: list[tuple[int, Ranking]]) -> _Category:
        scores = np.concatenate([ranking.scores for _, ranking in known])
        order = np.argsort(-scores, kind='stable')
        sample = np.repeat([p for p, _ in known], [len(r.scores) for _, r in known])
        true = np.zeros(len(self.rankings))
        true[[place for place, _ in known]] = [ranking.true for _, ranking in known]
        places = list(self.places)
        return _Category(
            sample[order], np.concatenate([r.hits[places] for _, r in known], axis=1)[:, order],
            np.concatenate([r.misses[places] for _, r in known], axis=1)[:, order], true)

    @property
    def samples(self) -> int:
        return len(self.rankings)

    @property
    def of(self) -> int:
        return sum(ranking.true for ranking in self.rankings if ranking is not None)

    def values(self, weights: np.ndarray) -> np.ndarray:
        """:param weights: (R, samples) whole numbers, >= 0."""
        by_category = np.array([_precision(c, weights) for c in self._categories])
        known = np.isfinite(by_category.reshape(-1, len(weights)))
        total = np.where(known, by_category.reshape(known.shape), 0).sum(axis=0)
        return quotient(total, known.sum(axis=0))

    def joined(self, other: AveragePrecision) -> AveragePrecision:
        return replace(self, rankings=self.rankings + other.rankings)


def _precision(category: _Category, weights: np.ndarray) -> np.ndarray:
    """Average over thresholds and recalls; a found object counts as often as its sample does.

    Precision need only be known at hits: in between it falls. Repeating a hit raises it until the
    last copy, and repeating a miss changes no recall: with whole weights this is the precision of
    the samples written out that often.

    :return: (R,) NaN where no true object counts.
    """
    true = weights @ category.true
    needed = _hits_needed(true)
    of_each = weights[:, category.sample]
    total = np.zeros(len(weights))
    for hits, misses in zip(category.hits, category.misses, strict=True):
        at = np.flatnonzero(hits)
        if not at.size:
            continue
        reached = np.cumsum(of_each[:, at], axis=1)
        counted = np.cumsum(of_each * (hits | misses), axis=1)[:, at]
        # pycocotools adds the same to what it divides by.
        precision = reached / (counted + np.spacing(1))
        best = np.zeros((len(weights), at.size + 1))   # beyond the highest recall it is 0
        best[:, :-1] = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        total += np.take_along_axis(best, _first_reaching(reached, needed), axis=1).mean(axis=1)
    return np.where(true > 0, total / len(category.hits), np.nan)


def _hits_needed(true: np.ndarray) -> np.ndarray:
    """Count the hits that each recall takes, rounding as the comparison of quotients does.

    :param true: (R,) true objects.
    :return: (R, 101).
    """
    below = np.maximum(true, 1)[:, None]
    needed = np.ceil(_RECALLS * below)
    needed -= (needed > 0) & ((needed - 1) / below >= _RECALLS)
    return needed + (needed / below < _RECALLS)


def _first_reaching(reached: np.ndarray, needed: np.ndarray) -> np.ndarray:
    """Find in every row the first place with so many hits; one past the end if there is none.

    :param reached: (R, D) rising along rows, :param needed: (R, K).
    """
    rows, length = reached.shape
    # One search for all rows: each goes on above the one before.
    offset = np.arange(rows)[:, None] * (max(reached.max(), needed.max()) + 1)
    places = np.searchsorted((reached + offset).ravel(), (needed + offset).ravel())
    return places.reshape(needed.shape) - np.arange(rows)[:, None] * length


def average_precisions(rankings: Sequence[Ranking | None], name: str) -> list[Measure]:
    """Make AP@[.5:.95], AP@0.5 and AP@0.75.

    :param name: of the figure before the @, such as 'box AP'.
    """
    known = tuple(rankings)
    return [
        AveragePrecision(f'{name}@[.5:.95]', known),
        AveragePrecision(f'{name}@0.5', known, (0,)),
        AveragePrecision(f'{name}@0.75', known, (5,)),
    ]
