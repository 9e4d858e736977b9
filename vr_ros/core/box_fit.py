"""A gravity-aligned box around the points of an object that is seen from one side."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from vr_ros.core.support_plane import SupportPlane

# Points up to this height, or so many standard deviations of the plane's noise, are of the plane.
PLANE_M = 0.004
PLANE_DEVIATIONS = 3.0
# With fewer points above the plane, or a smaller share of them, the object is taken as flat.
MIN_BODY_POINTS = 16
MIN_BODY_SHARE = 0.2
# Rectangles with areas that differ by less than this share are as good as each other.
TIE_SHARE = 0.06
# Share of the points left out at either end of an axis.
TRIM_SHARE = 0.001
# Of the height, or in standard deviations of the plane's noise: how far the top reaches down.
TOP_SHARE = 0.012
TOP_DEVIATIONS = 4.0
# Of an axis's length: what counts as its far end.
END_SHARE = 0.03
# Cosine between an outward direction and the camera's, above which that side faces the camera.
FACING = 0.3


@dataclass(frozen=True)
class FittedBox:
    """A box in the optical frame.

    :param center: (3,) metres.
    :param axes: (3, 3) unit vectors in columns, right-handed: along the longer edge of the
        footprint, along the shorter one, up.
    :param size: (3,) metres along the axes.
    """

    center: np.ndarray
    axes: np.ndarray
    size: np.ndarray


def fit_box(
    points: np.ndarray, up: np.ndarray, plane: SupportPlane | None, pixel_rad: float,
    eroded_px: int,
) -> FittedBox:
    """Fit the smallest upright box, completed where the object hides its own back.

    The footprint is the rectangle of least area around the points above the plane. Where they end
    on a side that looks away from the camera below the object's top, the object slopes down and
    goes on behind: that side is taken to mirror the near one about the top, as with balls, cones
    and lying cylinders, but not beyond what the object hides from the camera.

    :param points: (N, 3) of the visible surface, metres in the optical frame.
    :param up: (3,) unit vector against gravity.
    :param plane: what the object stands on; None lets the box begin at the lowest point.
    :param pixel_rad: width of a pixel at one metre in metres.
    :param eroded_px: pixels that were taken off at the mask's border, and are added again.
    """
    base = _base(points, up, plane)
    heights = points @ up - base
    body, height = _body(points, heights, plane)
    heights = body @ up - base
    middle = body.mean(0)
    ray = middle / np.linalg.norm(middle)
    first, second = _horizontal_axes(up, ray)
    flat = np.stack([body @ first, body @ second], 1)
    angle = least_rectangle_angle(flat)
    cos, sin = np.cos(angle), np.sin(angle)
    axes = [cos * first + sin * second, cos * second - sin * first]
    border_m = (eroded_px + 0.5) * pixel_rad * float(middle[2])
    noise = 0.0 if plane is None else plane.noise_m
    spans = [_span(body @ axis, heights, height, axis, up, ray, border_m, noise) for axis in axes]
    if spans[0][1] - spans[0][0] < spans[1][1] - spans[1][0]:
        axes, spans = [axes[1], -axes[0]], [spans[1], (-spans[0][1], -spans[0][0])]
    size = np.array([high - low for low, high in spans] + [height])
    frame = np.stack([*axes, up], 1)
    middles = np.array([(low + high) / 2 for low, high in spans] + [base + height / 2])
    return FittedBox(frame @ middles, frame, size)


def least_rectangle_angle(flat: np.ndarray) -> float:
    """Find how the rectangle of least area around points in a plane is turned.

    :param flat: (N, 2).
    :return: radians from the first axis to an edge of the rectangle, 0 to pi / 2; 0 for points
        that lie on a line along an axis.
    """
    try:
        corners = flat[ConvexHull(flat).vertices]
        edges = np.roll(corners, -1, 0) - corners
    except (QhullError, ValueError):
        # All on one line, or nearly so: the rectangle lies along it.
        corners, edges = flat, np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][:1]
    angles = np.unique(np.arctan2(edges[:, 1], edges[:, 0]) % (np.pi / 2))
    cos, sin = np.cos(angles), np.sin(angles)
    along = corners[:, :1] * cos + corners[:, 1:] * sin
    across = corners[:, 1:] * cos - corners[:, :1] * sin
    lengths, widths = np.ptp(along, 0), np.ptp(across, 0)
    areas = lengths * widths
    # A mug in a square, its handle in a corner, takes as little as in the oblong that is right.
    aspects = np.maximum(lengths, widths) / np.maximum(np.minimum(lengths, widths), 1e-9)
    aspects[areas > (1 + TIE_SHARE) * areas.min()] = 0.0
    return float(angles[aspects.argmax()])


def _base(points: np.ndarray, up: np.ndarray, plane: SupportPlane | None) -> float:
    if plane is None:
        return float(np.percentile(points @ up, 100 * TRIM_SHARE))
    # `up` may lean against the plane: what counts is its height under the object.
    middle = points.mean(0)
    return float(middle @ up) - float(plane.heights(middle)) * float(plane.normal @ up)


def _body(
    points: np.ndarray, heights: np.ndarray, plane: SupportPlane | None
) -> tuple[np.ndarray, float]:
    """Choose the points above the plane, and the height of the highest."""
    least = 0.0 if plane is None else max(PLANE_M, PLANE_DEVIATIONS * plane.noise_m)
    above = heights > least
    if np.count_nonzero(above) < max(MIN_BODY_POINTS, MIN_BODY_SHARE * len(points)):
        # As flat as the plane's noise: what rises above it are strays.
        return points, max(float(np.percentile(heights, 95)), least)
    rank = max(3, int(TRIM_SHARE * np.count_nonzero(above)))
    return points[above], float(np.sort(heights[above])[-rank])


def _horizontal_axes(up: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make unit vectors that stand on `up` and each other: to the right, and towards the camera."""
    right = np.cross(ray, up)
    if np.linalg.norm(right) < 1e-6:
        right = np.array([1.0, 0.0, 0.0]) - up[0] * up
    right /= np.linalg.norm(right)
    return right, np.cross(up, right)


