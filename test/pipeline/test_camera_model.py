"""Rays of camera models, sent through the published distortion formulas written out in numpy."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vr_ros.core.cdr import CameraInfoView
from vr_ros.core.types import Size, Stamp
from vr_ros.pipeline.camera_model import CameraModel

FX, FY, CX, CY = 310.0, 305.0, 158.5, 121.25
INFO = CameraInfoView(
    Stamp(1, 2), 'camera', 240, 320, 'plumb_bob', (0.0,) * 5,
    (FX, 0.0, CX, 0.0, FY, CY, 0.0, 0.0, 1.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1),
    (300.0, 0.0, 150.0, 0.0, 0.0, 301.0, 110.0, 0.0, 0.0, 0.0, 1.0, 0.0), 0, 0, (0, 0, 0, 0))


def distort(rays: np.ndarray, model: str, d: tuple[float, ...]) -> np.ndarray:
    """Bend rays (N, 2) as the model's definition says."""
    x, y = rays[:, 0], rays[:, 1]
    r2 = x**2 + y**2
    if model == 'equidistant':
        theta = np.arctan(np.sqrt(r2))
        bent = theta * (1 + sum(k * theta ** (2 * i + 2) for i, k in enumerate(d)))
        return rays * (bent / np.sqrt(r2))[:, None]
    k1, k2, p1, p2, k3, k4, k5, k6 = (*d, 0.0, 0.0, 0.0, 0.0)[:8]
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    return np.stack([
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2),
        y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y], 1)


@pytest.mark.parametrize(('model', 'd'), [
    ('plumb_bob', (0.0,) * 5),                                           # none
    ('plumb_bob', (-0.28, 0.09, 0.001, -0.0007, -0.01)),                 # barrel
    ('plumb_bob', (0.12, -0.2, -0.002, 0.001, 0.05)),                    # pincushion
    ('rational_polynomial', (0.4, -2.4, 0.0004, -0.0003, 1.3, 0.3, -2.2, 1.2)),
    ('equidistant', (-0.02, 0.01, -0.006, 0.001)),
    ('equidistant', (0.0,) * 4),                                         # still a fisheye
])
def test_rays_project_back_to_their_pixels(model: str, d: tuple[float, ...]) -> None:
    camera = CameraModel.from_info(replace(INFO, distortion_model=model, d=d))
    rays = camera.rays().reshape(-1, 2).astype(np.float64)
    assert np.isfinite(rays).all()
    bent = distort(rays, model, d)
    rows, columns = np.mgrid[:240, :320]
    np.testing.assert_allclose(bent[:, 0] * FX + CX, columns.ravel(), atol=5e-3)
    np.testing.assert_allclose(bent[:, 1] * FY + CY, rows.ravel(), atol=5e-3)
    points = np.column_stack([rays, np.ones(len(rays))])
    np.testing.assert_allclose(
        camera.project(2.5 * points), np.stack([columns, rows], 2).reshape(-1, 2), atol=5e-3)


def test_pixels_beyond_the_lens_have_no_ray() -> None:
    # The bent radius r - 0.6 r^3 has its maximum at r = 0.745: no ray reaches farther out.
    camera = CameraModel.from_info(
        replace(INFO, d=(-0.6, 0.0, 0.0, 0.0, 0.0), width=400, height=400,
                k=(200.0, 0.0, 199.5, 0.0, 200.0, 199.5, 0.0, 0.0, 1.0)))
    rays = camera.rays()
    assert np.isnan(rays[0, 0]).all() and np.isfinite(rays[180:220, 180:220]).all()


def test_rays_are_computed_once_and_cannot_be_changed() -> None:
    camera = CameraModel.from_info(INFO)
    rays = camera.rays()
    assert replace(camera, frame_id='another').rays() is rays
    with pytest.raises(ValueError, match='read-only'):
        rays[0, 0] = 0


def test_scaled_model_sees_the_same_border() -> None:
    camera = CameraModel.from_info(INFO)
    half = camera.scaled_to(Size(160, 120))
    # One pixel of half the size is the middle of four.
    four = camera.rays()[100:102, 200:202].reshape(4, 2).mean(0)
    np.testing.assert_allclose(half.rays()[50, 100], four, rtol=1e-5)
    back = half.scaled_to(Size(320, 240))
    np.testing.assert_allclose(back.matrix, camera.matrix)


def test_binning_and_roi_take_rays_of_the_full_image() -> None:
    full = CameraModel.from_info(INFO).rays()
    part = CameraModel.from_info(replace(INFO, roi=(40, 20, 100, 80)))
    assert part.size == Size(100, 80)
    np.testing.assert_allclose(part.rays(), full[20:100, 40:140], atol=1e-6)
    binned = CameraModel.from_info(replace(INFO, roi=(40, 20, 100, 80), binning_x=2, binning_y=4))
    assert binned.size == Size(50, 20)
    np.testing.assert_allclose(
        binned.rays()[3, 5], full[32:36, 50:52].reshape(8, 2).mean(0), atol=1e-6)


def test_rectified_images_follow_the_projection() -> None:
    info = replace(INFO, d=(-0.28, 0.09, 0.001, -0.0007, -0.01))
    camera = CameraModel.from_info(info, rectified=True)
    assert camera.matrix == (300.0, 301.0, 150.0, 110.0)
    np.testing.assert_allclose(camera.rays()[10, 20], (-130 / 300, -100 / 301), rtol=1e-6)


@pytest.mark.parametrize('change', [
    {'k': (0.0,) * 9},                                        # not calibrated
    {'k': (float('nan'), *INFO.k[1:])},                       # no number
    {'k': (-FX, *INFO.k[1:])},                                # mirrored
    {'k': (5e-315, *INFO.k[1:])},                             # rays beyond every number
    {'width': 0},                                             # no pixels
    {'binning_x': 2**32 - 1},                                 # none left
    {'d': (0.1,), 'distortion_model': 'plumb_bob'},           # too few coefficients
    {'d': (0.1,) * 5, 'distortion_model': 'equidistant'},     # too many
    {'d': (0.1,) * 5, 'distortion_model': 'fov'},             # another model
    {'d': (0.1, float('inf'), 0.0, 0.0, 0.0)},                # no number
])
def test_what_is_no_calibration_is_an_error(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        CameraModel.from_info(replace(INFO, **change))
