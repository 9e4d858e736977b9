"""Positions of shapes whose points follow from their equations, and of the simulator's objects."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vr_ros.core.box_fit import least_rectangle_angle
from vr_ros.core.location import MIN_POINTS, locate, locate_all
from vr_ros.core.rle import mask_to_rle
from vr_ros.core.support_plane import find_support_plane
from vr_ros.core.types import Detection, Position, PositionStatus, Size

SIZE = Size(160, 120)
FOCAL = 300.0
# The camera looks down by 45 degrees on a table 0.8 m away along its axis.
TILT = np.radians(45.0)
UP = np.array([0.0, -np.cos(TILT), -np.sin(TILT)])
TABLE = -0.8 * np.sin(TILT)
RAYS = np.stack([*(np.meshgrid((np.arange(160) - 79.5) / FOCAL, (np.arange(120) - 59.5) / FOCAL)),
                 np.ones((120, 160))], 2)
Shape = Callable[[np.ndarray], np.ndarray]


def table_frame(yaw: float = 0.0) -> np.ndarray:
    """Axes of an object on the table: x right when not turned, y away, z up; in columns."""
    away = np.array([0.0, -np.sin(TILT), np.cos(TILT)])
    axes = np.stack([[1.0, 0.0, 0.0], away, UP], 1)
    return axes @ Rotation.from_euler('z', yaw).as_matrix()


def on_table(x: float, y: float, height: float) -> np.ndarray:
    """A point over the table: right of and behind where the axis meets it, metres."""
    return np.array([0.0, 0.0, 0.8]) + table_frame() @ (x, y, height)


def box_depth(center: np.ndarray, size: tuple[float, float, float], yaw: float) -> np.ndarray:
    """Where rays meet a box (slab method): (H, W) z, infinite where they miss."""
    axes = table_frame(yaw)
    origin, directions = -center @ axes, RAYS @ axes
    half = np.array(size) / 2
    with np.errstate(divide='ignore'):
        a, b = (-half - origin) / directions, (half - origin) / directions
    near, far = np.minimum(a, b).max(2), np.maximum(a, b).min(2)
    return np.where(near < far, near, np.inf)


def ball_depth(center: np.ndarray, radius: float) -> np.ndarray:
    a, b = (RAYS**2).sum(2), RAYS @ center
    root = b**2 - a * (center @ center - radius**2)
    return np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, np.inf)


def scene(*objects: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Put objects on the table: (H, W, 3) points and one (H, W) mask each."""
    table = TABLE / (RAYS @ UP)
    depths = np.stack([np.where(table > 0, table, np.inf), *objects])
    nearest = depths.argmin(0)
    points = (RAYS * depths.min(0)[..., None]).astype(np.float32)
    points[~np.isfinite(points[..., 2])] = np.nan
    return points, [nearest == i + 1 for i in range(len(objects))]


def located(mask: np.ndarray, points: np.ndarray, up: np.ndarray | None = None) -> Position:
    found = locate(mask, points, up)
    assert isinstance(found, Position), found
    return found


def axes_of(position: Position) -> np.ndarray:
    return Rotation.from_quat(position.orientation).as_matrix()


@pytest.mark.parametrize('up', [None, UP])
@pytest.mark.parametrize('yaw', [0.0, 0.3, 0.8, 1.3, -0.5])
def test_box_on_a_table(yaw: float, up: np.ndarray | None) -> None:
    center, size = on_table(0.02, -0.01, 0.03), (0.12, 0.08, 0.06)
    points, (mask,) = scene(box_depth(center, size, yaw))
    position = located(mask, points, up)
    np.testing.assert_allclose(position.center, center, atol=0.004)
    np.testing.assert_allclose(position.size, size, atol=0.006)
    axes = axes_of(position)
    np.testing.assert_allclose(axes[:, 2], UP, atol=0.01)
    # The box's long edge, in either direction.
    assert abs(axes[:, 0] @ table_frame(yaw)[:, 0]) > np.cos(np.radians(4))
    assert np.linalg.det(axes) == pytest.approx(1)
    np.testing.assert_allclose(
        position.surface_point, np.median(points[mask], 0), atol=0.004)
    assert 0 <= position.stddev_m < 0.01


