"""The plane that an object stands on, found in the points around it."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# What a robot sees of a level camera's surroundings, REP 103: y of the optical frame is down.
LEVEL_UP = (0.0, -1.0, 0.0)

_MAX_POINTS = 700
_TRIPLES = 160
_PLANES = 3
# Of the points around: less is no support, but a face of some other object.
_LEAST_SHARE = 0.2
_LEAST_POINTS = 24
# Of the object's own points: more below the plane, and it does not stand on it.
_MAX_BELOW_SHARE = 0.03
# What is seen of an object that stands on a plane begins near it: as a share of what is seen.
_CONTACT_SHARE = 0.5
_CONTACT_M = 0.03
# A plane whose normal points down in the image is a wall, seen by a camera that looks down.
_LEAST_UPWARD = -0.3


@dataclass(frozen=True)
class SupportPlane:
    """The points p with normal . p = offset_m, in the optical frame.

    :param normal: (3,) unit vector on the side of the camera: against gravity.
    :param noise_m: robust standard deviation of the points from it.
    """

    normal: np.ndarray
    offset_m: float
    noise_m: float

    def heights(self, points: np.ndarray) -> np.ndarray:
        """Distances of points (..., 3) above the plane, metres."""
        return points @ self.normal - self.offset_m


def find_support_plane(
    around: np.ndarray, inside: np.ndarray, up: np.ndarray | None = None
) -> SupportPlane | None:
    """Find the plane that carries an object.

    The plane with the most points is taken if the object begins near it. Otherwise, of up to three
    planes with many points, it is the one nearest below the object: at a table's edge the floor may
    have more points than the table. The same points give the same plane.

    :param around: (N, 3) finite points beside the object, metres, optical frame.
    :param inside: (M, 3) finite points of the object.
    :param up: (3,) unit vector against gravity if known: only planes across it are looked for.
    :return: None where nothing of the kind is there.
    """
    around = around[:: max(1, len(around) // _MAX_POINTS)]
    inside = inside[:: max(1, len(inside) // _MAX_POINTS)]
    if len(around) < _LEAST_POINTS or not len(inside):
        return None
    rng = np.random.default_rng(0)
    least = max(_LEAST_POINTS, int(_LEAST_SHARE * len(around)))
    best, best_gap = None, np.inf
    for _ in range(_PLANES):
        if len(around) < least:
            break
        normals, offsets = _candidates(around, up, rng)
        usable = _below(normals, offsets, inside)
        normals, offsets = normals[usable], offsets[usable]
        if not len(normals):
            break
        tolerance = _tolerance(around)
        distances = np.abs(around @ normals.T - offsets)
        counts = (distances < tolerance[:, None]).sum(0)
        chosen = int(counts.argmax())
        if counts[chosen] < least:
            break
        plane, near = _refined(around, distances[:, chosen] < tolerance, up)
        low, high = np.percentile(plane.heights(inside), (5, 95))
        if _below(plane.normal[None], np.array([plane.offset_m]), inside)[0] and low < best_gap:
            best, best_gap = plane, low
            if low < max(_CONTACT_SHARE * (high - low), _CONTACT_M):
                break
        around = around[~near]
    return best


def _tolerance(points: np.ndarray) -> np.ndarray:
    """How far a point of a plane may be measured from it: stereo's error grows with z squared."""
    return 0.003 + 0.003 * points[:, 2] ** 2


def _candidates(
    points: np.ndarray, up: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Lay planes through triples of points, or across `up` through single ones."""
    if up is not None:
        chosen = points[rng.integers(len(points), size=_TRIPLES)]
        return np.tile(up, (_TRIPLES, 1)), chosen @ up
    a, b, c = points[rng.integers(len(points), size=(3, _TRIPLES))]
    normals = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normals, axis=1)
    flat = lengths > 1e-9
    normals = normals[flat] / lengths[flat, None]
    offsets = (normals * a[flat]).sum(1)
    # The camera, at the origin, sees a plane from above.
    sign = np.where(offsets > 0, -1.0, 1.0)
    normals, offsets = normals * sign[:, None], offsets * sign
    upright = normals @ np.array(LEVEL_UP) > _LEAST_UPWARD
    return normals[upright], offsets[upright]


def _below(normals: np.ndarray, offsets: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Tell which planes are below the object: nearly all of its points on their upper side."""
    heights = inside @ normals.T - offsets
    below = heights < -2 * _tolerance(inside)[:, None]
    return below.mean(0) <= _MAX_BELOW_SHARE


def _refined(
    points: np.ndarray, near: np.ndarray, up: np.ndarray | None
) -> tuple[SupportPlane, np.ndarray]:
    """Fit the plane to all points near it, twice."""
    tolerance = _tolerance(points)
    for _ in range(2):
        chosen = points[near]
        middle = chosen.mean(0)
        if up is None:
            normal = np.linalg.svd(chosen - middle, full_matrices=False)[2][2]
            normal = normal * (-1.0 if normal @ middle > 0 else 1.0)
            offset = float(normal @ middle)
        else:
            normal, offset = up, float(np.median(chosen @ up))
        distances = np.abs(points @ normal - offset)
        near = distances < tolerance
    noise = 1.4826 * float(np.median(distances[near])) if near.any() else 0.0
    return SupportPlane(normal, offset, noise), near
