"""Plays a bag into a live graph: what the robot published, with its time on /clock.

What the perception node and the system published then is played under /recorded: it can be compared
with what the nodes that run now say, and does not mix with it.
"""
from __future__ import annotations

import argparse
import math
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.utilities import remove_ros_args
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError
from rosgraph_msgs.msg import Clock

from vr_ros.nodes import qos
from vr_ros.nodes.bags.message_definitions import UnknownTypeError, message_class
from vr_ros.nodes.bags.profiles import Origin, origin_of
from vr_ros.nodes.safely import report_failure
from vr_ros.nodes.spin import EXIT_USAGE, run_node

RECORDED_PREFIX = '/recorded'
CLOCK_TOPIC = '/clock'
# Enough for fixed transforms of many nodes, and for images while a subscriber is busy.
_DEPTH = 100
_ACKNOWLEDGE_S = 2.0
_LAST_WORDS_S = 0.3


@dataclass(frozen=True)
class ReplayOptions:
    """What to play, and how.

    :param rate: seconds of the bag per second.
    :param delay_s: before the first message, so that everybody is found; time stands still then.
    :param topics: to play; empty: all.
    :param awaited: topics that somebody must have subscribed to before the delay begins.
    :param results: 'move' those of the perception node and the system under /recorded, 'keep' their
        names, or 'skip' them.
    """

    bag: Path
    rate: float = 1.0
    is_endless: bool = False
    delay_s: float = 1.0
    clock_hz: float = 100.0
    topics: tuple[str, ...] = ()
    results: str = 'move'
    awaited: tuple[str, ...] = ()


def played_name(topic: str, options: ReplayOptions) -> str:
    """Name the topic that a recorded one is played on; '' if it is not."""
    if topic == CLOCK_TOPIC or (options.topics and topic not in options.topics):
        return ''
    if origin_of(topic) is Origin.ROBOT or options.results == 'keep':
        return topic
    return f'{RECORDED_PREFIX}{topic}' if options.results == 'move' else ''


class Pace:
    """Turns the time of a bag into the time to wait.

    :param start_ns: time in the bag that is now.
    """

    def __init__(self, start_ns: int, rate: float, now_s: float) -> None:
        self._start_ns, self._rate, self._began_s = start_ns, rate, now_s

    def bag_ns(self, now_s: float) -> int:
        """Tell what time it is in the bag."""
        return self._start_ns + round((now_s - self._began_s) * self._rate * 1e9)

    def wait_s(self, bag_ns: int, now_s: float) -> float:
        """Tell how long it is until a time in the bag; negative when it has passed."""
        return (bag_ns - self.bag_ns(now_s)) / 1e9 / self._rate


class ReplayNode(Node):
    """Publishes a bag from a thread of its own, undecoded.

    :param arguments: for rclpy.node.Node.
    :raises ReaderError: the bag cannot be read.
    """

    def __init__(self, options: ReplayOptions, **arguments: Any) -> None:
        self._options = options
        self._reader = Reader(options.bag)
        self._reader.open()
        super().__init__('replay', **arguments)
        self._clock = self.create_publisher(Clock, CLOCK_TOPIC, qos.newest())
        self._publishers_of: dict[str, Publisher] = {}
        for topic, connections in _by_topic(self._reader.connections).items():
            self._add(topic, connections)
        self.played: Counter[str] = Counter()
        self._ending, self._problem = threading.Event(), ''
        self._ended = self.create_guard_condition(self._on_ended)
        self._thread = threading.Thread(target=self._run, name='vr_ros replay', daemon=True)
        self._thread.start()
        self.get_logger().info(
            f'Playing {options.bag}: {self._reader.message_count} messages of '
            f'{self._reader.duration / 1e9:.1f} s')

    def finish(self) -> None:
        """Play no more, and say what was played."""
        if self._ending.is_set():
            return
        self._ending.set()
        self._thread.join()
        # What was said to be reliable is to arrive before this one is gone.
        for publisher in self._publishers_of.values():
            publisher.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGE_S))
        # Best effort is sent by threads of the middleware, which end with the program.
        time.sleep(_LAST_WORDS_S)
        self.get_logger().info(
            f'Played {self.played.total()} messages of {len(self.played)} topics')

    def destroy_node(self) -> None:
        """End the thread, then the node."""
        self._ending.set()
        self._thread.join()
        self._reader.close()
        super().destroy_node()

    def _add(self, topic: str, connections: Sequence[Connection]) -> None:
        name = played_name(topic, self._options)
        if not name:
            return
        try:
            kind = message_class(connections[0].msgtype)
        except UnknownTypeError as error:
            self.get_logger().warning(f'{topic} is not played: {error}')
            return
        self._publishers_of[topic] = self.create_publisher(kind, name, recorded_qos(connections))

    def _run(self) -> None:
        try:
            end_at = math.inf
            while not self._ending.is_set() and time.monotonic() < end_at:
                # Whoever waits for the time of simulation has it from here on.
                self._set_time(self._reader.start_time)
                if end_at == math.inf and self._is_heard():
                    end_at = time.monotonic() + self._options.delay_s
                self._ending.wait(min(0.1, self._options.delay_s))
            self._play()
            while self._options.is_endless and self.played and not self._ending.is_set():
                self._play()
        except Exception as error:
            report_failure(self, 'replay')
            self._problem = f'{type(error).__name__}: {error}'
        if not self._ending.is_set():
            self._ended.trigger()

    def _is_heard(self) -> bool:
        publishers = (self._publishers_of.get(topic) for topic in self._options.awaited)
        return all(publisher is None or publisher.get_subscription_count()
                   for publisher in publishers)

    def _play(self) -> None:
        connections = [c for c in self._reader.connections if c.topic in self._publishers_of]
        if not connections:
            return
        pace = Pace(self._reader.start_time, self._options.rate, time.monotonic())
        for connection, at_ns, data in self._reader.messages(connections):
            for now_ns in self._ticks(pace, at_ns):
                self._set_time(now_ns)
            if self._ending.is_set():
                return
            self._set_time(at_ns)
            self._publishers_of[connection.topic].publish(bytes(data))
            self.played[connection.topic] += 1

    def _ticks(self, pace: Pace, until_ns: int) -> Iterator[int]:
        """Wait until a time in the bag; give the time at each tick of the clock."""
        while (left_s := pace.wait_s(until_ns, time.monotonic())) > 0:
            if self._ending.wait(min(left_s, 1 / self._options.clock_hz)):
                return
            yield min(pace.bag_ns(time.monotonic()), until_ns)

    def _set_time(self, stamp_ns: int) -> None:
        seconds, nanoseconds = divmod(stamp_ns, 10**9)
        self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))

    def _on_ended(self) -> None:
        self.finish()
        raise SystemExit(f'replay: {self._problem}' if self._problem else 0)


