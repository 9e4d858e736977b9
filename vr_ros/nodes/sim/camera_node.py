"""A robot camera over a simulated table, which also publishes the true answer to each instruction.

The perception node answers about one certain frame, and only its result says which: so the truth
is published when the result arrives, for the frame with the result's stamp, under the result's
instruction id. Instructions that were sent by the action are seen as well, and a continuous one
gets the truth of each of its frames. Where no perception node is on the graph, the truth follows
the instruction at once, for the newest frame.

A gripper hangs over the table. It goes to each point on gripper/goal, comes down until it touches,
lifts what its suction holds, and says on gripper/held what that is.
"""
from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import PointStamped, PoseStamped
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header, String

from vr_ros.core.types import Instruction, Mode, Size, Stamp
from vr_ros.nodes import qos
from vr_ros.nodes.convert import AnswerMsg, DetectionArray, InstructionMsg, instruction_from_msg
from vr_ros.nodes.parameter_server import ParameterServer
from vr_ros.nodes.parameter_spec import Applies, parameter
from vr_ros.nodes.safely import safely
from vr_ros.nodes.sim.messages import (
    camera_info_message,
    camera_pose_message,
    depth_message,
    image_message,
    jpeg_message,
    truth_messages,
    world_point,
)
from vr_ros.nodes.sim.studio import Grasp, Photo, Studio, View
from vr_ros.nodes.spin import run_node
from vr_ros.sim.instructions import answer_key
from vr_ros.sim.truth import FrameTruth

_HIGHEST_SEED = 2**62


@dataclass(frozen=True)
class SimCameraParameters:
    """Name, type, default, range, unit and meaning: declares, checks and documents them."""

    seed: int = parameter(
        1_000_000, 'scene; the same seed shows the same scene. Training never saw those from '
        '1000000 on', low=0, high=_HIGHEST_SEED)
    objects: int = parameter(
        0, 'number of objects; 0: drawn from the seed, from 1 to 10', low=0, high=12)
    orbit: float = parameter(
        0.0, 'speed of the camera around the table; 0: it stands still', unit='deg/s', low=-90.0,
        high=90.0)
    rate: float = parameter(
        10.0, 'pictures per second, fewer if rendering takes longer', unit='Hz', low=0.1, high=60.0,
        applies=Applies.START)
    width: int = parameter(640, 'width of the pictures', unit='px', low=16, high=4096,
                           applies=Applies.START)
    height: int = parameter(480, 'height of the pictures', unit='px', low=16, high=4096,
                            applies=Applies.START)
    frame_id: str = parameter('camera_optical_frame', 'optical frame of the camera (REP 103)')
    world_frame_id: str = parameter('world', 'frame of camera_pose: z up, table top at 0')
    truth_memory: float = parameter(
        60.0, 'how long the truth of a frame is kept for results about it', unit='s', low=1.0,
        high=3600.0)


