"""gIoU and cIoU of the pixels asked for, strict: ignored pixels count neither way."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.measure import Measure, mean, ratio
from vr_ros.evaluation.metrics.overlap import RegionOverlap, compare_regions


def region_overlap(truth: Truth, found: Found) -> RegionOverlap | None:
    """Compare all pixels asked for with all that were found; None if they are unknown.

    An error is never rightly empty, and neither are objects without a mask.
    """
    if not truth.has_pixels:
        return None
    region = truth.true_region
    overlap = compare_regions(
        () if region is None else (region,), found.known_masks, truth.ignore)
    claimed = len(found.boxes) and not found.known_masks
    if found.status.is_error or claimed:
        return replace(overlap, is_rightly_empty=False)
    return overlap


def region_measures(overlaps: Sequence[RegionOverlap | None]) -> list[Measure]:
    """Sum up: gIoU, the mean of the samples' IoU; cIoU, the IoU of all pixels together.

    Source: LISA (Lai et al., CVPR 2024, section 5.1); an empty answer that is right counts 1 in
    gIoU, as in GRES (Liu et al., CVPR 2023), and nothing in cIoU.
    """
    return [
        mean('gIoU', [None if o is None else o.iou for o in overlaps]),
        ratio(
            'cIoU', [o.intersection_px if o else 0 for o in overlaps],
            [o.union_px if o else 0 for o in overlaps],
            of=sum(o is not None for o in overlaps)),
    ]
