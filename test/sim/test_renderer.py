"""Pictures against geometry worked out by hand, and the truth of a frame against its own pixels."""
from __future__ import annotations

import os
import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from vr_ros.core.types import Mask, Size
from vr_ros.sim.cameras import camera_matrix, look_at
from vr_ros.sim.canvas import shared_canvas
from vr_ros.sim.renderer import TableCamera, render_scene
from vr_ros.sim.scene import (
    COLOUR_RGB,
    CameraSpec,
    ObjectSpec,
    TableSpec,
    orbit_pose,
    sample_scene,
)
from vr_ros.sim.truth import COLOURS, KINDS
from vr_ros.sim.world import World

QVGA = Size(320, 240)
BIG_TABLE = TableSpec((3.0, 3.0), 0.0, (0.5, 0.5, 0.5), 'plain', (0.4, 0.4, 0.4), 'plain')


def decoded(mask: Mask) -> np.ndarray:
    """Expand COCO runs the slow, obvious way."""
    flat: list[bool] = []
    for i, run in enumerate(mask.counts):
        flat += [i % 2 == 1] * run
    return np.array(flat).reshape(mask.size.width, mask.size.height).T


def camera_on(*objects: ObjectSpec, elevation: float = 0.8, size: Size = QVGA) -> TableCamera:
    """A camera at -y, so that the image's right is the world's +x."""
    view = CameraSpec(azimuth=-np.pi / 2, elevation=elevation, distance=0.9)
    scene = replace(sample_scene(0, 0), objects=objects, camera=view, table=BIG_TABLE)
    return TableCamera(scene, size)


def test_a_seed_gives_the_same_pixels_and_truth():
    first, second = (render_scene(3, Size(160, 120), 6) for _ in range(2))
    assert np.array_equal(first.rgb, second.rgb)
    assert np.array_equal(first.depth, second.depth)
    assert first.truth == second.truth
    assert not np.array_equal(first.rgb, render_scene(4, Size(160, 120), 6).rgb)


def test_the_frame_has_the_promised_shapes():
    frame = render_scene(0, Size(160, 120))
    assert frame.rgb.shape == (120, 160, 3) and frame.rgb.dtype == np.uint8
    assert frame.depth.shape == (120, 160) and frame.depth.dtype == np.float32
    assert frame.truth.size == Size(160, 120) and frame.truth.seed == 0


def test_a_lone_ball_is_where_geometry_says():
    spec = ObjectSpec('ball', 'red', 'large', (0.05, 0.03), 0.0)
    with camera_on(spec) as camera:
        frame = camera.render()
    ball, (focal, _, cx, cy) = frame.truth.objects[0], frame.truth.camera_matrix
    radius, center = spec.dimensions[0] / 2, np.array(ball.center)
    pose = camera.world.spec.camera.pose
    assert ball.distance_m == pytest.approx(
        np.linalg.norm(np.array(pose.position) - ball.world_position))
    assert ball.world_position == pytest.approx((0.05, 0.03, radius), abs=0.003)

    # Every ray by itself: its nearer cut with the sphere, as depth along the optical axis.
    x, y = np.meshgrid((np.arange(320) - cx) / focal, (np.arange(240) - cy) / focal)
    rays = np.stack([x, y, np.ones_like(x)], 2)
    a, b = (rays ** 2).sum(2), rays @ center
    under_root = b ** 2 - a * (center @ center - radius ** 2)
    hit = under_root > 0
    mask = decoded(ball.mask)
    assert np.count_nonzero(mask & hit) / np.count_nonzero(mask | hit) > 0.97
    sure = cv2.erode((mask & hit).astype(np.uint8), np.ones((5, 5))).astype(bool)
    expected = (b[sure] - np.sqrt(under_root[sure])) / a[sure]
    assert np.abs(frame.depth[sure] - expected).max() < 0.002


