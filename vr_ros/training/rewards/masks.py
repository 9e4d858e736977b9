"""Rewards of masks, with a segmenter in the loop: the masks that boxes and points lead to.

The segmenter is a callable that the trainer brings, such as SAM 2; nothing here loads a model.
Sources: Seg-Zero (mask reward), GenSeg-R1 (SAM 2 in the loop).
"""
from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from vr_ros.core.rle import rle_area, rle_intersection, rle_iou_matrix, rle_union, validate_rle
from vr_ros.core.types import Mask, Size
from vr_ros.training.rewards.samples import Sample, SampleError
from vr_ros.training.rewards.text_checks import think_format
from vr_ros.training.rewards.verifier import (
    Judge,
    Judgement,
    Rollout,
    Verifier,
    VerifierError,
    parameters_of,
)
from vr_ros.training.rewards.written_objects import WrittenObjects, read_objects

# sample, (N, 4) boxes and (N, 2) points in the pixels of the answer -> N masks of the image.
Segment = Callable[[Sample, np.ndarray, np.ndarray], Sequence[Mask]]
RIGHT_IOU = 0.5


def mask_verifier(segment: Segment, name: str = 'masks') -> Verifier:
    """Make a verifier that scores the masks a segmenter draws for the objects of an answer.

    Its accuracy is the sum of the IoU of the best one-to-one matching, divided by the larger number
    of objects; 1 for an empty list where nothing is true. Ground truth: JSON list of
    {"size": [height, width], "counts": [...]}, uncompressed COCO run lengths. A segmenter that
    fails is a VerifierError, not a reward of 0.

    :param segment: gives one mask per box, of the size of the true ones; a point that an answer
        lacks is the centre of its box.
    """
    def prepare(sample: Sample) -> Judge:
        parameters_of(sample, {})
        true = read_true_masks(sample)

        def judge(rollout: Rollout) -> Judgement:
            objects = read_objects(rollout.response)
            form = (think_format(rollout.response) + objects.format_share / 2) / 2
            larger = max(objects.written, len(true))
            if not larger:
                rightly = float(objects.is_list)
                return Judgement(rightly, form, objects.is_list,
                                 {'mask_iou': rightly, 'region_iou': rightly})
            if not len(objects) or not true:
                return Judgement(0.0, form, False, {'mask_iou': 0.0, 'region_iou': 0.0})
            masks = _segment(segment, rollout.sample, objects)
            iou = _iou(true, masks)
            pairs = iou[linear_sum_assignment(iou, maximize=True)]
            accuracy = float(pairs.sum()) / larger
            is_right = objects.written == len(true) and bool((pairs >= RIGHT_IOU).all())
            return Judgement(accuracy, form, is_right,
                             {'mask_iou': accuracy, 'region_iou': region_iou(true, masks)})

        return judge

    return Verifier(name, prepare, ('mask_iou', 'region_iou'))


def read_true_masks(sample: Sample) -> list[Mask]:
    """Read the true masks of a sample.

    :raises SampleError: they are no list of run lengths, or not all of one image.
    """
    try:
        masks = [_mask(item) for item in json.loads(sample.ground_truth)]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise SampleError(f'{sample.title}: the ground truth is no list of masks: {error!r}'
                          ) from error
    if len({mask.size for mask in masks}) > 1:
        raise SampleError(f'{sample.title}: the true masks are not all of one size')
    return masks


def region_iou(true: Sequence[Mask], found: Sequence[Mask]) -> float:
    """Divide intersection by union of all true and all found pixels, 0 to 1."""
    one, other = rle_union(true), rle_union(found)
    common = rle_intersection(one, other)
    union = rle_area(one) + rle_area(other) - common
    return common / union if union else 0.0


def _segment(segment: Segment, sample: Sample, objects: WrittenObjects) -> list[Mask]:
    centres = (objects.boxes[:, :2] + objects.boxes[:, 2:]) / 2
    points = np.where(np.isnan(objects.points), centres, objects.points)
    try:
        masks = list(segment(sample, objects.boxes, points))
    except Exception as error:
        raise VerifierError(f'{sample.title}: the segmenter failed: {error!r}') from error
    if len(masks) != len(objects):
        raise VerifierError(f'{sample.title}: the segmenter gave {len(masks)} masks for '
                            f'{len(objects)} boxes')
    return masks


def _iou(true: Sequence[Mask], masks: Sequence[Mask]) -> np.ndarray:
    try:
        return rle_iou_matrix(masks, true)
    except ValueError as error:
        raise VerifierError(f'the masks do not fit the true ones: {error}') from error


def _mask(item: Any) -> Mask:
    height, width = item['size']
    mask = Mask(Size(int(width), int(height)), tuple(int(run) for run in item['counts']))
    validate_rle(mask)
    return mask
