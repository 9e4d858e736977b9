"""Pixel figures, strict and as published, against the same worked out on decoded pixels."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Mask, Size, Status
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.compat import (
    published_count_error,
    published_measures,
    published_row,
)
from vr_ros.evaluation.metrics.counting import count_error, count_measures
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.metrics.overlap import box_overlaps, mask_overlaps
from vr_ros.evaluation.metrics.segmentation import region_measures, region_overlap

SHAPE = (5, 6)
PLANES = arrays(np.bool_, SHAPE, elements=st.booleans(), fill=st.just(False))
STATUSES = st.sampled_from((Status.OK, Status.OK, Status.OK, Status.PARSE_ERROR, Status.TIMEOUT))


@st.composite
def drawn_samples(draw: st.DrawFn) -> list[dict]:
    """Samples as planes of pixels and boxes: nothing of ours is used to hold them."""
    boxes = st.tuples(*[st.integers(0, 6)] * 4)
    return draw(st.lists(st.fixed_dictionaries({
        'true': PLANES, 'ignore': PLANES, 'status': STATUSES, 'true_box': st.none() | boxes,
        'objects': st.lists(st.tuples(boxes, PLANES), max_size=3), 'count': st.integers(0, 4),
    }), min_size=1, max_size=4))


def as_truth(sample: dict) -> Truth:
    return Truth(
        boxes=None if sample['true_box'] is None else [sample['true_box']],
        region=mask_to_rle(sample['true']), ignore=mask_to_rle(sample['ignore']),
        count=sample['count'])


def as_found(sample: dict) -> Found:
    if sample['status'].is_error:
        return Found(sample['status'])
    return Found(
        Status.OK if sample['objects'] else Status.NO_OBJECT,
        boxes=[box for box, _ in sample['objects']],
        masks=tuple(mask_to_rle(plane) for _, plane in sample['objects']))


def union_of(planes: list[np.ndarray]) -> np.ndarray:
    return np.any([np.zeros(SHAPE, bool), *planes], axis=0)


def values_of(measures: list) -> dict[str, float | None]:
    return {figure.name: figure.value for figure in figures(measures, rounds=0)}


@settings(max_examples=150, deadline=None)
@given(drawn_samples())
def test_strict_figures_are_those_of_pixels(samples: list[dict]) -> None:
    ious, common, union = [], 0, 0
    for sample in samples:
        objects = [] if sample['status'].is_error else [plane for _, plane in sample['objects']]
        counts = ~sample['ignore']
        true, found = sample['true'] & counts, union_of(objects) & counts
        common += (true & found).sum()
        union += (true | found).sum()
        if (true | found).any():
            ious.append((true & found).sum() / (true | found).sum())
        else:
            claimed = objects and not union_of(objects).any()
            ious.append(float(not claimed and not sample['status'].is_error))
    values = values_of(region_measures([region_overlap(as_truth(s), as_found(s)) for s in samples]))
    assert values['gIoU'] == pytest.approx(np.mean(ious))
    assert values['cIoU'] == (pytest.approx(common / union) if union else None)


def published_by_hand(sample: dict) -> dict:
    """One row as the facts about the published script tell it, on whole pixels."""
    wanted = sample['true'] | sample['ignore']
    row = {'absent': not wanted.any(), 'common': 0, 'union': wanted.sum(), 'hit': 0.0}
    row['rightly_empty'] = row['absent'] and (
        sample['status'] is Status.PARSE_ERROR
        or (sample['status'] is Status.OK and not sample['objects']))
    if sample['status'] is Status.TIMEOUT:
        return row
    objects = [] if sample['status'].is_error else sample['objects']
    found = union_of([plane for _, plane in objects])
    row |= {'common': (wanted & found).sum(), 'union': (wanted | found).sum()}
    box = sample['true_box']
    if box is None and wanted.any():
        rows, columns = np.nonzero(wanted)
        box = columns.min(), rows.min(), columns.max(), rows.max()
    boxes = [box for box, _ in objects]
    if box is None:
        return row | {'hit': float(not boxes)}
    if boxes:
        corners = list(zip(*boxes, strict=True))
        boxes = [*boxes, (min(corners[0]), min(corners[1]), max(corners[2]), max(corners[3]))]
    return row | {'hit': float(any(plain_iou(b, box) > 0.5 for b in boxes))}


def plain_iou(a: tuple, b: tuple) -> float:
    common = (max(0, min(a[2], b[2]) - max(a[0], b[0]))
              * max(0, min(a[3], b[3]) - max(a[1], b[1])))
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - common
    return common / union if union else 0


@settings(max_examples=150, deadline=None)
@given(drawn_samples())
def test_published_figures_are_those_of_the_rows(samples: list[dict]) -> None:
    rows = [published_by_hand(sample) for sample in samples]
    ious = [row['common'] / row['union'] if row['union'] else 0 for row in rows]
    union, absent = sum(row['union'] for row in rows), sum(row['absent'] for row in rows)
    values = values_of(
        published_measures([published_row(as_truth(s), as_found(s)) for s in samples]))
    assert values == {
        'published gIoU': pytest.approx(np.mean(ious)),
        'published gIoU with absence': pytest.approx(np.mean(
            [1 if row['rightly_empty'] else iou for row, iou in zip(rows, ious, strict=True)])),
        'published cIoU':
            pytest.approx(sum(row['common'] for row in rows) / union) if union else None,
        'published box hit': pytest.approx(np.mean([row['hit'] for row in rows])),
        'published N-acc':
            pytest.approx(sum(row['rightly_empty'] for row in rows) / absent) if absent else None,
    }


@settings(max_examples=100, deadline=None)
@given(drawn_samples())
def test_counts_are_those_of_the_objects(samples: list[dict]) -> None:
    strict, published = [], []
    for sample in samples:
        said, failed = len(sample['objects']), sample['status'].is_error
        of_failed = {Status.PARSE_ERROR: 0, Status.TIMEOUT: 1}.get(sample['status'], said)
        published.append((of_failed - sample['count'], of_failed == sample['count']))
        strict.append((-max(sample['count'], 1), False) if failed else
                      (said - sample['count'], said == sample['count']))
    for compare, rows in ((count_error, strict), (published_count_error, published)):
        errors, right = (np.array(column) for column in zip(*rows, strict=True))
        values = values_of(count_measures([compare(as_truth(s), as_found(s)) for s in samples]))
        assert values == {
            'exact count': pytest.approx(right.mean()),
            'count MAE': pytest.approx(np.abs(errors).mean()),
            'count RMSE': pytest.approx(np.sqrt((errors ** 2).mean()))}


def test_a_box_that_stands_beside_others_is_not_the_one_true_box() -> None:
    """The published box hit knows one box per row; of several, the box around all pixels counts."""
    region = mask_to_rle(np.ones((11, 21), bool))
    two = Truth(boxes=[(0, 0, 5, 10), (15, 0, 20, 10)], region=region)
    around = Found(boxes=[(0, 0, 20, 10)], masks=(region,))
    assert published_row(two, around).hit == 1
    assert published_row(two, Found(boxes=[(0, 0, 5, 10)], masks=(region,))).hit == 0


def test_swapped_corners_are_not_put_right_in_published_figures() -> None:
    region = mask_to_rle(np.ones((10, 10), bool))
    truth = Truth(boxes=[(0, 0, 10, 10)], region=region)
    # Union 100 + (-90) - 0: no overlap; were the corners put right, it would be 0.9.
    assert published_row(truth, Found(boxes=[(10, 0, 1, 10)], masks=(region,))).hit == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(PLANES, min_size=1, max_size=3), st.lists(PLANES, min_size=1, max_size=3), PLANES)
def test_overlaps_of_masks_are_those_of_pixels(true, found, ignore) -> None:
    truth = Truth(masks=as_masks(true), ignore=mask_to_rle(ignore), crowd=[True] * len(true))
    # One more object, without a mask: it covers nothing.
    result = mask_overlaps(
        truth, Found(boxes=[(0, 0, 1, 1)] * (len(found) + 1), masks=(*as_masks(found), None)))
    for row, a in enumerate(true):
        for column, b in enumerate([*found, np.zeros(SHAPE, bool)]):
            common, area = (a & b).sum(), max(b.sum(), 1)
            assert result.iou[row, column] == pytest.approx(common / max((a | b).sum(), 1))
            assert result.inside[row, column] == pytest.approx(common / area)
            assert result.ignored[column] == pytest.approx((ignore & b).sum() / area)
            assert result.found_areas_px[column] == b.sum()


def as_masks(planes: list[np.ndarray]) -> tuple[Mask, ...]:
    return tuple(mask_to_rle(plane) for plane in planes)


def test_overlaps_of_boxes_are_those_of_their_pixels() -> None:
    """Whole-numbered boxes cover whole pixels, the last ones exclusive."""
    rng = np.random.default_rng(0)
    start = rng.integers(0, 8, (12, 2))
    boxes = np.concatenate((start, start + rng.integers(0, 6, (12, 2))), axis=1)
    planes = []
    for x_min, y_min, x_max, y_max in boxes:
        plane = np.zeros((16, 16), bool)
        plane[y_min:y_max, x_min:x_max] = True
        planes.append(plane)
    by_boxes = box_overlaps(Truth(boxes=boxes[:6]), Found(boxes=boxes[6:]))
    by_masks = mask_overlaps(
        Truth(masks=as_masks(planes[:6]), crowd=[True] * 6),
        Found(boxes=boxes[6:], masks=as_masks(planes[6:])))
    np.testing.assert_allclose(by_boxes.iou, by_masks.iou)
    np.testing.assert_allclose(by_boxes.inside, by_masks.inside)
    np.testing.assert_allclose(by_boxes.found_areas_px, by_masks.found_areas_px)


def test_what_is_unknown_is_left_out() -> None:
    truth, found = Truth(count=2, size=Size(4, 4)), Found()
    assert region_overlap(truth, found) is None and published_row(truth, found) is None
    assert box_overlaps(truth, found) is None and mask_overlaps(truth, found) is None
    assert count_error(Truth(region=mask_to_rle(np.ones((2, 2)))), found) is None
