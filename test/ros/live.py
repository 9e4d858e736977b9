"""A perception node on the live graph, a real worker process behind it, and a robot around it."""
from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from vr_ros.action import Perceive
from vr_ros.msg import Answer, Count, DetectionArray, Instruction
from vr_ros.nodes import qos
from vr_ros.nodes.perception_node import PerceptionNode
from vr_ros.srv import PerceiveImage

PATIENCE_S = 60.0
# A new process on a machine that has other things to do; pytest-timeout ends what hangs.
START_PATIENCE_S = 100.0
FAULT_BACKEND = f'{Path(__file__).parents[1] / "pipeline" / "fault_backend.py"}:make'
RESULTS = {'detections': DetectionArray, 'count': Count, 'answer': Answer}


class Robot:
    """The other side of the graph: camera, operator and planner in one node."""

    def __init__(self, context: rclpy.Context, executor: SingleThreadedExecutor, namespace: str,
                 frames_received: Callable[[], int]) -> None:
        self.node = Node('robot', context=context, namespace=namespace)
        self.executor, self.frames_received = executor, frames_received
        executor.add_node(self.node)
        self.received: dict[str, list[Any]] = {}
        for topic, kind in RESULTS.items():
            self.listen(topic, kind, qos.result())
        self.instructions = self.node.create_publisher(Instruction, 'instruction', qos.command())
        self.images = self.node.create_publisher(Image, 'image', qos.newest())
        self.action = ActionClient(self.node, Perceive, 'perception/perceive',
                                   feedback_sub_qos_profile=QoSProfile(depth=100))
        self.service = self.node.create_client(PerceiveImage, 'perception/perceive_image')

    def listen(self, topic: str, kind: type, profile: QoSProfile) -> list[Any]:
        """Collect what is published on a topic from now on."""
        messages = self.received.setdefault(topic, [])
        self.node.create_subscription(kind, topic, messages.append, profile)
        return messages

    def until(self, condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
        """Spin until a condition holds, and return its value."""
        end_at = time.monotonic() + patience_s
        while not (value := condition()):
            if time.monotonic() > end_at:
                raise TimeoutError(f'waited {patience_s:g} s; received: {self.summary()}')
            self.executor.spin_once(timeout_sec=0.1)
        return value

    def spin(self, seconds: float) -> None:
        """Let things happen that must not happen."""
        end_at = time.monotonic() + seconds
        while time.monotonic() < end_at:
            self.executor.spin_once(timeout_sec=0.02)

    def connect(self) -> None:
        """Wait until the node and this one have found each other."""
        found = self.node.count_subscribers
        self.until(lambda: found('instruction') and self.node.count_publishers('detections')
                   and self.instructions.get_subscription_count())

    def shake_hands(self) -> None:
        """Wait until messages really come through both ways.

        Each side of a connection learns of the other by itself, so what is published as soon as
        one side knows may still be lost. An empty instruction is answered at once in any state.
        """
        self.connect()
        end_at = time.monotonic() + PATIENCE_S
        while not all(self.received[topic] for topic in RESULTS):
            if time.monotonic() > end_at:
                raise TimeoutError('the node does not answer')
            self.tell('')
            self.spin(0.5)
        self.spin(0.5)  # late answers to earlier attempts
        for messages in self.received.values():
            messages.clear()

    def wait_for_camera(self) -> None:
        """Wait until the node listens to the camera."""
        self.until(self.images.get_subscription_count)

    def tell(self, text: str, **fields: Any) -> str:
        """Publish an instruction and return its id."""
        deadline_s = fields.pop('deadline_s', 0.0)
        message = Instruction(text=text, **fields)
        message.deadline.sec = int(deadline_s)
        message.deadline.nanosec = int(deadline_s % 1 * 1e9)
        if not message.id and message.mode != Instruction.STOP:
            message.id = f'instruction {time.monotonic_ns()}'
        self.instructions.publish(message)
        return message.id

    def show(self, picture: np.ndarray | None = None, age_s: float = 0.0, **fields: Any) -> Image:
        """Publish an image, and wait until the node has it if it listens."""
        message = image(PICTURE if picture is None else picture, **fields)
        stamp = self.node.get_clock().now() - rclpy.duration.Duration(seconds=age_s)
        message.header.stamp = stamp.to_msg()
        self.deliver(message)
        return message

    def deliver(self, image: Image | bytes) -> None:
        """Publish a message or its bytes on image, and wait until the node has it if it listens."""
        before = self.frames_received()
        self.images.publish(image)
        if self.images.get_subscription_count():
            self.until(lambda: self.frames_received() > before)

    def answers(self, instruction_id: str, topic: str = 'detections') -> list[Any]:
        """Return the results of one instruction so far."""
        return [message for message in self.received[topic]
                if message.outcome.instruction_id == instruction_id]

    def answer(self, instruction_id: str, number: int = 0, patience_s: float = PATIENCE_S) -> Any:
        """Wait for a result, and for it on all three topics."""
        self.until(lambda: all(
            len(self.answers(instruction_id, topic)) > number for topic in RESULTS), patience_s)
        return self.answers(instruction_id)[number]

    def ask(self, text: str, patience_s: float = PATIENCE_S, **fields: Any) -> Any:
        """Publish an instruction and wait for its first result."""
        return self.answer(self.tell(text, **fields), patience_s=patience_s)

    def summary(self) -> dict[str, list[str]]:
        return {topic: [str(message)[:300] for message in messages[-3:]]
                for topic, messages in self.received.items()}


class Graph:
    """Node and robot in one executor. The worker is a process of its own, as always.

    :param namespace: tells graphs apart that exist at the same time.
    """

    def __init__(self, namespace: str, parameters: dict[str, Any]) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = PerceptionNode(
            context=self.context, parameter_overrides=overrides, namespace=namespace)
        self.executor.add_node(self.node)
        self.robot = Robot(self.context, self.executor, namespace, lambda: sum(
            camera.received for camera in self.node._cameras.values()))

    def start(self) -> Robot:
        """Configure and activate, and wait until the model is ready."""
        self.node.trigger_configure()
        self.node.trigger_activate()
        self.robot.connect()
        self.wait_for_model()
        self.robot.wait_for_camera()
        return self.robot

    def wait_for_model(self, state: str = 'ready') -> None:
        self.robot.until(lambda: self.node.worker_health.state.value == state, START_PATIENCE_S)

    def close(self) -> None:
        self.node.trigger_shutdown()
        self.executor.shutdown()
        self.robot.node.destroy_node()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
        # rcl lets a node go, and its name in the log, when nothing refers to it any more.
        gc.collect()


def image(picture: np.ndarray, encoding: str = 'rgb8', frame_id: str = 'camera_optical',
          data: bytes | None = None, step: int | None = None,
          size: Sequence[int] | None = None, stamp: Time | None = None) -> Image:
    """Make a sensor_msgs/Image, honest or not.

    :param picture: (H, W, 3) uint8.
    :param data, step, size: in place of the picture's own; size is width, height.
    """
    height, width = picture.shape[:2]
    if size is not None:
        width, height = size
    message = Image(height=height, width=width, encoding=encoding,
                    step=3 * width if step is None else step)
    message.header.frame_id = frame_id
    message.header.stamp = stamp or Time()
    message.data.frombytes(picture.tobytes() if data is None else data)
    return message


def compressed(robot: Robot, data: np.ndarray) -> CompressedImage:
    """Make a CompressedImage, stamped now, of an encoded picture."""
    message = CompressedImage(format='png')
    message.header.stamp = robot.node.get_clock().now().to_msg()
    message.data.frombytes(data.tobytes())
    return message


def same(first: Any, second: Any) -> bool:
    """Tell whether two messages are the same to the byte; NaN is then equal to itself."""
    return bool(serialize_message(first) == serialize_message(second))


PICTURE = np.random.default_rng(7).integers(0, 256, (24, 32, 3), np.uint8)
