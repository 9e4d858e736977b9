"""The demo's own place on the graph: sends instructions, gathers results, truth and images."""
from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import rclpy
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from vr_ros.core.types import Instruction
from vr_ros.evaluation.report import Truth
from vr_ros.nodes import qos
from vr_ros.nodes.convert import (
    AnswerMsg,
    DetectionArray,
    InstructionMsg,
    Perceive,
    instruction_to_msg,
)
from vr_ros.nodes.results import Result, read_result, read_stamp

IMAGES_KEPT = 100
_TRUTH_PATIENCE_S = 3.0
Pair = tuple[Any, Any]


class DemoError(Exception):
    """The demo cannot go on; one line that says why."""


@dataclass(frozen=True)
class Exchange:
    """One instruction and all that came back.

    :param image: (H, W, 3) uint8 RGB of the very frame, or None.
    """

    result: Result
    image: np.ndarray | None
    truth: Truth | None


class DemoClient:
    """A node that asks one thing after the other.

    :param check: raises when the demo cannot go on; called while waiting.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self.context = rclpy.Context()
        rclpy.init(args=[], context=self.context)
        self.node = Node('demo', context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._images: OrderedDict[int, Any] = OrderedDict()
        self._results: dict[str, dict[str, Any]] = {}
        self._truths: dict[str, dict[str, Any]] = {}
        self._instructions = qos.create_publisher(
            self.node, InstructionMsg, 'instruction', qos.command())
        for topic, store, kind in (
            ('detections', self._results, DetectionArray), ('answer', self._results, AnswerMsg),
            ('truth/detections', self._truths, DetectionArray),
            ('truth/answer', self._truths, AnswerMsg),
        ):
            qos.create_subscription(
                self.node, kind, topic, self._keeper(store, topic.split('/')[-1]), qos.result())
        self.node.create_subscription(Image, 'image', self._on_image, QoSProfile(depth=1))
        self._action = ActionClient(self.node, Perceive, 'perception/perceive',
                                    feedback_sub_qos_profile=QoSProfile(depth=200))

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def wait_for_graph(self, subscribers_of_image: int, timeout_s: float) -> None:
        """Wait until all parts see each other and a picture has come.

        :raises DemoError: when that takes longer than the timeout.
        """
        def is_complete() -> bool:
            return (
                bool(self._images) and self._action.server_is_ready()
                and self.node.count_subscribers('image') >= subscribers_of_image
                and self._instructions.get_subscription_count() >= 1)
        self._wait(is_complete, timeout_s, 'the parts of the demo did not find each other')

    def tell(self, instruction: Instruction, timeout_s: float) -> Exchange:
        """Publish an instruction on its topic and wait for the answer."""
        message = instruction_to_msg(instruction)
        message.id = uuid.uuid4().hex
        self._instructions.publish(message)
        found = self._results.setdefault(message.id, {})
        self._wait(lambda: len(found) == 2, timeout_s, f'no answer to "{instruction.text}"')
        return self._exchange(found['detections'], found['answer'])

    def ask(self, instruction: Instruction, on_text: Callable[[str], None],
            timeout_s: float) -> Exchange:
        """Send an instruction by the action and pass its reasoning on as it comes."""
        goal = Perceive.Goal(instruction=instruction_to_msg(instruction))
        sent = self._action.send_goal_async(
            goal, lambda message: on_text(message.feedback.new_reasoning))
        self._wait(sent.done, timeout_s, 'the perception node did not take the goal')
        ended = sent.result().get_result_async()
        self._wait(ended.done, timeout_s, f'no answer to "{instruction.text}"')
        result = ended.result().result
        return self._exchange(result.detections, result.answer)

    def _exchange(self, detections: Any, answer: Any) -> Exchange:
        result = read_result(detections, answer)
        truth = self._truths.setdefault(result.instruction_id, {})
        if result.has_image:
            self._wait(lambda: len(truth) == 2, _TRUTH_PATIENCE_S, None)
        image = self._images.get(result.stamp.nanoseconds)
        return Exchange(
            result, None if image is None else _pixels(image),
            _truth(truth['detections'], truth['answer']) if len(truth) == 2 else None)

    def _keeper(self, store: dict[str, dict[str, Any]], name: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            if message.outcome.is_final:
                store.setdefault(message.outcome.instruction_id, {})[name] = message
        return keep

    def _on_image(self, message: Any) -> None:
        self._images[read_stamp(message).nanoseconds] = message
        while len(self._images) > IMAGES_KEPT:
            self._images.popitem(last=False)

    def _wait(self, is_over: Callable[[], bool], timeout_s: float, complaint: str | None) -> None:
        """:raises DemoError: after the timeout, unless there is nothing to complain about."""
        end_at = time.monotonic() + timeout_s
        while not is_over():
            self._executor.spin_once(timeout_sec=0.1)
            self._check()
            if time.monotonic() > end_at:
                if complaint is None:
                    return
                raise DemoError(f'{complaint} within {timeout_s:.0f} s')


def _pixels(message: Any) -> np.ndarray:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


def _truth(detections: Any, answer: Any) -> Truth:
    known = read_result(detections, answer).perception
    return Truth(known.task, known.detections, known.answer)
