"""The figures of VisionReasoner as its published scripts compute them, quirks included.

They are for the comparison with published numbers and for nothing else. Source: the repository
JIA-Lab-research/VisionReasoner at c013132, folder evaluation/, by file:

- evaluation_segmentation.py writes a row per sample; calculate_iou.py, calculate_iou_with_bbox.py
  and calculate_iou_with_bbox_nonobj.py sum rows up: :func:`published_row`.
- evaluation_count.py and calculate_counting.py: :func:`published_count_error`.
- evaluation_coco.py and calculate_coco_ap.py: COCO AP with the area of a box as its score:
  :func:`published_ranking`.

In all of them an answer that cannot be read is an answer without objects (vision_reasoner_model.py,
extract_bbox_points_think): it counts 0, and is right where nothing is there. So is here an answer
with PARSE_ERROR. Any other error stands for a row that the scripts could not compute.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vr_ros.core.rle import rle_area, rle_box, rle_union
from vr_ros.core.types import Mask, Status
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.counting import CountError
from vr_ros.evaluation.metrics.measure import Measure, mean, ratio
from vr_ros.evaluation.metrics.overlap import compare_regions
from vr_ros.evaluation.metrics.ranking import Kind, Ranking, rank


@dataclass(frozen=True)
class PublishedRow:
    """What evaluation_segmentation.py writes of one sample.

    :param hit: 'bbox_iou' there: 1 or 0.
    :param is_absent: no pixel is true: 'non_object_GT'.
    :param is_rightly_empty: and no box was found: 'non_object'.
    """

    intersection_px: int
    union_px: int
    hit: float
    is_absent: bool
    is_rightly_empty: bool


def published_row(truth: Truth, found: Found) -> PublishedRow | None:
    """Compute the row of one sample; None if the pixels asked for are unknown.

    Quirks: pixels to be ignored are true ones, because the value 255 becomes True
    (create_reasonseg_hf.py of Seg-Zero). A row that could not be computed has the true area as its
    union.
    """
    if not truth.has_pixels:
        return None
    true = _published_region(truth)
    true_px = 0 if true is None else rle_area(true)
    if _failed(found):
        return PublishedRow(0, true_px, 0.0, not true_px, False)
    overlap = compare_regions(() if true is None else (true,), found.known_masks)
    return PublishedRow(
        overlap.intersection_px, overlap.union_px,
        float(_any_box_hit(_published_box(truth, true), found.boxes)), not true_px,
        not true_px and not len(found.boxes))


def published_measures(rows: Sequence[PublishedRow | None]) -> list[Measure]:
    """Sum rows up: gIoU, the same with absence, cIoU, box hit, N-acc.

    Quirks: gIoU counts 0 where nothing is true and nothing found (calculate_iou.py); only the
    variant for sets with absent objects counts 1 there, and its cIoU does not
    (calculate_iou_with_bbox_nonobj.py). 'box hit' goes by the name of bbox_AP there, but is a share
    of samples with a hit: boxes beside the object cost nothing.
    """
    ious = [None if r is None else r.intersection_px / r.union_px if r.union_px else 0.0
            for r in rows]
    return [
        mean('published gIoU', ious),
        mean('published gIoU with absence', [
            1.0 if row is not None and row.is_rightly_empty else iou
            for row, iou in zip(rows, ious, strict=True)]),
        ratio(
            'published cIoU', [r.intersection_px if r else 0 for r in rows],
            [r.union_px if r else 0 for r in rows], of=sum(r is not None for r in rows)),
        mean('published box hit', [None if r is None else r.hit for r in rows]),
        ratio('published N-acc', [bool(r and r.is_rightly_empty) for r in rows],
              [bool(r and r.is_absent) for r in rows]),
    ]


def published_count_error(truth: Truth, found: Found) -> CountError | None:
    """Compare counts; None if the true one is unknown.

    Quirk: a row that could not be computed counts as the number 1 (evaluation_count.py).
    """
    if truth.count is None:
        return None
    said = found.count
    if found.status.is_error:
        said = 1 if _failed(found) else 0
    return CountError(said - truth.count, said == truth.count)


def published_ranking(truth: Truth, found: Found, kind: Kind = 'box') -> Ranking | None:
    """Rank boxes by their share of the image, since the model gives no scores.

    Quirk: only categories that an image has are asked for, so that no box can be wrong by its
    category. The sample must hold COCO's true objects, crowds and areas included.
    """
    return rank(truth, found, kind=kind, by='area')


def published_reasoning(found: Sequence[Found]) -> list[Measure]:
    """Average the words before the answer tag, over answers that have some.

    Quirks: an answer without an answer tag has none, and think tags that stand alone are words.
    """
    words = [
        len(before.split()) if tag and before.strip() else None
        for before, tag, _ in (f.raw_text.partition('<answer>') for f in found)]
    return [mean('published reasoning', words, unit='words', better='lower')]


def _failed(found: Found) -> bool:
    return found.status.is_error and found.status is not Status.PARSE_ERROR


def _published_region(truth: Truth) -> Mask | None:
    regions = [mask for mask in (truth.true_region, truth.ignore) if mask is not None]
    return rle_union(regions) if regions else None


def _published_box(truth: Truth, region: Mask | None) -> np.ndarray | None:
    """Find the one true box: the data set's, else that of the true pixels; None: there is none.

    Quirk: of pixels it reaches to the last one, not behind it, and so is one pixel too small each
    way (get_bbox in evaluation_segmentation.py).
    """
    if truth.boxes is not None and len(truth.boxes) == 1:
        return truth.boxes[0]
    box = None if region is None else rle_box(region)
    return None if box is None else np.array(box, float) - (0, 0, 1, 1)


def _any_box_hit(true: np.ndarray | None, boxes: np.ndarray) -> bool:
    """Say whether any box, or the box around all of them, overlaps the true one by more than half.

    Quirk: where no pixel is true, no box is a hit. The threshold itself is not.
    """
    if true is None:
        return not len(boxes)
    if not len(boxes):
        return False
    around = np.concatenate((boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)))
    return any(_published_iou(box, true) > 0.5 for box in (*boxes, around))


def _published_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Divide intersection by union; quirk: areas of swapped corners are not put right."""
    wide, high = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    common = wide * high
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - common
    return common / union if union else 0.0
