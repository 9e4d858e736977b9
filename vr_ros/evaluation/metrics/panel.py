"""All figures of a run, strict or as published, from what is true and what was found."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.absence import absence, absence_measures
from vr_ros.evaluation.metrics.answers import answer_measures
from vr_ros.evaluation.metrics.average_precision import average_precisions
from vr_ros.evaluation.metrics.calibration import calibration_measures, confidences
from vr_ros.evaluation.metrics.compat import (
    published_count_error,
    published_measures,
    published_ranking,
    published_reasoning,
    published_row,
)
from vr_ros.evaluation.metrics.counting import count_error, count_measures
from vr_ros.evaluation.metrics.detection import match_boxes, match_masks, match_measures
from vr_ros.evaluation.metrics.discrimination import Discrimination
from vr_ros.evaluation.metrics.effort import effort_measures
from vr_ros.evaluation.metrics.measure import Measure
from vr_ros.evaluation.metrics.ranking import rank
from vr_ros.evaluation.metrics.rules import rule_measures
from vr_ros.evaluation.metrics.segmentation import region_measures, region_overlap


def strict_measures(truths: Sequence[Truth], found: Sequence[Found]) -> list[Measure]:
    """Make every strict figure that these samples have something to say about.

    AP by scores, discrimination and calibration are there where some object has a score.

    :raises ValueError: if there are not as many answers as truths.
    """
    pairs = list(zip(truths, found, strict=True))
    measures = [
        *region_measures([region_overlap(t, f) for t, f in pairs]),
        *match_measures([match_boxes(t, f) for t, f in pairs], 'box'),
        *match_measures([match_masks(t, f) for t, f in pairs], 'mask'),
    ]
    if any(np.isfinite(f.scores).any() for f in found):
        measures += average_precisions([rank(t, f) for t, f in pairs], 'box AP')
        measures += average_precisions([rank(t, f, kind='mask') for t, f in pairs], 'mask AP')
        known = tuple(confidences(t, f) for t, f in pairs)
        measures += [Discrimination(known), *calibration_measures(known)]
    measures += count_measures([count_error(t, f) for t, f in pairs])
    measures += absence_measures([absence(t, f) for t, f in pairs])
    measures += answer_measures(truths, found) + rule_measures(truths, found)
    return _speaking(measures + effort_measures(found))


def published_panel(truths: Sequence[Truth], found: Sequence[Found]) -> list[Measure]:
    """Make every figure of the published scripts that these samples have something to say about.

    COCO AP is there where all samples with true boxes know the size of their image.

    :raises ValueError: if there are not as many answers as truths.
    """
    pairs = list(zip(truths, found, strict=True))
    measures = published_measures([published_row(t, f) for t, f in pairs])
    if all(t.boxes is None or t.size.width for t in truths):
        rankings = [published_ranking(t, f) for t, f in pairs]
        measures += average_precisions(rankings, 'published COCO AP')
    measures += count_measures([published_count_error(t, f) for t, f in pairs], 'published ')
    return _speaking(measures + published_reasoning(found))


def image_groups(truths: Sequence[Truth]) -> list[str]:
    """Group samples by their image, for intervals; one without a name is a group of its own."""
    return [t.image or f'sample {place}' for place, t in enumerate(truths)]


def _speaking(measures: Iterable[Measure]) -> list[Measure]:
    return [measure for measure in measures if measure.of]