def recorded_qos(connections: Iterable[Connection]) -> QoSProfile:
    """Offer what the publishers of then offered, so that who heard them hears this one."""
    profiles = [p for c in connections for p in getattr(c.ext, 'offered_qos_profiles', ())]
    best_effort = profiles and all(p.reliability.name == 'BEST_EFFORT' for p in profiles)
    latched = any(p.durability.name == 'TRANSIENT_LOCAL' for p in profiles)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=_DEPTH,
        reliability=(ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE),
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)


def _by_topic(connections: Iterable[Connection]) -> dict[str, list[Connection]]:
    found: dict[str, list[Connection]] = {}
    for connection in connections:
        found.setdefault(connection.topic, []).append(connection)
    return found


def parse(arguments: Sequence[str]) -> ReplayOptions:
    """Read the command line, without its ROS arguments.

    :raises SystemExit: with status 2, bad usage.
    """
    parser = argparse.ArgumentParser(
        prog='replay', description='Play a bag, with its time on /clock: start the nodes that '
        'are to hear it with use_sim_time:=true. Topics are renamed by --ros-args -r.')
    parser.add_argument('bag', type=Path, help='folder of a rosbag2 bag')
    parser.add_argument('--rate', type=_positive, default=1.0,
                        help='seconds of the bag per second (default: %(default)s)')
    parser.add_argument('--loop', action='store_true', help='again and again until Ctrl-C')
    parser.add_argument('--delay', type=float, default=1.0, metavar='S',
                        help='wait for subscribers before the start (default: %(default)s)')
    parser.add_argument('--wait-for', nargs='+', default=[], metavar='TOPIC',
                        help='and until somebody has subscribed to each of these')
    parser.add_argument('--clock-rate', type=_positive, default=100.0, metavar='HZ',
                        help='of /clock between messages (default: %(default)s)')
    parser.add_argument('--topics', nargs='+', default=[], metavar='TOPIC',
                        help='only these, as they are named in the bag')
    parser.add_argument('--results', choices=('move', 'keep', 'skip'), default='move',
                        help='what the perception node and the system published: '
                             f'move it under {RECORDED_PREFIX}, keep its names, or skip it '
                             '(default: %(default)s)')
    given = parser.parse_args(arguments)
    return ReplayOptions(given.bag, given.rate, given.loop, given.delay, given.clock_rate,
                         tuple(given.topics), given.results, tuple(given.wait_for))


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(text)
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the replay as a program."""
    given = list(sys.argv if arguments is None else ['replay', *arguments])
    options = parse(remove_ros_args(given)[1:])
    try:
        with Reader(options.bag):
            pass
    except (ReaderError, OSError) as error:
        print(f'replay: cannot read {options.bag}: {error} Of one that was cut off, record '
              '--recover makes one that can be.', file=sys.stderr)
        return EXIT_USAGE
    return run_node(lambda: ReplayNode(options), ReplayNode.finish, given)
