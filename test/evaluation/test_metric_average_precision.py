"""AP against pycocotools, digit by digit, and against samples written out as often as they weigh.
"""
from __future__ import annotations

import contextlib
import io
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Mask, Size
from vr_ros.datasets.truth import Truth, true_areas_px
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.average_precision import AveragePrecision, average_precisions
from vr_ros.evaluation.metrics.figures import compare
from vr_ros.evaluation.metrics.ranking import AREA_RANGES_PX, Ranking, rank

SIZE = Size(160, 120)
Sample = tuple[Truth, Found]


def coco_stats(samples: list[Sample], by: str = 'own', kind: str = 'bbox') -> np.ndarray:
    """Let pycocotools evaluate; a sample is one category of one image.

    :return: AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl; -1: undefined.
    """
    images: dict[str, int] = {}
    categories: dict[str, int] = {}
    annotations, results = [], []
    for truth, found in samples:
        image = images.setdefault(truth.image, len(images) + 1)
        category = categories.setdefault(truth.category, len(categories) + 1)
        about = {'image_id': image, 'category_id': category}
        for place, box in enumerate(truth.boxes):
            annotations.append(about | {
                'id': len(annotations) + 1, 'bbox': xywh(box),
                'area': float(true_areas_px(truth)[place]), 'iscrowd': int(truth.crowd[place]),
            } | ({'segmentation': rle(truth.masks[place])} if truth.masks else {}))
        for place, box in enumerate(found.boxes):
            x, y, w, h = xywh(box)
            score = w * h / (truth.size.width * truth.size.height) if by == 'area' else \
                float(found.scores[place])
            results.append(about | {'score': score} | (
                {'bbox': [x, y, w, h]} if kind == 'bbox' else
                {'segmentation': rle(found.masks[place])}))
    gt = COCO()
    gt.dataset = {
        'images': [{'id': n, 'width': SIZE.width, 'height': SIZE.height} for n in images.values()],
        'categories': [{'id': n, 'name': str(n)} for n in categories.values()],
        'annotations': annotations, 'info': {}, 'licenses': []}
    with contextlib.redirect_stdout(io.StringIO()):
        gt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes(results) if results else gt, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def xywh(box: np.ndarray) -> list[float]:
    x_min, y_min, x_max, y_max = map(float, box)
    return [x_min, y_min, x_max - x_min, y_max - y_min]


def rle(mask: Mask) -> dict:
    whole = {'size': [mask.size.height, mask.size.width], 'counts': list(mask.counts)}
    packed = coco.frPyObjects(whole, mask.size.height, mask.size.width)
    return packed | {'counts': packed['counts'].decode()}


def random_boxes(rng: np.random.Generator, number: int) -> np.ndarray:
    """Whole pixels, so that overlaps on the threshold itself do occur."""
    start = rng.integers(0, (SIZE.width - 2, SIZE.height - 2), (number, 2))
    extent = np.minimum(rng.integers(1, 110, (number, 2)), (SIZE.width, SIZE.height) - start)
    return np.concatenate((start, start + extent), axis=1).astype(float)


def random_sample(
    rng: np.random.Generator, image: int, category: int, *, ties: bool = False,
) -> Sample:
    """Some objects, some of them crowds; found ones near them, twice, elsewhere, or none."""
    true = random_boxes(rng, rng.integers(0, 7))
    near = true[rng.random(len(true)) < 0.8]
    near = np.concatenate((near, near[rng.random(len(near)) < 0.3]))
    near = near + rng.integers(-6, 7, near.shape)
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2])
    found = np.concatenate((near, random_boxes(rng, rng.integers(0, 3))))
    found = found[rng.permutation(len(found))]
    scores = rng.random(len(found))
    return (
        Truth(f'{image:04}', SIZE, f'{category}', true, crowd=rng.random(len(true)) < 0.15),
        Found(boxes=found, scores=np.round(scores, 1) if ties else scores))


