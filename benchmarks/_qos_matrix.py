"""A perception node's topics against every reliability and durability of the other end."""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from vr_ros.nodes.convert import Count, DetectionArray, InstructionMsg

RELIABILITIES = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
DURABILITIES = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL
PEERS = list(itertools.product(RELIABILITIES, DURABILITIES))
SETTLE_S = 1.0


@dataclass(frozen=True)
class Endpoint:
    """A topic of the node, and what the design says about it.

    :param name: relative to the node's namespace.
    """

    name: str
    kind: type[Any]
    is_input: bool
    reliable: bool
    latched: bool


ENDPOINTS = (
    Endpoint('image', Image, True, reliable=False, latched=False),
    Endpoint('instruction', InstructionMsg, True, reliable=True, latched=False),
    Endpoint('instruction_text', String, True, reliable=True, latched=False),
    Endpoint('detections', DetectionArray, False, reliable=True, latched=False),
    Endpoint('count', Count, False, reliable=True, latched=False),
    Endpoint('perception/last_result', DetectionArray, False, reliable=True, latched=True),
    Endpoint('perception/partial', DetectionArray, False, reliable=False, latched=False),
    Endpoint('perception/overlay', Image, False, reliable=False, latched=False),
    Endpoint('perception/markers', MarkerArray, False, reliable=False, latched=False),
)


@dataclass(frozen=True)
class Cell:
    """One topic of the node with one kind of peer.

    :param expected: whether they connect by the rules of DDS.
    :param connected: whether they did.
    """

    endpoint: Endpoint
    reliable: bool
    latched: bool
    expected: bool
    connected: bool


def connects(endpoint: Endpoint, reliable: bool, latched: bool) -> bool:
    """Tell whether DDS connects them: a subscription must not ask for more than is offered."""
    ours, theirs = (endpoint.reliable, endpoint.latched), (reliable, latched)
    offered, requested = (theirs, ours) if endpoint.is_input else (ours, theirs)
    return all(offer or not request for offer, request in zip(offered, requested, strict=True))


def measure(peer: Node, spin: Callable[[float], object],
            endpoints: Iterable[Endpoint] = ENDPOINTS) -> list[Cell]:
    """Set up all peers in one node at once, let them and the perception node meet, and look.

    :param peer: in the namespace of the perception node, best in a context of its own: nodes of one
        context share a participant of DDS and need not discover each other.
    :param spin: lets the graph live for so many seconds.
    """
    made = [(endpoint, reliability, durability, _make(peer, endpoint, reliability, durability))
            for endpoint in endpoints for reliability, durability in PEERS]
    before = None
    # As long as one after the other connects, others may be about to.
    while before != (before := [_count(entity) for *_, entity in made]):
        spin(SETTLE_S)
    cells = []
    for endpoint, reliability, durability, entity in made:
        kind = reliability is RELIABILITIES[0], durability is DURABILITIES[1]
        cells.append(Cell(endpoint, *kind, connects(endpoint, *kind), _count(entity) > 0))
        (peer.destroy_publisher if endpoint.is_input else peer.destroy_subscription)(entity)
    return cells


def _make(peer: Node, endpoint: Endpoint, reliability: ReliabilityPolicy,
          durability: DurabilityPolicy) -> Any:
    profile = QoSProfile(depth=1, reliability=reliability, durability=durability)
    if endpoint.is_input:
        return peer.create_publisher(endpoint.kind, endpoint.name, profile)
    return peer.create_subscription(endpoint.kind, endpoint.name, lambda _: None, profile)


def _count(entity: Any) -> int:
    if hasattr(entity, 'get_publisher_count'):
        return int(entity.get_publisher_count())
    return int(entity.get_subscription_count())
