"""VisionReasoner's reward without the faults of the published one; the same four parts and ranges.

Source of the parts: VisionReasoner (ICLR 2026), sections 3.4 and 3.5. What is different stands at
each function, and in the table of docs/training.md.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vr_ros.training.rewards.matching import (
    POINTLESS_WORTH,
    Pairs,
    Targets,
    Tolerances,
    match_objects,
)
from vr_ros.training.rewards.reference import VisionReasonerReward
from vr_ros.training.rewards.text_checks import non_repetition, think_format
from vr_ros.training.rewards.written_objects import (
    WrittenObjects,
    read_objects,
    read_truth,
)

FULL_ACCURACY = 3.0
REPORTED_IOUS = (0.5, 0.75, 0.95, 0.99)
REPORT_NAMES = tuple(
    f'{what}_{round(100 * iou)}' for what in ('iou', 'precision', 'recall')
    for iou in REPORTED_IOUS)


@dataclass(frozen=True)
class ObjectScore:
    """How well the objects of a response are those of the truth.

    :param accuracy: 0 to 3.
    :param is_right: every true object has its own predicted one with an IoU of at least one half,
        and there are no others.
    :param report: :func:`iou_report`.
    """

    accuracy: float
    is_right: bool
    report: Mapping[str, float]


def read_targets(truth: str, tolerances: Tolerances = Tolerances()) -> Targets:  # noqa: B008
    """Prepare a ground truth for :func:`unified_reward`.

    :param truth: JSON list of {"bbox_2d": [...], "point_2d": [...]}; the point may be missing.
    :raises TruthError: it is no such list.
    """
    objects = read_truth(truth)
    return Targets(objects.boxes, objects.points, tolerances)


def unified_reward(
    response: str, targets: Targets
) -> tuple[VisionReasonerReward, ObjectScore]:
    """Score a response.

    :param targets: true objects, in the pixels that the response speaks of.
    """
    objects = read_objects(response)
    score = score_objects(objects, targets)
    reward = VisionReasonerReward(
        think_format(response), objects.format_share, score.accuracy, non_repetition(response))
    return reward, score


def score_objects(objects: WrittenObjects, targets: Targets) -> ObjectScore:
    """Sum up the terms of the best matching and divide by the larger number of objects.

    The terms of a pair: its IoU; 1 if the mean difference of the four numbers is below the box
    tolerance; 1 if the points are that near and the predicted one lies in its own box. A true
    object without a point is worth at most 2, and what it can give is scaled up to 3. An empty list
    for an empty truth is worth 3; any object there, or no list at all, nothing. An object without a
    point loses that term only; one that cannot be read counts as one too many.
    """
    larger = max(objects.written, len(targets))
    if not larger:
        return ObjectScore(FULL_ACCURACY * objects.is_list, objects.is_list,
                           iou_report(np.empty(0), 0, 0) if objects.is_list
                           else dict.fromkeys(REPORT_NAMES, 0.0))
    if not len(objects) or not len(targets):
        return ObjectScore(0.0, False, dict.fromkeys(REPORT_NAMES, 0.0))
    pairs = match_objects(objects.boxes, objects.points, targets)
    report = iou_report(pairs.iou, objects.written, len(targets))
    is_right = objects.written == len(targets) and report['recall_50'] == 1.0
    return ObjectScore(_worth(pairs, targets) / larger, is_right, report)


def iou_report(iou: np.ndarray, written: int, true: int) -> dict[str, float]:
    """Describe matched pairs at IoU 0.5, 0.75, 0.95 and 0.99.

    Source: V-Triune, section 3.3 (source-level metrics).

    :param iou: (P,) of the pairs.
    :param written: predicted objects, :param true: true ones.
    :return: by threshold: ``iou`` sum of those IoU / true objects, ``precision`` pairs / predicted,
        ``recall`` pairs / true; all 1 where nothing is there and nothing was predicted.
    """
    if not written and not true:
        return dict.fromkeys(REPORT_NAMES, 1.0)
    # Plain Python: numpy's calls would take twice as long for so few numbers.
    values = iou.tolist()
    sums, hits = [], []
    for threshold in REPORTED_IOUS:
        values = [value for value in values if value >= threshold]
        sums.append(sum(values) / max(true, 1))
        hits.append(len(values))
    precision, recall = ([hit / max(number, 1) for hit in hits] for number in (written, true))
    return dict(zip(REPORT_NAMES, (*sums, *precision, *recall), strict=True))


def _worth(pairs: Pairs, targets: Targets) -> float:
    """Sum the terms of all pairs; a true object without a point is scored by the other two."""
    pointless = targets.pointless
    if pointless is None:
        return pairs.total
    per_pair = pairs.iou + pairs.near + pairs.pointed
    return float((per_pair * np.where(pointless[pairs.columns], POINTLESS_WORTH, 1.0)).sum())
