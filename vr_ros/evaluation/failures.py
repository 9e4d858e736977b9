"""What became of each sample: right, or one kind of failure, by rules in a fixed order.

The first that applies:

1. An answer that cannot be read is a parse failure; any other error status is an error.
2. A truth that tells nothing: not judged.
3. Counting, or a truth that tells the number alone: some where there is none, extra; none where
   there are some, missed; any other number, wrong count.
4. Nothing is there: an object, extra; neither an object nor the status NO_OBJECT, wrong answer.
5. Objects, paired one-to-one by boxes at IoU 0.5. Not all are paired: fewer found than there are,
   missed; else wrong object. All are: more found than there are, extra.
6. Pixels, where the data set does not tell objects apart, at IoU 0.5: nothing found, missed; the
   boxes around both overlap by 0.5, poor mask; else wrong object.
7. All boxes right: a true mask that no found one overlaps by 0.5, poor mask. A task that asks for
   boxes alone is judged so only where the model gave masks.
8. A text that gets less than half a point by the rule of its data set: wrong answer.

What lies in crowds and in pixels to be ignored counts as it does in the strict figures.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from scipy.optimize import linear_sum_assignment

from vr_ros.core.geometry import box_iou_matrix
from vr_ros.core.rle import rle_box
from vr_ros.core.types import Status, Task
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.answers import exact_match
from vr_ros.evaluation.metrics.detection import HIT_IOU, match
from vr_ros.evaluation.metrics.overlap import Overlaps, box_overlaps, mask_overlaps
from vr_ros.evaluation.metrics.rules import SCORES
from vr_ros.evaluation.metrics.segmentation import region_overlap

_ENOUGH = 0.5


class Kind(Enum):
    """What came of a sample, in the order in which the page lists it."""

    RIGHT = 'right'
    ERROR = 'error'
    PARSE = 'parse failure'
    MISSED = 'missed'
    EXTRA = 'extra'
    WRONG_OBJECT = 'wrong object'
    POOR_MASK = 'poor mask'
    WRONG_COUNT = 'wrong count'
    WRONG_ANSWER = 'wrong answer'
    UNKNOWN = 'not judged'

    @property
    def is_failure(self) -> bool:
        return self not in (Kind.RIGHT, Kind.UNKNOWN)


MEANINGS = {
    Kind.RIGHT: 'as the truth has it',
    Kind.ERROR: 'an error status: no answer',
    Kind.PARSE: 'an answer that cannot be read',
    Kind.MISSED: 'nothing found, or fewer objects than there are',
    Kind.EXTRA: 'more objects than there are, or one where there is none',
    Kind.WRONG_OBJECT: 'enough objects, but in another place',
    Kind.POOR_MASK: 'the right box, a mask with IoU below 0.5',
    Kind.WRONG_COUNT: 'another number',
    Kind.WRONG_ANSWER: 'another text, or no plain word that nothing is there',
    Kind.UNKNOWN: 'the truth is not known',
}


class Situation(Enum):
    """What is true of a sample."""

    ABSENT = 'absent'
    ONE = 'one object'
    MANY = 'many objects'
    REGION = 'pixels'
    TEXT = 'text'
    UNKNOWN = 'unknown'


@dataclass(frozen=True)
class Verdict:
    """What came of one sample.

    :param quality: 0 to 1, to find the worst and the best by. Errors: 0. Objects: the IoU of the
        best pairs, summed up over the greater of both numbers; of boxes or of masks, the lower of
        both where masks are judged. Pixels: IoU. Numbers: the smaller over the greater. Texts:
        their score.
    """

    kind: Kind
    situation: Situation
    quality: float


def judge(truth: Truth, found: Found, task: Task = Task.AUTO) -> Verdict:
    """Find the one kind that applies.

    :param task: that was asked for, where the truth does not tell; AUTO: the words tell.
    """
    situation, task = situation_of(truth), truth.task or task
    if found.status.is_error:
        is_unreadable = found.status is Status.PARSE_ERROR
        return Verdict(Kind.PARSE if is_unreadable else Kind.ERROR, situation, 0.0)
    if situation is Situation.UNKNOWN:
        return Verdict(Kind.UNKNOWN, situation, 0.0)
    kind, quality = Kind.RIGHT, 1.0
    if situation is not Situation.TEXT:
        kind, quality = _judge_objects(truth, found, task)
    if kind is Kind.RIGHT and truth.answers:
        score = text_score(truth, found)
        kind = Kind.RIGHT if score >= _ENOUGH else Kind.WRONG_ANSWER
        quality = min(quality, score)
    return Verdict(kind, situation, quality)


def situation_of(truth: Truth) -> Situation:
    """Say what is true, in one of few words."""
    if truth.is_absent:
        return Situation.ABSENT
    if truth.count is not None:
        return Situation.ONE if truth.count == 1 else Situation.MANY
    if truth.region is not None:
        return Situation.REGION
    return Situation.TEXT if truth.answers else Situation.UNKNOWN


def text_score(truth: Truth, found: Found) -> float:
    """Score a text by the rule of its data set, else by the same words: 0 to 1."""
    if truth.rule:
        return float(SCORES[truth.rule](truth, found.answer))
    return max(exact_match(text, found.answer) for text in truth.answers)


def confusion(verdicts: Sequence[Verdict]) -> dict[tuple[Kind, Situation], list[int]]:
    """Sort samples by what came of them and what was true; no entry where there is none.

    :return: places of the samples.
    """
    cells: dict[tuple[Kind, Situation], list[int]] = {}
    for place, verdict in enumerate(verdicts):
        cells.setdefault((verdict.kind, verdict.situation), []).append(place)
    return cells


def by_question(
    questions: Sequence[str], verdicts: Sequence[Verdict]
) -> list[tuple[str, Counter[Kind]]]:
    """Count what came of the samples of each kind of question, the most frequent kind first.

    :param questions: kind of each sample's question, empty where it has none.
    :return: nothing where fewer than two kinds are known.
    """
    counted: dict[str, Counter[Kind]] = {}
    for question, verdict in zip(questions, verdicts, strict=True):
        counted.setdefault(question, Counter())[verdict.kind] += 1
    if len(counted.keys() - {''}) < 2:
        return []
    return sorted(counted.items(), key=lambda item: (-item[1].total(), item[0]))


def _judge_objects(truth: Truth, found: Found, task: Task) -> tuple[Kind, float]:
    tells_place = not (truth.boxes is None and truth.masks is None and truth.region is None)
    if truth.count is not None and (task is Task.COUNTING or not tells_place):
        return _judge_count(truth.count, found.count)
    boxes, masks = box_overlaps(truth, found), mask_overlaps(truth, found)
    if boxes is None and masks is None:
        return _judge_region(truth, found)
    if boxes is None:
        return _judge_pairs(truth, found, masks, masks)
    wants_masks = task is not Task.DETECTION or bool(found.known_masks)
    kind, quality = _judge_pairs(truth, found, boxes, masks if wants_masks else None)
    tells_pixels = masks is None and truth.region is not None and not truth.is_absent
    if kind is Kind.RIGHT and tells_pixels and wants_masks:
        iou = region_overlap(truth, found).iou
        kind = Kind.RIGHT if iou >= _ENOUGH else Kind.POOR_MASK
        quality = min(quality, iou)
    return kind, quality


def _judge_count(true: int, said: int) -> tuple[Kind, float]:
    if said == true:
        return Kind.RIGHT, 1.0
    kind = Kind.EXTRA if not true else Kind.MISSED if not said else Kind.WRONG_COUNT
    return kind, min(said, true) / max(said, true)


def _judge_pairs(
    truth: Truth, found: Found, overlaps: Overlaps, masks: Overlaps | None
) -> tuple[Kind, float]:
    """:param overlaps: that pair objects, :param masks: None: they are not judged."""
    matches = match(overlaps, truth.crowd)
    true, hits, said = matches.true, int(matches.hits[0]), int(matches.found[0])
    if not true:
        return _judge_nothing(found, claims=said > 0)
    ious = [judged.iou[~truth.crowd] for judged in (overlaps, masks) if judged is not None]
    quality = min(float(iou[linear_sum_assignment(iou, maximize=True)].sum())
                  for iou in ious) / max(true, said)
    if hits < true:
        return Kind.MISSED if said < true else Kind.WRONG_OBJECT, quality
    if said > true:
        return Kind.EXTRA, quality
    if masks is not None and match(masks, truth.crowd).hits[0] < true:
        return Kind.POOR_MASK, quality
    return Kind.RIGHT, quality


def _judge_region(truth: Truth, found: Found) -> tuple[Kind, float]:
    overlap = region_overlap(truth, found)
    if truth.is_absent:
        return _judge_nothing(found, claims=bool(len(found.boxes)) and not overlap.is_rightly_empty)
    if overlap.iou >= _ENOUGH:
        return Kind.RIGHT, overlap.iou
    if not len(found.boxes):
        return Kind.MISSED, overlap.iou
    around = np.hstack((found.boxes[:, :2].min(axis=0), found.boxes[:, 2:].max(axis=0)))
    true_box = np.array(rle_box(truth.region), float)
    is_there = box_iou_matrix(true_box[None], around[None])[0, 0] >= HIT_IOU
    return Kind.POOR_MASK if is_there else Kind.WRONG_OBJECT, overlap.iou


def _judge_nothing(found: Found, claims: bool) -> tuple[Kind, float]:
    """:param claims: whether something found counts as an object."""
    if claims:
        return Kind.EXTRA, 0.0
    # What counts neither way was found: that is not to say that nothing is there, nor wrong.
    if found.says_absent or len(found.boxes):
        return Kind.RIGHT, 1.0
    return Kind.WRONG_ANSWER, 0.0
