"""How well objects keep their ids and masks over the frames of a sequence."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vr_ros.core.rle import rle_iou_matrix
from vr_ros.core.types import Mask

# Less overlap is not the same object, as in the MOT challenges.
MIN_IOU = 0.5
_METRICS = ('mota', 'idf1', 'num_switches', 'num_objects', 'recall', 'precision')


@dataclass(frozen=True)
class TrackedFrame:
    """One frame.

    :param truth: masks by identity of the objects that ought to be found.
    :param found: masks by track id.
    :param ignored: masks of what may be found or not, such as objects that are nearly hidden.
    """

    truth: Mapping[int, Mask]
    found: Mapping[str, Mask]
    ignored: Sequence[Mask] = ()


@dataclass(frozen=True)
class TrackScore:
    """Over all sequences together.

    :param mota: multiple object tracking accuracy, at most 1 (Bernardin and Stiefelhagen, 2008).
    :param idf1: share of the objects that go under the right id all along (Ristani et al., 2016).
    :param switches: how often a true object went over to another id.
    :param mask_iou: mean over true objects and frames; 0 where one is not found.
    """

    mota: float
    idf1: float
    switches: int
    recall: float
    precision: float
    mask_iou: float
    objects: int


def score_tracks(sequences: Iterable[Sequence[TrackedFrame]]) -> TrackScore:
    """Score sequences; ids mean nothing beyond their own.

    :raises ValueError: there is no true object in any of them.
    """
    import motmetrics

    accumulators, overlaps = [], []
    for sequence in sequences:
        accumulator = motmetrics.MOTAccumulator(auto_id=True)
        numbers: dict[str, int] = {}  # motmetrics wants ids that are numbers
        for frame in sequence:
            names = _wanted(frame)
            iou = _iou(list(frame.truth.values()), [frame.found[name] for name in names])
            distance = np.where(iou >= MIN_IOU, 1 - iou, np.nan)
            ids = [numbers.setdefault(name, len(numbers)) for name in names]
            accumulator.update(list(frame.truth), ids, distance)
            overlaps.extend(iou.max(1, initial=0.0))
        accumulators.append(accumulator)
    if not overlaps:
        raise ValueError('no true object in any sequence')
    table = motmetrics.metrics.create().compute_many(
        accumulators, metrics=list(_METRICS), generate_overall=True)
    row = table.loc['OVERALL']
    return TrackScore(
        float(row['mota']), float(row['idf1']), int(row['num_switches']), float(row['recall']),
        float(row['precision']), float(np.mean(overlaps)), int(row['num_objects']))


def _wanted(frame: TrackedFrame) -> list[str]:
    """:return: names of the found objects that are not among those to be ignored."""
    names = list(frame.found)
    if not frame.ignored or not names:
        return names
    masks = [frame.found[name] for name in names]
    with_ignored = _iou(list(frame.ignored), masks).max(0, initial=0.0)
    with_true = _iou(list(frame.truth.values()), masks).max(0, initial=0.0)
    return [name for name, theirs, ours in zip(names, with_ignored, with_true, strict=True)
            if theirs < MIN_IOU or ours >= MIN_IOU]


def _iou(one: Sequence[Mask], other: Sequence[Mask]) -> np.ndarray:
    """:return: (len(one), len(other)), also when either is empty."""
    if not one or not other:
        return np.zeros((len(one), len(other)))
    return rle_iou_matrix(one, other)