def _span(
    along: np.ndarray, heights: np.ndarray, height: float, axis: np.ndarray, up: np.ndarray,
    ray: np.ndarray, border_m: float, noise_m: float,
) -> tuple[float, float]:
    """Find where the object begins and ends along a horizontal axis."""
    low, high = np.quantile(along, [TRIM_SHARE, 1 - TRIM_SHARE])
    level_ray = ray - (ray @ up) * up
    away = float(axis @ level_ray) / max(float(np.linalg.norm(level_ray)), 1e-9)
    # A step along the axis moves the image of a point by this much of it.
    moved = float(np.linalg.norm(axis - (axis @ ray) * ray))
    border = border_m / max(moved, 0.2)
    # A side that faces the camera is seen whole: what was taken off at the border is not its end.
    start = low - (border if away < FACING else 0.0)
    end = high + (border if away > -FACING else 0.0)
    if away > FACING:
        end = max(end, _hidden_end(along, heights, height, low, high, up, ray, away,
                                   noise_m))
    elif away < -FACING:
        start = min(start, -_hidden_end(-along, heights, height, -high, -low, up, ray,
                                        -away, noise_m))
    return float(start), float(end)


def _hidden_end(
    along: np.ndarray, heights: np.ndarray, height: float, low: float, high: float,
    up: np.ndarray, ray: np.ndarray, away: float, noise_m: float,
) -> float:
    """Guess where the object ends on the side that it hides itself, along an axis towards there."""
    far = along >= high - END_SHARE * (high - low)
    far_height = float(np.median(heights[far]))
    top_height = height - max(TOP_SHARE * height, TOP_DEVIATIONS * noise_m)
    top = along[heights > top_height]
    if not top.size or far_height > top_height:
        return high
    middle = float(top.min() + top.max()) / 2
    # What is hidden lies in the shadow that the seen points would cast, were the camera a lamp.
    down = max(-float(ray @ up), 1e-3)
    reach = float((1 - min(down, 1.0)**2) ** 0.5) / down * away
    return min(2 * middle - low, float((along + reach * heights).max()))