def random_samples(seed: int, images: int = 12, categories: int = 3, **options) -> list[Sample]:
    rng = np.random.default_rng(seed)
    return [
        random_sample(rng, image, category, **options)
        for image in range(images) for category in range(categories)]


def own_stats(samples: list[Sample], by: str = 'own', kind: str = 'box') -> list[float]:
    """AP, AP50, AP75, APs, APm, APl as pycocotools orders them, -1 where undefined."""
    values = []
    for area in AREA_RANGES_PX:
        rankings = [rank(t, f, kind=kind, by=by, area=area) for t, f in samples]
        measures = average_precisions(rankings, 'AP')[:3 if area == 'all' else 1]
        values += [m.values(np.ones((1, len(samples))))[0] for m in measures]
    return [-1 if np.isnan(value) else value for value in values]


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('by', ['own', 'area'])
def test_boxes_as_pycocotools_has_them(seed: int, ties: bool, by: str) -> None:
    samples = random_samples(seed, ties=ties)
    assert own_stats(samples, by) == pytest.approx(coco_stats(samples, by)[:6], abs=1e-9)


@pytest.mark.parametrize('seed', range(3))
def test_masks_as_pycocotools_has_them(seed: int) -> None:
    samples = [with_masks(t, f) for t, f in random_samples(seed, images=6)]
    theirs = coco_stats(samples, kind='segm')[:6]
    assert own_stats(samples, kind='mask') == pytest.approx(theirs, abs=1e-9)


def with_masks(truth: Truth, found: Found) -> Sample:
    return (
        Truth(truth.image, SIZE, truth.category, truth.boxes, ellipses(truth.boxes),
              crowd=truth.crowd),
        Found(boxes=found.boxes, scores=found.scores, masks=ellipses(found.boxes)))


def ellipses(boxes: np.ndarray) -> tuple:
    rows, columns = np.mgrid[:SIZE.height, :SIZE.width]
    masks = []
    for x_min, y_min, x_max, y_max in boxes:
        x = (columns + 0.5 - (x_min + x_max) / 2) / max(x_max - x_min, 1)
        y = (rows + 0.5 - (y_min + y_max) / 2) / max(y_max - y_min, 1)
        masks.append(mask_to_rle(x**2 + y**2 <= 0.25))
    return tuple(masks)


@pytest.mark.parametrize('order', [(0, 1), (1, 0)])
def test_of_equally_good_true_objects_the_last_is_taken(order: tuple[int, int]) -> None:
    """The first found box overlaps both alike; the second is left with nothing if it was meant."""
    true = np.array([(0, 0, 10, 10), (4, 0, 14, 10)], float)[list(order)]
    samples = [(Truth('a', SIZE, 'x', true),
                Found(boxes=[(2, 0, 12, 10), (4, 0, 14, 10)], scores=[0.9, 0.8]))]
    assert own_stats(samples)[1] == pytest.approx(coco_stats(samples)[1], abs=1e-9)
    assert own_stats(samples)[1] == pytest.approx(1.0 if order == (1, 0) else 51 / 101)


def test_recalls_are_compared_as_quotients() -> None:
    """7 of 100 do reach a recall of 0.07, though 0.07 times 100 is more than 7."""
    for true in range(1, 130):
        for hits in range(1, true + 1):
            all_hit = np.ones((10, hits), bool)
            measure = AveragePrecision(
                'AP', (Ranking('x', np.arange(hits)[::-1], all_hit, ~all_hit, true),), (0,))
            reached = (hits / true >= np.linspace(0, 1, 101)).sum()
            assert measure.values(np.ones((1, 1)))[0] == pytest.approx(reached / 101, abs=1e-12)


def test_only_the_hundred_best_count() -> None:
    rng = np.random.default_rng(0)
    true = random_boxes(rng, 150)
    samples = [(Truth('a', SIZE, 'x', true), Found(boxes=true, scores=rng.random(150)))]
    theirs = coco_stats(samples)[0]
    assert 0.6 < theirs < 0.7
    assert own_stats(samples)[0] == pytest.approx(theirs, abs=1e-9)


