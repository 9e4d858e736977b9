"""A topic under record: who publishes it, how it is subscribed to, what gets lost of it."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

from vr_ros.nodes.bags.losses import Losses
from vr_ros.nodes.bags.message_definitions import message_class, message_definition
from vr_ros.nodes.bags.profiles import IMAGE_DEPTH
from vr_ros.nodes.bags.writer import BagTopic

# Messages that may wait in the middleware while this process does something else.
QUEUE_DEPTH = IMAGE_DEPTH


def describe(topic: str, publishers: Sequence[TopicEndpointInfo]) -> BagTopic:
    """Describe a topic as its publishers offer it.

    :raises UnknownTypeError: its type is not installed.
    """
    type_name = publishers[0].topic_type
    return BagTopic(topic, type_name, message_definition(type_name),
                    str(publishers[0].topic_type_hash),
                    [qos_words(publisher.qos_profile) for publisher in publishers])


def subscribe(node: Node, topic: BagTopic, publishers: Sequence[TopicEndpointInfo],
              take: Callable[[bytes, dict[str, Any]], None], losses: Losses,
              on_refused: Callable[[], None]) -> Subscription:
    """Subscribe to a topic so that every publisher of now is heard.

    :param take: gets each message as CDR, and what the middleware says about it.
    :param on_refused: called when a publisher has come that offers less than the others did.
    """
    def on_message(data: bytes, info: dict[str, Any]) -> None:
        losses.on_message(info['publication_sequence_number'])
        take(data, info)

    events = SubscriptionEventCallbacks(
        incompatible_qos=lambda event: on_refused(),
        matched=lambda event: losses.on_matched(event.current_count),
        message_lost=lambda event: losses.on_lost(event.total_count_change))
    return node.create_subscription(
        message_class(topic.type_name), topic.name, on_message,
        matching_qos([publisher.qos_profile for publisher in publishers]), raw=True,
        event_callbacks=events)


def matching_qos(offered: Sequence[QoSProfile]) -> QoSProfile:
    """Ask for as much as all publishers offer, so that every one of them matches."""
    reliable = all(p.reliability is ReliabilityPolicy.RELIABLE for p in offered)
    latched = all(p.durability is DurabilityPolicy.TRANSIENT_LOCAL for p in offered)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=QUEUE_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)


def qos_words(profile: QoSProfile) -> dict[str, Any]:
    """Describe a QoS profile as metadata.yaml does from version 9 on."""
    def split(duration: Any) -> dict[str, int]:
        sec, nsec = divmod(duration.nanoseconds, 10**9)
        return {'sec': sec, 'nsec': nsec}

    return {
        'history': profile.history.name.lower(), 'depth': profile.depth,
        'reliability': profile.reliability.name.lower(),
        'durability': profile.durability.name.lower(),
        'deadline': split(profile.deadline), 'lifespan': split(profile.lifespan),
        'liveliness': profile.liveliness.name.lower(),
        'liveliness_lease_duration': split(profile.liveliness_lease_duration),
        'avoid_ros_namespace_conventions': bool(profile.avoid_ros_namespace_conventions)}
