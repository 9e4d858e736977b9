"""The verifier ``detection``: labelled boxes, by IoU above a threshold that rises, or by AP.

Source: V-Triune, sections 3.2 and 3.4. Its released matching is greedy and records the last of
several pairs with the best IoU; here pairs come from an optimal assignment, so that the order in
which boxes are written does not matter.
"""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from vr_ros.core.geometry import box_iou_matrix
from vr_ros.core.matching import best_pairs
from vr_ros.core.types import Size
from vr_ros.training.rewards.samples import ParameterError, Sample, SampleError, suggestion
from vr_ros.training.rewards.schedules import AVERAGE, Steps, thresholds_from
from vr_ros.training.rewards.text_checks import TAGS
from vr_ros.training.rewards.unified import REPORT_NAMES, REPORTED_IOUS, iou_report
from vr_ros.training.rewards.verifier import (
    Judge,
    Judgement,
    Rollout,
    Verifier,
    parameters_of,
)
from vr_ros.training.rewards.written_objects import (
    TruthError,
    WrittenObjects,
    read_objects,
    read_truth,
    scaled_items,
)

# Reward per object too many or too few.
SIZE_PENALTY = 0.6
NORMALISED = 1000.0
TERMS = ('iou_max_label_first', 'iou_max_iou_first', 'map', 'map50', 'map75')
COMPLETENESS = 'iou_completeness'
PARAMETERS = {
    'det_verifier_normalized': False,
    'with_labels': True,
    # A text, a number or a list; see _settings.
    'iou_threshold': None,
    'det_reward_ratio': {'iou_max_label_first': 1.0},
}
_RECALL_POINTS = 101
_AP_IOUS = {'map': AVERAGE, 'map50': (0.5,), 'map75': (0.75,)}
PARTS = ('size_penalty', *TERMS, *REPORT_NAMES)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Predicted against true boxes of one image.

    :param iou: (K, N) 0 to 1, K predicted that can be read, N true.
    :param labels: (K,) and :param true_labels: (N,) texts.
    :param written: predicted objects, those that cannot be read included.
    """

    iou: np.ndarray
    labels: np.ndarray
    true_labels: np.ndarray
    written: int

    @property
    def true(self) -> int:
        return len(self.true_labels)

    @cached_property
    def same(self) -> np.ndarray:
        """(K, N) bool, equal labels."""
        return self.labels[:, None] == self.true_labels[None, :]


@dataclass(frozen=True)
class Settings:
    """What the parameters of a sample say.

    :param terms: weights of the terms, by name.
    :param completeness: weight of the completeness within the IoU terms, 0 to 1.
    :param thresholds: least IoU of a match; the IoU terms are the mean over all.
    :param normalised: predictions are scaled from pixels of the model's input to 0..1000.
    :param with_labels: what is matched has the same label; False: nobody looks at labels.
    """

    terms: Mapping[str, float]
    completeness: float
    thresholds: tuple[Steps, ...]
    normalised: bool
    with_labels: bool


def prepare(sample: Sample) -> Judge:
    """Read the true boxes; see :mod:`vr_ros.training.rewards.verifier`.

    Parameters: ``det_reward_ratio``, weights of the terms iou_max_label_first, iou_max_iou_first,
    map, map50, map75, and the weight of the completeness within the IoU terms, iou_completeness;
    ``iou_threshold``, see :func:`~.schedules.thresholds_from`, default dynamic;
    ``det_verifier_normalized``, the truth is in 0..1000 and answers are in pixels of the model's
    input, which ``image_size`` gives; ``with_labels``, false where the truth has none.
    """
    settings = _settings(sample)
    size = sample.image_size
    if settings.normalised and size is None:
        raise SampleError(f'{sample.title}: det_verifier_normalized needs the image size')
    try:
        truth = read_truth(sample.ground_truth, needs_labels=settings.with_labels)
    except TruthError as error:
        raise SampleError(f'{sample.title}: {error}') from error

    if not settings.with_labels:
        truth = truth.unlabelled()

    def judge(rollout: Rollout) -> Judgement:
        written = read_objects(rollout.response)
        objects = without_duplicates(written if settings.with_labels else written.unlabelled())
        boxes = _normalised(objects.boxes, size) if settings.normalised else objects.boxes
        found = Comparison(
            box_iou_matrix(boxes, truth.boxes), objects.labels, truth.labels, objects.written)
        form = _format(rollout.response, objects)
        if not found.written and not found.true:
            return _rightly_nothing(form) if objects.is_list else Judgement(0.0, form, False)
        return _judgement(found, settings, rollout.progress, form)

    return judge


def in_pixels(sample: Sample) -> Sample:
    """Give a sample whose truth is in 0..1000 as one in pixels, for other verifiers.

    :raises SampleError: the size of the image is not known, or the truth cannot be read.
    """
    if not sample.parameters.get('det_verifier_normalized'):
        return sample
    size = sample.image_size
    if size is None:
        raise SampleError(f'{sample.title}: det_verifier_normalized needs the image size')
    try:
        truth = read_truth(sample.ground_truth)
    except TruthError as error:
        raise SampleError(f'{sample.title}: {error}') from error
    items = scaled_items(truth.items, size.width / NORMALISED, size.height / NORMALISED,
                         lambda value: round(value, 2))
    parameters = {**sample.parameters, 'det_verifier_normalized': False}
    return replace(sample, ground_truth=json.dumps(items), parameters=parameters)


DETECTION = Verifier('detection', prepare, PARTS)


def without_duplicates(objects: WrittenObjects) -> WrittenObjects:
    """Leave out boxes of the very place and label of earlier ones, as if they were not written.

    Source: V-Triune's released parser, which leaves out those with other labels, too.
    """
    things = zip(map(tuple, objects.boxes.tolist()), objects.labels, strict=True)
    first: dict[tuple[Any, Any], int] = {}
    for place, thing in enumerate(things):
        first.setdefault(thing, place)
    kept = list(first.values())
    lost = len(objects) - len(kept)
    if not lost:
        return objects
    return WrittenObjects(objects.boxes[kept], objects.points[kept],
                          [objects.items[place] for place in kept], objects.written - lost,
                          objects.format_share, objects.is_list)


def weighted_iou(found: Comparison, threshold: float, completeness: float, *,
                 label_first: bool) -> float:
    """Mix the mean IoU of matched pairs with their completeness, 0 to 1.

    Mean IoU: sum over the pairs with at least the threshold / true objects. Completeness: mean of
    the share of true objects that are matched and of predicted ones that are; where nothing was
    predicted the second is 0, and not 1 as in the released code, which pays half of it for an empty
    answer. IoU first: pairs are matched without a look at labels, and those with different ones
    count nothing. Label first: only equal labels are matched. Of all one-to-one matchings the one
    that is worth most is taken.

    :param completeness: weight of the completeness, 0 to 1.
    """
    per_true, per_written = 1 / max(found.true, 1), 1 / max(found.written, 1)
    worth = (1 - completeness) * per_true * found.iou + completeness * (per_true + per_written) / 2
    worth *= found.iou >= threshold
    if label_first:
        worth *= found.same
    pairs = linear_sum_assignment(worth, maximize=True)
    return float((worth[pairs] * found.same[pairs]).sum())


def tied_average_precision(found: Comparison, threshold: float) -> float:
    """Average precision of boxes without scores: 101 points, mean over the true labels, 0 to 1.

    All boxes of a label are one group: precision P up to recall R, so AP is P times the share of
    the recall points up to R. COCO's evaluation would rank them by the order in which they were
    written.
    """
    values = []
    for label in sorted(set(found.true_labels)):
        columns, rows = found.true_labels == label, found.labels == label
        hits = len(best_pairs(found.iou[np.ix_(rows, columns)], threshold)[0])
        if not hits:
            values.append(0.0)
            continue
        # In whole numbers: 29 of 100 reach the recall point 0.29.
        reached = hits * (_RECALL_POINTS - 1) // int(columns.sum()) + 1
        values.append(hits / int(rows.sum()) * reached / _RECALL_POINTS)
    return float(np.mean(values)) if values else 0.0


def _judgement(found: Comparison, settings: Settings, progress: float | None, form: float
               ) -> Judgement:
    thresholds = [steps.at(progress) for steps in settings.thresholds]
    penalty = SIZE_PENALTY ** abs(found.written - found.true)
    parts = {'size_penalty': penalty}
    for name in TERMS[:2]:
        parts[name] = penalty * float(np.mean([
            weighted_iou(found, threshold, settings.completeness,
                         label_first=name == 'iou_max_label_first')
            for threshold in thresholds]))
    for name in settings.terms.keys() & _AP_IOUS.keys():
        parts[name] = penalty * float(np.mean([
            tied_average_precision(found, threshold) for threshold in _AP_IOUS[name]]))
    parts |= _report(found)
    accuracy = sum(weight * parts[name] for name, weight in settings.terms.items())
    is_correct = found.written == found.true and parts['recall_50'] == 1
    return Judgement(accuracy / sum(settings.terms.values()), form, is_correct, parts)


def _rightly_nothing(form: float) -> Judgement:
    return Judgement(1.0, form, True, dict.fromkeys(PARTS, 1.0))


def _report(found: Comparison) -> dict[str, float]:
    """Give :func:`~.unified.iou_report` of the best matching of equal labels at each threshold."""
    report: dict[str, float] = {}
    for threshold in REPORTED_IOUS:
        rows, columns = best_pairs(found.iou * found.same, threshold)
        values = iou_report(found.iou[rows, columns], found.written, found.true)
        report |= {name: value for name, value in values.items()
                   if name.endswith(f'_{round(100 * threshold)}')}
    return report


def _format(response: str, objects: WrittenObjects) -> float:
    """Give 1 for answer tags that stand there once and an answer with a box, or an empty list."""
    once = all(response.count(tag) == 1 for tag in TAGS[2:])
    return float(once and objects.is_list and (len(objects) > 0 or not objects.written))


def _normalised(boxes: np.ndarray, size: Size) -> np.ndarray:
    return boxes * (NORMALISED / np.array((size.width, size.height) * 2, float))


def _settings(sample: Sample) -> Settings:
    values = parameters_of(sample, PARAMETERS)
    weights = values['det_reward_ratio']
    for name, weight in weights.items():
        if name not in (*TERMS, COMPLETENESS):
            raise ParameterError(f'{sample.title}: det_reward_ratio has no "{name}"; '
                                 f'{suggestion(name, (*TERMS, COMPLETENESS))}')
        if not isinstance(weight, int | float) or not 0 <= weight <= 1:
            raise ParameterError(f'{sample.title}: {name} is {weight!r}, not a number from 0 to 1')
    terms = {name: float(weights[name]) for name in TERMS if weights.get(name)}
    if not terms:
        raise ParameterError(f'{sample.title}: det_reward_ratio gives no term a weight')
    try:
        thresholds = thresholds_from(
            'dynamic' if values['iou_threshold'] is None else values['iou_threshold'])
    except ValueError as error:
        raise ParameterError(f'{sample.title}: {error}') from error
    return Settings(terms, float(weights.get(COMPLETENESS, 0)), thresholds,
                    values['det_verifier_normalized'], values['with_labels'])
