"""Run lengths against a per-pixel encoder, and against COCO's own mask API."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from vr_ros.core.rle import (
    crop_to_rle,
    mask_to_rle,
    rle_area,
    rle_box,
    rle_difference,
    rle_intersection,
    rle_iou,
    rle_iou_matrix,
    rle_to_mask,
    rle_union,
    validate_rle,
)
from vr_ros.core.types import Mask, Size


def encode_by_pixel(mask: np.ndarray) -> tuple[int, ...]:
    """Walk down each column in turn and count."""
    counts, value = [0], False
    for column in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            if bool(mask[row, column]) != value:
                counts.append(0)
                value = not value
            counts[-1] += 1
    return tuple(counts)


def coco_bytes(counts: tuple[int, ...], size: Size) -> bytes:
    """Compress run lengths with COCO's API, which is how two encodings compare exactly."""
    uncompressed = {'size': [size.height, size.width], 'counts': list(counts)}
    return coco.frPyObjects(uncompressed, size.height, size.width)['counts']


def plane(*rows: str) -> np.ndarray:
    """Draw a mask: # is set."""
    return np.array([[pixel == '#' for pixel in row] for row in rows])


def disc(size: Size, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:size.height, :size.width]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius ** 2


MASKS = array_shapes(min_dims=2, max_dims=2, max_side=9).flatmap(
    lambda shape: arrays(np.bool_, shape))
PAIRS = array_shapes(min_dims=2, max_dims=2, max_side=9).flatmap(
    lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape)))


@pytest.mark.parametrize(('mask', 'counts', 'box'), [
    (plane('...', '...'), (6,), None),                              # empty
    (plane('###', '###'), (0, 6), (0, 0, 3, 2)),                    # full
    (plane('#..', '...'), (0, 1, 5), (0, 0, 1, 1)),                 # first pixel
    (plane('...', '..#'), (5, 1), (2, 1, 3, 2)),                    # last pixel
    (plane('...', '.#.', '...'), (4, 1, 4), (1, 1, 2, 2)),          # one pixel inside
    (plane('.#', '#.'), (1, 2, 1), (0, 0, 2, 2)),                   # a run enters the next column
    (plane('.#.', '.#.'), (2, 2, 2), (1, 0, 2, 2)),                 # a whole column
    (plane('...', '###'), (1, 1, 1, 1, 1, 1), (0, 1, 3, 2)),        # the bottom row
    (plane('###', '...'), (0, 1, 1, 1, 1, 1, 1), (0, 0, 3, 1)),     # the top row
    (plane('.##', '###', '##.'), (1, 7, 1), (0, 0, 3, 3)),          # one run through three columns
    (plane('#'), (0, 1), (0, 0, 1, 1)),                             # the only pixel
])
def test_counts_and_box(
    mask: np.ndarray, counts: tuple[int, ...], box: tuple[int, ...] | None
) -> None:
    encoded = mask_to_rle(mask)
    assert encoded == Mask(Size(mask.shape[1], mask.shape[0]), counts)
    assert all(type(count) is int for count in encoded.counts)
    assert rle_box(encoded) == box
    assert rle_area(encoded) == mask.sum()
    np.testing.assert_array_equal(rle_to_mask(encoded), mask)


@given(MASKS)
def test_encoding_equals_counting_pixels_and_decodes_to_the_same(mask: np.ndarray) -> None:
    encoded = mask_to_rle(mask)
    validate_rle(encoded)
    assert encoded.counts == encode_by_pixel(mask)
    decoded = rle_to_mask(encoded)
    assert decoded.dtype == np.bool_ and decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, mask)


@given(MASKS)
def test_agrees_with_coco(mask: np.ndarray) -> None:
    encoded = mask_to_rle(mask)
    reference = coco.encode(np.asfortranarray(mask, np.uint8))
    assert coco_bytes(encoded.counts, encoded.size) == reference['counts']
    assert rle_area(encoded) == coco.area(reference)
    box = rle_box(encoded) or (0, 0, 0, 0)
    x, y, width, height = coco.toBbox(reference)
    assert box == (x, y, x + width, y + height)


