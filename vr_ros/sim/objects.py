"""The shapes on the table: their own boxes, the parts that are drawn and the parts that touch.

Every object's frame sits in the centre of its own box, z up when it stands, x through a mug's
handle or along a bar.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

# Nominal sizes in metres and what each kind makes of them (x, y, z of its own box).
SIZE_M = {'small': 0.070, 'medium': 0.090, 'large': 0.116}
PROPORTIONS = {
    'cube': (0.94, 0.94, 0.94),
    'ball': (1.04, 1.04, 1.04),
    'cylinder': (0.94, 0.94, 1.14),
    'cone': (1.12, 1.12, 1.22),
    'mug': (1.26, 0.94, 1.02),
    'bowl': (1.40, 1.40, 0.60),
    'bar': (1.90, 0.60, 0.56),
}
# How far a mug's handle stands out of its body, as a share of the whole length along x.
HANDLE_SHARE = 0.254
BOWL_FOOT_SHARE = 0.5
INSIDE_SHADE = 0.62
LATHE_SEGMENTS = 28


@dataclass(frozen=True)
class Part:
    """One drawn or touching piece of an object.

    :param shape: box, sphere, cylinder, capsule, or the name of a mesh in :data:`MESHES`.
    :param size: half extents in metres (a capsule's z: half of its straight part), or a mesh's
        scale.
    :param position: centre in the object's frame, metres.
    :param rotation: (3, 3) from the part's frame to the object's.
    :param shade: factor on the object's colour.
    """

    shape: str
    size: tuple[float, float, float]
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    shade: float = 1.0


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh of unit size (the box from -0.5 to 0.5).

    :param vertices: (V, 3).
    :param normals: (V, 3) unit vectors.
    :param faces: (F, 3) indices, counter-clockwise seen from outside.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray


def visual_parts(kind: str, dimensions: tuple[float, float, float]) -> tuple[Part, ...]:
    """List what is drawn of an object.

    :param dimensions: edge lengths of the object's own box, metres.
    """
    half = tuple(edge / 2 for edge in dimensions)
    if kind in ('cube', 'bar'):
        return (Part('box', half),)
    if kind == 'ball':
        return (Part('sphere', half),)
    if kind == 'cylinder':
        return (Part('cylinder', half),)
    if kind == 'cone':
        return (Part('cone', dimensions),)
    if kind == 'bowl':
        inside = Part('bowl_inside', dimensions, shade=INSIDE_SHADE)
        return (Part('bowl_outside', dimensions), inside)
    body, offset = _mug_body(dimensions)
    return (
        Part('mug_outside', body, offset),
        Part('mug_inside', body, offset, shade=INSIDE_SHADE),
        *_handle(dimensions),
    )


def collision_parts(kind: str, dimensions: tuple[float, float, float]) -> tuple[Part, ...]:
    """List the solid pieces that physics sees; mugs and bowls are filled: nothing falls in."""
    if kind == 'mug':
        body, offset = _mug_body(dimensions)
        return (Part('cylinder', tuple(edge / 2 for edge in body), offset), *_handle(dimensions))
    if kind == 'bowl':
        radius, half = dimensions[0] / 2, dimensions[2] / 4
        foot = Part('cylinder', (radius * 0.7, radius * 0.7, half), (0.0, 0.0, -half))
        return (foot, Part('cylinder', (radius, radius, half), (0.0, 0.0, half)))
    return visual_parts(kind, dimensions)


def _mug_body(
    dimensions: tuple[float, float, float],
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Size and centre of a mug without its handle, metres."""
    handle = HANDLE_SHARE * dimensions[0]
    return (dimensions[0] - handle, dimensions[1], dimensions[2]), (-handle / 2, 0.0, 0.0)


def _handle(dimensions: tuple[float, float, float], pieces: int = 6) -> tuple[Part, ...]:
    """Half an ellipse of capsules in the x-z plane, from the body's wall and back to it."""
    length, _, height = dimensions
    radius = 0.06 * height
    wall = length / 2 - HANDLE_SHARE * length
    reach = length / 2 - radius - wall
    angles = np.linspace(-np.pi / 2, np.pi / 2, pieces + 1)
    points = np.stack(
        [wall + reach * np.cos(angles), np.zeros(pieces + 1), 0.30 * height * np.sin(angles)], 1
    )
    return tuple(
        _capsule(start, end, radius) for start, end in zip(points[:-1], points[1:], strict=True)
    )


def _capsule(start: np.ndarray, end: np.ndarray, radius: float) -> Part:
    axis = end - start
    length = float(np.linalg.norm(axis))
    z = axis / length
    y = np.array([0.0, 1.0, 0.0])
    rotation = np.stack([np.cross(y, z), y, z], 1)
    middle = tuple(float(v) for v in (start + end) / 2)
    return Part('capsule', (radius, radius, length / 2), middle, rotation)


def _lathe(profile: list[tuple[float, float]], smooth: bool = False) -> Mesh:
    """Turn a profile around z.

    :param profile: (radius, z) points; the surface faces to the right of the direction of travel.
    :param smooth: blend the normals of neighbouring rings (a curved profile), no creases.
    """
    points = np.array(profile)
    steps = np.diff(points, axis=0)
    sides = np.stack([steps[:, 1], -steps[:, 0]], 1)
    sides /= np.linalg.norm(sides, axis=1, keepdims=True)
    angles = np.linspace(0.0, 2 * np.pi, LATHE_SEGMENTS + 1)[:-1]
    around = np.stack([np.cos(angles), np.sin(angles)], 1)
    vertices, normals, faces = [], [], []
    for i, side in enumerate(sides):
        ends = (side, side)
        if smooth:
            ends = (sides[max(i - 1, 0)] + side, side + sides[min(i + 1, len(sides) - 1)])
        base = len(vertices) * LATHE_SEGMENTS
        for (radius, z), normal in zip(points[i:i + 2], ends, strict=True):
            vertices.append(np.column_stack([radius * around, np.full(LATHE_SEGMENTS, z)]))
            unit = normal / np.linalg.norm(normal)
            normals.append(np.column_stack([unit[0] * around, np.full(LATHE_SEGMENTS, unit[1])]))
        here = base + np.arange(LATHE_SEGMENTS)
        following = base + (np.arange(LATHE_SEGMENTS) + 1) % LATHE_SEGMENTS
        if points[i][0] > 0:
            faces.append(np.stack([here, following, here + LATHE_SEGMENTS], 1))
        if points[i + 1][0] > 0:
            upper = here + LATHE_SEGMENTS
            faces.append(np.stack([following, following + LATHE_SEGMENTS, upper], 1))
    return Mesh(np.concatenate(vertices), np.concatenate(normals), np.concatenate(faces))


def _bowl_profile(radius: float, bottom: float, foot: float) -> list[tuple[float, float]]:
    """Quarter of an ellipse from the foot up to the rim at z = 0.5."""
    angles = np.linspace(np.arcsin(foot / radius), np.pi / 2, 7)
    top = np.cos(angles[0])
    return [(radius * np.sin(a), 0.5 - (0.5 - bottom) * np.cos(a) / top) for a in angles]


def _bowl_outside() -> Mesh:
    wall = _lathe(_bowl_profile(0.5, -0.5, 0.5 * BOWL_FOOT_SHARE), smooth=True)
    return _joined(_lathe([(0.0, -0.5), (0.5 * BOWL_FOOT_SHARE, -0.5)]), wall,
                   _lathe([(0.5, 0.5), (0.455, 0.5)]))


def _bowl_inside() -> Mesh:
    wall = _lathe(_bowl_profile(0.455, -0.38, 0.2)[::-1], smooth=True)
    return _joined(wall, _lathe([(0.2, -0.38), (0.0, -0.38)]))


def _joined(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.normals for m in meshes]),
        np.concatenate([m.faces + start for m, start in zip(meshes, starts, strict=True)]),
    )


# Meshes of unit size by name; a part scales them to its own box.
MESHES: dict[str, Callable[[], Mesh]] = {
    'cone': lambda: _lathe([(0.0, -0.5), (0.5, -0.5), (0.0, 0.5)]),
    'mug_outside': lambda: _lathe([(0.0, -0.5), (0.5, -0.5), (0.5, 0.5), (0.43, 0.5)]),
    'mug_inside': lambda: _lathe([(0.43, 0.5), (0.43, -0.4), (0.0, -0.4)]),
    'bowl_outside': _bowl_outside,
    'bowl_inside': _bowl_inside,
}
