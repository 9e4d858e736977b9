"""The demo's own place on the graph: sends instructions, gathers results, truth and images."""
from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage

from vr_ros.bags.result_messages import Result, read_result, read_stamp
from vr_ros.core.types import Instruction
from vr_ros.datasets.truth import Truth
from vr_ros.nodes import qos
from vr_ros.nodes.convert import (
    AnswerMsg,
    DetectionArray,
    InstructionMsg,
    Perceive,
    instruction_to_msg,
)

# An answer may take long; the picture it is about must still be there.
IMAGES_KEPT_S = 180.0
SCENE_PATIENCE_S = 20.0
_TRUTH_PATIENCE_S = 3.0
_MODEL_STATUS, _CAMERA_STATUS = 'perception: model', 'perception: camera camera'
_RECORDER_STATUS, _RECORDED = 'record: losses', ' recorded'


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
        self._pictures: OrderedDict[int, bytes] = OrderedDict()
        self._results: dict[str, dict[str, Any]] = {}
        self._truths: dict[str, dict[str, Any]] = {}
        self._model_state, self.model_message = '', ''
        self._looked_at_ns = 0
        self._recorded: set[str] = set()
        self._instructions = qos.create_publisher(
            self.node, InstructionMsg, 'instruction', qos.command())
        self._subscribe()
        self._action = ActionClient(self.node, Perceive, 'perception/perceive',
                                    feedback_sub_qos_profile=QoSProfile(depth=200))
        self._camera = AsyncParameterClient(self.node, 'sim_camera')

    def _subscribe(self) -> None:
        for topic, store, kind in (
            ('detections', self._results, DetectionArray), ('answer', self._results, AnswerMsg),
            ('truth/detections', self._truths, DetectionArray),
            ('truth/answer', self._truths, AnswerMsg),
        ):
            qos.create_subscription(
                self.node, kind, topic, self._keeper(store, topic.split('/')[-1]), qos.result())
        qos.create_subscription(
            self.node, CompressedImage, 'image/compressed', self._on_picture, qos.result())
        qos.create_subscription(
            self.node, DiagnosticArray, '/diagnostics', self._on_diagnostics, qos.command())

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def wait_for_graph(self, listeners: Mapping[str, str], timeout_s: float) -> None:
        """Wait until all parts have found each other and pictures come.

        :param listeners: topics, and the node that is to listen to each.
        :raises DemoError: when that takes longer than the timeout.
        """
        def missing() -> list[str]:
            parts = {
                'a picture': bool(self._pictures),
                'the perception node': self._action.server_is_ready(),
                **{f'{node} on {topic}': self._is_heard(topic, node)
                   for topic, node in listeners.items()}}
            return [part for part, is_there in parts.items() if not is_there]
        self._wait(lambda: not missing(), timeout_s,
                   lambda: f'no {", no ".join(missing())} within {timeout_s:.0f} s')

    def wait_for_recorder(self, topics: Iterable[str], timeout_s: float) -> None:
        """Wait until these topics are recorded, and the node sees what came after that.

        That the recorder listens is not enough: whoever publishes may learn it later than others.

        :raises DemoError: when that takes longer than the timeout.
        """
        names = {self.node.resolve_topic_name(topic) for topic in topics}
        self._wait(lambda: names <= self._recorded, timeout_s, lambda: (
            f'{", ".join(sorted(names - self._recorded))} not recorded within {timeout_s:.0f} s'))
        self._wait_for_sight(timeout_s, 'new pictures')

    def wait_for_model(self, timeout_s: float) -> None:
        """Wait until the perception node says that its model is ready.

        :raises DemoError: the model cannot be loaded, or not within the timeout.
        """
        def is_ready() -> bool:
            if self._model_state == 'failed':
                raise DemoError(f'the model cannot be loaded: {self.model_message}')
            return self._model_state == 'ready'
        self._wait(is_ready, timeout_s, lambda: (
            f'the model is not ready after {timeout_s:.0f} s: {self.model_message or "no word"}'))

    def show_scene(self, seed: int) -> None:
        """Have the camera look at another scene, and wait until the perception node sees it.

        :raises DemoError: the camera does not do it, or the node does not see it.
        """
        done = self._camera.set_parameters([Parameter('seed', value=seed)])
        self._wait(done.done, SCENE_PATIENCE_S, lambda: 'the camera does not take a new scene')
        if not all(result.successful for result in done.result().results):
            raise DemoError(f'the camera refuses scene {seed}')
        self._wait_for_sight(SCENE_PATIENCE_S, f'scene {seed}')

    def _wait_for_sight(self, timeout_s: float, what: str) -> None:
        now_ns = self.node.get_clock().now().nanoseconds
        # The node's own word: pictures reach it and this client on different ways.
        self._wait(lambda: self._looked_at_ns > now_ns, timeout_s,
                   lambda: f'the perception node sees nothing of {what}')

    def tell(self, instruction: Instruction, timeout_s: float) -> Exchange:
        """Publish an instruction on its topic and wait for the answer."""
        message = instruction_to_msg(instruction)
        message.id = uuid.uuid4().hex
        self._instructions.publish(message)
        found = self._results.setdefault(message.id, {})
        self._wait(lambda: len(found) == 2, timeout_s, self._no_answer(instruction, timeout_s))
        return self._exchange(found['detections'], found['answer'])

    def ask(self, instruction: Instruction, on_text: Callable[[str], None],
            timeout_s: float) -> Exchange:
        """Send an instruction by the action and pass its reasoning on as it comes."""
        goal = Perceive.Goal(instruction=instruction_to_msg(instruction))
        sent = self._action.send_goal_async(
            goal, lambda message: on_text(message.feedback.new_reasoning))
        self._wait(sent.done, timeout_s, lambda: 'the perception node did not take the goal')
        ended = sent.result().get_result_async()
        self._wait(ended.done, timeout_s, self._no_answer(instruction, timeout_s))
        result = ended.result().result
        return self._exchange(result.detections, result.answer)

    def _no_answer(self, instruction: Instruction, timeout_s: float) -> Callable[[], str]:
        return lambda: f'no answer to "{instruction.text}" within {timeout_s:.0f} s'

    def _exchange(self, detections: Any, answer: Any) -> Exchange:
        result = read_result(detections, answer)
        truth = self._truths.setdefault(result.instruction_id, {})
        if result.has_image:
            self._wait(lambda: len(truth) == 2, _TRUTH_PATIENCE_S, None)
        picture = self._pictures.get(result.stamp.nanoseconds)
        return Exchange(
            result, None if picture is None else decoded(picture),
            _truth(truth['detections'], truth['answer']) if len(truth) == 2 else None)

    def _is_heard(self, topic: str, node_name: str) -> bool:
        name = self.node.resolve_topic_name(topic)
        return any(info.node_name == node_name
                   for info in self.node.get_subscriptions_info_by_topic(name))

    def _keeper(self, store: dict[str, dict[str, Any]], name: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            if message.outcome.is_final:
                store.setdefault(message.outcome.instruction_id, {})[name] = message
        return keep

    def _on_picture(self, message: Any) -> None:
        stamp_ns = read_stamp(message).nanoseconds
        self._pictures[stamp_ns] = bytes(message.data)
        while stamp_ns - next(iter(self._pictures)) > IMAGES_KEPT_S * 1e9:
            self._pictures.popitem(last=False)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            name, values = status.name.lstrip('/'), {p.key: p.value for p in status.values}
            if name == _MODEL_STATUS:
                self._model_state, self.model_message = values.get('state', ''), status.message
            elif name == _CAMERA_STATUS and 'age [ms]' in values:
                # Rounded to milliseconds: one more is on the safe side.
                age_ns = (int(values['age [ms]']) + 1) * 1_000_000
                self._looked_at_ns = read_stamp(message).nanoseconds - age_ns
            elif name == _RECORDER_STATUS:
                self._recorded = {key.removesuffix(_RECORDED) for key, value in values.items()
                                  if key.endswith(_RECORDED) and value != '0'}

    def _wait(self, is_over: Callable[[], bool], timeout_s: float,
              complaint: Callable[[], str] | None) -> None:
        """:raises DemoError: after the timeout, unless there is nothing to complain about."""
        end_at = time.monotonic() + timeout_s
        while not is_over():
            self._executor.spin_once(timeout_sec=0.1)
            self._check()
            if time.monotonic() > end_at:
                if complaint is None:
                    return
                raise DemoError(complaint())


def decoded(picture: bytes) -> np.ndarray:
    """Decode an image file.

    :return: (H, W, 3) uint8 RGB.
    """
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR),
                        cv2.COLOR_BGR2RGB)


def _truth(detections: Any, answer: Any) -> Truth:
    return Truth.from_perception(read_result(detections, answer).perception)
