"""Where objects are, on the live graph: depth and camera_info in, metres out."""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live import Graph, Robot, image
from rclpy.duration import Duration
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from vr_ros.msg import Detection, Instruction
from vr_ros.nodes import qos

MOVING_BACKEND = f'{Path(__file__).parents[1] / "pipeline" / "moving_backend.py"}:make'
MakeRobot = Callable[..., Robot]
WIDTH, HEIGHT, FOCAL_PX, NEAR_M, FAR_M = 96, 72, 100.0, 0.8, 1.0


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeRobot]:
    """Make a robot with a depth camera; its node finds what is bright."""
    monkeypatch.setenv('VR_ROS_WORKER_BACKEND', MOVING_BACKEND)
    monkeypatch.setenv('VR_ROS_PYTHON', sys.executable)
    graphs: list[Graph] = []

    def make(**parameters: Any) -> Robot:
        graphs.append(Graph('deep', {
            'model': 'moving', 'depth_topics': ['depth'], 'reason_period': 1000.0, **parameters}))
        made = graphs[-1].start()
        made.depths = made.node.create_publisher(Image, 'depth', qos.newest())
        made.infos = made.node.create_publisher(CameraInfo, 'camera_info', qos.newest())
        made.until(lambda: made.depths.get_subscription_count()
                   and made.infos.get_subscription_count())
        made.spin(0.3)
        return made

    yield make
    for item in graphs:
        item.close()


def show(robot: Robot, *, depth: bool = True, info: bool = True, delay_s: float = 0.0,
         frame_id: str = 'camera_optical', column: int = 30) -> Image:
    """Show a bright square that stands nearer than what is around it.

    :param delay_s, frame_id: of the depth image.
    """
    picture = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    metres = np.full((HEIGHT, WIDTH), FAR_M, np.float32)
    picture[20:50, column:column + 30] = 255
    metres[20:50, column:column + 30] = NEAR_M
    now = robot.node.get_clock().now()
    shown = image(picture, stamp=now.to_msg())
    if info:
        robot.infos.publish(CameraInfo(
            header=shown.header, width=WIDTH, height=HEIGHT, distortion_model='plumb_bob',
            k=[FOCAL_PX, 0.0, 47.5, 0.0, FOCAL_PX, 35.5, 0.0, 0.0, 1.0]))
    if depth:
        later = now + Duration(seconds=delay_s)
        message = Image(header=Header(stamp=later.to_msg(), frame_id=frame_id), width=WIDTH,
                        height=HEIGHT, encoding='32FC1', step=4 * WIDTH)
        message.data.frombytes(metres.tobytes())
        robot.depths.publish(message)
    robot.spin(0.2)
    robot.deliver(shown)
    return shown


def test_the_surface_is_where_depth_and_intrinsics_say(robot: MakeRobot) -> None:
    made = robot()
    show(made)
    (found,) = made.ask('lamp').detections
    assert found.position_status == Detection.POSITION_OK
    # Columns 30..59 and rows 20..49 are centred on 44.5 and 34.5; pixel centres are whole numbers.
    assert found.surface_point.z == pytest.approx(NEAR_M, abs=1e-3)
    assert found.surface_point.x == pytest.approx((44.5 - 47.5) / FOCAL_PX * NEAR_M, abs=4e-3)
    assert found.surface_point.y == pytest.approx((34.5 - 35.5) / FOCAL_PX * NEAR_M, abs=4e-3)
    assert 0 <= found.position_stddev_m < 0.01
    assert min(found.size.x, found.size.y, found.size.z) >= 0


@pytest.mark.parametrize(('given', 'status'), [
    ({'depth': False}, Detection.POSITION_NO_DEPTH),            # the topic is silent
    ({'delay_s': 0.5}, Detection.POSITION_OUT_OF_SYNC),         # depth of another time
    ({'info': False}, Detection.POSITION_NO_CAMERA_INFO),       # not calibrated
    ({'frame_id': 'elsewhere'}, Detection.POSITION_NOT_REGISTERED),
])
def test_why_there_is_no_position(robot: MakeRobot, given: dict[str, Any], status: int) -> None:
    made = robot()
    show(made, **given)
    result = made.ask('lamp')
    (found,) = result.detections
    assert (found.position_status, result.count) == (status, 1)
    assert found.surface_point.z == 0.0 and found.has_mask


def test_tracks_have_positions_too(robot: MakeRobot) -> None:
    made = robot()
    show(made)
    name = made.tell('lamp', mode=Instruction.CONTINUOUS)
    made.answer(name)
    shown = show(made, column=50)
    made.until(lambda: any(result.header == shown.header for result in made.answers(name)))
    (found,) = next(result for result in made.answers(name)
                    if result.header == shown.header).detections
    assert found.position_status == Detection.POSITION_OK and found.track_id != ''
    assert found.surface_point.x == pytest.approx((64.5 - 47.5) / FOCAL_PX * NEAR_M, abs=4e-3)
