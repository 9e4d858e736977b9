"""Every parameter of the table, changed on a node that runs: it takes effect, or is refused."""
from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from live import FAULT_BACKEND, Graph, Robot, image
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String
from visualization_msgs.msg import MarkerArray

from vr_ros.msg import Detection, Instruction, Outcome
from vr_ros.nodes import qos
from vr_ros.nodes.parameter_spec import Applies, Spec, specs
from vr_ros.nodes.parameters import PerceptionParameters

MOVING_BACKEND = FAULT_BACKEND.replace('fault_backend', 'moving_backend')
CONTINUOUS = Instruction.CONTINUOUS
SPECS = {spec.name: spec for spec in specs(PerceptionParameters)}
FOCAL_PX, NEAR_M = 20.0, 0.8


class Case:
    """A node with the defaults, a robot with a depth camera, and what they say.

    :ivar text: returns what the node has logged.
    """

    def __init__(self, made: Graph, text: Callable[[], str]) -> None:
        self.node, self.robot, self.text = made.node, made.start(), text
        node = self.robot.node
        self.depths = node.create_publisher(Image, 'depth', qos.newest())
        self.infos = node.create_publisher(CameraInfo, 'camera_info', qos.newest())
        self.texts = node.create_publisher(String, 'instruction_text', qos.command())
        self._client = node.create_client(SetParameters, 'perception/set_parameters')
        self._change = node.create_client(ChangeState, 'perception/change_state')
        self.reports: list[DiagnosticArray] = self.robot.listen(
            '/diagnostics', DiagnosticArray, qos.command())
        self.active: list[Instruction] = self.robot.listen(
            'perception/active_instruction', Instruction, qos.latched())
        for client in (self._client, self._change):
            self.robot.until(client.service_is_ready)
        for publisher in (self.depths, self.infos, self.texts):
            self.robot.until(publisher.get_subscription_count)
        self.robot.until(lambda: self.reports)

    def set(self, name: str, value: Any) -> str:
        """Set a parameter as `ros2 param set` does.

        :return: why it is refused; '' if it is not.
        """
        done = self._client.call_async(SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]))
        self.robot.until(done.done)
        (result,) = done.result().results
        assert result.successful == (not result.reason), result
        return str(result.reason)

    def change(self, *transitions: int) -> None:
        for number in transitions:
            done = self._change.call_async(
                ChangeState.Request(transition=Transition(id=number)))
            self.robot.until(done.done)
            assert done.result().success

    def show_deep(self, delay_s: float = 0.0, distortion: float = 0.0) -> None:
        """Show something bright that is near, with its depth."""
        picture, metres = lamp(18), np.full((24, 32), NEAR_M, np.float32)
        shown = image(picture, stamp=self.robot.node.get_clock().now().to_msg())
        self.infos.publish(CameraInfo(
            header=shown.header, width=32, height=24, distortion_model='plumb_bob',
            d=[distortion, 0.0, 0.0, 0.0, 0.0],
            k=[FOCAL_PX, 0.0, 15.5, 0.0, FOCAL_PX, 11.5, 0.0, 0.0, 1.0],
            p=[FOCAL_PX, 0.0, 15.5, 0.0, 0.0, FOCAL_PX, 11.5, 0.0, 0.0, 0.0, 1.0, 0.0]))
        stamp = shown.header.stamp
        header = Header(frame_id='camera_optical',
                        stamp=Time(sec=stamp.sec + int(delay_s), nanosec=stamp.nanosec))
        depth = Image(header=header, width=32, height=24, encoding='32FC1', step=4 * 32)
        depth.data.frombytes(metres.tobytes())
        self.depths.publish(depth)
        self.robot.spin(0.2)
        self.robot.deliver(shown)

    def locate(self, **shown: float) -> Detection:
        """Ask where the lamp is."""
        self.show_deep(**shown)
        return self.robot.ask('lamp').detections[0]

    def diagnosis(self, name: str) -> tuple[int, str]:
        """:return: level and message of the newest status of that name."""
        return next(((status.level[0], status.message) for report in reversed(self.reports)
                     for status in report.status if status.name == f'/own/perception: {name}'),
                    (-1, ''))


