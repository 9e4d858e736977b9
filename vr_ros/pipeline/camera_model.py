"""A calibrated camera: which ray each of its pixels looks along."""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from vr_ros.core.cdr import CameraInfoView
from vr_ros.core.types import Size

# Numbers of coefficients that OpenCV takes for each model of sensor_msgs/distortion_models.hpp.
DISTORTION_MODELS = {
    'plumb_bob': (4, 5),
    'rational_polynomial': (8, 12, 14),
    'equidistant': (4,),
}
MAX_ITERATIONS = 50
# Of pixels, how far off an undistorted ray may project before it counts as not found.
MAX_ERROR_PX = 0.1
# What no lens has, in pixels: beyond, rays would leave the range of float32.
LEAST_FOCAL_PX, MOST_PX = 1e-2, 1e7
PROJECTED_AT_ONCE = 2048
# Ray maps kept: 2 x 4 bytes per pixel each.
CACHED_MAPS = 8


@dataclass(frozen=True)
class CameraModel:
    """Intrinsics of an image. Pixel centres are whole numbers.

    :param size: of the image in pixels.
    :param matrix: fx, fy, cx, cy in pixels.
    :param distortion_model: a key of DISTORTION_MODELS, or '' for none.
    :param distortion: coefficients, as in sensor_msgs/CameraInfo; empty for none.
    :param frame_id: of the optical frame.
    """

    size: Size
    matrix: tuple[float, float, float, float]
    distortion_model: str = ''
    distortion: tuple[float, ...] = ()
    frame_id: str = ''

    @classmethod
    def from_info(cls, info: CameraInfoView, rectified: bool = False) -> CameraModel:
        """Take the model of the image that a camera_info came with: of its part, and binned.

        :param rectified: whether the image was rectified: then P holds, and nothing is distorted.
            Of a lens without distortion K will do where there is no P.
        :raises ValueError: if the camera is not calibrated (K, or P, is zero or no lens's), the
            image has no pixels, a number is not finite, or the distortion model is not known.
        """
        p_holds = rectified and (info.p[0] > 0 or any(info.d))
        fx, fy, cx, cy = (
            (info.p[0], info.p[5], info.p[2], info.p[6]) if p_holds else
            (info.k[0], info.k[4], info.k[2], info.k[5]))
        usable = min(fx, fy) >= LEAST_FOCAL_PX and max(fx, fy, abs(cx), abs(cy)) <= MOST_PX
        if not usable or not np.isfinite((fx, fy, cx, cy, *info.d)).all():
            raise ValueError(f'camera {info.frame_id!r} is not calibrated: fx {fx}, fy {fy}')
        model, distortion = ('', ()) if rectified else _distortion(info)
        x, y, width, height = info.roi
        whole = Size(info.width, info.height)
        part = Size(width, height) if width and height else whole
        bins = max(info.binning_x, 1), max(info.binning_y, 1)
        size = Size(part.width // bins[0], part.height // bins[1])
        if size.width < 1 or size.height < 1:
            raise ValueError(f'camera {info.frame_id!r} has an image without pixels')
        offset = (x, y) if part is not whole else (0, 0)
        matrix = _scaled((fx, fy, cx - offset[0], cy - offset[1]), 1 / bins[0], 1 / bins[1])
        return cls(size, matrix, model, distortion, info.frame_id)

    def scaled_to(self, size: Size) -> CameraModel:
        """Give the model of the same picture in another size.

        :raises ValueError: if that size has no pixels.
        """
        if size.width < 1 or size.height < 1:
            raise ValueError(f'an image of {size.width}x{size.height} has no pixels')
        scale = size.width / self.size.width, size.height / self.size.height
        return replace(self, size=size, matrix=_scaled(self.matrix, *scale))

    def rays(self) -> np.ndarray:
        """Look up where each pixel looks; computed once per model.

        :return: (H, W, 2) float32, x / z and y / z of the ray through each pixel's centre, without
            distortion; NaN where no ray projects to the pixel. Not writable.
        """
        return _rays(replace(self, frame_id=''))

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project points to pixels.

        :param points: (N, 3) in the optical frame, z > 0.
        :return: (N, 2) x, y in pixels.
        """
        points = np.ascontiguousarray(points, np.float64).reshape(-1, 3)
        if not self.distortion_model:
            fx, fy, cx, cy = self.matrix
            return points[:, :2] / points[:, 2:] * (fx, fy) + (cx, cy)
        pixels = np.empty((len(points), 2))
        # OpenCV computes derivatives as well: in one go they would take 240 bytes a point.
        for start in range(0, len(points), PROJECTED_AT_ONCE):
            part = slice(start, start + PROJECTED_AT_ONCE)
            pixels[part] = self._project_distorted(points[part])
        return pixels

    def _project_distorted(self, points: np.ndarray) -> np.ndarray:
        project = (cv2.fisheye.projectPoints if self.distortion_model == 'equidistant'
                   else cv2.projectPoints)
        still = np.zeros(3)
        pixels, _ = project(
            points[:, None], still, still, self._matrix33(), np.array(self.distortion))
        return pixels.reshape(-1, 2)

    def _matrix33(self) -> np.ndarray:
        fx, fy, cx, cy = self.matrix
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _distortion(info: CameraInfoView) -> tuple[str, tuple[float, ...]]:
    if not any(info.d):
        # An equidistant lens without coefficients is still a fisheye.
        if info.distortion_model == 'equidistant':
            return 'equidistant', (0.0,) * 4
        return '', ()
    counts = DISTORTION_MODELS.get(info.distortion_model)
    if counts is None or len(info.d) not in counts:
        known = ', '.join(DISTORTION_MODELS)
        raise ValueError(f'distortion {info.distortion_model!r:.40} with {len(info.d)} coefficients'
                         f' is not known; known: {known}')
    return info.distortion_model, info.d


def _scaled(
    matrix: tuple[float, float, float, float], x: float, y: float
) -> tuple[float, float, float, float]:
    """Scale a picture: its border, half a pixel outside the outermost centres, stays the border."""
    fx, fy, cx, cy = matrix
    return fx * x, fy * y, (cx + 0.5) * x - 0.5, (cy + 0.5) * y - 0.5


@lru_cache(maxsize=CACHED_MAPS)
def _rays(model: CameraModel) -> np.ndarray:
    fx, fy, cx, cy = model.matrix
    columns = np.arange(model.size.width, dtype=np.float64)
    rows = np.arange(model.size.height, dtype=np.float64)
    if not model.distortion_model:
        rays = np.empty((model.size.height, model.size.width, 2), np.float32)
        rays[..., 0], rays[..., 1] = (columns - cx) / fx, ((rows - cy) / fy)[:, None]
    else:
        pixels = np.stack(np.meshgrid(columns, rows), 2).reshape(-1, 1, 2)
        rays = _undistorted(model, pixels).reshape(model.size.height, model.size.width, 2)
    rays.setflags(write=False)
    return rays


def _undistorted(model: CameraModel, pixels: np.ndarray) -> np.ndarray:
    """Find the rays of pixels (N, 1, 2): (N, 2) float32, NaN where there is none."""
    matrix, coefficients = model._matrix33(), np.array(model.distortion)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, MAX_ITERATIONS, 1e-10)
    if model.distortion_model == 'equidistant':
        rays = cv2.fisheye.undistortPoints(pixels, matrix, coefficients, criteria=criteria)
    else:
        rays = cv2.undistortPointsIter(pixels, matrix, coefficients, None, None, criteria)
    rays = rays.reshape(-1, 2)
    # Outside of the lens's range the search ends anywhere: only what projects back counts.
    rays[~np.isfinite(rays).all(1) | (np.abs(rays) > 1e3).any(1)] = np.nan
    back = model.project(np.column_stack([np.nan_to_num(rays), np.ones(len(rays))]))
    off = np.linalg.norm(back - pixels.reshape(-1, 2), axis=1)
    rays[~(off < MAX_ERROR_PX)] = np.nan
    return rays.astype(np.float32)
