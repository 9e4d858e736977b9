"""Transforms at the stamp of the image, on the live graph, with tf2 where it is installed."""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from live import Graph, Robot, image
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from vr_ros.core.transform import Transform
from vr_ros.core.types import Stamp
from vr_ros.msg import Detection
from vr_ros.nodes import qos
from vr_ros.nodes.views import transforms
from vr_ros.nodes.views.transforms import NoTransform, Transforms, tf2
from vr_ros.nodes.views.vision_mirrors import vision_msgs

MOVING_BACKEND = f'{Path(__file__).parents[1] / "pipeline" / "moving_backend.py"}:make'
WIDTH, HEIGHT, FOCAL_PX = 96, 72, 100.0
needs_tf2 = pytest.mark.skipif(tf2() is None, reason='NOT TESTED with tf2: it is not installed')
MakeRobot = Callable[..., 'DeepRobot']
NOT_TURNED = (0.0, 0.0, 0.0, 1.0)


class DeepRobot:
    """A robot whose depth camera has a frame, and a camera_info, of its own."""

    def __init__(self, graph: Graph, robot: Robot) -> None:
        self.graph, self.robot, node = graph, robot, robot.node
        self.depths = node.create_publisher(Image, 'stereo/depth', qos.newest())
        self.infos = node.create_publisher(CameraInfo, 'camera_info', qos.newest())
        self.depth_infos = node.create_publisher(CameraInfo, 'stereo/camera_info', qos.newest())
        kinds = tf2()
        if kinds is not None:
            self.tf = node.create_publisher(kinds.TFMessage, '/tf', qos.transforms())
            self.tf_static = node.create_publisher(
                kinds.TFMessage, '/tf_static', qos.static_transforms())
        robot.until(lambda: all(publisher.get_subscription_count() for publisher in (
            self.depths, self.infos, self.depth_infos)))
        robot.spin(0.3)

    def say(self, parent: str, child: str, place: tuple[float, float, float],
            turn: tuple[float, float, float, float] = NOT_TURNED, ns: int | None = None) -> None:
        """Publish where the child's frame is in the parent's; static without a stamp."""
        message = tf2().TFMessage(transforms=[stamped(parent, child, place, turn, ns or 0)])
        publisher = self.tf_static if ns is None else self.tf
        publisher.publish(message)

    def show(self, metres: float, depth_frame: str = 'depth_optical') -> int:
        """Show a bright square, in front of a wall at that distance; return the stamp.

        The depth camera, whose lens is another one, sees nothing but the wall.
        """
        stamp_ns = self.robot.node.get_clock().now().nanoseconds
        stamp = time_of(stamp_ns)
        picture = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
        picture[20:50, 30:60] = 255
        shown = image(picture, stamp=stamp)
        self.infos.publish(camera_info(shown.header, FOCAL_PX))
        header = Header(stamp=stamp, frame_id=depth_frame)
        self.depth_infos.publish(camera_info(header, FOCAL_PX / 2))
        depth = Image(header=header, width=WIDTH, height=HEIGHT, encoding='32FC1', step=4 * WIDTH)
        depth.data.frombytes(np.full((HEIGHT, WIDTH), metres, np.float32).tobytes())
        self.depths.publish(depth)
        self.robot.spin(0.2)
        self.robot.deliver(shown)
        return stamp_ns

    def ask(self) -> Any:
        """Ask for the lamp, and return the one detection."""
        (found,) = self.robot.ask('lamp').detections
        return found


def stamped(parent: str, child: str, place: tuple[float, ...], turn: tuple[float, ...],
            ns: int) -> TransformStamped:
    made = TransformStamped(
        header=Header(stamp=time_of(ns), frame_id=parent), child_frame_id=child)
    made.transform.translation = Vector3(**dict(zip('xyz', place, strict=True)))
    made.transform.rotation = Quaternion(**dict(zip('xyzw', turn, strict=True)))
    return made


