"""The result topics of the perception node."""
from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node

from vr_ros.core.types import Source
from vr_ros.nodes import qos
from vr_ros.nodes.convert import (
    AnswerMsg,
    Count,
    DetectionArray,
    InstructionMsg,
    MaskArray,
    answer_to_msg,
    count_to_msg,
    detections_to_msg,
    instruction_to_msg,
    masks_to_msg,
    partial_to_msg,
)
from vr_ros.nodes.parameters import PerceptionParameters
from vr_ros.nodes.updates import ActiveInstruction, Answer, Update


class ResultPublishers:
    """Writes every update to the topics it concerns.

    They exist as long as the node, in every lifecycle state: an instruction that comes too early or
    too late is answered as well.

    :param parameters: the node's parameters as they are now.
    """

    def __init__(self, node: Node, parameters: Callable[[], PerceptionParameters]) -> None:
        self._parameters = parameters
        self._detections = qos.create_publisher(node, DetectionArray, 'detections', qos.result())
        self._count = qos.create_publisher(node, Count, 'count', qos.result())
        self._answer = qos.create_publisher(node, AnswerMsg, 'answer', qos.result())
        self._masks = qos.create_publisher(node, MaskArray, 'masks', qos.result())
        self._last = qos.create_publisher(node, DetectionArray, '~/last_result', qos.latched())
        self._active = qos.create_publisher(
            node, InstructionMsg, '~/active_instruction', qos.latched())
        self._partial = qos.create_publisher(node, DetectionArray, '~/partial', qos.preview())
        self._active.publish(instruction_to_msg(None))

    def publish(self, update: Update) -> None:
        """Publish an update. A picture that came with a request concerns no topic."""
        if isinstance(update, ActiveInstruction):
            self._active.publish(instruction_to_msg(update.instruction))
        elif update.job.picture is not None:
            return
        elif isinstance(update, Answer):
            self._publish_answer(update)
        elif update.new_detections and self._partial.get_subscription_count():
            self._partial.publish(partial_to_msg(update))

    def _publish_answer(self, answer: Answer) -> None:
        values = self._parameters()
        detections = detections_to_msg(answer)
        self._detections.publish(detections)
        self._count.publish(count_to_msg(answer))
        if answer.perception.source is Source.REASONED:
            self._last.publish(detections)
            self._answer.publish(answer_to_msg(
                answer, reasoning=values.reasoning, raw_text_limit=values.raw_text_limit))
        if self._masks.get_subscription_count():
            self._masks.publish(masks_to_msg(answer))