@given(PAIRS)
def test_iou_and_unions_agree_with_pixels_and_coco(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (mask_to_rle(mask) for mask in pair)
    assert rle_intersection(a, b) == (pair[0] & pair[1]).sum()
    reference = [coco.encode(np.asfortranarray(mask, np.uint8)) for mask in pair]
    assert rle_iou(a, b) == pytest.approx(coco.iou(reference[:1], reference[1:], [False])[0, 0])
    assert rle_union((a, b)) == mask_to_rle(pair[0] | pair[1])
    assert rle_difference(a, b) == mask_to_rle(pair[0] & ~pair[1])


@given(st.data())
def test_crop_gives_the_same_as_the_full_frame(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    y_min, x_min = data.draw(st.integers(0, height)), data.draw(st.integers(0, width))
    y_max, x_max = data.draw(st.integers(y_min, height)), data.draw(st.integers(x_min, width))
    crop = data.draw(arrays(np.bool_, (y_max - y_min, x_max - x_min)))
    full = np.zeros((height, width), np.bool_)
    full[y_min:y_max, x_min:x_max] = crop
    assert crop_to_rle(crop, x_min, y_min, Size(width, height)).counts == encode_by_pixel(full)


@pytest.mark.parametrize(('x', 'y'), [
    (320, 240),   # inside
    (0, 0),       # two borders touched
    (639, 479),   # the other two
    (320, 0),     # top
])
def test_disc_at_camera_size_agrees_with_coco(x: int, y: int) -> None:
    size = Size(640, 480)
    mask = disc(size, x, y, 77.3)
    rows, columns = np.nonzero(mask)
    left, top = columns.min(), rows.min()
    crop = mask[top:rows.max() + 1, left:columns.max() + 1]
    encoded = crop_to_rle(crop, int(left), int(top), size)
    reference = coco.encode(np.asfortranarray(mask, np.uint8))
    assert coco_bytes(encoded.counts, size) == reference['counts']
    np.testing.assert_array_equal(rle_to_mask(encoded), mask)


def test_takes_any_layout_and_any_value_that_is_not_zero() -> None:
    mask = disc(Size(31, 17), 9, 8, 6)
    expected = encode_by_pixel(mask)
    doubled = np.repeat(np.repeat(mask, 2, axis=0), 3, axis=1)
    assert mask_to_rle(np.asfortranarray(mask)).counts == expected         # column-major
    assert mask_to_rle(doubled[::2, ::3]).counts == expected               # strided
    assert mask_to_rle(mask * np.uint8(255)).counts == expected            # as images have it
    assert mask_to_rle(mask * np.uint8(2)).counts == expected              # an instance id


def test_union_of_many_overlapping_and_touching_masks() -> None:
    size = Size(40, 30)
    masks = [disc(size, x, y, 6) for x, y in ((5, 5), (8, 9), (20, 15), (32, 15), (39, 29))]
    masks.append(np.zeros_like(masks[0]))
    assert rle_union([mask_to_rle(m) for m in masks]) == mask_to_rle(np.any(masks, axis=0))
    assert rle_union([mask_to_rle(masks[0])] * 3) == mask_to_rle(masks[0])


def test_iou_matrix_agrees_with_coco() -> None:
    size = Size(40, 30)
    masks = [disc(size, x, y, 6) for x, y in ((5, 5), (8, 9), (10, 20), (32, 15), (39, 29))]
    masks.append(np.zeros_like(masks[0]))
    encoded = [mask_to_rle(mask) for mask in masks]
    reference = [coco.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]
    expected = coco.iou(reference, reference[:4], [False] * 4)
    assert 0 < expected[0, 1] < 1 and expected[0, 3] == 0
    np.testing.assert_allclose(rle_iou_matrix(encoded, encoded[:4]), expected)
    assert rle_iou_matrix([], encoded).shape == (0, 6)


def test_runs_of_length_zero_are_read_though_never_written() -> None:
    size = Size(2, 3)
    mask = Mask(size, (1, 2, 0, 1, 2, 0, 0))
    assert rle_union([mask]) == Mask(size, (1, 3, 2)) == mask_to_rle(rle_to_mask(mask))
    assert rle_box(mask) == (0, 0, 2, 3)
    assert rle_iou(mask, Mask(size, (1, 3, 2))) == 1.0


def test_iou_of_two_empty_masks_is_zero() -> None:
    empty = Mask(Size(4, 4), (16,))
    assert rle_iou(empty, empty) == 0.0


@pytest.mark.parametrize('mask', [
    Mask(Size(2, 2), (3,)),            # too few pixels
    Mask(Size(2, 2), (1, 4)),          # too many
    Mask(Size(2, 2), ()),              # none
    Mask(Size(2, 2), (5, -1)),         # negative, with the right sum
    Mask(Size(0, 2), (0,)),            # no width
    Mask(Size(-2, -2), (4,)),          # negative size with the right product
])
def test_wrong_run_lengths_are_refused(mask: Mask) -> None:
    with pytest.raises(ValueError):
        validate_rle(mask)
    with pytest.raises(ValueError):
        rle_to_mask(mask)


@pytest.mark.parametrize(('shape', 'x', 'y'), [
    ((2, 2), -1, 0),     # left of the image
    ((2, 2), 0, -1),     # above
    ((2, 2), 3, 0),      # right
    ((2, 2), 0, 4),      # below
    ((6, 2), 0, 0),      # too high
    ((2, 2, 1), 0, 0),   # a third dimension
])
def test_crops_out_of_the_image_are_refused(shape: tuple[int, ...], x: int, y: int) -> None:
    with pytest.raises(ValueError):
        crop_to_rle(np.ones(shape, np.bool_), x, y, Size(4, 5))


def test_masks_of_different_images_do_not_mix() -> None:
    a, b = Mask(Size(2, 3), (6,)), Mask(Size(3, 2), (6,))
    with pytest.raises(ValueError, match='different sizes'):
        rle_iou(a, b)
    with pytest.raises(ValueError, match='different sizes'):
        rle_union([a, b])
    with pytest.raises(ValueError, match='no size'):
        rle_union([])
    with pytest.raises(ValueError, match='no pixels'):
        mask_to_rle(np.zeros((0, 4), np.bool_))
