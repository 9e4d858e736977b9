"""The simulated table, its camera and its gripper, in a thread of their own: rendering and physics
hold up nobody."""
from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import cv2

from vr_ros.core.types import Size
from vr_ros.sim.gripper import pick
from vr_ros.sim.renderer import Frame, TableCamera
from vr_ros.sim.scene import orbit_pose, sample_scene
from vr_ros.sim.world import World

JPEG_QUALITY = 90


@dataclass(frozen=True)
class View:
    """What to photograph, and from where.

    :param seed: of the scene.
    :param objects: how many; 0: drawn from the seed.
    :param angle_rad: along the orbit; 0 is the scene's own view.
    """

    seed: int
    objects: int
    angle_rad: float


@dataclass(frozen=True)
class Photo:
    """A picture of a view, with everything that is true about it."""

    view: View
    frame: Frame

    @cached_property
    def jpeg(self) -> bytes:
        """The colour image as a JPEG file."""
        done, data = cv2.imencode(
            '.jpg', cv2.cvtColor(self.frame.rgb, cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not done:
            raise ValueError('the picture cannot be written as JPEG')
        return data.tobytes()


@dataclass(frozen=True)
class Grasp:
    """What came of a goal for the gripper.

    :param held: size, colour and kind of what hangs from it now, '' for nothing.
    :param touched: whether it met anything on its way down.
    """

    held: str
    touched: bool


class Studio:
    """Takes pictures and moves the gripper, one after the other.

    :param size: of the pictures in pixels.
    """

    def __init__(self, size: Size) -> None:
        self._size = size
        self._scene: tuple[int, int] | None = None
        self._camera: TableCamera | None = None
        self._held: tuple[int, ...] = ()
        # A GL context belongs to one thread.
        self._thread = ThreadPoolExecutor(1, 'vr_ros simulator')

    def photograph(self, view: View) -> Future[Photo]:
        """Take a picture; a new scene is built and settled first.

        :raises RuntimeError: from the future, when no off-screen GL is available.
        """
        return self._thread.submit(self._photograph, view)

    def grasp(self, view: View, target: Sequence[float]) -> Future[Grasp]:
        """Lift what is at a place; pictures of the scene then show it hang there.

        What was held before is put away first, out of the scene. A new scene has all of its
        objects on the table again.

        :param target: x, y, z in the world, metres.
        :raises ValueError: from the future, when the place is out of reach; nothing has moved.
        """
        return self._thread.submit(self._grasp, view, tuple(target))

    def close(self) -> None:
        """Take no more pictures; one that is being taken is waited for."""
        self._thread.shutdown(cancel_futures=True)

    def _photograph(self, view: View) -> Photo:
        camera = self._camera_at(view)
        return Photo(view, camera.render(orbit_pose(camera.world.spec, view.angle_rad)))

    def _grasp(self, view: View, target: tuple[float, ...]) -> Grasp:
        world = self._camera_at(view).world
        left = {i: pose for i, pose in world.poses.items() if i not in self._held}
        result = pick(World.posed(world.spec, left), target)
        self._camera = TableCamera(World.posed(world.spec, result.poses), self._size)
        self._held = result.lifted
        held = [world.spec.objects[i] for i in result.lifted]
        return Grasp(', '.join(f'{o.size_name} {o.colour} {o.kind}' for o in held), result.touched)

    def _camera_at(self, view: View) -> TableCamera:
        """Get the camera of a view's scene; a new scene is built and settled first."""
        scene = (view.seed, view.objects)
        if self._camera is None or self._scene != scene:
            self._camera = TableCamera(sample_scene(view.seed, view.objects or None), self._size)
            self._scene, self._held = scene, ()
        return self._camera