class SimCameraNode(Node):
    """Wires the studio to topics.

    :param arguments: for rclpy.node.Node, such as parameter_overrides.
    :raises ParameterError: a parameter cannot be used.
    :raises RuntimeError: no off-screen GL is available.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__('sim_camera', **arguments)
        self._settings = ParameterServer(self, SimCameraParameters)
        values = self._settings.values
        self._studio = Studio(Size(values.width, values.height))
        self._rendering: tuple[Time, Future[Photo]] | None = None
        self._grasping: tuple[View, Future[Grasp]] | None = None
        self._held, self._is_changed = '', False
        self._truths: OrderedDict[int, FrameTruth] = OrderedDict()
        self._newest: Header | None = None
        self._angle_rad, self._ticked_at = 0.0, self.get_clock().now()
        try:
            self._photo = self._studio.photograph(self._view()).result()
        except RuntimeError:
            self.destroy_node()
            raise
        self._make_publishers()
        self._rendered = self.create_guard_condition(safely(self, self._on_rendered))
        self._grasped = self.create_guard_condition(safely(self, self._on_grasped))
        qos.create_subscription(self, InstructionMsg, 'instruction',
                                safely(self, self._on_instruction), qos.command())
        qos.create_subscription(self, DetectionArray, 'detections',
                                safely(self, self._on_result), qos.command())
        qos.create_subscription(self, PointStamped, 'gripper/goal',
                                safely(self, self._on_goal), qos.command())
        self._say_held('')
        self.create_timer(1.0 / values.rate, safely(self, self._tick))
        self.get_logger().info(
            f'Scene {values.seed}: {len(self._photo.frame.truth.targets)} objects in sight')

    def destroy_node(self) -> None:
        """End the rendering thread, then the node."""
        self._studio.close()
        super().destroy_node()

    def _make_publishers(self) -> None:
        self._image = qos.create_publisher(self, Image, 'image', _camera())
        self._jpeg = qos.create_publisher(self, CompressedImage, 'image/compressed', _camera())
        self._depth = qos.create_publisher(self, Image, 'depth', _camera())
        self._info = qos.create_publisher(self, CameraInfo, 'camera_info', _camera())
        self._pose = qos.create_publisher(self, PoseStamped, 'camera_pose', _camera())
        self._truth = qos.create_publisher(self, DetectionArray, 'truth/detections', qos.result())
        self._answer = qos.create_publisher(self, AnswerMsg, 'truth/answer', qos.result())
        self._holding = qos.create_publisher(self, String, 'gripper/held', qos.latched())

    def _view(self) -> View:
        values = self._settings.values
        return View(values.seed, values.objects, self._angle_rad)

    def _tick(self) -> None:
        now = self.get_clock().now()
        elapsed_s = (now - self._ticked_at).nanoseconds / 1e9
        self._ticked_at = now
        self._angle_rad += math.radians(self._settings.values.orbit) * max(elapsed_s, 0.0)
        if self._rendering is not None:
            return
        view = self._view()
        if view == self._photo.view and not self._is_changed:
            self._publish(now)
            return
        self._is_changed = False
        future = self._studio.photograph(view)
        self._rendering = now, future
        future.add_done_callback(lambda _: self._rendered.trigger())

    def _on_rendered(self) -> None:
        if self._rendering is None or not self._rendering[1].done():
            return
        (exposed_at, future), self._rendering = self._rendering, None
        before, self._photo = self._photo, future.result()
        if self._held and not _same_scene(before.view, self._photo.view):
            self._say_held('')
        self._publish(exposed_at)

    def _on_goal(self, goal: PointStamped) -> None:
        problem, truth = '', None
        if self._grasping is not None:
            problem = 'the gripper is still busy with the goal before'
        elif goal.header.frame_id == self._settings.values.frame_id:
            truth = self._truths.get(Time.from_msg(goal.header.stamp).nanoseconds)
            problem = '' if truth else 'its stamp is not that of an image, or of one too long ago'
        elif goal.header.frame_id != self._settings.values.world_frame_id:
            problem = f'its frame is {goal.header.frame_id!r}, which is not known here'
        if problem:
            self._refuse(problem)
            return
        view = self._view()
        future = self._studio.grasp(view, world_point(goal, truth))
        self._grasping = view, future
        future.add_done_callback(lambda _: self._grasped.trigger())

    def _on_grasped(self) -> None:
        if self._grasping is None or not self._grasping[1].done():
            return
        (view, future), self._grasping = self._grasping, None
        try:
            grasp = future.result()
        except ValueError as error:
            self._refuse(str(error))
            return
        self._is_changed = True
        if not _same_scene(view, self._view()):
            self._say_held('')  # of the scene that is shown by now, everything is on the table
            return
        nothing = ('nothing: its suction did not hold' if grasp.touched
                   else 'nothing: it came down on the bare table')
        self.get_logger().info(f'Gripper lifted {grasp.held or nothing}')
        self._say_held(grasp.held)

    def _refuse(self, why: str) -> None:
        """Warn, and say again what is held: whoever waits for it gets an answer."""
        self.get_logger().warning(f'A gripper/goal is not taken: {why}')
        self._say_held(self._held)

    def _say_held(self, words: str) -> None:
        self._held = words
        self._holding.publish(String(data=words))

    def _publish(self, exposed_at: Time) -> None:
        values, frame = self._settings.values, self._photo.frame
        header = Header(stamp=exposed_at.to_msg(), frame_id=values.frame_id)
        self._remember(exposed_at.nanoseconds, frame.truth)
        self._newest = header
        # Large messages are made for somebody, or not at all.
        if self._image.get_subscription_count():
            self._image.publish(image_message(header, frame.rgb))
        if self._jpeg.get_subscription_count():
            self._jpeg.publish(jpeg_message(header, self._photo))
        if self._depth.get_subscription_count():
            self._depth.publish(depth_message(header, frame.depth))
        self._info.publish(camera_info_message(header, frame.truth))
        self._pose.publish(camera_pose_message(header.stamp, values.world_frame_id, frame.truth))

    def _remember(self, stamp_ns: int, truth: FrameTruth) -> None:
        self._truths[stamp_ns] = truth
        oldest_ns = stamp_ns - int(self._settings.values.truth_memory * 1e9)
        while self._truths and not oldest_ns <= next(iter(self._truths)) <= stamp_ns:
            self._truths.popitem(last=False)

    def _on_instruction(self, message: InstructionMsg) -> None:
        if self._newest is None or self.count_publishers('detections'):
            return
        instruction, error = instruction_from_msg(message, Stamp(
            *self.get_clock().now().seconds_nanoseconds()))
        if error is None and instruction.mode is not Mode.STOP:
            self._publish_truth(instruction, self._newest)

    def _on_result(self, message: DetectionArray) -> None:
        outcome, asked_at = message.outcome, message.outcome.instruction_stamp
        if message.header.frame_id == self._settings.values.frame_id:
            self._publish_truth(Instruction(
                outcome.instruction_id, outcome.instruction_text, cameras=(outcome.camera,),
                stamp=Stamp(asked_at.sec, asked_at.nanosec)), message.header)

    def _publish_truth(self, instruction: Instruction, header: Header) -> None:
        truth = self._truths.get(Time.from_msg(header.stamp).nanoseconds)
        key = None if truth is None else answer_key(instruction.text, truth)
        if truth is None or key is None:
            why = ('its frame is not ours or too old' if truth is None
                   else 'no instruction of the simulator, or without a clear answer in this frame')
            self.get_logger().debug(f'no truth for {instruction.text:.80}: {why}')
            return
        detections, answer = truth_messages(key, truth, header, instruction)
        self._truth.publish(detections)
        self._answer.publish(answer)


def _same_scene(one: View, other: View) -> bool:
    return (one.seed, one.objects) == (other.seed, other.objects)


def _camera() -> QoSProfile:
    """Reliable, which matches every subscription. The last few wait for those slow to take them."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5,
                      reliability=ReliabilityPolicy.RELIABLE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node as a program."""
    return run_node(SimCameraNode, lambda _: None, arguments)