@pytest.mark.parametrize('radius', [0.03, 0.05])
def test_the_hidden_back_of_a_ball_is_added(radius: float) -> None:
    center = on_table(-0.01, 0.02, radius)
    points, (mask,) = scene(ball_depth(center, radius))
    position = located(mask, points)
    np.testing.assert_allclose(position.center, center, atol=0.004)
    # A pixel is 2.7 mm wide there, and the small ball 22 pixels.
    np.testing.assert_allclose(position.size, (2 * radius,) * 3, atol=0.007)
    # The same points say nothing of a back: less of it is seen than this.
    seen = np.ptp(points[mask] @ table_frame()[:, 1])
    assert seen < 0.93 * 2 * radius


def test_mixed_pixels_border_and_gaps_change_little() -> None:
    center, size = on_table(0.0, 0.0, 0.03), (0.12, 0.08, 0.06)
    points, (mask,) = scene(box_depth(center, size, 0.3))
    clean = located(mask, points)
    rng = np.random.default_rng(1)
    grown = np.zeros_like(mask)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            grown |= np.roll(mask, (dy, dx), (0, 1))
    # Pixels at the border hang between the object and what is behind it.
    border = grown & ~mask
    points[border] *= rng.uniform(0.9, 1.1, (border.sum(), 1)).astype(np.float32)
    points[mask & (rng.random(mask.shape) < 0.002)] *= np.float32(1.2)
    points[rng.random(mask.shape) < 0.1] = np.nan
    dirty = located(grown, points)
    np.testing.assert_allclose(dirty.surface_point, clean.surface_point, atol=0.004)
    np.testing.assert_allclose(dirty.center, clean.center, atol=0.006)
    np.testing.assert_allclose(dirty.size, clean.size, atol=0.012)


def test_a_box_between_others_stands_on_the_table() -> None:
    sizes = ((0.05, 0.05, 0.05), (0.06, 0.06, 0.1), (0.06, 0.06, 0.1))
    centers = [on_table(0.0, 0.0, 0.025), on_table(0.09, 0.0, 0.05), on_table(-0.09, 0.02, 0.05)]
    boxes = [box_depth(c, s, 0.2) for c, s in zip(centers, sizes, strict=True)]
    points, masks = scene(*boxes)
    position = located(masks[0], points)
    np.testing.assert_allclose(position.center, centers[0], atol=0.004)
    assert position.size[2] == pytest.approx(0.05, abs=0.003)


def test_at_the_edge_of_a_table_the_table_counts_not_the_floor() -> None:
    center = on_table(0.0, 0.0, 0.03)
    points, (mask,) = scene(box_depth(center, (0.08, 0.06, 0.06), 0.0))
    floor = (TABLE - 0.7) / (RAYS @ UP)
    away = points @ table_frame()[:, 1]
    beyond = (away - on_table(0, 0.035, 0) @ table_frame()[:, 1] > 0) & ~mask
    points[beyond] = (RAYS * floor[..., None])[beyond]
    position = located(mask, points)
    np.testing.assert_allclose(position.center, center, atol=0.005)


def test_without_a_plane_the_box_begins_at_the_lowest_point() -> None:
    center = on_table(0.0, 0.0, 0.03)
    points, (mask,) = scene(box_depth(center, (0.08, 0.06, 0.06), 0.0))
    points[~mask] = np.nan
    position = located(mask, points, UP)
    np.testing.assert_allclose(position.center, center, atol=0.005)
    # Without `up` either, that of a level camera is taken.
    np.testing.assert_allclose(axes_of(located(mask, points))[:, 2], (0, -1, 0), atol=1e-9)


@pytest.mark.parametrize('count', [0, MIN_POINTS - 1])
def test_too_few_points(count: int) -> None:
    points, (mask,) = scene(box_depth(on_table(0, 0, 0.03), (0.1, 0.1, 0.06), 0.0))
    rows, columns = mask.nonzero()
    points[rows[count:], columns[count:]] = np.nan
    assert locate(mask, points) is PositionStatus.TOO_FEW_PIXELS
    assert locate(np.zeros_like(mask), points) is PositionStatus.TOO_FEW_PIXELS