def test_the_table_is_as_far_as_geometry_says():
    with camera_on(elevation=0.6) as camera:
        frame = camera.render()
    pose, (focal, _, cx, cy) = camera.world.spec.camera.pose, frame.truth.camera_matrix
    x, y = np.meshgrid((np.arange(320) - cx) / focal, (np.arange(240) - cy) / focal)
    down = np.stack([x, y, np.ones_like(x)], 2) @ pose.rotation[2]
    assert frame.depth == pytest.approx(-pose.position[2] / down, abs=5e-4)


@pytest.mark.parametrize('seed', range(6))
def test_truth_agrees_with_its_own_mask(seed):
    frame = render_scene(seed, QVGA, 8)
    focal, _, cx, cy = frame.truth.camera_matrix
    covered = np.zeros((240, 320), int)
    for item in frame.truth.objects:
        mask = decoded(item.mask)
        covered += mask
        rows, columns = np.nonzero(mask)
        assert item.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        distance = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        x, y = (int(v) for v in item.point)
        assert distance[y, x] == pytest.approx(distance.max(), abs=0.52)
        z = frame.depth[mask]
        points = np.stack([(columns - cx) / focal * z, (rows - cy) / focal * z, z], 1)
        assert item.surface_point == pytest.approx(np.median(points, 0), abs=1e-5)
        # All of the visible surface lies within the object's own box.
        turn = _matrix(item.orientation)
        local = (points - item.center) @ turn
        assert (np.abs(local) < np.array(item.dimensions) / 2 + 0.004).mean() > 0.98
    assert covered.max() == 1


def _matrix(quaternion: tuple[float, float, float, float]) -> np.ndarray:
    """Rotation matrix of x, y, z, w, written out."""
    x, y, z, w = quaternion
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])


@pytest.mark.parametrize('kind', ['cube', 'ball', 'cylinder', 'cone', 'bar'])
def test_the_surface_point_of_a_solid_lies_in_its_mask(kind):
    with camera_on(ObjectSpec(kind, 'blue', 'medium', (0.0, 0.0), 0.4)) as camera:
        truth = camera.render().truth
    item, (focal, _, cx, cy) = truth.objects[0], truth.camera_matrix
    x, y, z = item.surface_point
    assert decoded(item.mask)[round(y / z * focal + cy), round(x / z * focal + cx)]


@pytest.mark.parametrize('kind', ['mug', 'bowl'])
def test_one_looks_into_hollow_things(kind):
    spec = ObjectSpec(kind, 'white', 'large', (0.0, 0.0), 0.0)
    with camera_on(spec, elevation=1.4) as camera:
        frame = camera.render()
    item = frame.truth.objects[0]
    height = spec.dimensions[2]
    nearest = frame.depth[decoded(item.mask)].min()
    x, y = 160, 120
    if kind == 'mug':
        x = round(160 - 0.127 * spec.dimensions[0] / 0.9 * frame.truth.camera_matrix[0])
    assert frame.depth[y, x] - nearest > 0.5 * height


def test_the_share_that_is_visible_equals_area_over_area_alone():
    back = ObjectSpec('cube', 'red', 'large', (0.0, 0.10), 0.0)
    front = ObjectSpec('cylinder', 'green', 'large', (0.04, -0.05), 0.0)
    with camera_on(back, front, elevation=0.65) as both, camera_on(back, elevation=0.65) as alone:
        hidden, whole = both.render().truth.objects[0], alone.render().truth.objects[0]
    expected = decoded(hidden.mask).sum() / decoded(whole.mask).sum()
    assert whole.visible_fraction == 1.0
    assert 0.3 < expected < 0.95
    assert hidden.visible_fraction == pytest.approx(expected, abs=0.01)


def test_the_share_counts_what_the_image_border_cuts_off():
    spec = ObjectSpec('ball', 'red', 'large', (0.0, 0.0), 0.0)
    with camera_on(spec) as camera:
        pose = camera.world.spec.camera.pose
        whole = camera.render().truth.objects[0]
        # Half of the horizontal view to the side: the ball's centre is on the image's left border.
        aside = np.tan(pose.fovy_rad / 2) * 320 / 240 * whole.center[2]
        target = np.array([aside, 0.0, camera.world.spec.camera.target[2]])
        position = np.array(pose.position) + (aside, 0.0, 0.0)
        cut = camera.render(look_at(position, target, pose.fovy_rad)).truth.objects[0]
    assert cut.box[0] == 0
    assert cut.visible_fraction == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize('colour', COLOURS)
