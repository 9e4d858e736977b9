"""Depth images as maps of points, and what of another picture belongs to them."""
from __future__ import annotations

import numpy as np

from vr_ros.core.types import Size
from vr_ros.pipeline.camera_model import CameraModel

# Pictures of one camera in two sizes show the same if their proportions differ by less.
MAX_ASPECT_DIFFERENCE = 0.02
# A point map in another camera's picture is made so coarse that its points leave no gaps.
REGISTERED_SHARE = 0.7


def point_map(depth: np.ndarray, depth_model: CameraModel) -> np.ndarray:
    """Compute the point that each pixel of a depth image sees.

    :param depth: (h, w) float32 metres along the optical axis (REP 118); NaN, infinity, 0 and less
        are no measurements.
    :param depth_model: of an image of that size.
    :return: (h, w, 3) float32 metres in the optical frame; NaN where nothing was measured.
    :raises ValueError: if the sizes differ.
    """
    size = depth_model.size
    if depth.shape != (size.height, size.width):
        raise ValueError(f'depth of {depth.shape} does not fit a camera of {size}')
    z = np.where((depth > 0) & np.isfinite(depth), depth, np.float32(np.nan)).astype(np.float32)
    points = np.empty((*depth.shape, 3), np.float32)
    np.multiply(depth_model.rays(), z[..., None], out=points[..., :2])
    points[..., 2] = z
    points[np.isnan(points[..., 0])] = np.nan
    return points


def same_view(a: Size, b: Size) -> bool:
    """Tell whether two pictures of one camera can differ in size only."""
    aspect_a, aspect_b = a.width / a.height, b.width / b.height
    return abs(aspect_a / aspect_b - 1) <= MAX_ASPECT_DIFFERENCE


def mask_to_depth_size(mask: np.ndarray, depth_size: Size) -> np.ndarray:
    """Bring a mask of the colour image to the depth image of the same frame: nearest pixel.

    :param mask: (H, W) bool.
    :return: (h, w) bool.
    :raises ValueError: if the two do not show the same, by their proportions.
    """
    height, width = mask.shape
    if not same_view(Size(width, height), depth_size):
        raise ValueError(f'a mask of {width}x{height} and depth of {depth_size} differ in more than'
                         ' size')
    rows = ((np.arange(depth_size.height) + 0.5) * height / depth_size.height).astype(np.int64)
    columns = ((np.arange(depth_size.width) + 0.5) * width / depth_size.width).astype(np.int64)
    return mask[np.ix_(rows, columns)]


def register(
    points: np.ndarray, depth_to_image: np.ndarray, depth_focal_px: float, image_model: CameraModel
) -> np.ndarray:
    """Carry a point map over to another camera's picture; of points in one pixel the nearest stays.

    :param points: (h, w, 3) metres in the depth camera's optical frame.
    :param depth_to_image: (4, 4) transform that takes points to the image's optical frame.
    :param depth_focal_px: focal length of the depth camera.
    :param image_model: of the image.
    :return: (H', W', 3) float32 in the image's optical frame, NaN where no point fell; a coarser
        grid of the whole image where the depth image is the coarser one.
    :raises ValueError: if the transform is none.
    """
    transform = np.asarray(depth_to_image, np.float64)
    if transform.shape != (4, 4) or not np.isfinite(transform).all():
        raise ValueError('a transform has 4 x 4 finite numbers')
    share = min(1.0, REGISTERED_SHARE * depth_focal_px / image_model.matrix[0])
    size = Size(max(1, round(image_model.size.width * share)),
                max(1, round(image_model.size.height * share)))
    known = points[np.isfinite(points).all(2)].astype(np.float64)
    moved = known @ transform[:3, :3].T + transform[:3, 3]
    moved = moved[moved[:, 2] > 0]
    pixels = np.rint(np.clip(image_model.scaled_to(size).project(moved), -9, 1e6)).astype(np.int64)
    inside = (pixels >= 0).all(1) & (pixels < (size.width, size.height)).all(1)
    moved, pixels = moved[inside], pixels[inside]
    # Nearest ones first: of each pixel the first is kept.
    order = np.argsort(moved[:, 2], kind='stable')
    grid = np.full((size.height, size.width, 3), np.nan, np.float32)
    flat = pixels[:, 1] * size.width + pixels[:, 0]
    cells, first = np.unique(flat[order], return_index=True)
    grid.reshape(-1, 3)[cells] = moved[order[first]]
    return grid