def time_of(ns: int) -> Time:
    return Time(sec=ns // 10**9, nanosec=ns % 10**9)


def camera_info(header: Header, focal_px: float) -> CameraInfo:
    return CameraInfo(
        header=header, width=WIDTH, height=HEIGHT, distortion_model='plumb_bob',
        k=[focal_px, 0.0, 47.5, 0.0, focal_px, 35.5, 0.0, 0.0, 1.0])


@pytest.fixture
def deep_robot(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeRobot]:
    """Make a robot whose node finds what is bright."""
    monkeypatch.setenv('VR_ROS_WORKER_BACKEND', MOVING_BACKEND)
    monkeypatch.setenv('VR_ROS_PYTHON', sys.executable)
    graphs: list[Graph] = []

    def make(**parameters: Any) -> DeepRobot:
        graphs.append(Graph('turning', {
            'model': 'moving', 'depth_topics': ['stereo/depth'], **parameters}))
        return DeepRobot(graphs[-1], graphs[-1].start())

    yield make
    for item in graphs:
        item.close()


@pytest.fixture
def robot_and_transforms() -> Iterator[tuple[DeepRobot, Transforms]]:
    graph = Graph('turning', {'model': 'moving', 'depth_topics': ['stereo/depth']})
    graph.node.trigger_configure()
    graph.node.trigger_activate()
    robot = DeepRobot(graph, graph.robot)
    listening = graph.node._transforms
    listening.open()
    robot.robot.until(robot.tf.get_subscription_count)
    robot.robot.until(robot.tf_static.get_subscription_count)
    robot.robot.spin(0.3)
    yield robot, listening
    graph.close()


SECOND = 10**9


@needs_tf2
def test_a_transform_is_that_of_its_time(
        robot_and_transforms: tuple[DeepRobot, Transforms]) -> None:
    robot, listening = robot_and_transforms
    for second, x in ((100, 1.0), (101, 2.0), (102, 9.0)):
        robot.say('odom', 'base', (x, 0.0, 0.0), ns=second * SECOND)
    quarter = tuple(Rotation.from_euler('z', 90, True).as_quat())
    robot.say('base', 'camera', (0.0, 0.0, 0.5), quarter)
    robot.robot.until(lambda: isinstance(listening.at('odom', 'camera', Stamp(102, 0)), Transform))
    between = listening.at('odom', 'camera', Stamp(100, SECOND // 4))
    assert isinstance(between, Transform)
    assert between.translation == pytest.approx((1.25, 0.0, 0.5))
    assert between.point((1.0, 0.0, 0.0)) == pytest.approx((1.25, 1.0, 0.5))
    back = listening.at('camera', 'odom', Stamp(102, 0))
    assert isinstance(back, Transform)
    assert back.point((9.0, 1.0, 0.5)) == pytest.approx((1.0, 0.0, 0.0))
    assert listening.at('camera', 'camera', Stamp(0, 0)) == Transform()


@needs_tf2
@pytest.mark.parametrize(('target', 'source', 'seconds', 'word'), [
    ('odom', 'base', 103, 'extrapolation'),          # later than what is known
    ('odom', 'base', 99, 'extrapolation'),           # earlier
    ('odom', 'base', 0, 'no stamp'),                 # tf2 takes 0 for the latest
    ('odom', 'moon', 100, 'moon'),                   # nobody has told of it
    ('odom', 'island', 100, 'two or more unconnected trees'),
    ('/odom', 'base', 100, "cannot start with a '/'"),
    ('', 'base', 100, 'no frame_id'),
])
def test_why_there_is_no_transform(robot_and_transforms: tuple[DeepRobot, Transforms], target: str,
                                   source: str, seconds: int, word: str) -> None:
    robot, listening = robot_and_transforms
    for second in (100, 102):
        robot.say('odom', 'base', (1.0, 0.0, 0.0), ns=second * SECOND)
        robot.say('sea', 'island', (1.0, 0.0, 0.0), ns=second * SECOND)
    robot.robot.until(lambda: isinstance(listening.at('odom', 'base', Stamp(101, 0)), Transform))
    robot.robot.until(lambda: isinstance(listening.at('sea', 'island', Stamp(101, 0)), Transform))
    found = listening.at(target, source, Stamp(seconds, 0))
    assert isinstance(found, NoTransform)
    assert word in found.reason and '\n' not in found.reason


@needs_tf2
def test_after_a_jump_back_in_time_only_what_does_not_move_is_known(
        robot_and_transforms: tuple[DeepRobot, Transforms]) -> None:
    robot, listening = robot_and_transforms
    listening.close()
    node = robot.graph.node
    node.set_parameters([Parameter('use_sim_time', value=True)])
    clock = robot.robot.node.create_publisher(Clock, '/clock', qos.newest())
    robot.robot.until(clock.get_subscription_count)
    clock.publish(Clock(clock=time_of(200 * SECOND)))
    robot.robot.until(lambda: node.get_clock().now().nanoseconds == 200 * SECOND)
    listening.open()
    robot.robot.until(robot.tf.get_subscription_count)
    robot.robot.spin(0.3)
    robot.say('odom', 'base', (1.0, 0.0, 0.0), ns=200 * SECOND)
    robot.say('base', 'camera', (0.0, 0.0, 0.5))
    robot.robot.until(lambda: isinstance(
        listening.at('odom', 'camera', Stamp(200, 0)), Transform))
    clock.publish(Clock(clock=time_of(50 * SECOND)))
    robot.robot.until(lambda: isinstance(listening.at('odom', 'base', Stamp(200, 0)), NoTransform))
    assert isinstance(listening.at('base', 'camera', Stamp(50, 0)), Transform)
    robot.say('odom', 'base', (3.0, 0.0, 0.0), ns=50 * SECOND)
    robot.robot.until(lambda: isinstance(
        listening.at('odom', 'camera', Stamp(50, 0)), Transform))


@needs_tf2
def test_depth_of_another_frame_is_registered_at_the_stamp_of_the_image(
        deep_robot: MakeRobot) -> None:
    """The depth camera moves back from 0.2 to 0.4 m behind the image's; the image is half-way."""
    made = deep_robot()
    stamp_ns = made.show(1.2)
    first = made.ask()
    assert first.position_status == Detection.POSITION_NOT_REGISTERED
    made.robot.until(made.tf.get_subscription_count)  # since there was something to look up
    made.robot.spin(0.3)
    for seconds, behind in ((-1, 0.2), (1, 0.4), (2, 5.0)):
        made.say('camera_optical', 'depth_optical', (0.05, 0.0, -behind),
                 ns=stamp_ns + seconds * SECOND)
    # The same image: it is looked at again, and its depth is registered now.
    made.robot.until(lambda: made.graph.node._cameras['camera'].newest.lacks == '')
    found = made.ask()
    assert found.position_status == Detection.POSITION_OK
    assert found.surface_point.z == pytest.approx(1.2 - 0.3, abs=2e-3)
    assert found.surface_point.x == pytest.approx((44.5 - 47.5) / FOCAL_PX * 0.9, abs=0.012)


@needs_tf2
def test_boxes_stand_upright_in_the_gravity_frame(deep_robot: MakeRobot) -> None:
    """The camera is pitched by 25 degrees and rolled by 10: the wall says nothing of either."""
    turn = Rotation.from_euler('zyx', (30, 25, 10), True) * Rotation.from_quat(
        (-0.5, 0.5, -0.5, 0.5))
    made = deep_robot(gravity_frame='odom')
    made.robot.until(made.tf_static.get_subscription_count)
    made.say('odom', 'camera_optical', (1.0, 2.0, 3.0), tuple(turn.as_quat()))
    made.robot.spin(0.3)
    made.show(1.0, 'camera_optical')
    found = made.ask()
    assert found.position_status == Detection.POSITION_OK
    q = found.center_pose.orientation
    up = Rotation.from_quat((q.x, q.y, q.z, q.w)).as_matrix()[:, 2]
    np.testing.assert_allclose(turn.apply(up), (0, 0, 1), atol=1e-6)


@needs_tf2
def test_views_are_in_the_target_frame_and_results_are_not(deep_robot: MakeRobot) -> None:
    turn, place = Rotation.from_quat((-0.5, 0.5, -0.5, 0.5)), (1.0, 2.0, 3.0)
    made = deep_robot(target_frame='map')
    robot = made.robot
    views = {'markers': robot.listen('perception/markers', MarkerArray, qos.newest())}
    kinds = vision_msgs()
    if kinds is not None:
        views['detections_3d'] = robot.listen(
            'perception/detections_3d', kinds.Detection3DArray, qos.newest())
    robot.until(lambda: robot.node.count_publishers('perception/markers'))
    robot.spin(0.5)
    made.show(1.0, 'camera_optical')
    made.ask()                                       # nobody has told of map
    robot.spin(0.3)
    assert not any(views.values())
    made.say('map', 'camera_optical', place, tuple(turn.as_quat()))
    robot.spin(0.3)
    stamp_ns = made.show(1.0, 'camera_optical')
    result = robot.ask('lamp')
    assert result.header.frame_id == 'camera_optical'
    (found,) = result.detections
    point = found.surface_point
    assert point.z == pytest.approx(1.0, abs=1e-3)
    expected = turn.apply((point.x, point.y, point.z)) + place
    robot.until(lambda: all(views.values()))
    ball = next(marker for marker in views['markers'][-1].markers if marker.type == Marker.SPHERE)
    assert (ball.header.frame_id, ball.header.stamp) == ('map', time_of(stamp_ns))
    where = ball.pose.position
    assert (where.x, where.y, where.z) == pytest.approx(tuple(expected))
    if kinds is not None:
        (solid,) = views['detections_3d'][-1].detections
        center = found.center_pose.position
        moved = turn.apply((center.x, center.y, center.z)) + place
        where = solid.bbox.center.position
        assert solid.header.frame_id == 'map'
        assert (where.x, where.y, where.z) == pytest.approx(tuple(moved))


def test_without_tf2_results_come_and_a_warning_says_what_does_not(
        deep_robot: MakeRobot, monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(transforms, 'tf2', lambda: None)
    made = deep_robot(target_frame='map', gravity_frame='odom')
    markers = made.robot.listen('perception/markers', MarkerArray, qos.newest())
    made.robot.until(lambda: made.robot.node.count_publishers('perception/markers'))
    made.robot.spin(0.5)
    made.show(1.0, 'camera_optical')
    assert made.ask().position_status == Detection.POSITION_OK
    made.show(1.0)
    assert made.ask().position_status == Detection.POSITION_NOT_REGISTERED
    made.robot.spin(0.3)
    # Where nothing is located at all, what was drawn before is taken away.
    assert not any(message.markers for message in markers)
    log = capfd.readouterr().err
    assert 'target_frame and gravity_frame without effect: tf2 is not installed' in log
    assert "leave out a result: target_frame is 'map', tf2 is not installed" in log
    assert 'boxes stand as their support does: tf2 is not installed' in log
