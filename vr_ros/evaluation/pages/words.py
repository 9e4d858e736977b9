"""Answers, truths and how they compare in few words, the same on all pages and screens."""
from __future__ import annotations

from collections import Counter

from vr_ros.core.rle import rle_area
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.detection import match_boxes
from vr_ros.evaluation.metrics.segmentation import region_overlap

_MAX_ANSWERS = 5


def said(found: Found) -> str:
    """Give an answer: its text, else the number of objects."""
    if found.status.is_error:
        return 'none'
    return found.answer or _objects(found.count)


def true_words(truth: Truth) -> str:
    """Give what is true: texts, the number of objects, or the number of pixels."""
    if truth.count is not None or truth.is_absent:
        return _objects(truth.count or 0)
    if truth.region is not None:
        return f'{rle_area(truth.region):,} px'
    more = len(truth.answers) - _MAX_ANSWERS
    words = ' / '.join(truth.answers[:_MAX_ANSWERS])
    return f'{words} and {more} more' if more > 0 else words or 'not known'


def label_words(truth: Truth) -> list[str]:
    """Count the labels of the true objects, else give their category."""
    labels = truth.labels or (truth.category,)
    return [label if times == 1 else f'{times} × {label}'
            for label, times in Counter(filter(None, labels)).items()]


def comparison(truth: Truth | None, found: Found) -> str:
    """Say how the objects found compare with the true ones; nothing where no place is known."""
    if truth is None or found.status.is_error:
        return ''
    matches, overlap = match_boxes(truth, found), region_overlap(truth, found)
    if not (matches or overlap):
        return ''
    if truth.is_absent and not len(found.boxes):
        return 'rightly so' if found.says_absent else ''
    words = []
    if matches and not matches.true and matches.found[0]:
        words.append(f'{matches.found[0]} where nothing is')
    elif matches:
        words.append(f'{matches.hits[0]} of {matches.true} hit')
        if matches.found[0] > matches.hits[0]:
            words.append(f'{matches.found[0] - matches.hits[0]} elsewhere')
    if overlap and found.known_masks:
        words.append(f'IoU of masks {overlap.iou:.2f}')
    return ', '.join(words)


def _objects(count: int) -> str:
    return '1 object' if count == 1 else f'{count or "no"} objects'
