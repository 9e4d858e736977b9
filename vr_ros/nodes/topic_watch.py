"""Says in words when a topic of ours and somebody else's do not connect.

DDS lets such a pair fail without a word: the most frequent reason for 'nothing comes out'.
"""
from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from rclpy.topic_endpoint_info import TopicEndpointInfo

from vr_ros.nodes.qos_rules import Conflict, conflicts
from vr_ros.nodes.safely import safely

# What can be set by parameter: QoSOverridingOptions of qos.py.
OVERRIDABLE = 'reliability', 'durability'
# The graph learns an endpoint's node, and its other endpoints, a little after the endpoint itself.
PATIENCE_S = 0.3


@dataclass(eq=False)
class Topic:
    """One publisher or subscription of ours.

    :param name: in full, after remapping.
    :param kind: 'std_msgs/msg/String', as the graph has it.
    :param profile: with what qos_overrides changed.
    :param entity: the publisher or subscription while it exists.
    :param has_conflicts: whether the middleware has ever reported any.
    :param reported: ids of the endpoints of others that a warning was given for.
    """

    name: str
    kind: str
    profile: QoSProfile
    is_ours_published: bool
    entity: Callable[[], Any] = lambda: None
    has_conflicts: bool = False
    reported: set[bytes] = field(default_factory=set)

    @property
    def side(self) -> str:
        """What ours is."""
        return 'publisher' if self.is_ours_published else 'subscription'