def lamp(column: int | None) -> np.ndarray:
    """A picture with something bright, or nothing."""
    picture = np.full((24, 32, 3), 40, np.uint8)
    if column is not None:
        picture[8:16, column:column + 8] = 255
    return picture


def follow(robot: Robot, name: str, column: int | None) -> Any:
    """Show a picture and wait for the result about it."""
    shown = robot.show(lamp(column))
    return robot.until(lambda: [result for result in robot.answers(name)
                                if result.header == shown.header])[0]


def depth_tolerance(case: Case) -> None:
    assert case.locate(delay_s=2.0).position_status == Detection.POSITION_OUT_OF_SYNC
    case.set('depth_tolerance', 3.0)
    assert case.locate(delay_s=2.0).position_status == Detection.POSITION_OK


def rectified(case: Case) -> None:
    straight = (21.5 - 15.5) / FOCAL_PX * NEAR_M
    bent = case.locate(distortion=0.8)
    assert bent.position_status == Detection.POSITION_OK
    assert bent.surface_point.x != pytest.approx(straight, abs=4e-3)
    case.set('rectified', 'always')
    assert case.locate(distortion=0.8).surface_point.x == pytest.approx(straight, abs=4e-3)


def gravity_frame(case: Case) -> None:
    case.locate()
    assert 'boxes stand as their support does' not in case.text()
    case.set('gravity_frame', 'nowhere')
    case.locate()
    case.robot.until(lambda: 'boxes stand as their support does' in case.text())


def target_frame(case: Case) -> None:
    markers = case.robot.listen('perception/markers', MarkerArray, qos.newest())
    case.robot.until(lambda: case.robot.node.count_publishers('perception/markers'))
    case.robot.until(lambda: case.locate() and markers)
    case.set('target_frame', 'nowhere')
    case.locate()
    case.robot.until(lambda: "target_frame is 'nowhere'" in case.text())


def max_image_age(case: Case) -> None:
    case.robot.show(age_s=60.0)
    waiting = case.robot.tell('echo')
    assert case.robot.ask('echo', deadline_s=0.2).outcome.status == Outcome.STALE_IMAGE
    case.set('max_image_age', 100.0)
    # Also for what waited for another image.
    assert case.robot.answer(waiting).outcome.status == Outcome.OK


def max_image_pixels(case: Case) -> None:
    case.robot.show()
    assert case.robot.ask('echo').outcome.status == Outcome.OK
    case.set('max_image_pixels', 32 * 24 - 1)
    assert case.robot.ask('echo').outcome.status == Outcome.IMAGE_TOO_LARGE


def default_deadline(case: Case) -> None:
    before = case.robot.tell('echo')
    case.robot.spin(0.3)
    case.set('default_deadline', 0.1)
    assert case.robot.ask('echo').outcome.status == Outcome.NO_IMAGE
    assert case.robot.answers(before) == []     # it was promised more time


def queue_size(case: Case) -> None:
    case.robot.tell('echo')
    assert case.robot.ask('echo', deadline_s=0.1).outcome.status == Outcome.NO_IMAGE
    case.set('queue_size', 1)
    assert case.robot.ask('echo').outcome.status == Outcome.QUEUE_FULL


def reason_period(case: Case) -> None:
    case.set('reason_period', 1000.0)
    case.robot.show()
    name = case.robot.tell('echo', mode=CONTINUOUS)
    case.robot.answer(name)
    case.robot.show()
    case.robot.spin(0.5)
    assert len(case.robot.answers(name)) == 1
    # The turn that is a quarter of an hour away already counts anew.
    case.set('reason_period', 0.0)
    case.robot.answer(name, 1)


def tracking(case: Case) -> None:
    case.set('reason_period', 1000.0)
    case.robot.show(lamp(2))
    name = case.robot.tell('lamp', mode=CONTINUOUS)
    case.robot.answer(name)
    assert follow(case.robot, name, 3).outcome.source == Outcome.TRACKED
    case.set('tracking', False)
    count = len(case.robot.answers(name))
    case.robot.show(lamp(4))
    case.robot.spin(0.5)
    assert len(case.robot.answers(name)) == count
    case.set('tracking', True)
    case.set('reason_period', 0.0)
    case.robot.until(lambda: follow(case.robot, name, 5).outcome.source == Outcome.TRACKED)


