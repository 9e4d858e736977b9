"""Point maps of a room made of planes, whose points follow from its equations."""
from __future__ import annotations

import numpy as np
import pytest

from vr_ros.core.types import Size
from vr_ros.pipeline.camera_model import CameraModel
from vr_ros.pipeline.point_map import mask_to_depth_size, point_map, register, same_view

CAMERA = CameraModel(Size(80, 60), (70.0, 72.0, 39.5, 29.5))
BENT = CameraModel(Size(80, 60), (70.0, 72.0, 39.5, 29.5), 'plumb_bob', (-0.2, 0.05, 0.001, 0, 0))


@pytest.mark.parametrize('camera', [CAMERA, BENT])
def test_points_of_a_plane_lie_on_it(camera: CameraModel) -> None:
    # The plane n . p = c cuts the ray r at z = c / (n . r).
    normal, offset = np.array([0.1, -0.8, -0.6]), -0.7
    rays = np.concatenate([camera.rays(), np.ones((60, 80, 1))], 2)
    depth = (offset / (rays @ normal)).astype(np.float32)
    points = point_map(np.where(depth > 0, depth, 0), camera)
    seen = depth > 0
    assert seen.sum() > 1000 and np.isnan(points[~seen]).all()
    np.testing.assert_allclose(points[seen] @ normal, offset, atol=1e-5)
    rows, columns = seen.nonzero()
    np.testing.assert_allclose(
        camera.project(points[seen]), np.stack([columns, rows], 1), atol=2e-2)


@pytest.mark.parametrize('value', [0.0, -1.0, np.nan, np.inf, -np.inf])
def test_what_is_no_measurement_is_no_point(value: float) -> None:
    depth = np.full((60, 80), 1.5, np.float32)
    depth[3, 4] = value
    points = point_map(depth, CAMERA)
    assert np.isnan(points[3, 4]).all() and np.isnan(points).sum() == 3


def test_depth_of_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match='does not fit'):
        point_map(np.ones((30, 40), np.float32), CAMERA)


def test_mask_at_the_depth_image_shows_the_same_part_of_the_picture() -> None:
    mask = np.zeros((60, 80), np.bool_)
    mask[12:33, 20:51] = True
    for width, height in ((80, 60), (40, 30), (20, 15), (160, 120), (107, 80)):
        scaled = mask_to_depth_size(mask, Size(width, height))
        assert scaled.shape == (height, width)
        # Each pixel's centre, looked up by its share of the picture.
        expected = [[mask[int((y + 0.5) / height * 60), int((x + 0.5) / width * 80)]
                     for x in range(width)] for y in range(height)]
        np.testing.assert_array_equal(scaled, expected)
    with pytest.raises(ValueError, match='differ in more than size'):
        mask_to_depth_size(mask, Size(80, 45))


def test_same_view() -> None:
    assert same_view(Size(1280, 720), Size(848, 480))  # 16:9 within a pixel or two
    assert not same_view(Size(1280, 720), Size(640, 480))


def test_registered_points_project_to_their_place_and_hide_those_behind() -> None:
    depth = np.full((60, 80), 2.0, np.float32)
    depth[20:40, 30:50] = 1.0
    points = point_map(depth, CAMERA)
    transform = np.eye(4)
    transform[:3, 3] = (-0.1, 0.02, 0.05)
    image = CameraModel(Size(320, 240), (280.0, 288.0, 159.5, 119.5))
    grid = register(points, transform, CAMERA.matrix[0], image)
    small = image.scaled_to(Size(grid.shape[1], grid.shape[0]))
    seen = np.isfinite(grid).all(2)
    assert seen.any() and np.isnan(grid[~seen]).all()
    rows, columns = seen.nonzero()
    pixels = small.project(grid[seen])
    assert np.abs(pixels - np.stack([columns, rows], 1)).max() <= 0.51
    assert np.unique(grid[seen][:, 2].round(4)).tolist() == pytest.approx([1.05, 2.05], abs=1e-3)
    # Where the near square projects to, only the near square is seen.
    corners = small.project(points[[20, 39], [30, 49]].astype(float) + transform[:3, 3])
    (x0, y0), (x1, y1) = np.rint(corners).astype(int)
    assert (grid[y0:y1 + 1, x0:x1 + 1][seen[y0:y1 + 1, x0:x1 + 1]][:, 2] < 1.1).all()
    assert seen[y0:y1 + 1, x0:x1 + 1].all()


def test_a_transform_without_numbers_is_an_error() -> None:
    with pytest.raises(ValueError, match='4 x 4'):
        register(np.zeros((2, 2, 3), np.float32), np.eye(3), 70.0, CAMERA)
