"""The action ~/perceive and the service ~/perceive_image: ask one thing, get its answer back."""
from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from rclpy.task import Future
from sensor_msgs.msg import CompressedImage

from vr_ros.core.types import Instruction, Mode, PerceptionError, Stamp, Status
from vr_ros.nodes.cameras import Frame
from vr_ros.nodes.convert import (
    AnswerMsg,
    DetectionArray,
    InstructionMsg,
    Perceive,
    PerceiveImage,
    answer_to_msg,
    detections_to_msg,
    feedback_of_answer,
    feedback_of_progress,
    instruction_from_msg,
)
from vr_ros.nodes.dispatch import Dispatcher
from vr_ros.nodes.parameters import PerceptionParameters
from vr_ros.nodes.safely import report_failure, safely
from vr_ros.nodes.updates import Answer, Progress, Update, failed
from vr_ros.pipeline.protocol import FrameKind

# How long the action server keeps a result for a client that has not asked for it yet.
RESULT_TIMEOUT_S = 60
# Feedback comes in bursts, and none of it should be lost.
FEEDBACK_DEPTH = 100


class PerceiveRequests:
    """Serves both. The callbacks are coroutines: any number may wait, and none holds up the node.

    :param parameters: the node's parameters as they are now.
    :param after: called after each instruction or cancellation was passed on.
    """

    def __init__(self, node: Node, dispatcher: Dispatcher,
                 parameters: Callable[[], PerceptionParameters],
                 after: Callable[[], None]) -> None:
        self._node, self._dispatcher, self._parameters = node, dispatcher, parameters
        self._after = after
        self._goals: dict[bytes, str] = {}
        # A coroutine that waits keeps a mutually exclusive group to itself.
        self._group = ReentrantCallbackGroup()
        self._server = ActionServer(
            node, Perceive, '~/perceive', self._on_goal, cancel_callback=self._on_cancel,
            callback_group=self._group, result_timeout=RESULT_TIMEOUT_S,
            feedback_pub_qos_profile=QoSProfile(depth=FEEDBACK_DEPTH))
        self._service = node.create_service(
            PerceiveImage, '~/perceive_image', self._on_picture, callback_group=self._group)

    async def _on_goal(self, goal: ServerGoalHandle) -> Perceive.Result:
        try:
            answer, detections, text = await self._answer_to(goal.request.instruction, goal=goal)
        finally:
            self._goals.pop(bytes(goal.goal_id.uuid), None)
        safely(self._node, self._conclude)(goal, answer)
        return Perceive.Result(detections=detections, answer=text)

    @staticmethod
    def _conclude(goal: ServerGoalHandle, answer: Answer) -> None:
        if goal.is_cancel_requested:
            goal.canceled()
        elif answer.perception.status.is_error:
            goal.abort()
        else:
            goal.succeed()

    def _on_cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        try:
            self._dispatcher.cancel(self._goals.get(bytes(goal.goal_id.uuid), ''))
            self._after()
        except Exception:
            report_failure(self._node, 'cancelling')
        return CancelResponse.ACCEPT

    async def _on_picture(self, request: PerceiveImage.Request,
                          response: PerceiveImage.Response) -> PerceiveImage.Response:
        _, response.detections, response.answer = await self._answer_to(
            request.instruction, picture=request.image)
        return response

    async def _answer_to(
        self, message: InstructionMsg, *, picture: CompressedImage | None = None,
        goal: ServerGoalHandle | None = None,
    ) -> tuple[Answer, DetectionArray, AnswerMsg]:
        """Answer in any case: what fails on the way becomes an answer that says so."""
        instruction = Instruction('', '')
        try:
            instruction, error = instruction_from_msg(message, self._now())
            if goal is not None:
                goal_key = bytes(goal.goal_id.uuid)
                if not instruction.id:
                    instruction = replace(instruction, id=str(uuid.UUID(bytes=goal_key)))
                self._goals[goal_key] = instruction.id
            frame = None if picture is None else Frame(
                '', serialize_message(picture), FrameKind.COMPRESSED, 0, time.monotonic())
            answer = await self._ask(instruction, error, picture=frame, goal=goal)
            return answer, *self._messages(answer)
        except Exception:
            report_failure(self._node, 'answering', instruction.id)
            self._after()
            answer = failed(instruction, PerceptionError(
                Status.MODEL_ERROR, "an error within the node; the node's log has more"))
            return answer, *self._messages(answer)

    async def _ask(self, instruction: Instruction, error: PerceptionError | None, *,
                   picture: Frame | None = None, goal: ServerGoalHandle | None = None) -> Answer:
        if instruction.mode is Mode.STOP:
            return failed(instruction, PerceptionError(
                Status.BAD_INSTRUCTION, 'STOP goes to the topic instruction; or cancel the goal'))
        done = Future(executor=self._node.executor)
        feed_back = safely(self._node, self._feed_back)
        conversation = _Conversation(done, lambda update: feed_back(goal, update))
        conversation.expect(self._dispatcher.submit(
            instruction, conversation.hear, picture=picture, error=error))
        if not conversation.expected:
            return failed(instruction, PerceptionError(
                Status.BAD_INSTRUCTION, 'the id was used before: give each instruction its own'))
        if goal is not None and goal.is_cancel_requested:
            self._dispatcher.cancel(instruction.id)
        self._after()
        answer: Answer = await done
        return answer

    def _feed_back(self, goal: ServerGoalHandle | None, update: Update) -> None:
        if goal is None or not goal.is_active:
            return
        if isinstance(update, Progress):
            goal.publish_feedback(feedback_of_progress(
                update, reasoning=self._parameters().reasoning))
        elif isinstance(update, Answer):
            goal.publish_feedback(feedback_of_answer(update, *self._messages(update)))

    def _messages(self, answer: Answer) -> tuple[DetectionArray, AnswerMsg]:
        values = self._parameters()
        return detections_to_msg(answer), answer_to_msg(
            answer, reasoning=values.reasoning, raw_text_limit=values.raw_text_limit)

    def _now(self) -> Stamp:
        return Stamp(*self._node.get_clock().now().seconds_nanoseconds())


class _Conversation:
    """Hears the updates of one instruction until it has ended on every camera.

    :param done: gets the last Answer.
    :param feed_back: gets all before that.
    """

    def __init__(self, done: Any, feed_back: Callable[[Update], None]) -> None:
        self._done, self._feed_back = done, feed_back
        self._ended = 0
        self._last: Answer | None = None
        self.expected: int | None = None

    def expect(self, count: int) -> None:
        """Tell how many Answers will end the instruction; some may have been heard already."""
        self.expected = count
        self._finish()

    def hear(self, update: Update) -> None:
        if isinstance(update, Answer) and update.ended:
            self._ended += 1
            self._last = update
        if self._last is not update or self._ended < (self.expected or 0):
            self._feed_back(update)
        self._finish()

    def _finish(self) -> None:
        if self.expected and self._ended == self.expected and not self._done.done():
            self._done.set_result(self._last)
