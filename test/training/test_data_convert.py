"""Drafts become rows: sizes, boxes, points and truths against values worked out by hand."""
from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from vr_ros.core.rle import mask_to_rle, rle_to_mask
from vr_ros.core.types import Mask, Size, Task
from vr_ros.datasets.inner_point import inner_point
from vr_ros.datasets.rules import ANLS, CHOICE, EXACT, MATHEMATICS, RELAXED, VOTES
from vr_ros.datasets.sample import SampleError
from vr_ros.datasets.truth import Truth
from vr_ros.training.data.convert import Converter
from vr_ros.training.data.schema import Row
from vr_ros.training.data.source import Draft, LeftOut, Scoring, as_object
from vr_ros.training.data.storage import Storage, scale_boxes, scale_mask, scale_points

SIZE, SQUARE = Size(400, 300), Storage()
IMAGE = np.zeros((300, 400, 3), np.uint8)


def drawing(*rows: str) -> Mask:
    return mask_to_rle(np.array([[letter == '#' for letter in row] for row in rows]))


def block(x: int, y: int, width: int, height: int, size: Size = SIZE) -> Mask:
    pixels = np.zeros((size.height, size.width), bool)
    pixels[y:y + height, x:x + width] = True
    return mask_to_rle(pixels)


def convert(storage: Storage = SQUARE, **values: Any) -> Row:
    values = {'id': '7', 'image': IMAGE, 'problem': 'Find the cup.', **values}
    values.setdefault('truth', Truth('a.jpg', boxes=[[10, 20, 110, 220]]))
    return Converter('cups', 'train', storage).row(Draft(**values))


def truth_of(row: Row) -> Any:
    return json.loads(row.sample.ground_truth)


def pixels_of(row: Row) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(row.image)))


def test_a_row_says_all_that_is_known() -> None:
    row = convert(extra={'kind': 'plain'})
    # 840 / 400 = 2.1 and 840 / 300 = 2.8; the point is the box's centre: 60, 120.
    assert truth_of(row) == [{'bbox_2d': [21, 56, 231, 616], 'point_2d': [126, 336]}]
    assert (row.id, row.data_source, row.split, row.problem) == (
        'cups/7', 'cups', 'train', 'Find the cup.')
    assert (row.task, row.ability, row.size) == ('detection', 'detection', Size(840, 840))
    assert row.image_path == 'a.jpg' and row.progress is None and row.masks is None
    assert json.loads(row.extra) == {'kind': 'plain', 'original_size': [400, 300]}
    sample = row.sample
    assert (sample.verifier, sample.id, sample.data_source, sample.image_size) == (
        'visionreasoner', 'cups/7', 'cups', Size(840, 840))
    assert pixels_of(row).shape == (840, 840, 3)


@pytest.mark.parametrize(('box', 'expected'), [
    ([0, 0, 400, 300], [0, 0, 840, 840]),              # the whole image
    ([1, 1, 3, 3], [2, 3, 6, 8]),                      # 2.1, 2.8, 6.3, 8.4 to the nearest
    ([0.25, 0.18, 9, 9], [1, 1, 19, 25]),              # 0.525 and 0.504 go up
    ([-5, -5, 500, 400], [0, 0, 840, 840]),            # cut at the image's edges
    ([400, 300, 400, 300], [839, 839, 840, 840]),      # no area: the pixel there
])
def test_boxes_are_rounded_as_the_reference_does(box: list[float], expected: list[int]) -> None:
    assert scale_boxes([box], Size(400, 300), Size(840, 840)).tolist() == [expected]


def test_the_last_pixel_stays_in_the_image() -> None:
    # 639 * 168 / 640 + 0.5 = 168.24, which would be behind the last one.
    assert scale_points([[639, 0]], Size(640, 480), Size(168, 168)).tolist() == [[167, 0]]


@pytest.mark.parametrize(('mask', 'expected'), [
    (drawing('.....',
             '.###.',
             '.###.',
             '.###.'), (2, 2)),                        # the border is an edge
    (drawing('.......',
             '.#####.',
             '.#####.',
             '.#####.',
             '.......'), (3, 2)),                      # three are as deep: the middle one
    (drawing('##....',
             '##....',
             '......',
             '...###'), (0, 0)),                       # all are edge: the larger part counts
    (drawing('#...'), (0, 0)),                         # one pixel
    (drawing('.##.##',
             '.##.##',
             '....##'), (4, 1)),                       # as deep, the larger part counts
    (drawing('#####',
             '#...#',
             '#...#',
             '#####'), (2, 0)),                        # its middle is not in it
    (drawing('....'), None),
])
def test_points_lie_deep_inside(mask: Mask, expected: tuple[int, int] | None) -> None:
    assert inner_point(mask) == expected


