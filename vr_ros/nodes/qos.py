"""The QoS profiles of this package: functions, as rclpy writes overrides into what it is given."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

from vr_ros.nodes.topic_watch import watch_of


def newest() -> QoSProfile:
    """Images, and all else of which only the newest counts. Matches every publisher."""
    return _profile(1, reliable=False)


def command() -> QoSProfile:
    """Instructions. Volatile matches every reliable publisher, whatever its durability."""
    return _profile(10, reliable=True)


def result() -> QoSProfile:
    """Results that must arrive."""
    return _profile(5, reliable=True)


def latched() -> QoSProfile:
    """State that those who come late must see too."""
    return _profile(1, reliable=True, latched=True)


def transforms() -> QoSProfile:
    """What moves, on /tf, as tf2 itself listens to it."""
    return _profile(100, reliable=True)


def static_transforms() -> QoSProfile:
    """What does not, on /tf_static."""
    return _profile(100, reliable=True, latched=True)


def preview() -> QoSProfile:
    """Results on the way, of which one may be lost."""
    return _profile(5, reliable=False)


def _profile(depth: int, *, reliable: bool, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)


def create_publisher(node: Node, kind: type[Any], topic: str, profile: QoSProfile) -> Publisher:
    """Create a publisher that accepts qos_overrides parameters, and says who does not connect."""
    return watch_of(node).create_publisher(
        kind, topic, profile, qos_overriding_options=_overridable())


def create_subscription(node: Node, kind: type[Any], topic: str, callback: Callable[[Any], None],
                        profile: QoSProfile, *, raw: bool = False) -> Subscription:
    """Create a subscription that accepts qos_overrides parameters, and says who does not connect.

    :param raw: hand over the message as bytes of CDR, neither decoded nor copied.
    """
    return watch_of(node).create_subscription(
        kind, topic, callback, profile, raw=raw, qos_overriding_options=_overridable())


def _overridable() -> QoSOverridingOptions:
    return QoSOverridingOptions((
        QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY,
        QoSPolicyKind.DURABILITY))
