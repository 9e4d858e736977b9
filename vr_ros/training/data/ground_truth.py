"""What responses to a draft are held against: which verifier, and its truth in its own form."""
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vr_ros.core.rle import rle_box
from vr_ros.core.text_match import read_number
from vr_ros.core.types import Mask, Size, Task
from vr_ros.datasets.inner_point import inner_point
from vr_ros.datasets.rules import ANLS, MATHEMATICS, RELAXED
from vr_ros.datasets.sample import SampleError, size_of
from vr_ros.datasets.truth import Truth
from vr_ros.training.data.source import Draft, LeftOut, Scoring
from vr_ros.training.data.storage import scale_boxes, scale_mask, scale_points
from vr_ros.training.rewards.samples import Sample

# ANLS gives nothing to an answer with more edits; ChartQA's rule allows so much of a number.
ANLS_LEAST, RELAXED_ERROR = 0.5, 0.05
_RELATIVE = Size(1000, 1000)
_OF_OBJECTS = ('visionreasoner', 'detection')


@dataclass(frozen=True, eq=False)
class Objects:
    """The true objects in pixels of the stored image.

    :param boxes: (N, 4) int x_min, y_min, x_max, y_max.
    :param points: (N, 2) int x, y.
    :param masks: None: not known.
    :param labels: as many as boxes, or none.
    :param size: of the stored image.
    """

    boxes: np.ndarray
    points: np.ndarray
    masks: tuple[Mask, ...] | None
    labels: tuple[str, ...]
    size: Size


def task_of(draft: Draft) -> Task:
    """Tell what a draft asks for: as it says, else by what is known.

    :raises SampleError: nothing is known.
    """
    task, truth = draft.task or draft.truth.task, draft.truth
    if task:
        return task
    if truth.answers:
        return Task.VQA
    if truth.boxes is not None or truth.has_pixels:
        return Task.DETECTION
    if truth.count is not None:
        return Task.COUNTING
    raise SampleError('says nothing true')


def objects_of(draft: Draft, stored: Size) -> Objects | None:
    """Give the objects of a draft in the pixels of its stored image; None: they are not known.

    Points are those of the draft, else deep inside the masks, else the boxes' centres.

    :raises SampleError: an object has no pixels, or points and boxes differ in number.
    :raises LeftOut: objects are not told apart, or one stands for many.
    """
    truth = draft.truth
    if truth.boxes is None and truth.masks is None:
        if truth.region is not None:
            raise LeftOut('objects are not told apart')
        return None
    if truth.crowd is not None and truth.crowd.any():
        raise LeftOut('an object stands for many')
    if draft.image is None:
        raise SampleError('broken annotation: objects without an image')
    given = size_of(draft.image)
    masks = truth.masks
    inner = [inner_point(mask) for mask in masks or ()]
    if None in inner:
        raise SampleError('broken annotation: an object without pixels')
    boxes = truth.boxes
    if boxes is None:
        boxes = np.array([rle_box(mask) for mask in masks or ()], float).reshape(-1, 4)
    points = draft.points
    if points is None:
        points = np.array(inner, float) if masks else (boxes[:, :2] + boxes[:, 2:]) / 2
    if len(np.reshape(points, (-1, 2))) != len(boxes):
        raise SampleError(f'broken annotation: {len(points)} points for {len(boxes)} boxes')
    return Objects(
        scale_boxes(boxes, given, stored), scale_points(points, given, stored),
        None if masks is None else tuple(scale_mask(mask, stored) for mask in masks),
        truth.labels, stored)


def reward_sample(draft: Draft, task: Task, objects: Objects | None, name: str, source: str,
                  stored: Size) -> Sample:
    """Say what a response is held against.

    :param name: id of the row.
    :param source: name of the data source.
    :param stored: size of the stored image; 0 without one.
    :raises SampleError: the verifier's truth is not known.
    :raises LeftOut: it asks for objects that are only counted.
    """
    scoring = draft.scoring
    if not scoring.verifier:
        scoring = default_scoring(task, draft.truth, scoring)
    truth = scoring.ground_truth
    if truth is None:
        truth = _ground_truth(scoring, draft, objects)
    return Sample(
        scoring.verifier, truth, source, name, scoring.parameters, scoring.accuracy_ratio,
        scoring.format_ratio, stored if stored.width else None)


def default_scoring(task: Task, truth: Truth, scoring: Scoring) -> Scoring:
    """Choose a verifier by the task, and for texts by the rule of the data set.

    Counting is answered with objects, as by VisionReasoner: where they are known, they are scored.

    :param scoring: the weights are taken from it.
    :raises LeftOut: objects are asked for, but only counted.
    """
    verifier, parameters = 'visionreasoner', {}
    if task is Task.VQA:
        verifier, parameters = _by_rule(truth)
    elif truth.boxes is None and truth.masks is None:
        if task is not Task.COUNTING:
            raise LeftOut('objects without boxes')
        verifier = 'counting'
    return Scoring(verifier, {**parameters, **scoring.parameters}, scoring.accuracy_ratio,
                   scoring.format_ratio)


def mask_json(masks: Sequence[Mask]) -> str:
    """Write masks as rows have them, and the truths of mask_verifier()."""
    return json.dumps([
        {'size': [mask.size.height, mask.size.width], 'counts': list(mask.counts)}
        for mask in masks])


def _by_rule(truth: Truth) -> tuple[str, dict[str, Any]]:
    if truth.rule == MATHEMATICS:
        return 'mathverify', {}
    if truth.rule == ANLS:
        return 'edit_distance', {'least': ANLS_LEAST}
    is_number = len(truth.answers) == 1 and not truth.choices and read_number(
        truth.answers[0].replace(',', '')) is not None
    if is_number and truth.rule == RELAXED:
        return 'numeric', {'relative': RELAXED_ERROR}
    return ('numeric', {}) if is_number and not truth.rule else ('exact', {})


def _ground_truth(scoring: Scoring, draft: Draft, objects: Objects | None) -> str:
    truth, verifier = draft.truth, scoring.verifier
    if verifier in _OF_OBJECTS:
        if objects is None:
            raise LeftOut('objects without boxes')
        return json.dumps(_items(objects, scoring))
    if verifier == 'counting':
        if truth.count is None:
            raise SampleError('broken annotation: no count')
        return str(truth.count)
    if not truth.answers:
        raise SampleError('broken annotation: no answer')
    answers = list(dict.fromkeys(truth.answers))
    # A text that looks like a list would be read as one.
    if len(answers) > 1 or answers[0].lstrip().startswith('['):
        return json.dumps(answers, ensure_ascii=False)
    return answers[0]


def _items(objects: Objects, scoring: Scoring) -> list[dict[str, Any]]:
    boxes = objects.boxes
    if scoring.verifier == 'detection':
        if scoring.parameters.get('det_verifier_normalized'):
            boxes = scale_boxes(boxes, objects.size, _RELATIVE)
        labels = objects.labels or ('',) * len(boxes)
        return [{'bbox_2d': box, 'label': label}
                for box, label in zip(boxes.tolist(), labels, strict=True)]
    return [{'bbox_2d': box, 'point_2d': point}
            for box, point in zip(boxes.tolist(), objects.points.tolist(), strict=True)]
