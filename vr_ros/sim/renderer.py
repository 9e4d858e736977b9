"""The simulated camera: pictures of a settled world and everything that is true about them."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import find_objects
from scipy.spatial.transform import Rotation

from vr_ros.core.rle import crop_to_rle
from vr_ros.core.types import Size
from vr_ros.sim.cameras import CameraPose, camera_matrix, project, to_optical
from vr_ros.sim.canvas import DrawnObject, shared_canvas
from vr_ros.sim.objects import Part, visual_parts
from vr_ros.sim.scene import SceneSpec, TableSpec, orbit_pose, sample_scene
from vr_ros.sim.truth import FrameTruth, ObjectTruth
from vr_ros.sim.world import World

__all__ = ['Frame', 'TableCamera', 'orbit_pose', 'render_scene']

VGA = Size(640, 480)
FLOOR_Z_M = -0.75
# Groups in the identity image: objects by id, then these.
TABLE_GROUP, FLOOR_GROUP = 200, 201
SHININESS = {'ball': 0.75, 'mug': 0.6, 'bowl': 0.5, 'cylinder': 0.4}


@dataclass(frozen=True)
class Frame:
    """One picture and its truth.

    :param rgb: (H, W, 3) uint8.
    :param depth: (H, W) float32, metres along the optical axis, 0 where nothing is.
    """

    rgb: np.ndarray
    depth: np.ndarray
    truth: FrameTruth


class TableCamera:
    """Takes pictures of one world from any number of places.

    :param world: a settled world, or a scene to settle first.
    :param size: of the pictures in pixels.
    """

    def __init__(self, world: World | SceneSpec, size: Size = VGA) -> None:
        self.world = world if isinstance(world, World) else World(world)
        self.size = size
        self._closed = False
        self._drawn = tuple(_drawn_world(self.world))

    def __enter__(self) -> TableCamera:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Take no more pictures. The GL context stays: it serves every camera of this thread."""
        self._closed = True
        self._drawn = ()

    def render(self, camera_pose: CameraPose | None = None) -> Frame:
        """Take a picture.

        :param camera_pose: None for the scene's own camera.
        :raises RuntimeError: after close, or when no off-screen GL is available.
        """
        if self._closed:
            raise RuntimeError('this camera is closed')
        pose = camera_pose or self.world.spec.camera.pose
        canvas = shared_canvas()
        canvas.set_scene(self._drawn, self.world.spec.lights)
        rgb = canvas.draw_rgb(pose, self.size)
        groups, depth = canvas.draw_ids(pose, self.size)
        return Frame(rgb, depth, self._truth(pose, groups, depth))

    def _truth(self, pose: CameraPose, groups: np.ndarray, depth: np.ndarray) -> FrameTruth:
        bounds = {i: _pixel_bounds(self.world, i, pose, self.size) for i in self.world.poses}
        objects = []
        for i, window in _windows(groups, list(bounds)):
            mask = groups[window] == i
            fraction = 1.0
            if _may_be_hidden(i, bounds, self.size):
                alone = shared_canvas().alone_area(i, pose, self.size, bounds[i])
                fraction = min(1.0, float(np.count_nonzero(mask)) / max(alone, 1))
            objects.append(self._object_truth(i, pose, window, mask, depth[window], fraction))
        return FrameTruth(
            self.world.spec.seed, self.size, tuple(objects),
            camera_matrix(pose.fovy_rad, self.size), (*pose.position, *pose.orientation),
        )

    def _object_truth(
        self, index: int, pose: CameraPose, window: tuple[slice, slice], mask: np.ndarray,
        depth: np.ndarray, fraction: float,
    ) -> ObjectTruth:
        spec, rest = self.world.spec.objects[index], self.world.poses[index]
        top, left = window[0].start, window[1].start
        center = to_optical(np.array(rest.position), pose)
        turn = Rotation.from_matrix(pose.rotation.T @ rest.rotation)
        return ObjectTruth(
            id=index, kind=spec.kind, colour=spec.colour, size_name=spec.size_name,
            box=(float(left), float(top), float(window[1].stop), float(window[0].stop)),
            point=_innermost(mask, left, top),
            mask=crop_to_rle(mask, left, top, self.size),
            visible_fraction=fraction,
            distance_m=float(np.linalg.norm(center)),
            surface_point=_surface_point(mask, depth, left, top, pose, self.size),
            center=_floats(center),
            orientation=_floats(turn.as_quat()),
            dimensions=spec.dimensions,
            world_position=rest.position,
        )


