"""Where the simulated camera is and what it projects to.

The optical frame is that of REP 103: x right, y down, z forward.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from vr_ros.core.types import Size


@dataclass(frozen=True)
class CameraPose:
    """Pose of the optical frame in the world, with the lens.

    :param position: metres.
    :param orientation: x, y, z, w.
    :param fovy_rad: full vertical angle of view.
    """

    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float]
    fovy_rad: float

    @property
    def rotation(self) -> np.ndarray:
        """Rotation matrix (3, 3) from the optical frame to the world."""
        return Rotation.from_quat(self.orientation).as_matrix()


def look_at(
    position: np.ndarray, target: np.ndarray, fovy_rad: float, roll_rad: float = 0.0
) -> CameraPose:
    """Point a camera at a target, image upright (world z up) but for the roll.

    :raises ValueError: when the camera looks straight up or down, where upright has no meaning.
    """
    forward = np.asarray(target, float) - position
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    if np.linalg.norm(right) < 1e-6:
        raise ValueError('the camera looks along the vertical: there is no upright image')
    right /= np.linalg.norm(right)
    level = np.stack([right, np.cross(forward, right), forward], 1)
    rotation = Rotation.from_matrix(level) * Rotation.from_euler('z', roll_rad)
    x, y, z, w = (float(v) for v in rotation.as_quat())
    return CameraPose(tuple(float(v) for v in position), (x, y, z, w), fovy_rad)


def camera_matrix(fovy_rad: float, size: Size) -> tuple[float, float, float, float]:
    """Compute fx, fy, cx, cy in pixels; pixel centres are whole numbers, as in camera_info."""
    focal = size.height / 2 / float(np.tan(fovy_rad / 2))
    return focal, focal, (size.width - 1) / 2, (size.height - 1) / 2


def to_optical(points: np.ndarray, pose: CameraPose) -> np.ndarray:
    """Map world points (..., 3) in metres into the optical frame."""
    return (points - np.array(pose.position)) @ pose.rotation


def project(points: np.ndarray, pose: CameraPose, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Project world points (..., 3) in metres.

    :return: (..., 2) x, y in pixels and (...) depth along the optical axis in metres.
    """
    optical = to_optical(points, pose)
    focal, _, cx, cy = camera_matrix(pose.fovy_rad, size)
    depth = optical[..., 2]
    return optical[..., :2] / depth[..., None] * focal + (cx, cy), depth
