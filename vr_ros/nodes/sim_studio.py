"""The simulated table and its camera, in a thread of their own: rendering holds up nobody."""
from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import cv2

from vr_ros.core.types import Size
from vr_ros.sim.renderer import Frame, TableCamera
from vr_ros.sim.scene import orbit_pose, sample_scene

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


class Studio:
    """Takes pictures, one after the other.

    :param size: of the pictures in pixels.
    """

    def __init__(self, size: Size) -> None:
        self._size = size
        self._scene: tuple[int, int] | None = None
        self._camera: TableCamera | None = None
        # A GL context belongs to one thread.
        self._thread = ThreadPoolExecutor(1, 'vr_ros simulator')

    def photograph(self, view: View) -> Future[Photo]:
        """Take a picture; a new scene is built and settled first.

        :raises RuntimeError: from the future, when no off-screen GL is available.
        """
        return self._thread.submit(self._photograph, view)

    def close(self) -> None:
        """Take no more pictures; one that is being taken is waited for."""
        self._thread.shutdown(cancel_futures=True)

    def _photograph(self, view: View) -> Photo:
        scene = (view.seed, view.objects)
        if self._camera is None or self._scene != scene:
            self._camera = TableCamera(sample_scene(view.seed, view.objects or None), self._size)
            self._scene = scene
        pose = orbit_pose(self._camera.world.spec, view.angle_rad)
        return Photo(view, self._camera.render(pose))
