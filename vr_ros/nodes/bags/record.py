"""Records topics to a bag, whatever their types: messages are copied as they come, undecoded."""
from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rclpy.utilities import remove_ros_args
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from vr_ros.core.types import Status
from vr_ros.nodes import qos
from vr_ros.nodes.bags.incidents import Incidents, Saved
from vr_ros.nodes.bags.losses import Losses
from vr_ros.nodes.bags.message_definitions import UnknownTypeError
from vr_ros.nodes.bags.message_ring import MessageRing
from vr_ros.nodes.bags.record_options import RecordOptions, parse
from vr_ros.nodes.bags.record_report import TopicCount, judge_bag, judge_losses, summary
from vr_ros.nodes.bags.recovery import RecoveryError, recover
from vr_ros.nodes.bags.subscription import describe, subscribe
from vr_ros.nodes.bags.thread import (
    BagThread,
    LowSpaceError,
    Message,
    WriteLimits,
    check_space,
)
from vr_ros.nodes.bags.writer import BagTopic, BagWriter
from vr_ros.nodes.convert import Count
from vr_ros.nodes.diagnostics import to_message
from vr_ros.nodes.safely import safely
from vr_ros.nodes.spin import EXIT_USAGE, run_node

SEARCH_PERIOD_S = 0.2
REPORT_PERIOD_S = 1.0


@dataclass
class _Topic:
    """:param is_refused: a publisher has come that its subscription does not hear."""

    description: BagTopic
    number: int
    take: Callable[[bytes, dict[str, Any]], None]
    received: int = 0
    losses: Losses = field(default_factory=Losses)
    subscription: Subscription | None = None
    is_refused: bool = False

    @property
    def name(self) -> str:
        return self.description.name

    def refuse(self) -> None:
        """Take note that not every publisher is heard."""
        self.is_refused = True


