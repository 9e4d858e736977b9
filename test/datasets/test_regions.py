"""Masks of data sets, against COCO's own library."""
from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from vr_ros.core.rle import mask_to_rle, rle_to_mask
from vr_ros.core.types import Mask, Size
from vr_ros.datasets.regions import (
    decode_counts,
    mask_from_pixels,
    polygon_to_rle,
    read_region,
)
from vr_ros.datasets.sample import SampleError

SIZE = Size(37, 29)
SQUARE = [2, 2, 12, 2, 12, 12, 2, 12]


def coco_polygon(corners, size):
    return coco.decode(coco.frPyObjects([list(corners)], size.height, size.width))[..., 0]


@pytest.mark.parametrize('seed', range(60))
def test_polygons_are_filled_as_coco_fills_them(seed):
    rng = np.random.default_rng(seed)
    size = Size(*rng.integers(1, 60, 2).tolist())
    corners = rng.uniform(-8, 66, 2 * rng.integers(3, 12))
    if seed % 3 == 0:
        corners = corners.round()                 # edges through the middles of pixels
    if seed % 4 == 0:
        corners[2:4] = corners[:2]                # a corner twice
    assert np.array_equal(
        rle_to_mask(polygon_to_rle(corners, size)), coco_polygon(corners, size))


@pytest.mark.parametrize('seed', range(8))
def test_compressed_counts_are_decoded_as_coco_decodes_them(seed):
    rng = np.random.default_rng(seed)
    pixels = rng.random((29, 37)) < rng.random()
    compressed = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
    assert decode_counts(compressed['counts']) == mask_to_rle(pixels).counts
    text = {'size': [29, 37], 'counts': compressed['counts'].decode()}
    assert read_region(text, SIZE) == mask_to_rle(pixels)


def test_all_forms_of_one_mask_are_the_same(tmp_path):
    pixels = coco_polygon(SQUARE, SIZE).astype(bool)
    Image.fromarray(pixels).save(tmp_path / 'bits.png')
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / 'ones.png')
    Image.fromarray(np.dstack([pixels * np.uint8(255)] * 3)).save(tmp_path / 'colours.png')
    mask = mask_to_rle(pixels)
    forms = [SQUARE, [SQUARE], [SQUARE, SQUARE], 'bits.png', 'ones.png', 'colours.png',
             {'size': [29, 37], 'counts': list(mask.counts)}]
    assert [read_region(form, SIZE, tmp_path) for form in forms] == [mask] * len(forms)
    assert mask_from_pixels(pixels.tolist(), SIZE) == mask


@pytest.mark.parametrize('content', [
    [], {}, 7, None, 'none.png', [[1, 2, 3, 4]], [1, 2, 3, 4, 5, 6, 7], [[1, 2], ['a', 3]],
    [1, 2, 3, float('nan'), 5, 6], {'size': [29, 37], 'counts': [3]},
    {'size': [29, 37], 'counts': [-1, 1074]}, {'size': [29, 37], 'counts': 'PPPP~'},
    {'size': [29, 37], 'counts': 'PP'}, {'size': [37, 29], 'counts': [1073]},
])
def test_what_is_no_mask_is_named(content, tmp_path):
    with pytest.raises(SampleError, match='mask'):
        read_region(content, SIZE, tmp_path)


@pytest.mark.parametrize(('values', 'words'), [
    ([[1.0, float('nan')]], 'NaN'),
    ([[1], [1, 2]], 'broken mask'),               # rows of unlike length
    ([], 'shape'),
    ([1, 0], 'shape'),
    ([['x', 'y']], 'broken mask'),
    ([[True]], '1x1 for an image of 2x1'),
])
def test_what_are_no_pixels_is_named(values, words):
    with pytest.raises(SampleError, match=words):
        mask_from_pixels(values, Size(2, 1))


def test_an_empty_polygon_is_an_empty_mask():
    assert polygon_to_rle([90, 90, 99, 90, 99, 99], SIZE) == Mask(SIZE, (37 * 29,))
