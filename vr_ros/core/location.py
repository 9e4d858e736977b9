"""Where objects are in 3-D: the points under their masks become surface points and boxes."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion
from scipy.spatial.transform import Rotation

from vr_ros.core.box_fit import fit_box
from vr_ros.core.rle import rle_box
from vr_ros.core.support_plane import LEVEL_UP, find_support_plane
from vr_ros.core.types import Detection, Mask, Position, PositionStatus, Size

# Fewer pixels with depth say nothing about a surface.
MIN_POINTS = 16
# An object with more pixels is sampled at every second, third ... of them: time stays bounded.
MAX_CROP_PX = 24_000
# How much of the surroundings is looked at for the support plane, as a share of the box.
RING_SHARE = 0.5
RING_PX = 8
# A mask's border is wrong by about this much; the support plane is looked for beyond.
RING_GAP_PX = 3
MASK_ERROR_PX = 2.0
# Masks of fewer pixels keep their border.
MIN_ERODED_PX = 900
# What neighbouring pixels of one surface may differ in depth: in pixel widths, and of the depth.
JUMP_PIXELS = 8.0
JUMP_SHARE = 0.012
# Noise of neighbouring depth pixels is alike: so many of them count as one measurement.
CORRELATED_PX = 25.0
# Median absolute deviations along the ray beyond which a point is not of the object, and metres
# within which it is in any case.
OUTLIER_DEVIATIONS = 6.0
OUTLIER_MIN_M = 0.04

MAD_TO_STDDEV = 1.4826


@dataclass(frozen=True)
class _Surface:
    """What is left of a mask's pixels.

    :param inner: (h, w) bool, pixels that are away from the border and no outliers.
    :param eroded_px: how many pixels of the border were taken off.
    :param pixel_rad: width of a pixel as a tangent: metres at one metre.
    """

    inner: np.ndarray
    eroded_px: int
    pixel_rad: float


def locate(
    mask_pixels: np.ndarray, points: np.ndarray, up: Sequence[float] | np.ndarray | None = None
) -> Position | PositionStatus:
    """Compute where an object is.

    The surface point is the median, axis by axis, of the visible surface. The box stands on the
    support plane, which is found in the points around the mask and must lie within the arrays: the
    unseen underside is taken to touch it. Where no such plane is found, the box begins at the
    lowest point that is seen, and `up`, if not given, is that of a level camera: -y.

    :param mask_pixels: (h, w) bool, the object's pixels.
    :param points: (h, w, 3) float32, metres in the optical frame, NaN where depth is invalid.
    :param up: (3,) direction against gravity in the optical frame, of any length; None takes the
        normal of the support plane.
    :return: the position, in metres of the optical frame; the z axis of its box points up, x is
        along the longer edge of the footprint. TOO_FEW_PIXELS if fewer than MIN_POINTS pixels of
        the mask have valid depth.
    :raises ValueError: if the shapes do not fit each other, or `up` has no direction.
    """
    if points.shape != (*mask_pixels.shape, 3):
        raise ValueError(f'a mask of {mask_pixels.shape} does not fit points of {points.shape}')
    direction = None if up is None else _unit(up)
    window = _window(mask_pixels)
    if window is None:
        return PositionStatus.TOO_FEW_PIXELS
    return _locate(mask_pixels[window], points[window], direction)


def locate_all(
    detections: Sequence[Detection], points: np.ndarray, image_size: Size,
    up: Sequence[float] | np.ndarray | None = None,
) -> tuple[Detection, ...]:
    """Fill in the positions of the objects of one image.

    Of a mask only what lies in its box is decoded. Without a mask, the pixels in the middle half
    of the detection's box are taken: the surface point is good, the box is at best as large as
    they show.

    :param points: (h, w, 3) float32, metres in the optical frame, NaN where depth is invalid; shows
        the whole image, but may have another size: masks are sampled at the nearest pixel.
    :param image_size: what boxes and masks refer to.
    :param up: (3,) direction against gravity in the optical frame, or None.
    :return: the detections in their order, with position_status OK and position, or with
        TOO_FEW_PIXELS.
    :raises ValueError: if a mask is not of the image's size, or `up` has no direction.
    """
    direction = None if up is None else _unit(up)
    return tuple(_located(found, points, image_size, direction) for found in detections)


def _located(
    found: Detection, points: np.ndarray, image_size: Size, up: np.ndarray | None
) -> Detection:
    if found.mask is None:
        box: tuple[float, ...] | None = _middle_half(found.box)
    elif found.mask.size != image_size:
        raise ValueError(f'a mask of {found.mask.size} does not belong to an image of {image_size}')
    else:
        box = rle_box(found.mask)
    outcome: Position | PositionStatus = PositionStatus.TOO_FEW_PIXELS
    if box is not None:
        rows, columns = _sampled(box, points.shape[:2], image_size)
        if rows.size and columns.size:
            height, width = points.shape[:2]
            # Pixel centres of the point map, in pixels of the image.
            y = ((rows + 0.5) * image_size.height / height).astype(np.int64)
            x = ((columns + 0.5) * image_size.width / width).astype(np.int64)
            pixels = (_inside(box, y, x) if found.mask is None else _mask_at(found.mask, y, x))
            outcome = _locate(pixels, points[np.ix_(rows, columns)], up)
    if isinstance(outcome, Position):
        return replace(found, position_status=PositionStatus.OK, position=outcome)
    return replace(found, position_status=outcome, position=None)


def _locate(
    pixels: np.ndarray, points: np.ndarray, up: np.ndarray | None
) -> Position | PositionStatus:
    valid = np.isfinite(points).all(2) & (points[..., 2] > 0)
    if np.count_nonzero(pixels & valid) < MIN_POINTS:
        return PositionStatus.TOO_FEW_PIXELS
    surface = _surface(pixels, valid, points)
    inside = points[surface.inner].astype(np.float64)
    around = _around(pixels, valid, points)
    plane = find_support_plane(around, inside, up)
    point = np.median(inside, 0)
    upward = plane.normal if plane is not None else np.array(LEVEL_UP) if up is None else up
    box = fit_box(inside, upward, plane, surface.pixel_rad, surface.eroded_px)
    return Position(
        surface_point=_triple(point), center=_triple(box.center),
        orientation=tuple(float(v) for v in Rotation.from_matrix(box.axes).as_quat()),
        size=_triple(box.size), stddev_m=_stddev(pixels & valid, surface.inner, points))


def _around(pixels: np.ndarray, valid: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Take every second pixel's point beside a mask: (N, 3) float64."""
    beside = valid & ~binary_dilation(pixels, iterations=RING_GAP_PX)
    return points[::2, ::2][beside[::2, ::2]].astype(np.float64)


