"""The perception node on the live graph: its action and its service."""
from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
from action_msgs.msg import GoalStatus
from live import PICTURE, Graph, Robot, compressed, same
from rclpy.action.client import ClientGoalHandle

from vr_ros.action import Perceive
from vr_ros.msg import Instruction, Outcome
from vr_ros.srv import PerceiveImage

MakeGraph = Callable[..., Graph]
CONTINUOUS, STOP = Instruction.CONTINUOUS, Instruction.STOP


def send_goal(robot: Robot, text: str,
              **fields: object) -> tuple[ClientGoalHandle, list[Perceive.Feedback]]:
    """Send a goal and wait until it is accepted.

    :return: its handle, and its feedback as it comes.
    """
    feedback: list[Perceive.Feedback] = []
    robot.until(robot.action.server_is_ready)
    sent = robot.action.send_goal_async(
        Perceive.Goal(instruction=Instruction(text=text, **fields)),
        lambda message: feedback.append(message.feedback))
    handle = robot.until(lambda: sent.done() and sent.result())
    assert handle.accepted
    return handle, feedback


def result_of(robot: Robot, handle: ClientGoalHandle) -> Any:
    future = handle.get_result_async()
    return robot.until(lambda: future.done() and future.result())


def test_a_goal_streams_reasoning_and_detections_and_ends_with_the_result(graph: MakeGraph) -> None:
    robot = graph().start()
    shown = robot.show()
    handle, feedback = send_goal(robot, 'echo')
    # rclpy's client drops the feedback that comes after the result it asked for.
    robot.until(lambda: any(found.has_mask for message in feedback
                            for found in message.new_detections))
    response = result_of(robot, handle)
    assert response.status == GoalStatus.STATUS_SUCCEEDED
    result = response.result.detections
    assert result.header == shown.header and result.count == 1
    assert response.result.answer.outcome == result.outcome
    assert ''.join(message.new_reasoning for message in feedback) == 'I see a cup — ☕'
    drafts = [found for message in feedback for found in message.new_detections]
    assert [found.has_mask for found in drafts] == [False, True]
    assert {found.index for found in drafts} == {0}
    assert result.outcome.instruction_id == str(uuid.UUID(bytes=bytes(handle.goal_id.uuid)))
    assert same(robot.answer(result.outcome.instruction_id), result)  # on the topics as well


def test_a_goal_that_is_cancelled_while_loading_leaves_loading_alone(
        graph: MakeGraph, tmp_path: Path) -> None:
    go = tmp_path / 'go'
    made = graph(model=f'wait:{go}')
    robot = made.robot
    made.node.trigger_configure()
    made.node.trigger_activate()
    robot.connect()
    robot.wait_for_camera()
    made.wait_for_model('loading')
    worker = made.node.worker_health.pid
    robot.show()
    handle, feedback = send_goal(robot, 'echo')
    patient, _ = send_goal(robot, 'echo')
    robot.until(lambda: any(message.stage == Perceive.Feedback.WAITING_MODEL
                            for message in feedback))
    cancelling = handle.cancel_goal_async()
    response = result_of(robot, handle)
    assert cancelling.result().goals_canceling
    assert response.status == GoalStatus.STATUS_CANCELED
    outcome = response.result.detections.outcome
    assert outcome.status == Outcome.CANCELLED
    assert made.node.worker_health.state.value == 'loading'
    go.touch()
    made.wait_for_model()
    robot.show()
    assert result_of(robot, patient).result.detections.outcome.status == Outcome.OK
    assert robot.ask('echo').outcome.status == Outcome.OK
    assert made.node.worker_health.pid == worker
    robot.spin(0.3)
    assert len(robot.answers(outcome.instruction_id)) == 1


def test_a_cancelled_goal_ends_at_once_and_the_next_is_answered(graph: MakeGraph) -> None:
    robot = graph().start()
    robot.show()
    handle, feedback = send_goal(robot, 'words 100000')
    waiting, _ = send_goal(robot, 'words 1')
    robot.until(lambda: any(message.new_reasoning for message in feedback))
    cancelling = handle.cancel_goal_async()
    response = result_of(robot, handle)
    assert cancelling.result().goals_canceling
    assert response.status == GoalStatus.STATUS_CANCELED
    assert response.result.detections.outcome.status == Outcome.CANCELLED
    assert response.result.detections.count == -1
    response = result_of(robot, waiting)
    assert response.status == GoalStatus.STATUS_SUCCEEDED
    assert response.result.answer.reasoning == '1'


def test_a_goal_that_waits_can_be_cancelled(graph: MakeGraph) -> None:
    robot = graph().start()
    handle, feedback = send_goal(robot, 'echo')
    robot.until(lambda: feedback)
    assert [message.stage for message in feedback] == [Perceive.Feedback.WAITING_IMAGE]
    handle.cancel_goal_async()
    response = result_of(robot, handle)
    assert response.status == GoalStatus.STATUS_CANCELED
    assert response.result.detections.outcome.status == Outcome.CANCELLED
    assert response.result.detections.header.frame_id == ''


def test_a_continuous_goal_runs_until_it_is_cancelled(graph: MakeGraph) -> None:
    robot = graph(reason_period=0.05).start()
    handle, feedback = send_goal(robot, 'echo', mode=CONTINUOUS)
    future = handle.get_result_async()

    def results() -> list[Perceive.Feedback]:
        robot.show()
        return [message for message in feedback if message.stage == Perceive.Feedback.RESULT]

    found = robot.until(lambda: len(results()) >= 3 and results())
    assert [message.sequence for message in found[:3]] == [0, 1, 2]
    assert all(message.detections[0].count == 1 and message.answer for message in found)
    assert not future.done()
    handle.cancel_goal_async()
    response = result_of(robot, handle)
    assert response.status == GoalStatus.STATUS_CANCELED
    assert response.result.detections.outcome.status == Outcome.CANCELLED


def test_a_goal_with_a_used_id_or_a_stop_is_aborted(graph: MakeGraph) -> None:
    robot = graph().start()
    robot.show()
    robot.ask('echo', id='used')
    for fields in ({'id': 'used'}, {'mode': STOP}):
        handle, _ = send_goal(robot, 'echo', **fields)
        response = result_of(robot, handle)
        assert response.status == GoalStatus.STATUS_ABORTED
        assert response.result.detections.outcome.status == Outcome.BAD_INSTRUCTION
    robot.spin(0.2)
    assert len(robot.answers('used')) == 1


def test_a_picture_can_be_asked_about(graph: MakeGraph) -> None:
    robot = graph().start()
    robot.until(robot.service.service_is_ready)
    picture = compressed(robot, cv2.imencode('.png', PICTURE[..., ::-1])[1])
    picture.header.frame_id = 'album'
    first = robot.service.call_async(PerceiveImage.Request(
        instruction=Instruction(text='words 20'), image=picture))
    second = robot.service.call_async(PerceiveImage.Request(
        instruction=Instruction(text='echo', cameras=['ignored']), image=picture))
    robot.until(lambda: first.done() and second.done())
    assert first.result().answer.reasoning == '20'
    result = second.result().detections
    assert result.header == picture.header and result.count == 1
    assert (result.outcome.camera, result.outcome.status) == ('', Outcome.OK)
    assert not robot.received['detections']  # of no interest to who acts on the cameras