def test_thin_masks_are_not_eroded_away() -> None:
    points, _ = scene()
    mask = np.zeros((120, 160), np.bool_)
    mask[60, 40:80] = True
    np.testing.assert_allclose(
        located(mask, points).surface_point, np.median(points[mask], 0), atol=1e-6)


def test_the_same_points_give_the_same_position() -> None:
    points, (mask,) = scene(box_depth(on_table(0, 0, 0.03), (0.1, 0.07, 0.06), 0.4))
    assert located(mask, points) == located(mask.copy(), points.copy())


@pytest.mark.parametrize('up', [(0, 0, 0), (np.nan, 0, 1), (1, 0)])
def test_up_without_direction_is_an_error(up: tuple[float, ...]) -> None:
    points, (mask,) = scene(box_depth(on_table(0, 0, 0.03), (0.1, 0.1, 0.06), 0.0))
    with pytest.raises(ValueError, match='no direction'):
        locate(mask, points, up)


def test_a_mask_of_another_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match='does not fit'):
        locate(np.zeros((3, 4), np.bool_), np.zeros((4, 3, 3), np.float32))


def detection(index: int, mask: np.ndarray) -> Detection:
    rows, columns = mask.nonzero()
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return Detection(index, tuple(map(float, box)), mask=mask_to_rle(mask), label=f'box {index}')


def test_locate_all_is_locate_one_by_one() -> None:
    centers = [on_table(-0.08, 0.0, 0.025), on_table(0.08, 0.01, 0.03)]
    points, masks = scene(box_depth(centers[0], (0.05, 0.05, 0.05), 0.2),
                          box_depth(centers[1], (0.08, 0.06, 0.06), 0.5))
    found = [detection(i, mask) for i, mask in enumerate(masks)]
    empty = replace(found[0], index=2, mask=mask_to_rle(np.zeros_like(masks[0])))
    first, second, third = locate_all([*found, empty], points, SIZE)
    assert first.label == 'box 0' and first.position_status is PositionStatus.OK
    assert (first.position, second.position) == (
        located(masks[0], points), located(masks[1], points))
    assert third.position_status is PositionStatus.TOO_FEW_PIXELS and third.position is None


@pytest.mark.parametrize('factor', [2, 3])
def test_masks_of_a_larger_image(factor: int) -> None:
    points, (mask,) = scene(box_depth(on_table(0, 0, 0.03), (0.1, 0.07, 0.06), 0.4))
    large = mask.repeat(factor, 0).repeat(factor, 1)
    size = Size(160 * factor, 120 * factor)
    found, = locate_all([detection(0, large)], points, size)
    assert found.position == located(mask, points)
    with pytest.raises(ValueError, match='does not belong'):
        locate_all([detection(0, mask)], points, size)


@pytest.mark.parametrize('shift', [(-1, 0), (1, 0), (0, -1), (0, 1)])
def test_masks_are_sampled_in_the_middle_of_a_pixel(shift: tuple[int, int]) -> None:
    points, (mask,) = scene(box_depth(on_table(0, 0, 0.03), (0.1, 0.07, 0.06), 0.4))
    # A third of a pixel aside, the middle of each pixel still lies in its own block of nine.
    large = np.roll(mask.repeat(3, 0).repeat(3, 1), shift, (0, 1))
    found, = locate_all([detection(0, large)], points, Size(480, 360))
    assert found.position == located(mask, points)


def test_stddev_grows_with_the_noise() -> None:
    points, _ = scene()
    mask = np.zeros((120, 160), np.bool_)
    mask[40:80, 50:110] = True
    rng = np.random.default_rng(2)
    # A wall across the axis: leaving out the border moves its median by noise alone.
    wall = (RAYS * 0.9).astype(np.float32)
    deviations = []
    for noise in (0.001, 0.004):
        noisy = wall * (1 + rng.normal(0, noise / 0.9, mask.shape))[..., None].astype(np.float32)
        deviations.append(located(mask, noisy).stddev_m)
        alone = 1.2533 * noise / (mask.sum() / 25) ** 0.5
        assert 0.8 * alone < deviations[-1] < 1.6 * alone
    assert deviations[1] > 2.5 * deviations[0]


