"""The perception node on the live graph: what it publishes and serves when all goes well."""
from __future__ import annotations

import math
import os
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from fault_backend import digest
from live import PICTURE, Graph, compressed, same
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from vr_ros.msg import DetectionArray, Instruction, MaskArray, Outcome
from vr_ros.nodes import qos

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
        full_name = f'/own/perception: {name}'
        found = [status for status in reports[-1].status if status.name == full_name]
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
    made = graph(**{f'qos_overrides./own/{topic}.publisher.reliability': 'best_effort'})
    info = made.node.get_publishers_info_by_topic(f'/own/{topic}')
    assert [item.qos_profile.reliability.name for item in info] == ['BEST_EFFORT']


def test_the_overlay_is_drawn_while_somebody_watches(graph: MakeGraph) -> None:
    robot = graph().start()
    raw = robot.listen('perception/overlay', Image, qos.newest())
    small = robot.listen('perception/overlay/compressed', CompressedImage, qos.newest())

    def ask() -> bool:
        robot.show(np.zeros((24, 32, 3), np.uint8))
        robot.ask('echo')
        robot.spin(0.1)
        return bool(raw and small)

    robot.until(ask)
    assert (raw[0].width, raw[0].height, raw[0].encoding) == (32, 24, 'rgb8')
    assert raw[0].header.frame_id == 'camera_optical' and raw[0].header.stamp.sec > 0
    assert any(raw[0].data)
    decoded = cv2.imdecode(np.frombuffer(small[0].data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (24, 32, 3) and small[0].header == raw[0].header
