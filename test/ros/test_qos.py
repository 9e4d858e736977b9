"""Who connects with the node, measured on the live graph, and what it says when somebody does not.

The other end is in a context, and so a participant of DDS, of its own.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from live import Graph
from rcl_interfaces.msg import Log
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import LoggingSeverity
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vr_ros.msg import Count, DetectionArray, Instruction
from vr_ros.nodes import qos
from vr_ros.nodes.topic_diagnosis import judge_topics
from vr_ros.nodes.topic_watch import watch_of

MakeGraph = Callable[..., Graph]
# reliable volatile, reliable transient local, best effort volatile, best effort transient local
PEERS = [QoSProfile(depth=1, reliability=reliability, durability=durability)
         for reliability, durability in itertools.product(
             (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT),
             (DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL))]
BEST_EFFORT = PEERS[2]


class Stranger:
    """A node of somebody else's that also reads what the perception node logs."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = Node('stranger', context=self.context, namespace='own')
        self.warnings: list[str] = []
        # Transient local, as the log is published: what was said before counts as well.
        self.node.create_subscription(Log, '/rosout', self._on_log, QoSProfile(
            depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def _on_log(self, line: Log) -> None:
        if line.name == 'own.perception' and line.level == LoggingSeverity.WARN:
            self.warnings.append(line.msg)

    def about(self, topic: str) -> list[str]:
        """Return the warnings about a topic so far."""
        while True:
            before = len(self.warnings)
            for _ in range(20):
                self.executor.spin_once(timeout_sec=0.0)
            if len(self.warnings) == before:
                return [line for line in self.warnings if line.startswith(f'{topic}: ')]

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    made = Stranger()
    yield made
    made.close()


def started(graph: MakeGraph, stranger: Stranger, **parameters: Any) -> Graph:
    made = graph(**parameters)
    made.start()
    made.robot.until(lambda: stranger.node.count_publishers('perception/markers')
                     and stranger.node.count_subscribers('image'))
    return made


@pytest.mark.parametrize(('topic', 'kind', 'is_input', 'expected'), [
    ('image', Image, True, (True, True, True, True)),
    ('instruction', Instruction, True, (True, True, False, False)),
    ('detections', DetectionArray, False, (True, False, True, False)),
    ('count', Count, False, (True, False, True, False)),
    ('perception/last_result', DetectionArray, False, (True, True, True, True)),
    ('perception/overlay', Image, False, (False, False, True, False)),
])
def test_who_connects(graph: MakeGraph, stranger: Stranger, topic: str, kind: type,
                      is_input: bool, expected: tuple[bool, ...]) -> None:
    made = started(graph, stranger)
    node, spin = stranger.node, made.robot.spin
    if is_input:
        ends = [node.create_publisher(kind, topic, profile) for profile in PEERS]
        counts = [end.get_subscription_count for end in ends]
    else:
        ends = [node.create_subscription(kind, topic, print, profile) for profile in PEERS]
        counts = [end.get_publisher_count for end in ends]
    made.robot.until(lambda: sum(count() > 0 for count in counts) >= sum(expected))
    refused = len(expected) - sum(expected)
    made.robot.until(lambda: len(stranger.about(f'/own/{topic}')) >= refused)
    spin(0.5)
    assert tuple(count() > 0 for count in counts) == expected
    assert len(stranger.about(f'/own/{topic}')) == refused


def test_an_input_that_does_not_connect_is_reported_once_and_again_after_a_change(
        graph: MakeGraph, stranger: Stranger) -> None:
    made = started(graph, stranger)
    wrong = stranger.node.create_publisher(Instruction, 'instruction', BEST_EFFORT)
    first = made.robot.until(lambda: stranger.about('/own/instruction'))
    assert first == [
        '/own/instruction: nothing arrives from /own/stranger: reliability is best_effort there '
        'and reliable here. Set reliability reliable there, or start this node with '
        'qos_overrides./own/instruction.subscription.reliability:=best_effort']
    watch = watch_of(made.node)
    assert watch.incompatible['/own/instruction'] == 1
    diagnosis = judge_topics(watch)
    assert diagnosis.level == 1 and '/own/instruction' in diagnosis.message
    made.robot.spin(1.0)
    assert stranger.about('/own/instruction') == first

    stranger.node.destroy_publisher(wrong)
    made.robot.until(lambda: judge_topics(watch).level == 0)
    assert judge_topics(watch).values['incompatible on /own/instruction'] == '1'
    stranger.node.create_publisher(Instruction, 'instruction', BEST_EFFORT)
    made.robot.until(lambda: len(stranger.about('/own/instruction')) == 2)
    assert watch.incompatible['/own/instruction'] == 2


def test_the_parameter_that_the_warning_names_makes_it_connect(
        graph: MakeGraph, stranger: Stranger) -> None:
    name = 'qos_overrides./own/perception/overlay.publisher.'
    made = started(graph, stranger, **{
        f'{name}reliability': 'reliable', f'{name}durability': 'transient_local'})
    ends = [stranger.node.create_subscription(Image, 'perception/overlay', print, profile)
            for profile in PEERS]
    made.robot.until(lambda: all(end.get_publisher_count() for end in ends))
    assert not stranger.about('/own/perception/overlay')


def test_another_type_on_a_topic_is_reported(graph: MakeGraph, stranger: Stranger) -> None:
    made = started(graph, stranger, diagnostics_period=0.1)
    stranger.node.create_publisher(String, 'instruction', qos.command())
    line = made.robot.until(lambda: stranger.about('/own/instruction'))[0]
    assert 'publishes std_msgs/msg/String' in line and 'is vr_ros/msg/Instruction' in line
    made.robot.spin(0.5)
    assert len(stranger.about('/own/instruction')) == 1


def test_diagnostics_tell_of_topics_that_do_not_connect(
        graph: MakeGraph, stranger: Stranger) -> None:
    made = started(graph, stranger, diagnostics_period=0.1)
    reports = made.robot.listen('/diagnostics', DiagnosticArray, qos.command())

    def level() -> int:
        found = [status for status in (reports[-1].status if reports else ())
                 if status.name == '/own/perception: topics']
        return found[0].level[0] if found else -1

    made.robot.until(lambda: level() == 0)
    stranger.node.create_subscription(Image, 'perception/labels', print, PEERS[0])
    made.robot.until(lambda: level() == 1)


def test_an_input_that_was_given_up_is_not_watched_any_more(
        graph: MakeGraph, stranger: Stranger) -> None:
    made = started(graph, stranger)
    stranger.node.create_publisher(String, 'image', qos.newest())
    made.robot.until(lambda: judge_topics(watch_of(made.node)).level == 1)
    made.node.trigger_deactivate()
    made.robot.until(lambda: judge_topics(watch_of(made.node)).level == 0)
