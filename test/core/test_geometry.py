"""Mappings between image sizes, box conversions and the resize rule of Qwen2-VL."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    smart_resize as transformers_smart_resize,
)

from vr_ros.core.geometry import (
    box_area,
    box_iou_matrix,
    boxes_to_image,
    clip_boxes,
    order_corners,
    points_to_image,
    relative_to_pixels,
    smart_resize,
    xywh_to_xyxy,
    xyxy_to_xywh,
)
from vr_ros.core.types import Size

MODEL = Size(840, 840)
HD = Size(1920, 1080)


@pytest.mark.parametrize(('box', 'model_size', 'image_size', 'expected'), [
    ((0, 0, 840, 840), MODEL, HD, (0, 0, 1920, 1080)),                # the whole image
    ((84, 168, 420, 252), MODEL, HD, (192, 216, 960, 324)),           # different scales in x and y
    ((10, 20, 30, 40), HD, HD, (10, 20, 30, 40)),                     # same size
    ((420, 252, 84, 168), MODEL, HD, (192, 216, 960, 324)),           # corners swapped
    ((420, 168, 84, 252), MODEL, HD, (192, 216, 960, 324)),           # only x swapped
    ((-10, -10, 900, 900), MODEL, HD, (0, 0, 1920, 1080)),            # larger than the image
    ((-40, 10, -20, 20), MODEL, MODEL, (0, 10, 0, 20)),               # left of the image: no area
    ((1, 1, 2, 2), Size(3, 3), Size(4, 5), (4 / 3, 5 / 3, 8 / 3, 10 / 3)),  # fractions stay
])
def test_boxes_to_image(
    box: tuple, model_size: Size, image_size: Size, expected: tuple
) -> None:
    mapped = boxes_to_image(np.array([box]), model_size, image_size)
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped, [expected], rtol=1e-6)


@given(st.lists(st.tuples(*[st.integers(0, 840)] * 4), max_size=4))
def test_reference_rounding_is_the_references_expression(boxes: list[tuple[int, ...]]) -> None:
    mapped = boxes_to_image(np.array(boxes), MODEL, Size(1281, 719), reference_rounding=True)
    x_factor, y_factor = 1281 / 840, 719 / 840
    expected = [
        (int(min(a, c) * x_factor + 0.5), int(min(b, d) * y_factor + 0.5),
         int(max(a, c) * x_factor + 0.5), int(max(b, d) * y_factor + 0.5))
        for a, b, c, d in boxes
    ]
    assert mapped.shape == (len(boxes), 4)
    assert [tuple(row) for row in mapped.tolist()] == expected


def test_points_to_image() -> None:
    points = np.array([[0, 0], [84, 420], [841, -1]])
    mapped = points_to_image(points, MODEL, HD)
    np.testing.assert_allclose(mapped, [[0, 0], [192, 540], [1920, 0]], rtol=1e-6)
    rounded = points_to_image(np.array([[1, 1]]), MODEL, HD, reference_rounding=True)
    assert rounded.tolist() == [[2, 1]]      # 2.79 and 1.79, with 0.5 added and cut off


@pytest.mark.parametrize('empty', [[], np.zeros((0, 4)), np.zeros(0)])
def test_no_boxes_give_no_boxes(empty: np.ndarray) -> None:
    assert boxes_to_image(empty, MODEL, HD).shape == (0, 4)
    assert box_iou_matrix(empty, [[0, 0, 1, 1]]).shape == (0, 1)
    assert clip_boxes(empty, HD).shape == (0, 4)


@pytest.mark.parametrize(('boxes', 'model_size'), [
    (np.zeros((2, 3)), MODEL),              # three columns
    (np.zeros(4), MODEL),                   # one box without its row
    (np.zeros((0, 3)), MODEL),              # no rows, of the wrong width
    (np.zeros((1, 4)), Size(0, 840)),       # a model's input without width
])
def test_wrong_shapes_and_sizes_are_refused(boxes: np.ndarray, model_size: Size) -> None:
    with pytest.raises(ValueError):
        boxes_to_image(boxes, model_size, HD)


def test_relative_to_pixels() -> None:
    np.testing.assert_allclose(
        relative_to_pixels([[500, 500, 1000, 250]], HD), [[960, 540, 1920, 270]])
    np.testing.assert_allclose(relative_to_pixels([0.5, 0.25], HD, scale=1.0), [960, 270])
    with pytest.raises(ValueError, match='pairs'):
        relative_to_pixels([[1, 2, 3]], HD)


@given(
    st.integers(1, 3000), st.integers(1, 3000), st.sampled_from((28, 32)),
    st.sampled_from((56 * 56, 4 * 28 * 28, 65536)),
    st.sampled_from((840 * 840, 300 * 28 * 28, 14 * 14 * 4 * 1280)),
)
def test_smart_resize_agrees_with_transformers(
    width: int, height: int, factor: int, min_pixels: int, max_pixels: int
) -> None:
    try:
        high, wide = transformers_smart_resize(height, width, factor, min_pixels, max_pixels)
    except ValueError:
        with pytest.raises(ValueError):
            smart_resize(Size(width, height), factor, min_pixels, max_pixels)
        return
    assert smart_resize(Size(width, height), factor, min_pixels, max_pixels) == Size(wide, high)


@pytest.mark.parametrize(('size', 'expected'), [
    (Size(640, 480), Size(644, 476)),           # nearest multiples
    (Size(42, 70), Size(56, 56)),               # halves: 1.5 and 2.5 both go to the even 2
    (Size(1920, 1080), Size(1316, 728)),        # too large: scaled, rounded down
    (Size(20, 20), Size(56, 56)),               # too small: scaled, rounded up
])
def test_smart_resize_by_hand(size: Size, expected: Size) -> None:
    assert smart_resize(size, 28, 56 * 56, 980_000) == expected


@pytest.mark.parametrize('size', [Size(0, 10), Size(10, -1), Size(2010, 10)])
def test_smart_resize_refuses(size: Size) -> None:
    with pytest.raises(ValueError):
        smart_resize(size, 28, 56 * 56, 1_000_000)


def test_smart_resize_never_gives_an_empty_image() -> None:
    assert smart_resize(Size(5, 100), 28, 0, 1_000_000) == Size(28, 112)


@pytest.mark.parametrize(('a', 'b', 'iou'), [
    ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),           # same
    ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),         # half over
    ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),          # touching
    ((0, 0, 10, 10), (20, 20, 30, 30), 0.0),         # apart in both
    ((0, 0, 10, 10), (2, 2, 4, 4), 0.04),            # inside
    ((5, 5, 5, 5), (5, 5, 5, 5), 0.0),               # both without area
    ((9, 9, 1, 1), (0, 0, 10, 10), 0.0),             # swapped: no area
])
def test_box_iou(a: tuple, b: tuple, iou: float) -> None:
    np.testing.assert_allclose(box_iou_matrix([a], [b]), [[iou]])


@given(st.lists(st.tuples(*[st.integers(0, 7)] * 4), min_size=1, max_size=4),
       st.lists(st.tuples(*[st.integers(0, 7)] * 4), min_size=1, max_size=4))
def test_box_iou_matrix_equals_counting_cells(a: list, b: list) -> None:
    a, b = order_corners(np.array(a)), order_corners(np.array(b))

    def cells(box: np.ndarray) -> np.ndarray:
        grid = np.zeros((7, 7), np.bool_)
        grid[box[1]:box[3], box[0]:box[2]] = True
        return grid

    expected = [
        [(cells(p) & cells(q)).sum() / max(1, (cells(p) | cells(q)).sum()) for q in b] for p in a]
    np.testing.assert_allclose(box_iou_matrix(a, b), expected)
    assert box_area(a).tolist() == [cells(p).sum() for p in a]


def test_box_conversions() -> None:
    boxes = np.array([[1, 2, 4, 8], [5, 5, 5, 5]])
    assert xyxy_to_xywh(boxes).tolist() == [[1, 2, 3, 6], [5, 5, 0, 0]]
    assert xywh_to_xyxy(xyxy_to_xywh(boxes)).tolist() == boxes.tolist()
    assert order_corners(np.array([[4, 2, 1, 8]])).tolist() == [[1, 2, 4, 8]]
    assert clip_boxes([[-3, 2, 50, 60]], Size(40, 30)).tolist() == [[0, 2, 40, 30]]