def track_timeout(case: Case) -> None:
    case.set('reason_period', 1000.0)
    case.robot.show(lamp(2))
    name = case.robot.tell('lamp', mode=CONTINUOUS)
    case.robot.answer(name)
    (hidden,) = follow(case.robot, name, None).detections
    assert hidden.track_state == Detection.TRACK_OCCLUDED
    case.set('track_timeout', 0.0)
    (lost,) = follow(case.robot, name, None).detections
    assert lost.track_state == Detection.TRACK_LOST


def max_tracks(case: Case) -> None:
    for limit, status in ((16, Outcome.OK), (1, Outcome.LIMIT_REACHED)):
        case.set('max_tracks', limit)
        case.set('reason_period', 1000.0)
        case.robot.show(lamp(2))
        name = case.robot.tell('twin lamps', mode=CONTINUOUS)
        case.robot.answer(name)
        assert follow(case.robot, name, 3).outcome.status == status


def instruction_text_mode(case: Case) -> None:
    case.set('instruction_text_mode', 'continuous')
    case.texts.publish(String(data='echo'))
    case.robot.until(lambda: case.active and case.active[-1].text == 'echo')
    assert case.active[-1].mode == CONTINUOUS


def instruction_text_task(case: Case) -> None:
    case.robot.show()
    for name, number in (('counting', Instruction.COUNTING), ('vqa', Instruction.VQA)):
        case.set('instruction_text_task', name)
        case.texts.publish(String(data=f'echo {name}'))
        found = case.robot.received['detections']
        case.robot.until(lambda name=name, found=found: any(
            result.outcome.instruction_text == f'echo {name}' for result in found))
        assert found[-1].outcome.task == number


def masks(case: Case) -> None:
    case.robot.show()
    assert case.robot.ask('echo').detections[0].has_mask
    case.set('masks', False)
    assert not case.robot.ask('echo').detections[0].has_mask


def reasoning(case: Case) -> None:
    case.robot.show()
    for shall, text in ((True, '1'), (False, '')):
        case.set('reasoning', shall)
        name = case.robot.tell('words 1')
        case.robot.answer(name)
        assert case.robot.answers(name, 'answer')[0].reasoning == text


def raw_text_limit(case: Case) -> None:
    case.robot.show()
    for limit, text in ((4096, 'echo this'), (3, 'ech'), (0, '')):
        case.set('raw_text_limit', limit)
        name = case.robot.tell('echo this')
        case.robot.answer(name)
        assert case.robot.answers(name, 'answer')[0].raw_text == text


def max_silence(case: Case) -> None:
    case.set('max_silence', 100.0)
    worker = case.node.worker_health.pid
    assert worker is not None
    os.kill(worker, signal.SIGSTOP)
    try:
        case.robot.spin(3.0)
        assert case.diagnosis('model')[0] == 0
        case.set('max_silence', 2.0)
        case.robot.until(lambda: 'silent for' in case.diagnosis('model')[1])
        assert case.diagnosis('model')[0] == 2
    finally:
        os.kill(worker, signal.SIGCONT)
    case.robot.until(lambda: case.diagnosis('model')[0] == 0)


def min_image_rate(case: Case) -> None:
    case.robot.until(lambda: case.robot.show() and case.diagnosis('camera camera')[0] == 0)
    case.set('min_image_rate', 1000.0)
    case.robot.until(lambda: case.robot.show()
                     and 'min_image_rate is 1000' in case.diagnosis('camera camera')[1])


def max_latency(case: Case) -> None:
    case.robot.show()
    # No other answer has a latency that counts.
    assert case.robot.ask('echo').outcome.status == Outcome.OK
    case.set('max_latency', 1e-6)
    case.robot.until(lambda: 'answers take up to' in case.diagnosis('instructions')[1])
    assert case.diagnosis('instructions')[0] == 1