def render_scene(seed: int, size: Size = VGA, count: int | None = None) -> Frame:
    """Draw, settle and photograph the scene of a seed with its own camera.

    :param count: number of objects; None draws it from the seed.
    """
    with TableCamera(sample_scene(seed, count), size) as camera:
        return camera.render()


def _drawn_world(world: World) -> list[DrawnObject]:
    drawn = [
        DrawnObject(
            i, visual_parts(spec.kind, spec.dimensions), np.array(world.poses[i].position),
            world.poses[i].rotation, spec.rgb, SHININESS.get(spec.kind, 0.25),
        )
        for i, spec in world.objects.items()
    ]
    return [*drawn, *_drawn_table(world.spec.table)]


def _drawn_table(table: TableSpec) -> tuple[DrawnObject, DrawnObject]:
    turn = Rotation.from_euler('z', table.yaw).as_matrix()
    top = Part('box', (*table.half_size, 0.02), (0.0, 0.0, -0.02))
    floor = Part('box', (4.0, 4.0, 0.02), (0.0, 0.0, FLOOR_Z_M))
    return (
        DrawnObject(TABLE_GROUP, (top,), np.zeros(3), turn, table.rgb, 0.1, table.texture),
        DrawnObject(
            FLOOR_GROUP, (floor,), np.zeros(3), turn, table.floor_rgb, 0.0, table.floor_texture),
    )


def _pixel_bounds(
    world: World, index: int, pose: CameraPose, size: Size
) -> tuple[int, int, int, int]:
    """Bound the image of an object's own box, at most one image beyond the border."""
    rest, dimensions = world.poses[index], world.spec.objects[index].dimensions
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = (signs * dimensions / 2) @ rest.rotation.T + rest.position
    whole = np.array([size.width, size.height])
    pixels, depth = project(corners, pose, size)
    if depth.min() <= 0:
        low, high = -whole, 2 * whole
    else:
        low = np.clip(np.floor(pixels.min(0)) - 1, -whole, 2 * whole - 1)
        high = np.clip(np.ceil(pixels.max(0)) + 2, low + 1, 2 * whole)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _may_be_hidden(
    index: int, bounds: dict[int, tuple[int, int, int, int]], size: Size
) -> bool:
    """Tell whether the image border or another object can take away from this one."""
    x_min, y_min, x_max, y_max = bounds[index]
    if x_min < 0 or y_min < 0 or x_max > size.width or y_max > size.height:
        return True
    return any(
        x_min < b[2] and b[0] < x_max and y_min < b[3] and b[1] < y_max
        for i, b in bounds.items() if i != index
    )


def _windows(
    groups: np.ndarray, ids: list[int]
) -> list[tuple[int, tuple[slice, slice]]]:
    """Find the rows and columns of each object that shows at least one pixel."""
    labels = groups + np.uint8(1)
    labels[groups >= TABLE_GROUP] = 0
    found = find_objects(labels, max_label=max(ids, default=0) + 1)
    return [(i, found[i]) for i in ids if found[i] is not None]


def _innermost(mask: np.ndarray, left: int, top: int) -> tuple[float, float]:
    """Pixel farthest from the mask's edge; the image border counts as edge.

    The ridge of a long object is level but for half a pixel of sampling noise: of all pixels that
    near to the maximum, the most central one is taken.
    """
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    # Rounded, because the last bit differs from call to call.
    distance = distance.round(2)
    rows, columns = np.nonzero(distance >= distance.max() - 0.5)
    off_centre = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    chosen = int(off_centre.argmin())
    return float(left + columns[chosen]), float(top + rows[chosen])


def _surface_point(
    mask: np.ndarray, depth: np.ndarray, left: int, top: int, pose: CameraPose, size: Size
) -> tuple[float, float, float]:
    """Median of the visible surface per axis, optical frame, metres."""
    focal, _, cx, cy = camera_matrix(pose.fovy_rad, size)
    rows, columns = np.nonzero(mask)
    z = depth[rows, columns].astype(np.float64)
    points = np.stack([(columns + left - cx) / focal * z, (rows + top - cy) / focal * z, z], 1)
    return _floats(np.median(points, 0))


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
