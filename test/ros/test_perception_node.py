"""The perception node on the live graph: what it publishes and serves when all goes well."""
from __future__ import annotations

import math
import os
import uuid
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray
from fault_backend import digest
from live import PICTURE, Graph, Robot, same
from rclpy.action.client import ClientGoalHandle
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from vr_ros.action import Perceive
from vr_ros.msg import DetectionArray, Instruction, MaskArray, Outcome
from vr_ros.nodes import qos
from vr_ros.srv import PerceiveImage

MakeGraph = Callable[..., Graph]
CONTINUOUS, STOP = Instruction.CONTINUOUS, Instruction.STOP


def test_a_result_says_what_was_asked_and_seen(graph: MakeGraph) -> None:
    robot = graph().start()
    masks = robot.listen('masks', MaskArray, qos.result())
    partials = robot.listen('perception/partial', DetectionArray, qos.preview())
    robot.until(lambda: robot.node.count_publishers('perception/partial'))
    robot.spin(0.3)
    shown = robot.show()
    stamp = robot.node.get_clock().now().to_msg()
    message = Instruction(text='echo ☕ "cup"', id='one', task=Instruction.COUNTING)
    message.header.stamp = stamp
    robot.instructions.publish(message)
    result = robot.answer('one')

    outcome = result.outcome
    assert result.header == shown.header
    assert (outcome.instruction_text, outcome.camera) == ('echo ☕ "cup"', 'camera')
    assert (outcome.status, outcome.task, outcome.is_final) == (Outcome.OK, 3, True)
    assert outcome.sequence == 0 and outcome.model_id.startswith('fault:good')
    assert outcome.instruction_stamp == stamp and outcome.reasoned_stamp == shown.header.stamp
    assert (outcome.image_width, outcome.image_height) == (32, 24)
    assert 0 <= outcome.timing.queue_ms <= outcome.timing.total_ms
    assert outcome.timing.image_age_ms >= 0

    (cup,) = result.detections
    assert result.count == 1
    assert (cup.x_min, cup.y_min, cup.x_max, cup.y_max) == (1.0, 2.0, 3.5, 4.25)
    assert cup.has_point and (cup.point_x, cup.point_y) == (2.0, 3.0)
    assert cup.label == 'cup' and math.isnan(cup.score) and cup.score_source == 0
    assert cup.has_mask and cup.mask_score == 0.5 and cup.area_px == 5
    assert (cup.mask.width, cup.mask.height) == (32, 24)
    assert list(cup.mask.counts) == [7, 5, 32 * 24 - 12]

    count, answer = robot.answers('one', 'count')[0], robot.answers('one', 'answer')[0]
    assert count.count == 1 and count.outcome == outcome and count.header == result.header
    assert answer.raw_text == 'echo ☕ "cup"' and answer.outcome == outcome
    robot.until(lambda: masks and partials)
    assert list(masks[0].indices) == [0] and masks[0].masks == [cup.mask]
    assert not partials[0].outcome.is_final and partials[0].detections[0].label == 'cup'


def test_masks_and_reasoning_can_be_left_out(graph: MakeGraph) -> None:
    robot = graph(masks=False, raw_text_limit=4).start()
    robot.show()
    name = robot.tell('echo this')
    assert not robot.answer(name).detections[0].has_mask
    assert robot.answers(name, 'answer')[0].raw_text == 'echo'


def test_who_comes_late_sees_the_last_result_and_the_active_instruction(graph: MakeGraph) -> None:
    robot = graph().start()
    robot.show()
    result = robot.ask('echo')
    name = robot.tell('words 10000', mode=CONTINUOUS)
    active = robot.listen('perception/active_instruction', Instruction, qos.latched())
    robot.until(lambda: active and active[-1].id == name)
    last = robot.listen('perception/last_result', DetectionArray, qos.latched())
    assert same(robot.until(lambda: last)[0], result)
    robot.tell('', mode=STOP, id=name)
    assert robot.answer(name).outcome.status == Outcome.CANCELLED
    robot.until(lambda: active[-1].id == '')


