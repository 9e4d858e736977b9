"""The rules for who connects, against rclpy's own, and the words for when they do not."""
from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.duration import Duration
from rclpy.qos import (
    DurabilityPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String

from vr_ros.msg import DetectionArray
from vr_ros.nodes import topic_watch
from vr_ros.nodes.qos_rules import Conflict, conflicts
from vr_ros.nodes.topic_watch import Topic, type_name

PROFILES = [
    QoSProfile(depth=1, reliability=reliability, durability=durability, liveliness=liveliness,
               deadline=Duration(seconds=deadline_s),
               liveliness_lease_duration=Duration(seconds=lease_s))
    for reliability in (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT)
    for durability in (DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL)
    for liveliness in (LivelinessPolicy.AUTOMATIC, LivelinessPolicy.MANUAL_BY_TOPIC)
    for deadline_s in (0, 1) for lease_s in (0, 2)]
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def test_the_rules_are_those_of_rclpy() -> None:
    pairs = list(itertools.product(PROFILES, PROFILES))
    ours = [not conflicts(offered, requested) for offered, requested in pairs]
    theirs = [qos_check_compatible(offered, requested)[0].name != QoSCompatibility.ERROR.name
              for offered, requested in pairs]
    assert ours == theirs and 0 < sum(ours) < len(ours)


def test_every_policy_that_differs_is_named() -> None:
    assert conflicts(BEST_EFFORT, LATCHED) == [
        Conflict('reliability', 'best_effort', 'reliable'),
        Conflict('durability', 'volatile', 'transient_local')]
    wanted = QoSProfile(depth=1, deadline=Duration(seconds=0, nanoseconds=50_000_000))
    promised = QoSProfile(depth=1, deadline=Duration(seconds=2))
    assert conflicts(promised, wanted) == [Conflict('deadline', '2 s', '0.05 s')]


@pytest.mark.parametrize(('kind', 'name'), [
    (String, 'std_msgs/msg/String'),
    (CompressedImage, 'sensor_msgs/msg/CompressedImage'),
    (DetectionArray, 'vr_ros/msg/DetectionArray'),
])
def test_types_are_named_as_in_the_graph(kind: type, name: str) -> None:
    assert type_name(kind) == name


def peer(**fields: Any) -> Any:
    return SimpleNamespace(**{'node_name': 'driver', 'node_namespace': '/left', **fields})


def test_an_input_says_what_to_do_on_either_end() -> None:
    topic = Topic('/image', 'sensor_msgs/msg/Image', LATCHED, is_ours_published=False)
    words = topic_watch._words(topic, peer(), conflicts(BEST_EFFORT, LATCHED))
    assert words == (
        'nothing arrives from /left/driver: reliability is best_effort there and reliable here, '
        'durability is volatile there and transient_local here. Set reliability reliable and '
        'durability transient_local there, or start this node with '
        'qos_overrides./image.subscription.reliability:=best_effort and '
        'qos_overrides./image.subscription.durability:=volatile')


def test_an_output_says_who_does_not_hear_it() -> None:
    topic = Topic('/markers', 'x/msg/Y', BEST_EFFORT, is_ours_published=True)
    words = topic_watch._words(topic, peer(node_name='rviz', node_namespace='/'),
                               conflicts(BEST_EFFORT, QoSProfile(depth=5)))
    assert words == (
        '/rviz receives nothing from this node: reliability is reliable there and best_effort '
        'here. Set reliability best_effort there, or start this node with '
        'qos_overrides./markers.publisher.reliability:=reliable')


def test_what_no_parameter_can_set_is_not_proposed_as_one() -> None:
    topic = Topic('/image', 'x/msg/Y', BEST_EFFORT, is_ours_published=True)
    deadline = [Conflict('deadline', 'inf s', '1 s')]
    assert 'qos_overrides' not in topic_watch._words(topic, peer(), deadline)


def test_an_unknown_node_is_no_riddle() -> None:
    topic = Topic('/image', 'a/msg/B', BEST_EFFORT, is_ours_published=False)
    words = topic_watch._type_words(topic, peer(node_name='_NODE_NAME_UNKNOWN_', topic_type='c'))
    assert words == ('a node without a name publishes c, but this topic is a/msg/B: they never '
                     'connect. Remap one of them')
