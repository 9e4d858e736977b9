"""Rigid transforms between frames, as tf has them."""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.spatial.transform import Rotation

from vr_ros.core.types import Position

Triple = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


@dataclass(frozen=True)
class Transform:
    """Takes points of one frame to another; without arguments both are the same.

    :param translation: where the first frame's origin is in the second, metres.
    :param rotation: of the first frame's axes in the second: quaternion x, y, z, w.
    :raises ValueError: a number is not finite, or the rotation is none.
    """

    translation: Triple = (0.0, 0.0, 0.0)
    rotation: Quaternion = (0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        if not np.isfinite((*self.translation, *self.rotation)).all():
            raise ValueError('a transform has finite numbers')
        if not any(self.rotation):
            raise ValueError('a quaternion of zeros is no rotation')

    @cached_property
    def _turn(self) -> Rotation:
        return Rotation.from_quat(self.rotation)

    @property
    def matrix(self) -> np.ndarray:
        """(4, 4) float64, for points in columns with a 1 below."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self._turn.as_matrix(), self.translation
        return matrix

    def point(self, point: Triple) -> Triple:
        """Take a point over, metres."""
        x, y, z = (float(v) for v in self._turn.apply(point) + self.translation)
        return x, y, z

    def orientation(self, orientation: Quaternion) -> Quaternion:
        """Take an orientation over: quaternion x, y, z, w."""
        x, y, z, w = (float(v) for v in (self._turn * Rotation.from_quat(orientation)).as_quat())
        return x, y, z, w

    def position(self, position: Position) -> Position:
        """Take over where an object is; sizes and stddev_m stay."""
        return replace(position, surface_point=self.point(position.surface_point),
                       center=self.point(position.center),
                       orientation=self.orientation(position.orientation))
