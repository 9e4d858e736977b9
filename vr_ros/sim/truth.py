"""Ground truth of one rendered frame."""

from __future__ import annotations

from dataclasses import dataclass

from vr_ros.core.types import Mask, Size

KINDS = ('cube', 'ball', 'cylinder', 'cone', 'mug', 'bowl', 'bar')
COLOURS = ('red', 'green', 'blue', 'yellow', 'orange', 'purple', 'white', 'black')
SIZES = ('small', 'medium', 'large')

# Objects less visible or smaller than this are no targets and never counted.
MIN_VISIBLE_FRACTION = 0.25
MIN_EXTENT_PX = 12


@dataclass(frozen=True)
class ObjectTruth:
    """One object as the camera sees it.

    :param box: x_min, y_min, x_max, y_max in pixels around the visible mask (x_max, y_max
        exclusive).
    :param point: x, y in pixels: the maximum of the visible mask's distance transform.
    :param visible_fraction: visible area / area if nothing occluded it and the image did not end.
    :param distance_m: from the camera centre to the object's centre.
    :param surface_point: median of the visible surface in the camera's optical frame, metres.
    :param center: centre of the object's own box in the optical frame, metres.
    :param orientation: x, y, z, w of the object's own box in the optical frame.
    :param dimensions: edge lengths of the object's own box, metres.
    :param world_position: centre in the world frame (z up, table top at z = 0), metres.
    """

    id: int
    kind: str
    colour: str
    size_name: str
    box: tuple[float, float, float, float]
    point: tuple[float, float]
    mask: Mask
    visible_fraction: float
    distance_m: float
    surface_point: tuple[float, float, float]
    center: tuple[float, float, float]
    orientation: tuple[float, float, float, float]
    dimensions: tuple[float, float, float]
    world_position: tuple[float, float, float]

    @property
    def is_target(self) -> bool:
        """Visible enough to be asked for and counted."""
        extent = min(self.box[2] - self.box[0], self.box[3] - self.box[1])
        return self.visible_fraction >= MIN_VISIBLE_FRACTION and extent >= MIN_EXTENT_PX


@dataclass(frozen=True)
class FrameTruth:
    """Everything that is true about one frame.

    :param camera_matrix: fx, fy, cx, cy in pixels.
    :param camera_pose: position x, y, z (metres) and orientation x, y, z, w of the optical frame
        in the world.
    """

    seed: int
    size: Size
    objects: tuple[ObjectTruth, ...]
    camera_matrix: tuple[float, float, float, float]
    camera_pose: tuple[float, float, float, float, float, float, float]

    @property
    def targets(self) -> tuple[ObjectTruth, ...]:
        return tuple(o for o in self.objects if o.is_target)