@dataclass(frozen=True)
class Effect:
    """:param backend: the one whose answers show it."""

    shows: Callable[[Case], None]
    backend: str = FAULT_BACKEND


EFFECTS = {effect.shows.__name__: effect for effect in (
    Effect(depth_tolerance, MOVING_BACKEND), Effect(rectified, MOVING_BACKEND),
    Effect(gravity_frame, MOVING_BACKEND), Effect(target_frame, MOVING_BACKEND),
    Effect(max_image_age), Effect(max_image_pixels), Effect(default_deadline), Effect(queue_size),
    Effect(reason_period), Effect(tracking, MOVING_BACKEND),
    Effect(track_timeout, MOVING_BACKEND), Effect(max_tracks, MOVING_BACKEND),
    Effect(instruction_text_mode), Effect(instruction_text_task), Effect(masks), Effect(reasoning),
    Effect(raw_text_limit), Effect(max_silence), Effect(min_image_rate), Effect(max_latency))}


@pytest.fixture
def case(graph: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch,
         capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[str], Case]]:
    """Make a case on a back-end."""
    log: list[str] = []

    def text() -> str:
        log.append(capfd.readouterr().err)
        return ''.join(log)

    def make(backend: str = FAULT_BACKEND) -> Case:
        monkeypatch.setenv('VR_ROS_WORKER_BACKEND', backend)
        # A busy machine may take its time between an image and the question about it.
        return Case(graph(depth_topics=['depth'], diagnostics_period=0.1, max_image_age=30.0), text)

    yield make
    sys.stderr.write(text())


@pytest.mark.parametrize('name', [
    spec.name for spec in SPECS.values() if spec.applies is Applies.NOW])
def test_it_takes_effect_at_once(case: Callable[[str], Case], name: str) -> None:
    made = case(EFFECTS[name].backend)
    accepted = []
    set_by_service = made.set

    def set_and_note(parameter: str, value: Any) -> str:
        reason = set_by_service(parameter, value)
        assert reason == '' and made.node.get_parameter(parameter).value == value
        accepted.append(parameter)
        return reason

    made.set = set_and_note
    EFFECTS[name].shows(made)
    assert name in accepted


def test_what_applies_later_is_refused_with_the_reason(case: Callable[[], Case]) -> None:
    made = case()
    later = [spec for spec in SPECS.values() if spec.applies is not Applies.NOW]
    for spec in later:
        reason = made.set(spec.name, _plain(spec.default))
        wanted = 'clean up the node first' if spec.applies is Applies.CONFIGURE else 'read-only'
        assert wanted in reason, (spec.name, reason)
    made.change(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
    for spec in later:
        reason = made.set(spec.name, _plain(spec.default))
        assert ('read-only' in reason) == bool(reason) == (spec.applies is Applies.START)


@pytest.mark.parametrize('spec', SPECS.values(), ids=lambda spec: spec.name)
def test_a_wrong_value_is_refused_with_the_reason_and_changes_nothing(
        shared_robot: Robot, spec: Spec) -> None:
    client = shared_robot.node.create_client(SetParameters, 'perception/set_parameters')
    shared_robot.until(client.service_is_ready)
    wrong: list[Any] = [None, 'dance' if spec.kind != 'string' else 1]
    wrong += ['dance'] * bool(spec.choices)
    wrong += [] if spec.low is None else [_number(spec, spec.low - 1)]
    wrong += [] if spec.high is None else [_number(spec, spec.high + 1)]
    wrong += [float('nan'), float('inf')] * (spec.kind == 'double')
    for value in wrong:
        done = client.call_async(SetParameters.Request(
            parameters=[Parameter(spec.name, value=value).to_parameter_msg()]))
        shared_robot.until(done.done)
        (result,) = done.result().results
        assert not result.successful and result.reason, (value, result)
        assert '\n' not in result.reason
    shared_robot.show()
    assert shared_robot.ask('echo').outcome.status == Outcome.OK


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _number(spec: Spec, value: float) -> Any:
    return int(value) if spec.kind == 'int' else float(value)
