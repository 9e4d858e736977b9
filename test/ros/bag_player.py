"""Plays a bag back, message by message. Its time is that of the recording; when it goes on is the
caller's to say.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import Reader
from rosgraph_msgs.msg import Clock

from vr_ros.nodes.bags.message_definitions import message_class, message_definition
from vr_ros.nodes.bags.writer import BagTopic, BagWriter


class BagPlayer:
    """Publishes what a bag holds, and its time on /clock, as `ros2 bag play --clock` does.

    :param until: waits for a condition while the graph goes on.
    """

    def __init__(self, node: Node, path: Path, until: Callable[[Callable[[], object]], object]
                 ) -> None:
        self._node, self._path, self._until = node, path, until
        self._publishers: dict[str, Publisher] = {}
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.clock = node.create_publisher(Clock, '/clock', best_effort)
        with Reader(path) as bag:
            for connection in bag.connections:
                self._publishers[connection.topic] = node.create_publisher(
                    message_class(connection.msgtype), connection.topic, best_effort)

    def wait_for_listeners(self) -> None:
        """Wait until everything that is played is heard by somebody."""
        for publisher in (self.clock, *self._publishers.values()):
            self._until(publisher.get_subscription_count)

    def set_time(self, stamp_ns: int) -> None:
        self.clock.publish(Clock(clock=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)))

    def play(self) -> Iterator[int]:
        """Publish one message after the other, each after its time.

        :return: the time of each, nanoseconds.
        """
        with Reader(self._path) as bag:
            for connection, stamp_ns, data in bag.messages():
                self.set_time(stamp_ns)
                self._publishers[connection.topic].publish(bytes(data))
                yield stamp_ns


def write_bag(path: Path, topic: str, type_name: str, messages: list[tuple[int, bytes]]) -> Path:
    """Write a bag of one topic with what the recorder writes bags with.

    :param messages: time in nanoseconds and CDR of each.
    """
    with BagWriter(path) as bag:
        number = bag.add_topic(BagTopic(topic, type_name, message_definition(type_name)))
        for stamp_ns, data in messages:
            bag.write(number, data, stamp_ns, stamp_ns)
    return path
