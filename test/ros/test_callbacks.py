"""A bug in a callback, one of each kind: logged and counted, and the node goes on."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from live import PICTURE, Graph, Robot, compressed, image
from rcl_interfaces.srv import SetParameters
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vr_ros.action import Perceive
from vr_ros.msg import DetectionArray, Instruction, Outcome
from vr_ros.nodes import perceive_requests, perception_node, qos
from vr_ros.nodes.safely import failures_of
from vr_ros.nodes.topic_watch import watch_of
from vr_ros.srv import PerceiveImage

MakeGraph = Callable[..., Graph]
Patch = pytest.MonkeyPatch


def broken(*arguments: object, **options: object) -> Any:
    """Stand for a bug."""
    raise RuntimeError('a bug')


@dataclass(frozen=True)
class Bug:
    """One callback with a bug in it.

    :param counted_as: the name that the diagnostics have for it.
    :param plant: puts the bug in.
    :param provoke: has the callback called; returns what is to be awaited beyond its failure.
    """

    kind: str
    counted_as: str
    plant: Callable[[Graph, Patch], None]
    provoke: Callable[[Robot], Callable[[], Any]]


def call(robot: Robot, kind: type, service: str, request: Any) -> Any:
    """Call a service of the node and return its response."""
    client = robot.node.create_client(kind, f'perception/{service}')
    robot.until(client.service_is_ready)
    done = client.call_async(request)
    robot.until(done.done)
    return done.result()


def publish(kind: type, topic: str, profile: Callable[[], QoSProfile],
            message: Any) -> Callable[[Robot], Callable[[], Any]]:
    def provoke(robot: Robot) -> Callable[[], Any]:
        publisher = robot.node.create_publisher(kind, topic, profile())

        def again() -> bool:
            publisher.publish(message)  # best effort: what is lost comes again
            return True

        robot.until(publisher.get_subscription_count)
        return again

    return provoke


def send_goal(robot: Robot, text: str) -> Any:
    robot.until(robot.action.server_is_ready)
    sent = robot.action.send_goal_async(Perceive.Goal(instruction=Instruction(text=text)))
    return robot.until(lambda: sent.done() and sent.result())


def goal_that_fails(robot: Robot) -> Callable[[], Any]:
    result = send_goal(robot, 'echo').get_result_async()
    robot.until(result.done)
    assert result.result().result.detections.outcome.status == Outcome.MODEL_ERROR
    return lambda: True


def goal_all_the_same(robot: Robot) -> Callable[[], Any]:
    robot.show()
    result = send_goal(robot, 'echo').get_result_async()
    robot.until(result.done)
    assert result.result().result.detections.outcome.status == Outcome.OK
    return lambda: True


def goal_that_is_cancelled(robot: Robot) -> Callable[[], Any]:
    robot.show()
    handle = send_goal(robot, 'words 30')
    cancelled, result = handle.cancel_goal_async(), handle.get_result_async()
    robot.until(cancelled.done)
    robot.until(result.done)  # by itself, since cancelling it failed
    return lambda: True


def picture_that_fails(robot: Robot) -> Callable[[], Any]:
    response = call(robot, PerceiveImage, 'perceive_image', PerceiveImage.Request(
        instruction=Instruction(text='echo'), image=compressed(robot, PICTURE)))
    assert response.detections.outcome.status == Outcome.MODEL_ERROR
    return lambda: True


def state_that_is_not_told(robot: Robot) -> Callable[[], Any]:
    response = call(robot, GetState, 'get_state', GetState.Request())
    assert response.current_state.id == State.PRIMARY_STATE_UNKNOWN
    return lambda: True


def parameter_that_is_not_taken(robot: Robot) -> Callable[[], Any]:
    (result,) = call(robot, SetParameters, 'set_parameters', SetParameters.Request(
        parameters=[Parameter('raw_text_limit', value=9).to_parameter_msg()])).results
    assert not result.successful and 'log' in result.reason
    return lambda: True


def strange_subscription(robot: Robot) -> Callable[[], Any]:
    robot.node.create_subscription(
        DetectionArray, 'detections', lambda message: None,
        QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    return lambda: True


def instruction(robot: Robot) -> Callable[[], Any]:
    robot.tell('echo')
    return lambda: True


def instruction_with_image(robot: Robot) -> Callable[[], Any]:
    robot.show()
    return instruction(robot)


def jump(robot: Robot) -> Callable[[], Any]:
    call(robot, SetParameters, 'set_parameters', SetParameters.Request(
        parameters=[Parameter('use_sim_time', value=True).to_parameter_msg()]))
    clock = robot.node.create_publisher(Clock, '/clock', qos.newest())
    robot.until(clock.get_subscription_count)
    now = robot.node.get_clock().now

    def again() -> bool:
        clock.publish(Clock(clock=now().to_msg()))
        return True

    return again


BUGS = (
    Bug('a subscription', '_on_instruction',
        lambda made, patch: patch.setattr(made.node._dispatcher, 'submit', broken), instruction),
    Bug('a subscription to text', '_on_text',
        lambda made, patch: patch.setattr(perception_node, 'Mode', None),
        publish(String, 'instruction_text', qos.command, String(data='echo'))),
    Bug('a subscription to images', 'take_image',
        lambda made, patch: patch.setattr(made.node._cameras['camera'], 'put', broken),
        publish(Image, 'image', qos.newest, image(PICTURE))),
    Bug('a subscription to depth', 'take_depth',
        lambda made, patch: patch.setattr(made.node._cameras['camera'], 'put_depth', broken),
        publish(Image, 'depth', qos.newest, image(PICTURE))),
    Bug('what the worker says', 'on_worker',
        lambda made, patch: patch.setattr(made.node._dispatcher._report, 'progress', broken),
        instruction_with_image),
    Bug('what is published', 'publish',
        lambda made, patch: patch.setattr(made.node._outputs, '_publish_answer', broken),
        instruction_with_image),
    Bug('what is drawn', 'show',
        lambda made, patch: patch.setattr(made.node._views, '_studio', None),
        instruction_with_image),
    Bug('a service', 'answering',
        lambda made, patch: patch.setattr(made.node._requests, '_ask', broken),
        picture_that_fails),
    Bug("a service of rclpy's", '/own/perception/get_state',
        lambda made, patch: patch.setattr(made.node, '_state_machine', None),
        state_that_is_not_told),
    Bug('a goal', 'answering',
        lambda made, patch: patch.setattr(made.node._requests, '_ask', broken), goal_that_fails),
    Bug('the result of a goal', '_conclude',
        lambda made, patch: patch.setattr(made.node._requests, '_conclude', _conclude),
        goal_all_the_same),
    Bug('feedback', '_feed_back',
        lambda made, patch: patch.setattr(perceive_requests, 'feedback_of_progress', broken),
        goal_all_the_same),
    Bug('a cancellation', 'cancelling',
        lambda made, patch: patch.setattr(made.node._dispatcher, 'cancel', broken),
        goal_that_is_cancelled),
    Bug('a parameter callback', '_check',
        lambda made, patch: patch.setattr(made.node._table, '_specs', None),
        parameter_that_is_not_taken),
    Bug('an event of the middleware', '_on_incompatible_qos',
        lambda made, patch: patch.setattr(watch_of(made.node), 'incompatible', None),
        strange_subscription),
    Bug('a jump of the clock', '_on_jump',
        lambda made, patch: patch.setattr(made.node, '_changed', None), jump),
)


def _conclude(goal: Any, answer: Any) -> None:
    goal.succeed()
    goal.succeed()  # which is once too often


@pytest.mark.parametrize('bug', BUGS, ids=lambda bug: bug.kind)
def test_a_bug_is_counted_and_survived(
        graph: MakeGraph, monkeypatch: Patch, capfd: pytest.CaptureFixture[str], bug: Bug) -> None:
    made = graph(depth_topics=['depth'], max_image_age=0.0)
    robot = made.start()
    assert not failures_of(made.node)
    with monkeypatch.context() as patch:
        bug.plant(made, patch)
        again = bug.provoke(robot)
        robot.until(lambda: again() and failures_of(made.node)[bug.counted_as])
    assert set(failures_of(made.node)) == {bug.counted_as}
    errors = capfd.readouterr().err
    assert f'{bug.counted_as}' in errors and 'Traceback' in errors
    robot.show()
    assert robot.ask('echo').outcome.status == Outcome.OK


def test_a_timer_that_fails_is_tried_again(graph: MakeGraph, monkeypatch: Patch) -> None:
    made = graph()
    robot = made.start()
    with monkeypatch.context() as patch:
        patch.setattr(made.node._dispatcher._queue, 'expired', broken)
        name = robot.tell('echo', deadline_s=0.1)
        # Whoever took the instruction failed, and so did the alarm that is to end it, twice.
        robot.until(lambda: failures_of(made.node)['_pump'] > 1)
        assert failures_of(made.node)['_on_instruction'] == 1
        robot.spin(0.5)
        assert failures_of(made.node)['_pump'] < 10  # it does not go round in circles
    assert robot.answer(name).outcome.status == Outcome.NO_IMAGE


@pytest.mark.parametrize('plant', [
    lambda made, patch: patch.setattr(made.node._dispatcher, 'activate', broken),
    lambda made, patch: patch.setattr(made.node._input, 'start', broken),
])
def test_a_transition_with_a_bug_ends_unconfigured_and_can_be_tried_again(
        graph: MakeGraph, monkeypatch: Patch, plant: Callable[[Graph, Patch], None]) -> None:
    made = graph()
    robot = made.robot
    assert made.node.trigger_configure() is TransitionCallbackReturn.SUCCESS
    with monkeypatch.context() as patch:
        plant(made, patch)
        activated = call(robot, ChangeState, 'change_state', ChangeState.Request(
            transition=Transition(id=Transition.TRANSITION_ACTIVATE)))
    assert not activated.success
    assert failures_of(made.node) == {'_activate': 1}
    state = call(robot, GetState, 'get_state', GetState.Request()).current_state
    assert state.id == State.PRIMARY_STATE_UNCONFIGURED
    made.start()
    robot.show()
    assert robot.ask('echo').outcome.status == Outcome.OK


@pytest.mark.parametrize('transition', [
    Transition(id=Transition.TRANSITION_CONFIGURE),   # it is done already
    Transition(id=Transition.TRANSITION_CLEANUP),     # not from here
    Transition(id=250),                               # there is none
    Transition(label='dance'),
])
def test_a_transition_that_cannot_be_is_refused_and_is_no_failure(
        graph: MakeGraph, transition: Transition) -> None:
    made = graph()
    robot = made.start()
    refused = call(robot, ChangeState, 'change_state', ChangeState.Request(transition=transition))
    assert not refused.success
    assert not failures_of(made.node)
    state = call(robot, GetState, 'get_state', GetState.Request()).current_state
    assert state.id == State.PRIMARY_STATE_ACTIVE
    robot.show()
    assert robot.ask('echo').outcome.status == Outcome.OK
