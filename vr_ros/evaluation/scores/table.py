"""Compare sources of scores: the same boxes, ranked and judged by each."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from vr_ros.core.confidence import OWN, Fusion
from vr_ros.core.types import Status
from vr_ros.evaluation.metrics.average_precision import average_precisions
from vr_ros.evaluation.metrics.calibration import calibration_measures, confidences
from vr_ros.evaluation.metrics.discrimination import Discrimination
from vr_ros.evaluation.metrics.figures import Figure, compare, figures
from vr_ros.evaluation.metrics.measure import Measure
from vr_ros.evaluation.metrics.ranking import rank, ranking_scores
from vr_ros.evaluation.scores.records import Judged
from vr_ros.pipeline.scoring import SCORES

# These rank only.
NO_PROBABILITIES = ('area', 'constant', 'perfect order')
FIGURES = ('box AP@[.5:.95]', 'box AP@0.5', 'AUROC', 'ECE')


@dataclass(frozen=True)
class Row:
    """One source of scores and its figures, in the order of FIGURES."""

    source: str
    figures: tuple[Figure, ...]


def score_lists(judged: Sequence[Judged], fusions: Mapping[str, Fusion]) -> dict[str, list]:
    """Score all answers by every source.

    :param fusions: by the names under which they are to be listed.
    :return: by source, (M,) scores per answer, 0 to 1 or NaN.
    """
    lists: dict[str, list] = {
        'constant': [np.ones(len(one.found)) for one in judged],
        'area': [ranking_scores(one.truth, one.scored(np.empty(0)), 'area') for one in judged],
    }
    for source, function in SCORES.items():
        name = source.name.lower()
        lists[name] = [
            function(one.features) if name in one.features else np.full(len(one.found), np.nan)
            for one in judged]
    # What the model answers, whether or not it contradicts itself.
    lists['yes or no alone'] = [expit(_feature(one, 'existence')) for one in judged]
    lists['agreement'] = [_feature(one, 'agreement') for one in judged]
    # What no score can exceed.
    lists['perfect order'] = [right_shares(one) for one in judged]
    for name, fusion in fusions.items():
        lists[name] = [fusion.score(one.features, len(one.found)) for one in judged]
    return lists


def own_only(judged: Sequence[Judged]) -> list[Judged]:
    """Leave out the objects that only other answers name."""
    kept = []
    for one in judged:
        own = _feature(one, OWN) == 1
        status = Status.NO_OBJECT if len(own) and not own.any() else one.status
        kept.append(replace(one, status=status, found=one.found[own], features={
            name: values[own] for name, values in one.features.items()}))
    return kept


def _feature(one: Judged, name: str) -> np.ndarray:
    return one.features.get(name, np.full(len(one.found), np.nan))


def measures_of(judged: Sequence[Judged], scores: Sequence[np.ndarray]) -> list[Measure]:
    """Make the figures of FIGURES for one source."""
    truths = [one.truth for one in judged]
    found = [one.scored(score) for one, score in zip(judged, scores, strict=True)]
    pairs = list(zip(truths, found, strict=True))
    known = tuple(confidences(t, f) for t, f in pairs)
    every = [*average_precisions([rank(t, f) for t, f in pairs], 'box AP'),
             Discrimination(known), *calibration_measures(known)]
    by_name = {measure.name: measure for measure in every}
    return [by_name[name] for name in FIGURES]


def table(
    judged: Sequence[Judged], lists: Mapping[str, Sequence[np.ndarray]], rounds: int
) -> list[Row]:
    """Give every source its figures, with bootstrap intervals over scenes.

    :param rounds: of the bootstrap; 0: no intervals.
    """
    groups = [one.image for one in judged]
    rows = []
    for name, scores in lists.items():
        results = figures(measures_of(judged, scores), groups, rounds=rounds)
        if name in NO_PROBABILITIES:
            results[3] = replace(results[3], value=None, low=None, high=None)
        rows.append(Row(name, tuple(results)))
    return rows


def gain(
    judged: Sequence[Judged], scores: Sequence[np.ndarray], over: Sequence[Judged],
    other_scores: Sequence[np.ndarray], rounds: int = 1000,
) -> tuple[float | None, float | None, float | None]:
    """Say how much AP@[.5:.95] one run gains over another of the same questions.

    :return: the difference and its interval; None where nothing was asked for that is there.
    """
    groups = [one.image for one in judged]
    second, first = measures_of(judged, scores)[0], measures_of(over, other_scores)[0]
    result = compare(first, second, groups, rounds=rounds)
    return result.difference, result.low, result.high


@dataclass(frozen=True)
class Removal:
    """What a threshold on a score takes away.

    :param hallucinated: share of the objects found on instructions whose object is not there.
    :param true: share of the objects found that are right at IoU 0.5.
    :param wrong: share of all others.
    :param absence: share of the instructions whose object is not there that are left with nothing.
    """

    threshold: float
    hallucinated: float
    true: float
    wrong: float
    absence: float
    hallucinated_of: int
    true_of: int


def removal(
    judged: Sequence[Judged], scores: Sequence[np.ndarray], threshold: float
) -> Removal:
    """Count what has a score below a threshold."""
    values, right, absent = _removable(judged, scores)
    below = values < threshold
    left = np.array([
        (~(score < threshold)).any()
        for one, score in zip(judged, scores, strict=True) if not len(one.wanted)], bool)
    return Removal(
        threshold, _share(below[absent]), _share(below[right]), _share(below[~right]),
        _share(~left),
        int(absent.sum()), int(right.sum()))


def threshold_for(
    judged: Sequence[Judged], scores: Sequence[np.ndarray], most_lost: float = 0.02
) -> float:
    """Find the highest threshold that loses at most a share of the right objects."""
    values, right, _ = _removable(judged, scores)
    kept = np.sort(values[right])
    return float(kept[int(np.floor(len(kept) * most_lost))]) if len(kept) else 0.0


def _removable(
    judged: Sequence[Judged], scores: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """:return: score, whether right, and whether nothing was there, of all found objects."""
    values, right, absent = [], [], []
    for one, score in zip(judged, scores, strict=True):
        number = len(one.found)
        values.append(np.where(np.isfinite(score), score, np.inf))
        right.append(right_objects(one))
        absent.append(np.full(number, not len(one.wanted)))
    return np.concatenate(values), np.concatenate(right), np.concatenate(absent)


def right_shares(one: Judged) -> np.ndarray:
    """:return: (M,) share of the IoU thresholds 0.5, 0.55, … at which each found object is right.

    As COCO matches them, in the order found.
    """
    ranking = rank(one.truth, one.scored(np.ones(len(one.found))), max_found=len(one.found))
    assert ranking is not None
    return ranking.hits.mean(axis=0)


def right_objects(one: Judged) -> np.ndarray:
    """:return: (M,) whether each found object is right at IoU 0.5."""
    return right_shares(one) > 0


def _share(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0