def test_instructions_can_be_plain_text(graph: MakeGraph) -> None:
    robot = graph(instruction_text_task='counting').start()
    robot.show()
    publisher = robot.node.create_publisher(String, 'instruction_text', qos.command())
    robot.until(publisher.get_subscription_count)
    publisher.publish(String(data='echo how many'))
    result = robot.until(lambda: robot.received['detections'])[0]
    assert result.outcome.instruction_text == 'echo how many' and result.outcome.task == 3
    assert len(result.outcome.instruction_id) == 36


def test_the_worker_sees_the_very_pixels(graph: MakeGraph) -> None:
    robot = graph().start()
    robot.show()
    name = robot.tell('echo')
    robot.answer(name)
    assert robot.answers(name, 'answer')[0].answer == digest(PICTURE)


def test_each_camera_answers_by_its_name(graph: MakeGraph) -> None:
    graph_ = graph(image_topics=['front/image_raw', 'wrist/image_raw'])
    publishers = {}
    graph_.node.trigger_configure()
    graph_.node.trigger_activate()
    robot = graph_.robot
    for name in ('front', 'wrist'):
        publishers[name] = robot.node.create_publisher(Image, f'{name}/image_raw', qos.newest())
        robot.until(publishers[name].get_subscription_count)
    robot.connect()
    graph_.wait_for_model()
    for name, publisher in publishers.items():
        message = robot.show(frame_id=name)
        publisher.publish(message)
    asked = robot.tell('echo')
    robot.until(lambda: len(robot.answers(asked)) == 2)
    assert {(result.outcome.camera, result.header.frame_id) for result in robot.answers(asked)} == {
        ('front', 'front'), ('wrist', 'wrist')}


def test_compressed_images_come_by_their_own_topic(graph: MakeGraph) -> None:
    graph_ = graph(image_transport='compressed')
    robot = graph_.robot
    publisher = robot.node.create_publisher(CompressedImage, 'image/compressed', qos.newest())
    graph_.node.trigger_configure()
    graph_.node.trigger_activate()
    robot.until(publisher.get_subscription_count)
    robot.connect()
    graph_.wait_for_model()
    publisher.publish(compressed(robot, cv2.imencode('.png', PICTURE[..., ::-1])[1]))
    name = robot.tell('echo')
    result = robot.answer(name)
    assert (result.outcome.image_width, result.outcome.image_height) == (32, 24)
    assert robot.answers(name, 'answer')[0].answer == digest(PICTURE)


def compressed(robot: Robot, data: np.ndarray) -> CompressedImage:
    message = CompressedImage(format='png')
    message.header.stamp = robot.node.get_clock().now().to_msg()
    message.data.frombytes(data.tobytes())
    return message


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


def test_a_newer_continuous_instruction_replaces_the_older(graph: MakeGraph) -> None:
    robot = graph().start()
    robot.show()
    old = robot.tell('words 100000', mode=CONTINUOUS)
    robot.spin(0.3)
    new = robot.tell('echo', mode=CONTINUOUS)
    assert robot.answer(old).outcome.status == Outcome.SUPERSEDED
    assert robot.answer(new).outcome.status == Outcome.OK
    robot.spin(0.2)
    assert len(robot.answers(old)) == 1


def test_the_running_result_keeps_the_old_id_when_the_instruction_changes(graph: MakeGraph) -> None:
    robot = graph().start()
    first_image = robot.show(frame_id='first')
    old = robot.tell('words 30')
    robot.spin(0.2)
    robot.show(frame_id='second')
    new = robot.tell('echo')
    assert robot.answer(new).header.frame_id == 'second'
    assert robot.answer(old).header == first_image.header
    assert robot.answers(old, 'answer')[0].reasoning == '30'
    order = [message.outcome.instruction_id for message in robot.received['detections']]
    assert order == [old, new]


