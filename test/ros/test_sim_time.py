"""Simulated time and replayed bags: what is years old is fresh, and time may jump either way."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bag_player import BagPlayer, write_bag
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from fault_rig import Rig
from live import PICTURE, Graph, Robot, image
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock

from vr_ros.msg import Instruction, Outcome
from vr_ros.nodes import qos

MakeGraph = Callable[..., Graph]
SECOND = 10**9
# A day in 2019.
START_NS = 1_560_000_000 * SECOND
FRAMES = 30


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record three seconds of images at 10 Hz, each 20 ms on its way, years ago."""
    messages = []
    for number in range(FRAMES):
        stamp_ns = START_NS + number * SECOND // 10
        stamp = Time(sec=stamp_ns // SECOND, nanosec=stamp_ns % SECOND)
        messages.append((stamp_ns + SECOND // 50, serialize_message(image(PICTURE, stamp=stamp))))
    return write_bag(tmp_path_factory.mktemp('bag') / 'old', '/own/image',
                     'sensor_msgs/msg/Image', messages)


class Replay:
    """A node on simulated time that is ready, and a player of the bag."""

    def __init__(self, made: Graph, bag: Path) -> None:
        self.node, self.robot = made.node, made.start()
        self.player = BagPlayer(self.robot.node, bag, self.robot.until)
        self.player.wait_for_listeners()

    @property
    def time_ns(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    def play(self, count: int = FRAMES) -> int:
        """Play the beginning of the bag, and wait until the node has both time and image.

        :return: the time then.
        """
        for _, stamp_ns in zip(range(count), self.player.play(), strict=False):
            before = self.robot.frames_received()
            # Best effort: what is lost on the way comes again.
            while self.time_ns != stamp_ns or self.robot.frames_received() == before:
                self.robot.spin(0.02)
                if self.time_ns != stamp_ns:
                    self.player.set_time(stamp_ns)
                if self.robot.frames_received() == before:
                    self.robot.images.publish(image(PICTURE, stamp=Time(
                        sec=stamp_ns // SECOND, nanosec=stamp_ns % SECOND - SECOND // 50)))
        return stamp_ns


def replay(graph: MakeGraph, bag: Path, **parameters: Any) -> Replay:
    return Replay(graph(use_sim_time=True, **parameters), bag)


def stamp_ns(result: Any) -> int:
    return int(result.header.stamp.sec) * SECOND + int(result.header.stamp.nanosec)


def until_answered(robot: Robot, name: str, now_ns: int) -> None:
    """Wait until the newest answer is about the image of this time."""
    robot.until(lambda: stamp_ns(robot.answers(name)[-1]) == now_ns - SECOND // 50)


def settle(robot: Robot) -> None:
    """Leave time for what must not come."""
    robot.spin(0.5)


def test_a_bag_that_is_years_old_is_fresh(graph: MakeGraph, bag: Path) -> None:
    replayed = replay(graph, bag)
    now_ns = replayed.play()
    result = replayed.robot.ask('echo')
    assert result.outcome.status == Outcome.OK
    assert stamp_ns(result) == now_ns - SECOND // 50
    assert result.outcome.timing.image_age_ms == pytest.approx(20.0)
    assert result.outcome.instruction_stamp == Time(
        sec=now_ns // SECOND, nanosec=now_ns % SECOND)


def test_without_simulated_time_it_is_stale_and_the_message_says_what_to_do(
        graph: MakeGraph, bag: Path) -> None:
    made = graph()
    robot = made.start()
    player = BagPlayer(robot.node, bag, robot.until)
    robot.until(player._publishers['/own/image'].get_subscription_count)
    next(player.play())
    robot.until(robot.frames_received)
    result = robot.ask('echo', deadline_s=0.3)
    assert result.outcome.status == Outcome.STALE_IMAGE
    assert 'old; max_image_age is 2 s' in result.outcome.status_message


def test_a_bag_that_starts_over_is_answered_once_per_instruction(
        graph: MakeGraph, bag: Path) -> None:
    replayed = replay(graph, bag)
    robot = replayed.robot
    for _ in range(3):
        end_ns = replayed.play()
        before = robot.tell('echo')
        assert stamp_ns(robot.answer(before)) == end_ns - SECOND // 50
        # Back to the start, before the first image of the next round: the newest seems to be of
        # three seconds ahead, so an instruction waits for a fresh one.
        replayed.player.set_time(START_NS)
        robot.until(lambda: replayed.time_ns == START_NS)
        after = robot.tell('echo')
        settle(robot)
        assert robot.answers(after) == []
        first_ns = replayed.play(1)
        result = robot.answer(after)
        assert result.outcome.status == Outcome.OK
        assert stamp_ns(result) == first_ns - SECOND // 50
        settle(robot)
        for name in (before, after):
            assert [len(robot.answers(name, topic)) for topic in ('detections', 'answer')] == [1, 1]


def test_what_waits_is_looked_at_anew_when_time_jumps_and_no_image_follows(
        graph: MakeGraph, bag: Path) -> None:
    replayed = replay(graph, bag)
    robot, end_ns = replayed.robot, replayed.play()
    for far_ns in (START_NS - 100 * SECOND, START_NS + 100 * SECOND):
        replayed.player.set_time(far_ns)
        robot.until(lambda far_ns=far_ns: replayed.time_ns == far_ns)
        name = robot.tell('echo')
        settle(robot)
        assert robot.answers(name) == []
        replayed.player.set_time(end_ns)
        result = robot.answer(name)
        assert result.outcome.status == Outcome.OK and stamp_ns(result) == end_ns - SECOND // 50


def test_a_continuous_instruction_goes_on_over_the_jump_at_its_own_pace(
        graph: MakeGraph, bag: Path) -> None:
    replayed = replay(graph, bag, reason_period=0.4)
    robot = replayed.robot
    replayed.play(1)
    name = robot.tell('echo', mode=Instruction.CONTINUOUS)
    robot.answer(name)
    for _ in range(2):
        before = len(robot.answers(name))
        end_ns = replayed.play()
        until_answered(robot, name, end_ns)
        replayed.player.set_time(START_NS)
        robot.until(lambda: replayed.time_ns == START_NS)
        held = len(robot.answers(name))
        settle(robot)
        # No storm: the one image there is has been answered, and the next round has not begun.
        assert len(robot.answers(name)) == held > before
        first_ns = replayed.play(1)
        until_answered(robot, name, first_ns)
    answers = robot.answers(name)
    assert {result.outcome.status for result in answers} == {Outcome.OK}
    assert [result.outcome.sequence for result in answers] == list(range(len(answers)))
    # Each image is answered once at most, so a round has no more answers than images.
    assert len(answers) <= 3 * FRAMES
    robot.tell('', mode=Instruction.STOP, id=name)
    robot.until(lambda: robot.answers(name)[-1].outcome.status == Outcome.CANCELLED)


def test_deadlines_pass_while_simulated_time_stands_still(graph: MakeGraph, bag: Path) -> None:
    replayed = replay(graph, bag)
    replayed.play(1)
    result = replayed.robot.ask('words 100000', deadline_s=0.5)
    assert result.outcome.status == Outcome.TIMEOUT
    assert replayed.robot.ask('echo').outcome.status == Outcome.OK


def test_until_time_begins_instructions_say_what_is_missing(graph: MakeGraph, bag: Path) -> None:
    made = graph(use_sim_time=True, diagnostics_period=0.1)
    robot = made.start()
    assert made.node.get_clock().now().nanoseconds == 0
    reports = robot.listen('/diagnostics', DiagnosticArray, qos.command())
    assert robot.ask('echo', deadline_s=0.2).outcome.status == Outcome.NO_IMAGE
    robot.show()
    result = robot.ask('echo', deadline_s=0.2)
    assert result.outcome.status == Outcome.STALE_IMAGE
    assert 'no time has come on /clock' in result.outcome.status_message
    robot.until(lambda: any('no time has come on /clock' in status.message
                            for status in reports[-1].status))
    waiting = robot.tell('echo')
    player = BagPlayer(robot.node, bag, robot.until)
    player.wait_for_listeners()
    now_ns = robot.node.get_clock().now().nanoseconds
    robot.until(lambda: player.set_time(now_ns) or made.node.get_clock().now().nanoseconds)
    # It was the image that waited for the time, not the other way round.
    assert robot.answer(waiting).outcome.status == Outcome.OK


def test_a_time_that_is_none_harms_nobody(graph: MakeGraph, bag: Path) -> None:
    replayed = replay(graph, bag)
    now_ns = replayed.play(1)
    assert replayed.robot.ask('echo').outcome.status == Outcome.OK
    for stamp in (Time(sec=0, nanosec=0), Time(sec=2**31 - 1, nanosec=2**32 - 1)):
        replayed.player.clock.publish(Clock(clock=stamp))
        settle(replayed.robot)
    replayed.player.set_time(now_ns)
    replayed.robot.until(lambda: replayed.time_ns == now_ns)
    assert replayed.robot.ask('echo').outcome.status == Outcome.OK


def test_a_time_that_rclpy_cannot_read_is_survived_and_counted(
        tmp_path_factory: pytest.TempPathFactory) -> None:
    with Rig(tmp_path_factory.mktemp('clock'), 'clock', use_sim_time=True,
             max_image_age=0.0) as rig:
        rig.until_ready()
        clock = rig.robot.node.create_publisher(Clock, '/clock', qos.newest())
        rig.until(clock.get_subscription_count)

        def failed() -> int:
            clock.publish(Clock(clock=Time(sec=-1)))
            return int(rig.health['callbacks'].get('spin', 0))

        # More of them in a row than anybody would put up with.
        rig.until(lambda: failed() > 20)
        assert 'ValueError' in rig.log.read_text()
        rig.show()
        assert rig.answer_on_film(rig.tell('echo')).outcome.status == Outcome.OK