class TopicWatch:
    """The publishers and subscriptions of one node, and what goes wrong with them.

    :ivar incompatible: endpoints of others that did not connect so far, by topic.
    :ivar lost: messages that the middleware lost on the way so far, by topic.
    """

    def __init__(self, node: Node) -> None:
        # The node holds its events, which hold this.
        self._node, self._reference = weakref.proxy(node), weakref.ref(node)
        self.incompatible: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self._topics: list[Topic] = []
        self._timer: Timer | None = None

    def create_publisher(self, kind: type[Any], name: str, profile: QoSProfile,
                         **options: Any) -> Publisher:
        """Create a publisher and watch it; options as for rclpy."""
        topic = self._add(name, kind, profile, is_ours_published=True)
        made = self._node.create_publisher(
            kind, name, profile, event_callbacks=PublisherEventCallbacks(
                incompatible_qos=self._guarded(self._on_incompatible_qos, topic),
                incompatible_type=self._guarded(self._on_incompatible_type, topic)), **options)
        topic.entity = weakref.ref(made)
        return made

    def create_subscription(self, kind: type[Any], name: str, callback: Callable[[Any], None],
                            profile: QoSProfile, **options: Any) -> Subscription:
        """Create a subscription and watch it; options as for rclpy."""
        topic = self._add(name, kind, profile, is_ours_published=False)
        made = self._node.create_subscription(
            kind, name, callback, profile, event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=self._guarded(self._on_incompatible_qos, topic),
                incompatible_type=self._guarded(self._on_incompatible_type, topic),
                message_lost=self._guarded(self._on_lost, topic)), **options)
        topic.entity = weakref.ref(made)
        return made

    def troubles(self) -> dict[str, str]:
        """Look at the graph: say in words what does not connect now, by topic.

        Warns of types that differ as well: not every middleware has an event for them.
        """
        self._warn()
        found: dict[str, str] = {}
        for topic, _, words in self._find():
            found[topic.name] = f'{found[topic.name]}; {words}' if topic.name in found else words
        return found

    def _add(self, name: str, kind: type, profile: QoSProfile, *, is_ours_published: bool) -> Topic:
        full_name = self._node.resolve_topic_name(name)
        topic = Topic(full_name, type_name(kind), profile, is_ours_published)
        self._topics = [known for known in self._topics if known.entity() is not None] + [topic]
        return topic

    def _guarded(self, callback: Callable[..., None], *bound: Any) -> Callable[..., None]:
        """Do as safely(), without holding on to the node."""
        def guarded(*arguments: Any) -> None:
            node = self._reference()
            if node is not None:
                safely(node, callback)(*bound, *arguments)

        return guarded

    def _on_incompatible_qos(self, topic: Topic, event: Any) -> None:
        self.incompatible[topic.name] += event.total_count_change
        topic.has_conflicts = True
        if self._timer is None:
            self._timer = self._node.create_timer(
                PATIENCE_S, self._guarded(self._on_timer),
                clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_incompatible_type(self, topic: Topic, event: Any) -> None:
        self.incompatible[topic.name] += event.total_count_change
        self._warn()

    def _on_lost(self, topic: Topic, event: Any) -> None:
        # Losing images is what best effort is for; the diagnostics count them.
        if topic.profile.reliability is ReliabilityPolicy.RELIABLE and not self.lost[topic.name]:
            self._node.get_logger().warning(
                f'{topic.name}: messages were lost on the way; the network or this node cannot '
                'keep up')
        self.lost[topic.name] += event.total_count_change

    def _on_timer(self) -> None:
        self._node.destroy_timer(self._timer)
        self._timer = None
        self._warn()

    def _warn(self) -> None:
        there: dict[Topic, set[bytes]] = {}
        for topic, peer, words in self._find():
            gid = bytes(peer.endpoint_gid)
            there.setdefault(topic, set()).add(gid)
            if gid not in topic.reported:
                self._node.get_logger().warning(f'{topic.name}: {words}')
        for topic in self._topics:
            topic.reported = there.get(topic, set())

    def _find(self) -> Iterator[tuple[Topic, TopicEndpointInfo, str]]:
        """Look only where something is wrong: each look at a topic's endpoints takes its time."""
        mixed = {name for name, kinds in self._node.get_topic_names_and_types() if len(kinds) > 1}
        for topic in self._topics:
            if topic.entity() is None or not (topic.has_conflicts or topic.name in mixed):
                continue
            for peer in self._peers(topic):
                if peer.topic_type != topic.kind:
                    yield topic, peer, _type_words(topic, peer)
                elif found := _between(topic, peer):
                    yield topic, peer, _words(topic, peer, found)

    def _peers(self, topic: Topic) -> list[TopicEndpointInfo]:
        look: Callable[[str], list[TopicEndpointInfo]] = (
            self._node.get_subscriptions_info_by_topic if topic.is_ours_published
            else self._node.get_publishers_info_by_topic)
        return look(topic.name)


_watches: weakref.WeakKeyDictionary[Node, TopicWatch] = weakref.WeakKeyDictionary()


def watch_of(node: Node) -> TopicWatch:
    """Return the watch of a node, the same one every time."""
    if node not in _watches:
        _watches[node] = TopicWatch(node)
    return _watches[node]


def type_name(kind: type) -> str:
    """Name a message type as the graph does: 'std_msgs/msg/String'."""
    return f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'


def _between(topic: Topic, peer: TopicEndpointInfo) -> list[Conflict]:
    if topic.is_ours_published:
        return conflicts(topic.profile, peer.qos_profile)
    return conflicts(peer.qos_profile, topic.profile)


def _words(topic: Topic, peer: TopicEndpointInfo, found: list[Conflict]) -> str:
    """Say which policies conflict, what follows, and what to do about it on either end."""
    said, remedies, parameters = [], [], []
    for conflict in found:
        ours, theirs = conflict.offered, conflict.requested
        if not topic.is_ours_published:
            ours, theirs = theirs, ours
        said.append(f'{conflict.policy} is {theirs} there and {ours} here')
        remedies.append(f'{conflict.policy} {ours}')
        if conflict.policy in OVERRIDABLE:
            parameters.append(
                f'qos_overrides.{topic.name}.{topic.side}.{conflict.policy}:={theirs}')
    where = _name(peer)
    if topic.is_ours_published:
        result = f'{where} receives nothing from this node'
    else:
        result = f'nothing arrives from {where}'
    here = f', or start this node with {" and ".join(parameters)}' if parameters else ''
    return f'{result}: {", ".join(said)}. Set {" and ".join(remedies)} there{here}'


def _type_words(topic: Topic, peer: TopicEndpointInfo) -> str:
    does = 'subscribes to' if topic.is_ours_published else 'publishes'
    return (f'{_name(peer)} {does} {peer.topic_type}, but this topic is {topic.kind}: they never '
            'connect. Remap one of them')


def _name(peer: TopicEndpointInfo) -> str:
    if not peer.node_name or peer.node_name.startswith('_'):
        return 'a node without a name'
    return f'{peer.node_namespace.rstrip("/")}/{peer.node_name}'