def test_ranks_by_area_are_those_of_the_published_script() -> None:
    truth = Truth('a', SIZE, 'x', [(0, 0, 10, 10)])
    found = Found(boxes=[(50, 50, 60, 60), (0, 0, 10, 10)])
    big_wrong = Found(boxes=[(50, 50, 70, 70), (0, 0, 10, 10)])
    assert own_stats([(truth, found)], 'area')[0] == pytest.approx(0.5)   # equal: order decides
    assert own_stats([(truth, big_wrong)], 'area')[0] == pytest.approx(0.5)
    small_wrong = Found(boxes=[(50, 50, 55, 55), (0, 0, 10, 10)])
    assert own_stats([(truth, small_wrong)], 'area')[0] == pytest.approx(1.0)
    with pytest.raises(ValueError, match='need the size'):
        rank(Truth('a', boxes=[]), found, by='area')


def test_what_has_no_score_comes_last() -> None:
    truth = Truth('a', SIZE, 'x', [(0, 0, 10, 10)])
    found = Found(boxes=[(50, 50, 60, 60), (0, 0, 10, 10)], scores=[np.nan, 0.01])
    assert own_stats([(truth, found)])[0] == pytest.approx(1.0)


@pytest.mark.parametrize('seed', range(3))
def test_weights_are_numbers_of_copies(seed: int) -> None:
    samples = random_samples(seed, images=8)
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 4, len(samples))
    rankings = [rank(t, f) for t, f in samples]
    weighed = AveragePrecision('AP', tuple(rankings)).values(weights[None].astype(float))[0]
    copies = [r for r, weight in zip(rankings, weights, strict=True) for _ in range(weight)]
    written_out = AveragePrecision('AP', tuple(copies)).values(np.ones((1, len(copies))))[0]
    assert weighed == pytest.approx(written_out, abs=1e-12)


def test_p_value_of_two_runs_is_that_of_all_exchanges_written_out() -> None:
    """Runs are exchanged sample by sample, and AP computed anew of each mixture."""
    samples = random_samples(3, images=7, categories=1)
    first = [rank(t, f) for t, f in samples]
    second = [rank(t, f, by='constant') for t, f in samples]

    def difference(swaps: tuple[bool, ...]) -> float:
        pairs = [(b, a) if swap else (a, b)
                 for a, b, swap in zip(first, second, swaps, strict=True)]
        one, other = (AveragePrecision('AP', side) for side in zip(*pairs, strict=True))
        return (other.values(np.ones((1, 7))) - one.values(np.ones((1, 7))))[0]

    observed = difference((False,) * 7)
    exact = np.mean([abs(difference(swaps)) >= abs(observed) - 1e-12
                     for swaps in product((False, True), repeat=7)])
    result = compare(AveragePrecision('AP', tuple(first)), AveragePrecision('AP', tuple(second)),
                     rounds=4000)
    assert 0.02 < exact < 0.98
    assert result.difference == pytest.approx(observed)
    assert result.p_value == pytest.approx(exact, abs=0.03)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_order_of_samples_and_objects_is_of_no_matter(seed: int, shuffle) -> None:
    samples = random_samples(seed, images=4)
    shuffled = [(t, take(f, shuffle.sample(range(len(f.boxes)), len(f.boxes))))
                for t, f in shuffle.sample(samples, len(samples))]
    assert own_stats(shuffled) == pytest.approx(own_stats(samples), abs=1e-12)


def take(found: Found, order: list[int]) -> Found:
    return Found(boxes=found.boxes[order], scores=found.scores[order])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_values_are_shares_and_the_truth_itself_gets_all(seed: int) -> None:
    samples = random_samples(seed, images=4)
    assert all(value == -1 or 0 <= value <= 1 for value in own_stats(samples))
    perfect = [(t, Found(boxes=t.boxes[~t.crowd], scores=np.ones((~t.crowd).sum())))
               for t, _ in samples]
    expected = 1.0 if any((~t.crowd).any() for t, _ in samples) else -1
    assert own_stats(perfect)[0] == pytest.approx(expected)
