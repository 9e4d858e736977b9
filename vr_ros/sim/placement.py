"""Where objects are put before physics: apart, inside the image, hiding each other only mildly."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from vr_ros.core.types import Size
from vr_ros.sim.cameras import CameraPose, project
from vr_ros.sim.objects import PROPORTIONS, SIZE_M

CUT_SHARE = 0.07
GAP_M = 0.008
# What to try in turn when an object finds no place: factor on the least distance in the image, and
# another size.
RELAXATIONS = ((1.0, ''), (0.8, ''), (0.6, ''), (0.6, 'small'), (0.4, 'small'), (0.3, 'small'))
# A mug on its side comes to rest on its handle.
LYING_TURN_RAD = {'mug': -0.6}
_VIEW = Size(640, 480)


@dataclass(frozen=True)
class ObjectSpec:
    """One object before physics.

    :param position: x, y on the table in metres.
    :param yaw: radians about the vertical.
    :param scale: factor on the nominal size, so that not all objects of a size are equal.
    :param rgb: the colour as painted, 0..1.
    """

    kind: str
    colour: str
    size_name: str
    position: tuple[float, float]
    yaw: float
    scale: float = 1.0
    lying: bool = False
    rgb: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @property
    def dimensions(self) -> tuple[float, float, float]:
        """Edge lengths of the object's own box in metres."""
        size = SIZE_M[self.size_name] * self.scale
        x, y, z = PROPORTIONS[self.kind]
        return (x * size, y * size, z * size)

    @property
    def rotation(self) -> Rotation:
        """Orientation on the table; a lying object's axis is horizontal."""
        upright = Rotation.from_euler('z', self.yaw)
        if not self.lying:
            return upright
        turn = LYING_TURN_RAD.get(self.kind, 0.0)
        return upright * Rotation.from_euler('x', np.pi / 2) * Rotation.from_euler('z', turn)

    @property
    def height(self) -> float:
        """Extent along the vertical in metres."""
        return self.dimensions[1 if self.lying else 2]


def _footprint(spec: ObjectSpec) -> np.ndarray:
    """Cover an object at the origin with circles on the table: (C, 3) x, y, radius in metres."""
    x, y, z = spec.dimensions
    depth = z if spec.lying else y
    if spec.kind in ('ball', 'cylinder', 'cone', 'bowl') and not spec.lying:
        return np.array([[0.0, 0.0, x / 2]])
    if x < 1.5 * depth:
        return np.array([[0.0, 0.0, float(np.hypot(x, depth)) / 2]])
    pieces = 3
    radius = float(np.hypot(x / pieces, depth)) / 2
    along = (np.arange(pieces) - (pieces - 1) / 2) * x / pieces
    return np.column_stack([
        along * np.cos(spec.yaw), along * np.sin(spec.yaw), np.full(pieces, radius)
    ])


def placed(
    rng: np.random.Generator, objects: list[ObjectSpec], pose: CameraPose
) -> tuple[ObjectSpec, ...]:
    """Spread objects over the visible table, large ones first.

    Distances in the image are kept as well, so that objects hide each other only mildly. What finds
    no place is tried smaller; the last resort leaves it out.
    """
    apart = float(rng.uniform(0.42, 0.80))
    order = sorted(range(len(objects)), key=lambda i: -float(np.prod(objects[i].dimensions[:2])))
    circles = np.zeros((0, 4))
    chosen: dict[int, ObjectSpec] = {}
    for index in order:
        inset = 0.3 if rng.random() < CUT_SHARE else 0.95
        for relax, size_name in RELAXATIONS:
            spec = replace(objects[index], size_name=size_name or objects[index].size_name)
            footprint = np.column_stack([_footprint(spec), np.zeros(len(_footprint(spec)))])
            footprint[:, 3] = spec.height / 2
            position = _free_place(rng, footprint, circles, pose, inset, apart * relax)
            if position is not None:
                chosen[index] = replace(spec, position=tuple(float(v) for v in position))
                circles = np.concatenate([circles, footprint + (*position, 0.0, 0.0)])
                break
    return tuple(chosen[i] for i in sorted(chosen))


def _free_place(
    rng: np.random.Generator, footprint: np.ndarray, circles: np.ndarray, pose: CameraPose,
    inset: float, apart: float, tries: int = 160,
) -> np.ndarray | None:
    """Find x, y for a footprint: on free table, inside the image, not hiding much.

    :param footprint: (C, 4) x, y, radius, height of the centre; metres.
    :param circles: (P, 4) what is placed already, likewise.
    :param inset: least distance of a circle's centre from the image border, in its own radii.
    :param apart: least distance of centres in the image, as a share of the sum of the radii.
    """
    candidates = rng.uniform(-0.36, 0.36, (tries, 2))
    own = candidates[:, None, :] + footprint[None, :, :2]
    centres = np.concatenate([own, np.broadcast_to(footprint[:, 3:], (*own.shape[:2], 1))], 2)
    pixels, depth = project(centres, pose, _VIEW)
    focal = _VIEW.height / 2 / np.tan(pose.fovy_rad / 2)
    radii = focal * footprint[:, 2] / depth
    border = np.minimum(pixels, np.array([_VIEW.width, _VIEW.height]) - pixels).min(2)
    good = (border >= inset * radii).all(1)
    if len(circles):
        others = circles[:, [0, 1, 3]]
        other_pixels, other_depth = project(others, pose, _VIEW)
        other_radii = focal * circles[:, 2] / other_depth
        on_table = np.linalg.norm(own[:, :, None] - circles[:, :2], axis=3)
        good &= (on_table >= footprint[:, None, 2] + circles[:, 2] + GAP_M).all((1, 2))
        in_image = np.linalg.norm(pixels[:, :, None] - other_pixels, axis=3)
        good &= (in_image >= apart * (radii[:, :, None] + other_radii)).all((1, 2))
    hits = np.flatnonzero(good)
    return candidates[hits[0]] if len(hits) else None