def _surface(pixels: np.ndarray, valid: np.ndarray, points: np.ndarray) -> _Surface:
    """Reject what lies at the mask's border, at a jump of the depth, or far along the ray."""
    depth = np.where(valid, points[..., 2], np.nan)
    middle = float(np.median(depth[pixels & valid]))
    pixel_rad = _pixel_rad(points, valid)
    smooth = ~_jumps(depth, max(JUMP_SHARE * middle, JUMP_PIXELS * pixel_rad * middle))
    # Small masks are mostly border: there, only the depth tells what is mixed.
    eroded_px = int(np.count_nonzero(pixels) >= MIN_ERODED_PX)
    # The image's border cuts objects off; their own border is beyond it.
    inner = valid & smooth & (
        binary_erosion(pixels, border_value=1) if eroded_px else pixels)
    if np.count_nonzero(inner) < MIN_POINTS:
        eroded_px, inner = 0, pixels & valid
    z = points[inner][:, 2]
    deviation = np.abs(z - np.median(z))
    limit = max(OUTLIER_DEVIATIONS * MAD_TO_STDDEV * float(np.median(deviation)), OUTLIER_MIN_M)
    inner[inner] = deviation <= limit
    return _Surface(inner, eroded_px, pixel_rad)


def _jumps(depth: np.ndarray, limit_m: float) -> np.ndarray:
    """Mark the pixels on both sides of a jump: those between are mixed of both sides (h, w)."""
    jumps = np.zeros(depth.shape, np.bool_)
    with np.errstate(invalid='ignore'):
        down = np.abs(np.diff(depth, axis=0)) > limit_m
        right = np.abs(np.diff(depth, axis=1)) > limit_m
    jumps[1:] |= down
    jumps[:-1] |= down
    jumps[:, 1:] |= right
    jumps[:, :-1] |= right
    return jumps