def test_each_colour_looks_like_itself_in_any_light(colour):
    names = list(COLOUR_RGB)
    paints = np.array([COLOUR_RGB[name] for name in names])
    for seed in (0, 1, 2):
        spec = ObjectSpec('ball', colour, 'large', (0.0, 0.0), 0.0, rgb=COLOUR_RGB[colour])
        scene = replace(sample_scene(seed, 0), objects=(spec,))
        with TableCamera(scene, QVGA) as camera:
            frame = camera.render()
        seen = frame.rgb[decoded(frame.truth.objects[0].mask)].mean(0) / 255
        if colour in ('black', 'white'):
            assert np.ptp(seen) < 0.12
            assert (seen.mean() < 0.2) if colour == 'black' else (seen.mean() > 0.5)
        else:
            # Nearest in chromaticity, which light does not change.
            chroma, paint_chroma = seen / seen.sum(), paints / paints.sum(1, keepdims=True)
            assert names[int(np.abs(paint_chroma - chroma).sum(1).argmin())] == colour


@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_is_seen_whole(kind):
    with camera_on(ObjectSpec(kind, 'orange', 'medium', (0.0, 0.0), 0.5)) as camera:
        item = camera.render().truth.objects[0]
    assert item.kind == kind and item.visible_fraction == 1.0 and item.is_target
    assert cv2.connectedComponents(decoded(item.mask).astype(np.uint8))[0] == 2


def test_objects_behind_others_completely_are_left_out():
    wall = ObjectSpec('cube', 'red', 'large', (0.0, -0.1), 0.0)
    behind = ObjectSpec('ball', 'red', 'small', (0.0, 0.03), 0.0, scale=0.5)
    with camera_on(wall, behind, elevation=0.35) as camera:
        assert [o.id for o in camera.render().truth.objects] == [0]


def test_one_world_is_seen_from_many_places_in_any_size():
    world = World(sample_scene(2, 5))
    with TableCamera(world, Size(160, 120)) as small, TableCamera(world, Size(800, 600)) as large:
        seen = {o.id: o for o in small.render().truth.objects}
        for item in large.render().truth.objects:
            assert np.array(item.box) / 5 == pytest.approx(seen[item.id].box, abs=1.5)
            assert item.center == pytest.approx(seen[item.id].center)
        turned = small.render(orbit_pose(world.spec, 1.0))
    assert {o.id: o.world_position for o in turned.truth.objects} == {
        i: o.world_position for i, o in seen.items() if i in {t.id for t in turned.truth.objects}}
    assert turned.truth.camera_matrix == camera_matrix(world.spec.camera.fovy_rad, Size(160, 120))


def test_a_closed_camera_takes_no_pictures():
    camera = camera_on()
    camera.close()
    with pytest.raises(RuntimeError, match='closed'):
        camera.render()


def test_each_thread_has_one_canvas_of_its_own():
    seen = []
    thread = threading.Thread(target=lambda: seen.append((shared_canvas(), render_scene(1, QVGA))))
    thread.start()
    thread.join()
    assert shared_canvas() is shared_canvas()
    assert seen[0][0] is not shared_canvas()
    assert np.array_equal(seen[0][1].rgb, render_scene(1, QVGA).rgb)


def test_a_process_forked_too_late_is_told_so():
    shared_canvas()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            shared_canvas()
        except RuntimeError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as message:
        assert 'spawn' in message.read()


def test_most_targets_are_wide_enough_for_the_small_model():
    widths = [
        (o.box[2] - o.box[0]) * 168 / 320
        for seed in range(25) for o in render_scene(seed, QVGA).truth.targets
    ]
    assert np.mean(np.array(widths) >= 19.5) > 0.88