class RecordNode(Node):
    """Subscribes to each topic as soon as somebody publishes it, and writes or keeps what arrives.

    :param arguments: for rclpy.node.Node.
    :raises OSError: the bag cannot be made.
    :raises LowSpaceError: there is no room for it.
    """

    def __init__(self, options: RecordOptions, **arguments: Any) -> None:
        self._options = options
        self._sink = make_sink(options)
        super().__init__('record', **arguments)
        self._missing = {self.resolve_topic_name(t): kept for t, kept in options.topics.items()}
        self._topics: list[_Topic] = []
        self._is_finished, self._save_at = False, 0.0
        self._count_topic = self.resolve_topic_name('count')
        self._status = qos.create_publisher(
            self, DiagnosticArray, '/diagnostics', qos.command())
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._chores = (
            self.create_timer(SEARCH_PERIOD_S, safely(self, self._search), clock=steady),
            self.create_timer(SEARCH_PERIOD_S, self._look_for_problem, clock=steady),
            self.create_timer(REPORT_PERIOD_S, safely(self, self._report), clock=steady))
        if isinstance(self._sink, Incidents):
            # In a group of its own: while it waits for the disk, messages go on being taken.
            self.create_service(Trigger, '~/save', self._on_save,
                                callback_group=ReentrantCallbackGroup())
            self.get_logger().info(
                f'Keeping the last {options.window_s:g} s, to be saved in {options.out} when '
                f'{self.get_fully_qualified_name()}/save is called')
        else:
            self.get_logger().info(f'Recording to {options.out}')

    def finish(self) -> None:
        """Record no more, complete the bag, and say what was lost."""
        if self._is_finished:
            return
        self._is_finished = True
        for timer in self._chores:
            timer.cancel()
        for topic in self._topics:
            if topic.subscription is not None:
                self.destroy_subscription(topic.subscription)
                topic.subscription = None
        self._sink.close()
        saved = self._sink.saved if isinstance(self._sink, Incidents) else None
        self.get_logger().info(summary(self._counts(), self._sink.path, saved))
        self._raise_problem()

    def destroy_node(self) -> None:
        """Complete the bag, then end the node."""
        self._sink.close()
        super().destroy_node()

    def _search(self) -> None:
        if self.get_clock().now().nanoseconds == 0:
            return  # simulated time has not begun
        for name in list(self._missing):
            publishers = self.get_publishers_info_by_topic(name)
            if publishers:
                self._record(name, self._missing.pop(name), publishers)
        for topic in self._topics:
            publishers = self.get_publishers_info_by_topic(topic.name) if topic.is_refused else []
            publishers = [p for p in publishers if p.topic_type == topic.description.type_name]
            if publishers:
                self._subscribe(topic, publishers)

    def _record(self, name: str, kept: int, publishers: list[TopicEndpointInfo]) -> None:
        try:
            description = describe(name, publishers)
        except UnknownTypeError as error:
            self.get_logger().warning(f'{name} is not recorded: {error}')
            return
        number = self._sink.add_topic(description, kept)
        is_simulated = self.get_clock().ros_time_is_active
        watches = (self._options.saves_on_error and name == self._count_topic
                   and description.type_name == 'vr_ros/msg/Count')

        def take(data: bytes, info: dict[str, Any]) -> None:
            topic.received += 1
            now_ns = self.get_clock().now().nanoseconds
            published_ns = now_ns if is_simulated else info['source_timestamp'] or now_ns
            self._sink.put(Message(number, data, now_ns, published_ns))
            if watches:
                self._save_if_error(deserialize_message(data, Count))

        topic = _Topic(description, number, safely(self, take))
        self._topics.append(topic)
        self._subscribe(topic, publishers)

    def _subscribe(self, topic: _Topic, publishers: list[TopicEndpointInfo]) -> None:
        if topic.subscription is not None:
            self.destroy_subscription(topic.subscription)
        topic.is_refused = False
        topic.subscription = subscribe(
            self, topic.description, publishers, topic.take, topic.losses, topic.refuse)

    def _save_if_error(self, result: Count) -> None:
        outcome = result.outcome
        if outcome.status < 100 or outcome.status == Status.CANCELLED:
            return
        now = time.monotonic()
        if now < self._save_at or not self._save(f'status {_name(outcome.status)}'):
            return
        self._save_at = now + self._options.window_s

    def _save(self, why: str) -> Future[Saved] | None:
        assert isinstance(self._sink, Incidents)
        job = self._sink.save(self.get_clock().now().nanoseconds)
        if job is not None:
            job.add_done_callback(lambda done: self._say_saved(done, why))
        return job

    def _say_saved(self, job: Future[Saved], why: str) -> None:
        error = job.exception()
        if error is not None:
            self.get_logger().error(f'The last seconds could not be saved ({why}): {error}')
        else:
            saved = job.result()
            self.get_logger().info(f'Saved {saved.messages} messages of {saved.seconds:.1f} s to '
                                   f'{saved.path} ({why})')

    async def _on_save(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        job = self._save('asked for')
        if job is None:
            response.message = 'the save before is still under way'
            return response
        while not job.done():
            await _Turn()
        error = job.exception()
        response.success = error is None
        response.message = str(error or job.result().path)
        return response

    def _counts(self) -> list[TopicCount]:
        return [TopicCount(topic.name, topic.received, topic.losses.count,
                           self._sink.dropped[topic.number]) for topic in self._topics]

    def _report(self) -> None:
        counts = self._counts()
        self._status.publish(to_message(
            Header(stamp=self.get_clock().now().to_msg()), self.get_fully_qualified_name(), '',
            [judge_bag(self._sink.path, self._sink.size_bytes, sorted(self._missing),
                       self._options.window_s), judge_losses(counts)]))

    def _look_for_problem(self) -> None:
        if self._sink.problem is not None:
            self.finish()

    def _raise_problem(self) -> None:
        """:raises SystemExit: the bag had to end; no Exception, as going on would lose all else."""
        problem = self._sink.problem
        if isinstance(problem, LowSpaceError):
            raise SystemExit(f'record: ended, {self._sink.path} is complete: {problem}')
        if problem is not None:
            raise SystemExit(f'record: cannot write to {self._sink.path}: {problem}; what was '
                             f'written is read by: record --recover {self._sink.path}')


class _Turn:
    """Lets the executor do what comes next, a message or a timer, before a coroutine goes on."""

    def __await__(self) -> Any:
        yield


def make_sink(options: RecordOptions) -> BagThread | Incidents:
    """Make what takes the messages.

    :raises OSError: the folder cannot be made.
    :raises LowSpaceError: there is no room.
    """
    distro = os.environ.get('ROS_DISTRO', '')
    if options.window_s:
        return Incidents(options.out, MessageRing(options.window_s, options.buffer_bytes), distro,
                         compress=options.compress, max_file_bytes=options.max_file_bytes,
                         min_free_bytes=options.min_free_bytes)
    there = next(p for p in options.out.absolute().parents if p.exists())
    check_space(there, options.min_free_bytes)
    bag = BagWriter(options.out, distro, compress=options.compress,
                    max_file_bytes=options.max_file_bytes)
    return BagThread(bag, WriteLimits(
        options.flush_period_s, options.buffer_bytes, options.min_free_bytes))


def _name(status: int) -> str:
    return Status(status).name if status in Status._value2member_map_ else str(status)


def recover_bag(bag: Path, out: Path) -> int:
    """Mend a bag, and say what came of it.

    :return: the exit status of the program.
    """
    try:
        print(recover(bag, out))
    except (RecoveryError, OSError) as error:
        print(f'record: cannot recover {bag}: {error}', file=sys.stderr)
        return EXIT_USAGE
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recorder as a program."""
    given = list(sys.argv if arguments is None else ['record', *arguments])
    options = parse(remove_ros_args(given)[1:])
    if options.recover is not None:
        return recover_bag(options.recover, options.out)
    try:
        return run_node(lambda: RecordNode(options), RecordNode.finish, given)
    except (OSError, LowSpaceError) as error:
        rclpy.try_shutdown()
        print(f'record: cannot make {options.out}: {error}', file=sys.stderr)
        return EXIT_USAGE