def test_stddev_is_at_least_what_two_pixels_of_border_move() -> None:
    points, (mask,) = scene(box_depth(on_table(0, 0, 0.03), (0.12, 0.1, 0.06), 0.0))
    inner = mask.copy()
    for axis in (0, 1):
        inner &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    z = points[..., 2]
    near = [mask & np.roll(mask, s, a) & (abs(z - np.roll(z, s, a)) < 0.02)
            for a in (0, 1) for s in (1, -1)]
    inner &= np.logical_and.reduce(near)
    moved = abs(float(np.median(z[mask]) - np.median(z[inner])))
    assert moved > 1e-4
    assert located(mask, points).stddev_m == pytest.approx(2 * moved, rel=0.1)


def test_without_a_mask_the_middle_of_the_box_is_taken() -> None:
    points, (mask,) = scene(box_depth(on_table(0, 0, 0.03), (0.12, 0.1, 0.06), 0.0))
    found = replace(detection(0, mask), mask=None)
    located_item, = locate_all([found], points, SIZE)
    x_min, y_min, x_max, y_max = (int(v) for v in found.box)
    w, h = (x_max - x_min) // 4, (y_max - y_min) // 4
    middle = points[y_min + h:y_max - h, x_min + w:x_max - w].reshape(-1, 3)
    assert located_item.position is not None
    np.testing.assert_allclose(
        located_item.position.surface_point, np.median(middle, 0), atol=0.003)


@pytest.mark.parametrize('angle', [0.0, 0.2, 0.7, 1.2, 1.5])
def test_least_rectangle_has_the_area_of_a_fine_search(angle: float) -> None:
    rng = np.random.default_rng(3)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flat = (rng.uniform(-1, 1, (400, 2)) * (3, 1)) @ turn.T
    spans = [np.ptp(flat @ [[c, -s], [s, c]], 0)
             for c, s in ((np.cos(a), np.sin(a)) for a in np.linspace(0, np.pi / 2, 2000))]
    found = least_rectangle_angle(flat)
    c, s = np.cos(found), np.sin(found)
    assert np.prod(np.ptp(flat @ [[c, -s], [s, c]], 0)) <= 1.06 * min(np.prod(spans, 1))
    off = (found - angle) % (np.pi / 2)
    assert min(off, np.pi / 2 - off) < np.radians(4)


@pytest.mark.parametrize('flat', [np.zeros((5, 2)), np.outer(np.arange(6.0), (1, 2))])
def test_least_rectangle_of_points_on_a_line(flat: np.ndarray) -> None:
    assert np.isfinite(least_rectangle_angle(flat))


def test_plane_is_found_between_other_points() -> None:
    rng = np.random.default_rng(5)
    normal = np.array([0.1, -0.7, -0.7]) / np.linalg.norm([0.1, -0.7, -0.7])
    a, b = np.linalg.svd(normal[None])[2][1:]
    plane = -0.6 * normal + rng.uniform(-0.2, 0.2, (500, 2)) @ np.stack([a, b])
    clutter = -0.6 * normal + rng.uniform(-0.2, 0.2, (300, 3)) + 0.15 * normal
    found = find_support_plane(
        np.concatenate([plane + rng.normal(0, 0.001, plane.shape), clutter]),
        -0.6 * normal + 0.02 * normal + rng.uniform(0, 0.02, (50, 1)) * normal)
    assert found is not None
    np.testing.assert_allclose(found.normal, normal, atol=0.01)
    assert found.offset_m == pytest.approx(-0.6, abs=0.002)
    assert found.noise_m == pytest.approx(0.001, rel=0.5)
    assert find_support_plane(plane[:5], clutter) is None