def test_ten_life_cycles_leave_nothing_behind(graph: MakeGraph) -> None:
    made = graph()
    node, robot = made.node, made.robot
    pids = set()
    for _ in range(10):
        assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
        robot.connect()
        made.wait_for_model()
        robot.wait_for_camera()
        robot.show()
        assert robot.ask('echo').outcome.status == Outcome.OK
        running = robot.tell('words 100000')
        waiting = robot.tell('echo')
        robot.spin(0.1)
        pids.add(node.worker_health.pid)
        assert node.trigger_deactivate() is TransitionCallbackReturn.SUCCESS
        for name in (running, waiting):
            assert robot.answer(name).outcome.status == Outcome.NOT_ACTIVE
        assert node.trigger_cleanup() is TransitionCallbackReturn.SUCCESS
    assert len(pids) == 10
    assert not any(os.path.exists(f'/proc/{pid}') for pid in pids)


def test_nothing_that_needs_the_model_waits_for_activation_to_return(graph: MakeGraph) -> None:
    made = graph(model='stuck')
    assert made.node.trigger_configure() is TransitionCallbackReturn.SUCCESS
    assert made.node.trigger_activate() is TransitionCallbackReturn.SUCCESS
    made.robot.connect()
    result = made.robot.ask('echo', deadline_s=0.3)
    assert result.outcome.status == Outcome.MODEL_LOADING


def test_parameters_are_checked_and_take_effect(graph: MakeGraph) -> None:
    made = graph()
    robot = made.start()

    def set_parameter(name: str, value: object) -> str:
        result = made.node.set_parameters([Parameter(name, value=value)])[0]
        return 'ok' if result.successful else result.reason

    assert set_parameter('raw_text_limit', 2) == 'ok'
    assert set_parameter('raw_text_limit', -1) != 'ok'
    assert set_parameter('instruction_text_task', 'dance') != 'ok'
    assert 'clean up' in set_parameter('model', 'other')
    assert set_parameter('autostart', True) != 'ok'
    assert set_parameter('max_image_age', math.nan) != 'ok'
    robot.show()
    name = robot.tell('echo')
    robot.answer(name)
    assert robot.answers(name, 'answer')[0].raw_text == 'ec'


def test_diagnostics_tell_how_model_and_cameras_are(graph: MakeGraph) -> None:
    made = graph(diagnostics_period=0.1)
    robot = made.robot
    reports = robot.listen('/diagnostics', DiagnosticArray, qos.command())

    def report(name: str) -> tuple[int, str, dict[str, str]]:
        found = [status for status in reports[-1].status if status.name == f'/perception: {name}']
        return (found[0].level[0], found[0].message,
                {pair.key: pair.value for pair in found[0].values}) if found else (-1, '', {})

    robot.until(lambda: reports and report('model')[:2] == (0, 'not configured'))
    made.start()
    robot.until(lambda: report('model')[:2] == (0, 'ready') and report('camera camera')[0] == 1)
    assert 'no image' in report('camera camera')[1]
    info = robot.node.create_publisher(CameraInfo, 'camera_info', qos.newest())
    robot.until(info.get_subscription_count)
    info.publish(CameraInfo(width=32, height=24))

    def camera_is(level: int) -> bool:
        robot.show()
        return report('camera camera')[0] == level

    robot.until(lambda: camera_is(0))
    assert report('camera camera')[2]['camera_info'] == '32 x 24'
    robot.ask('echo')
    robot.until(lambda: report('instructions')[2].get('OK') == '1')
    info.publish(CameraInfo(width=64, height=48))
    robot.until(lambda: camera_is(1))


@pytest.mark.parametrize('topic', ['detections', 'count', 'answer'])
def test_qos_can_be_overridden(graph: MakeGraph, topic: str) -> None:
    made = graph(**{f'qos_overrides./{topic}.publisher.reliability': 'best_effort'})
    info = made.node.get_publishers_info_by_topic(f'/{topic}')
    assert [item.qos_profile.reliability.name for item in info] == ['BEST_EFFORT']