@settings(max_examples=80, deadline=None)
@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_points_are_inside_their_masks_and_as_deep_as_any(pixels: np.ndarray) -> None:
    found = inner_point(mask_to_rle(pixels))
    if found is None:
        assert not pixels.any()
        return

    outside = np.argwhere(~np.pad(pixels, 1)) - 1

    def depth(row: int, column: int) -> float:
        return np.hypot(*(outside - (row, column)).T).min()

    x, y = found
    assert pixels[y, x]
    assert depth(y, x) >= max(depth(*place) for place in np.argwhere(pixels)) - 0.02


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_boxes_points_and_masks_stay_in_the_image_and_together(data: st.DataObject) -> None:
    given_, wanted = (Size(data.draw(st.integers(2, 60)), data.draw(st.integers(2, 60)))
                      for _ in range(2))
    x = data.draw(st.integers(0, given_.width - 1))
    y = data.draw(st.integers(0, given_.height - 1))
    width = data.draw(st.integers(1, given_.width - x))
    height = data.draw(st.integers(1, given_.height - y))
    row = convert(
        Storage(wanted), image=np.zeros((given_.height, given_.width, 3), np.uint8),
        truth=Truth('', boxes=[[x, y, x + width, y + height]],
                    masks=(block(x, y, width, height, given_),)))
    thing, = truth_of(row)
    x_min, y_min, x_max, y_max = thing['bbox_2d']
    assert 0 <= x_min < x_max <= wanted.width and 0 <= y_min < y_max <= wanted.height
    px, py = thing['point_2d']
    assert x_min <= px <= x_max and y_min <= py <= y_max
    assert px < wanted.width and py < wanted.height


def test_images_shrink_by_the_mean_of_their_pixels() -> None:
    image = np.arange(4 * 4, dtype=np.uint8).reshape(4, 4, 1).repeat(3, 2) * 10
    stored = Storage(Size(2, 2)).resize(image)
    # (0 + 10 + 40 + 50) / 4, (20 + 30 + 60 + 70) / 4, …
    assert stored[..., 0].tolist() == [[25, 45], [105, 125]]


@pytest.mark.parametrize(('storage', 'given', 'expected'), [
    (Storage(), Size(640, 480), Size(840, 840)),
    (Storage(None), Size(640, 480), Size(640, 480)),
    (Storage(None, max_pixels=640 * 480), Size(640, 480), Size(640, 480)),
    (Storage(None, max_pixels=100 * 100), Size(400, 100), Size(200, 50)),
    (Storage(None, min_pixels=512 ** 2), Size(256, 128), Size(725, 363)),   # times 2.828
    (Storage(None, max_pixels=2048 ** 2), Size(4096, 2048), Size(2896, 1448)),
])
def test_sizes_in_which_images_are_stored(storage: Storage, given: Size, expected: Size) -> None:
    assert storage.fit(given) == expected


def test_png_keeps_every_pixel_and_jpeg_most_of_them() -> None:
    image = np.add.outer(np.arange(300), np.arange(400))[..., None].repeat(3, 2).astype(np.uint8)
    assert (pixels_of(convert(Storage(None), image=image)) == image).all()
    row = convert(Storage(None, jpeg_quality=95), image=image)
    assert row.image.startswith(b'\xff\xd8') and np.abs(
        pixels_of(row).astype(int) - image).mean() < 3


def test_masks_come_along_on_request() -> None:
    truth = Truth('a', masks=(block(100, 30, 40, 30), block(0, 0, 20, 30)))
    row = convert(Storage(Size(40, 30), with_masks=True), truth=truth, task=Task.SEGMENTATION)
    # No boxes: those around the masks, a tenth as large. Points: 119, 44 is inmost; 10, 15.
    assert [thing['bbox_2d'] for thing in truth_of(row)] == [[10, 3, 14, 6], [0, 0, 2, 3]]
    stored = [rle_to_mask(Mask(Size(40, 30), tuple(m['counts']))) for m in json.loads(row.masks)]
    assert [np.argwhere(m).min(0).tolist() + np.argwhere(m).max(0).tolist() for m in stored] == [
        [3, 10, 5, 13], [0, 0, 2, 1]]
    for thing, mask in zip(truth_of(row), stored, strict=True):
        x, y = thing['point_2d']
        assert mask[y, x]


def test_masks_are_taken_at_the_centres_of_pixels() -> None:
    small = scale_mask(drawing('##..', '##..', '....', '...#'), Size(2, 2))
    assert rle_to_mask(small).tolist() == [[True, False], [False, True]]
    large = scale_mask(small, Size(4, 2))
    assert rle_to_mask(large).tolist() == [[True, True, False, False], [False, False, True, True]]


