"""Records topics to a bag, whatever their types: messages are copied as they come, undecoded."""
from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rclpy.utilities import remove_ros_args

from vr_ros.nodes.bag_writer import BagTopic, BagWriter
from vr_ros.nodes.message_definitions import UnknownTypeError, message_class, message_definition
from vr_ros.nodes.safely import safely
from vr_ros.nodes.spin import EXIT_USAGE, run_node

TOPICS = (
    'image', 'camera_info', 'camera_pose', 'instruction', 'instruction_text', 'detections', 'count',
    'answer', 'perception/active_instruction', 'truth/detections', 'truth/answer', '/diagnostics',
    '/tf', '/tf_static')
SEARCH_PERIOD_S = 0.2
# Messages that may wait while the disk is busy.
QUEUE_DEPTH = 20


@dataclass(frozen=True)
class RecordOptions:
    """What to record, and where to.

    :param flush_period_s: what is older than that survives the recorder's end, however it comes.
    """

    out: Path
    topics: tuple[str, ...] = TOPICS
    flush_period_s: float = 1.0
    compress: bool = True


class RecordNode(Node):
    """Subscribes to each topic as soon as somebody publishes it, and writes what arrives.

    :param arguments: for rclpy.node.Node.
    :raises OSError: the bag cannot be made.
    """

    def __init__(self, options: RecordOptions, **arguments: Any) -> None:
        self._bag = BagWriter(options.out, os.environ.get('ROS_DISTRO', ''),
                              compress=options.compress)
        super().__init__('record', **arguments)
        self._missing = list(dict.fromkeys(self.resolve_topic_name(t) for t in options.topics))
        self._recorded: list[Subscription] = []
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._chores = (
            self.create_timer(SEARCH_PERIOD_S, safely(self, self._search), clock=steady),
            self.create_timer(options.flush_period_s, self._flush, clock=steady))
        self.get_logger().info(f'Recording to {options.out}')

    def finish(self) -> None:
        """Record no more, and complete the bag."""
        for timer in self._chores:
            timer.cancel()
        for subscription in self._recorded:
            self.destroy_subscription(subscription)
        self._recorded.clear()
        self._bag.close()
        counts = self._bag.counts
        self.get_logger().info(
            f'{sum(counts.values())} messages of {len(counts)} topics in {self._bag.path}')

    def destroy_node(self) -> None:
        """Complete the bag, then end the node."""
        self._bag.close()
        super().destroy_node()

    def _search(self) -> None:
        for topic in list(self._missing):
            publishers = self.get_publishers_info_by_topic(topic)
            if publishers:
                self._missing.remove(topic)
                self._record(topic, publishers)

    def _record(self, topic: str, publishers: list[TopicEndpointInfo]) -> None:
        type_name = publishers[0].topic_type
        try:
            kind, definition = message_class(type_name), message_definition(type_name)
        except UnknownTypeError as error:
            self.get_logger().warning(f'{topic} is not recorded: {error}')
            return
        number = self._bag.add_topic(BagTopic(
            topic, type_name, definition, str(publishers[0].topic_type_hash),
            [qos_words(publisher.qos_profile) for publisher in publishers]))

        def write(data: bytes, info: Any) -> None:
            now_ns = time.time_ns()
            try:
                self._bag.write(number, data, now_ns, info['source_timestamp'] or now_ns)
            except OSError as error:
                self._give_up(error)

        self._recorded.append(self.create_subscription(
            kind, topic, write, matching_qos([p.qos_profile for p in publishers]), raw=True))

    def _flush(self) -> None:
        try:
            self._bag.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._bag.abandon()
        # Not an Exception: going on would lose message after message.
        raise SystemExit(f'record: cannot write to {self._bag.path}: {error}')


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


def parse(arguments: Sequence[str]) -> RecordOptions:
    """Read the command line, without its ROS arguments.

    :raises SystemExit: with status 2, bad usage.
    """
    parser = argparse.ArgumentParser(
        prog='record', description='Record topics to a bag (rosbag2, MCAP) until Ctrl-C.')
    parser.add_argument('topics', nargs='*', metavar='TOPIC',
                        help=f'what to record (default: {" ".join(TOPICS)})')
    parser.add_argument('-o', '--out', type=Path, default=Path(time.strftime('bag_%Y%m%d_%H%M%S')),
                        help='folder to make (default: %(default)s)')
    parser.add_argument('--flush-period', type=float, default=1.0, metavar='S',
                        help='seconds after which what was recorded is safe (default: %(default)s)')
    parser.add_argument('--no-compression', action='store_true', help='spend no time on zstd')
    options = parser.parse_args(arguments)
    if not options.flush_period > 0:
        parser.error('--flush-period must be more than 0')
    if options.out.exists():
        parser.error(f'{options.out} exists: name another folder')
    return RecordOptions(options.out, tuple(options.topics) or TOPICS, options.flush_period,
                         not options.no_compression)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recorder as a program."""
    given = list(sys.argv if arguments is None else ['record', *arguments])
    options = parse(remove_ros_args(given)[1:])
    try:
        return run_node(lambda: RecordNode(options), RecordNode.finish, given)
    except OSError as error:
        print(f'record: cannot make {options.out}: {error}', file=sys.stderr)
        return EXIT_USAGE
