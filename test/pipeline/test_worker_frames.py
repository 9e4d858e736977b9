"""A frame with all that belongs to it, through the ring, against the simulator's truth."""
from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_locating import FRAME_ID, VGA, cdr, depth_cdr, info_cdr, worst_surface_m

from vr_ros.core.types import Detection, PositionStatus
from vr_ros.pipeline.frame_ring import FrameRing
from vr_ros.pipeline.protocol import FrameKind, FrameRef, Viewpoint
from vr_ros.pipeline.worker_frames import RingFrame
from vr_ros.sim.renderer import Frame, render_scene

IMAGE = cdr('Image', FRAME_ID, height=0, width=0, encoding='rgb8', is_bigendian=0, step=0,
            data=np.zeros(0, np.uint8))
# The depth camera is the image's own, turned by half a turn about its axis.
HALF_TURN = tuple(map(float, np.diag([-1.0, -1.0, 1.0, 1.0]).ravel()))


@pytest.fixture(scope='module')
def frame() -> Frame:
    return render_scene(3, count=6)


@pytest.fixture(scope='module')
def detections(frame: Frame) -> tuple[Detection, ...]:
    return tuple(Detection(i, o.box, mask=o.mask) for i, o in enumerate(frame.truth.targets))


def locate(detections: tuple[Detection, ...], viewpoint: Viewpoint, depth: bytes, info: bytes,
           depth_info: bytes = b'') -> tuple[Detection, ...]:
    parts = IMAGE, depth, info, depth_info
    ring = FrameRing.create(1, sum(map(len, parts)))
    slot = ring.put(*parts)
    assert slot is not None
    ref = FrameRef(1, slot, FrameKind.IMAGE, len(depth), len(info),
                   locate=PositionStatus.OK, depth_info_bytes=len(depth_info), viewpoint=viewpoint)
    found = RingFrame(ring, ref).located(detections, VGA)
    ring.close()
    return found


def test_up_and_another_depth_camera(frame: Frame, detections: tuple[Detection, ...]) -> None:
    up = Rotation.from_quat(frame.truth.camera_pose[3:]).as_matrix()[2]
    turned = np.ascontiguousarray(frame.depth[::-1, ::-1])
    matrix = frame.truth.camera_matrix
    found = locate(
        detections, Viewpoint(up=tuple(map(float, up)), depth_to_image=HALF_TURN),
        depth_cdr(turned, frame_id='depth'), info_cdr(matrix), info_cdr(matrix, frame_id='depth'))
    assert worst_surface_m(found, frame) < 0.008
    for item in found:
        axes = Rotation.from_quat(item.position.orientation).as_matrix()
        np.testing.assert_allclose(axes[:, 2], up, atol=1e-6)


def test_without_the_transform_it_is_not_registered(
        frame: Frame, detections: tuple[Detection, ...]) -> None:
    found = locate(detections, Viewpoint(), depth_cdr(frame.depth, frame_id='depth'),
                   info_cdr(frame.truth.camera_matrix))
    assert {item.position_status for item in found} == {PositionStatus.NOT_REGISTERED}


def test_a_rectified_image_is_seen_through_p(
        frame: Frame, detections: tuple[Detection, ...]) -> None:
    fx, fy, cx, cy = frame.truth.camera_matrix
    raw = info_cdr((fx / 2, fy / 2, cx, cy))                    # K of a wider lens
    p = np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1.0, 0]).tobytes()
    at = len(raw) - 25 - 96                                     # before binning and roi
    rectified = raw[:at] + p + raw[at + 96:]
    found = locate(detections, Viewpoint(rectified=True), depth_cdr(frame.depth), rectified)
    assert worst_surface_m(found, frame) < 0.005
    wrong = locate(detections, Viewpoint(), depth_cdr(frame.depth), rectified)
    assert worst_surface_m(wrong, frame) > 0.05
