"""What is true and what was found as plain JSON values, and back, without loss."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from vr_ros.core.types import Mask, Size, Status, Task
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found


def mask_to_json(mask: Mask | None) -> dict[str, Any] | None:
    """Write run lengths as COCO does, uncompressed: size is height, width."""
    if mask is None:
        return None
    return {'size': [mask.size.height, mask.size.width], 'counts': list(mask.counts)}


def mask_from_json(content: dict[str, Any] | None) -> Mask | None:
    """Read what :func:`mask_to_json` wrote."""
    if content is None:
        return None
    height, width = content['size']
    return Mask(Size(width, height), tuple(content['counts']))


def truth_to_json(truth: Truth) -> dict[str, Any]:
    """Write a truth; what it does not know is left out."""
    content: dict[str, Any] = {
        'image': truth.image, 'size': [truth.size.height, truth.size.width],
        'category': truth.category, 'count': truth.count, 'answers': list(truth.answers),
        'region': mask_to_json(truth.region), 'ignore': mask_to_json(truth.ignore),
        'crowd': truth.crowd.tolist() if truth.crowd is not None else None,
        'boxes': None if truth.boxes is None else truth.boxes.tolist(),
        'masks': None if truth.masks is None else [mask_to_json(mask) for mask in truth.masks],
        'areas_px': None if truth.areas_px is None else truth.areas_px.tolist(),
        'choices': list(truth.choices) or None, 'rule': truth.rule or None,
        'task': truth.task.name if truth.task else None, 'labels': list(truth.labels) or None,
    }
    return {name: value for name, value in content.items() if value is not None}


def truth_from_json(content: dict[str, Any]) -> Truth:
    """Read what :func:`truth_to_json` wrote.

    :raises KeyError, TypeError, ValueError: if it did not.
    """
    masks, (height, width) = content.get('masks'), content['size']
    return Truth(
        content['image'], Size(width, height), content['category'], _array(content.get('boxes')),
        None if masks is None else tuple(mask_from_json(mask) for mask in masks),
        mask_from_json(content.get('region')), mask_from_json(content.get('ignore')),
        _array(content.get('crowd')), _array(content.get('areas_px')), content.get('count'),
        tuple(content['answers']), tuple(content.get('choices', ())), content.get('rule', ''),
        Task[content.get('task', 'AUTO')], tuple(content.get('labels', ())),
    )


def found_to_json(found: Found) -> dict[str, Any]:
    """Write what was found; NaN, which JSON lacks, is null."""
    return {
        'status': found.status.name, 'boxes': found.boxes.tolist(),
        'masks': [mask_to_json(mask) for mask in found.masks],
        'scores': [_or_null(score) for score in found.scores.tolist()],
        'count': found.count, 'answer': found.answer, 'reasoning': found.reasoning,
        'raw_text': found.raw_text, 'latency_ms': _or_null(found.latency_ms),
    }


def found_from_json(content: dict[str, Any]) -> Found:
    """Read what :func:`found_to_json` wrote.

    :raises KeyError, TypeError, ValueError: if it did not.
    """
    return Found(
        Status[content['status']], np.array(content['boxes'], float),
        tuple(mask_from_json(mask) for mask in content['masks']),
        np.array([_or_nan(score) for score in content['scores']]), content['count'],
        content['answer'], content['reasoning'], content['raw_text'],
        _or_nan(content['latency_ms']),
    )


def _array(values: list[Any] | None) -> np.ndarray | None:
    return None if values is None else np.array(values, float)


def _or_null(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _or_nan(number: float | None) -> float:
    return math.nan if number is None else number