def _pixel_rad(points: np.ndarray, valid: np.ndarray) -> float:
    """Measure the distance of neighbouring rays at one metre, 0 if no two are known."""
    with np.errstate(invalid='ignore', divide='ignore'):
        across = points[..., 0] / points[..., 2]
    steps = np.abs(np.diff(across, axis=1))[valid[:, 1:] & valid[:, :-1]]
    return float(np.median(steps)) if steps.size else 0.0


def _stddev(pixels: np.ndarray, inner: np.ndarray, points: np.ndarray) -> float:
    """Estimate how far off the surface point's depth may be, metres.

    Two things make it wrong: noise of the depth, seen in how much neighbours differ beyond their
    slope; and the mask's border, seen in how much the median moves when a pixel of it is left out.
    """
    z = np.where(inner, points[..., 2], np.nan).astype(np.float64)
    bends = np.concatenate([np.diff(z, 2, axis=axis).ravel() for axis in (0, 1)])
    bends = bends[np.isfinite(bends)]
    # Of three values with the weights 1, -2, 1: sqrt(6) times the noise of one.
    noise = MAD_TO_STDDEV * float(np.median(np.abs(bends))) / 6**0.5 if bends.size else 0.0
    count = max(np.count_nonzero(inner) / CORRELATED_PX, 1.0)
    moved = float(np.median(points[pixels][:, 2]) - np.median(points[inner][:, 2]))
    # A median's standard deviation is 1.2533 times that of a mean.
    return float(np.hypot(1.2533 * noise / count**0.5, MASK_ERROR_PX * moved))


def _window(pixels: np.ndarray) -> tuple[slice, slice] | None:
    """Find the rows and columns of a mask and its surroundings."""
    rows, columns = pixels.any(1).nonzero()[0], pixels.any(0).nonzero()[0]
    if not rows.size:
        return None
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    size = Size(pixels.shape[1], pixels.shape[0])
    y, x = _sampled(box, pixels.shape, size)
    stride = int(y[1] - y[0]) if y.size > 1 else 1
    return slice(int(y[0]), int(y[-1]) + 1, stride), slice(int(x[0]), int(x[-1]) + 1, stride)


def _sampled(
    box: Sequence[float], shape: tuple[int, ...], image_size: Size
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows and columns of the point map that show a box and its surroundings.

    :param box: x_min, y_min, x_max, y_max in pixels of the image.
    """
    scale = np.array([shape[1] / image_size.width, shape[0] / image_size.height])
    low, high = np.array(box[:2]) * scale, np.array(box[2:]) * scale
    margin = RING_SHARE * float((high - low).max()) + RING_PX
    first = np.clip(np.floor(low - margin), 0, (shape[1], shape[0])).astype(int)
    last = np.clip(np.ceil(high + margin), 0, (shape[1], shape[0])).astype(int)
    area = float(np.prod(np.maximum(high - low, 1.0)))
    stride = max(1, int(np.ceil((area / MAX_CROP_PX) ** 0.5)))
    return np.arange(first[1], last[1], stride), np.arange(first[0], last[0], stride)


def _mask_at(mask: Mask, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Look single pixels of a mask up: (R, C) bool. Nothing else of it is decoded."""
    ends = np.cumsum(np.asarray(mask.counts, np.int64))
    positions = columns[:, None] * mask.size.height + rows
    return (np.searchsorted(ends, positions, side='right') % 2 == 1).T


def _inside(box: Sequence[float], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Mark the pixels in a box: (R, C) bool."""
    x_min, y_min, x_max, y_max = box
    inside_rows = (rows >= y_min) & (rows < y_max)
    return inside_rows[:, None] & ((columns >= x_min) & (columns < x_max))


def _middle_half(box: Sequence[float]) -> tuple[float, float, float, float]:
    x_min, y_min, x_max, y_max = box
    x, y = (x_max - x_min) / 4, (y_max - y_min) / 4
    return x_min + x, y_min + y, x_max - x, y_max - y


def _unit(up: Sequence[float] | np.ndarray) -> np.ndarray:
    direction = np.asarray(up, np.float64)
    length = float(np.linalg.norm(direction))
    if direction.shape != (3,) or not np.isfinite(length) or length < 1e-9:
        raise ValueError(f'{up} is no direction')
    return direction / length


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z