@pytest.mark.parametrize(('task', 'truth', 'verifier', 'parameters', 'ground_truth'), [
    (Task.VQA, Truth(answers=('red',)), 'exact', {}, 'red'),
    (Task.VQA, Truth(answers=('red', 'dark red'), rule=EXACT), 'exact', {},
     '["red", "dark red"]'),
    (Task.VQA, Truth(answers=('[a]',)), 'exact', {}, '["[a]"]'),       # not to be read as a list
    (Task.VQA, Truth(answers=('red', 'red', 'pink'), rule=VOTES), 'exact', {}, '["red", "pink"]'),
    (Task.VQA, Truth(answers=('B', 'a dog'), choices=('a cat', 'a dog'), rule=CHOICE), 'exact', {},
     '["B", "a dog"]'),
    (Task.VQA, Truth(answers=('1,200',)), 'numeric', {}, '1,200'),
    (Task.VQA, Truth(answers=('12',), rule=EXACT), 'exact', {}, '12'),
    (Task.VQA, Truth(answers=('12.5',), rule=RELAXED), 'numeric', {'relative': 0.05}, '12.5'),
    (Task.VQA, Truth(answers=('Spain',), rule=RELAXED), 'exact', {}, 'Spain'),
    (Task.VQA, Truth(answers=('STOP',), rule=ANLS), 'edit_distance', {'least': 0.5}, 'STOP'),
    (Task.VQA, Truth(answers=('\\frac{1}{2}',), rule=MATHEMATICS), 'mathverify', {},
     '\\frac{1}{2}'),
    (Task.COUNTING, Truth(count=4), 'counting', {}, '4'),
    (Task.COUNTING, Truth(boxes=[]), 'visionreasoner', {}, '[]'),
    (Task.DETECTION, Truth(boxes=[]), 'visionreasoner', {}, '[]'),
    (Task.AUTO, Truth(count=2), 'counting', {}, '2'),
    (Task.AUTO, Truth(answers=('yes',)), 'exact', {}, 'yes'),
])
def test_each_task_has_its_verifier(
    task: Task, truth: Truth, verifier: str, parameters: dict[str, Any], ground_truth: str,
) -> None:
    if verifier == 'mathverify':
        pytest.importorskip('math_verify')
    sample = convert(task=task, truth=truth).sample
    assert (sample.verifier, sample.parameters, sample.ground_truth) == (
        verifier, parameters, ground_truth)


def test_a_source_may_name_verifier_parameters_and_weights() -> None:
    truth = Truth(boxes=[[40, 30, 80, 60]], labels=('cup',))
    scoring = Scoring('detection', {'det_verifier_normalized': True, 'iou_threshold': 'dynamic'},
                      1.0, 0.2)
    sample = convert(Storage(None), truth=truth, scoring=scoring).sample
    assert json.loads(sample.ground_truth) == [{'bbox_2d': [100, 100, 200, 200], 'label': 'cup'}]
    assert (sample.accuracy_ratio, sample.format_ratio) == (1.0, 0.2)
    weights = convert(truth=truth, scoring=Scoring(accuracy_ratio=1.0, format_ratio=0.0)).sample
    assert (weights.verifier, weights.format_ratio) == ('visionreasoner', 0.0)
    given_ = convert(truth=truth, scoring=Scoring('counting', ground_truth='5')).sample
    assert given_.ground_truth == '5'


def test_text_alone_needs_no_image() -> None:
    row = convert(image=None, truth=Truth(answers=('12',)), task=Task.VQA, ability='math')
    assert (row.image, row.size, row.ability, row.sample.image_size) == (
        None, Size(0, 0), 'math', None)


@pytest.mark.parametrize(('values', 'error', 'message'), [
    ({'truth': Truth(region=block(0, 0, 9, 9))}, LeftOut, 'objects are not told apart'),
    ({'truth': Truth(boxes=[[0, 0, 9, 9]], crowd=[1])}, LeftOut, 'stands for many'),
    ({'truth': Truth(count=2), 'task': Task.DETECTION}, LeftOut, 'objects without boxes'),
    ({'truth': Truth(masks=(block(0, 0, 0, 0),))}, SampleError, 'an object without pixels'),
    ({'truth': Truth()}, SampleError, 'says nothing true'),
    ({'truth': Truth(), 'task': Task.VQA}, SampleError, 'no answer'),
    ({'truth': Truth(boxes=[[0, 0, 9, 9]]), 'points': np.zeros((2, 2))}, SampleError,
     '2 points for 1 boxes'),
    ({'problem': ' '}, SampleError, 'problem is no text'),
    ({'truth': Truth(boxes=np.tile([0, 0, 9, 9], (301, 1)))}, SampleError, 'at most 300'),
    ({'image': None}, SampleError, 'objects without an image'),
    ({'scoring': Scoring('visoinreasoner', ground_truth='')}, SampleError,
     'did you mean "visionreasoner"'),
    ({'truth': Truth(answers=('twelve',)), 'task': Task.VQA, 'scoring': Scoring('numeric')},
     SampleError, "'twelve' is no number"),
])
def test_what_cannot_become_a_row_says_why(
    values: dict[str, Any], error: type[Exception], message: str,
) -> None:
    with pytest.raises(error, match=message):
        convert(**values)


def test_a_region_is_one_object_where_a_source_says_so() -> None:
    row = convert(truth=as_object(Truth(region=block(100, 30, 40, 30))), task=Task.SEGMENTATION)
    assert truth_of(row)[0]['bbox_2d'] == [210, 84, 294, 168]
    nothing = as_object(Truth(region=block(0, 0, 0, 0)))
    assert truth_of(convert(truth=nothing)) == []
