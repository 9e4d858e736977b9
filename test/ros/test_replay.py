"""A bag played into a live graph: what was recorded, in its time, and answered by a node today."""
from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builtin_interfaces.msg import Time
from live import PICTURE, Graph, image
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from recording import program
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import String
from watch import Watcher, watching

from vr_ros.msg import DetectionArray, Instruction, Outcome
from vr_ros.nodes import qos
from vr_ros.nodes.bags.message_definitions import message_definition
from vr_ros.nodes.bags.replay import Pace, ReplayOptions, main, parse, played_name
from vr_ros.nodes.bags.subscription import qos_words
from vr_ros.nodes.bags.writer import BagTopic, BagWriter

SECOND = 10**9
START_NS = 1_560_000_000 * SECOND
FRAMES = 20
PERIOD_NS = SECOND // 10


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    with watching() as somebody:
        yield somebody


def stamp_of(at_ns: int) -> Time:
    return Time(sec=at_ns // SECOND, nanosec=at_ns % SECOND)


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make two seconds of a robot: images, words said once, an instruction, an old result."""
    path = tmp_path_factory.mktemp('bag') / 'old'
    kinds = {
        '/own/image': (Image, qos.newest()), '/words': (String, qos.latched()),
        '/own/instruction': (Instruction, qos.command()),
        '/own/detections': (DetectionArray, qos.result()), '/clock': (Clock, qos.newest())}
    with BagWriter(path) as writer:
        numbers = {}
        for topic, (kind, profile) in kinds.items():
            name = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'
            numbers[topic] = writer.add_topic(BagTopic(
                topic, name, message_definition(name), '', [qos_words(profile)]))

        def write(topic: str, message: Any, at_ns: int) -> None:
            writer.write(numbers[topic], serialize_message(message), at_ns, at_ns)

        write('/words', String(data='said once'), START_NS)
        for number in range(FRAMES):
            at_ns = START_NS + number * PERIOD_NS
            write('/own/image', image(PICTURE, stamp=stamp_of(at_ns)), at_ns + 1000)
            write('/clock', Clock(clock=Time(sec=7)), at_ns + 1000)
            if number == 10:
                write('/own/instruction', Instruction(id='then', text='echo'), at_ns + 2000)
                write('/own/detections', DetectionArray(count=5), at_ns + 3000)
    return path


def nanoseconds(stamp: Time) -> int:
    return int(stamp.sec) * SECOND + int(stamp.nanosec)


def test_everything_is_played_once_and_in_order(watcher: Watcher, bag: Path) -> None:
    order: list[tuple[str, int]] = []
    heard: dict[str, list[Any]] = {}

    def listen(topic: str, kind: type, profile: QoSProfile) -> None:
        messages = heard.setdefault(topic, [])
        watcher.node.create_subscription(
            kind, topic, lambda m: (messages.append(m), order.append((topic, len(messages)))),
            profile)

    with program('replay', str(bag), '--delay', '2', '--rate', '2', '--wait-for', '/own/image',
                 '/words', '/own/detections', '/own/instruction') as process:
        listen('/own/image', Image, QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT))
        listen('/words', String, qos.latched())
        listen('/recorded/own/detections', DetectionArray, qos.result())
        listen('/own/detections', DetectionArray, qos.result())
        listen('/own/instruction', Instruction, qos.command())
        listen('/clock', Clock, QoSProfile(depth=5000, reliability=ReliabilityPolicy.BEST_EFFORT))
        watcher.until(lambda: len(heard['/own/image']) == FRAMES)
        watcher.spin(0.3)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert f'Played {FRAMES + 3} messages of 4 topics' in output
    stamps = [nanoseconds(m.header.stamp) for m in heard['/own/image']]
    assert stamps == [START_NS + number * PERIOD_NS for number in range(FRAMES)]
    assert [m.data for m in heard['/words']] == ['said once']
    assert [m.count for m in heard['/recorded/own/detections']] == [5]
    assert heard['/own/detections'] == []
    # Its own time, not the recorded one; forwards, from the start to the end.
    times = [nanoseconds(m.clock) for m in heard['/clock']]
    assert times == sorted(times) and times[0] == START_NS
    assert times[-1] == START_NS + (FRAMES - 1) * PERIOD_NS + 1000
    # Between the images as well: at 100 Hz, twenty are 200 ms of this fast bag apart.
    assert len(times) > 2 * FRAMES


def test_it_starts_over_until_it_is_told_to_end(watcher: Watcher, bag: Path) -> None:
    heard: list[Clock] = []
    watcher.node.create_subscription(Clock, '/clock', heard.append, QoSProfile(
        depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT))

    def starts() -> int:
        times = [nanoseconds(m.clock) for m in heard]
        return sum(later < earlier for earlier, later in zip(times, times[1:], strict=False))

    with program('replay', str(bag), '--loop', '--rate', '8') as process:
        watcher.until(lambda: starts() >= 3)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert 'messages of 4 topics' in output


def test_a_node_answers_about_the_images_of_then(
        graph: Callable[..., Graph], bag: Path) -> None:
    made = graph(use_sim_time=True)
    robot = made.start()
    with program('replay', str(bag), '--loop', '--topics', '/own/image') as process:
        robot.until(lambda: made.node.get_clock().now().nanoseconds and robot.frames_received())
        result = robot.ask('echo')
        process.terminate()
        assert process.wait(30) == 0
    assert result.outcome.status == Outcome.OK
    at_ns = nanoseconds(result.header.stamp)
    assert at_ns in range(START_NS, START_NS + FRAMES * PERIOD_NS, PERIOD_NS)
    assert 0 <= result.outcome.timing.image_age_ms < 2000
    assert nanoseconds(result.outcome.instruction_stamp) < START_NS + FRAMES * PERIOD_NS


@pytest.mark.parametrize(('topic', 'options', 'name'), [
    ('/image', {}, '/image'),
    ('/clock', {}, ''),                                                     # that is our own
    ('/robot/detections', {}, '/recorded/robot/detections'),
    ('/robot/detections', {'results': 'keep'}, '/robot/detections'),
    ('/robot/detections', {'results': 'skip'}, ''),
    ('/truth/detections', {}, '/truth/detections'),                         # nobody else says it
    ('/diagnostics', {}, '/recorded/diagnostics'),
    ('/image', {'topics': ('/depth',)}, ''),
    ('/depth', {'topics': ('/depth',)}, '/depth'),
])
def test_names(topic: str, options: dict[str, Any], name: str) -> None:
    assert played_name(topic, ReplayOptions(Path(), **options)) == name


def test_the_pace_is_that_of_the_bag_times_the_rate() -> None:
    pace = Pace(START_NS, 4.0, 100.0)
    assert pace.bag_ns(100.0) == START_NS
    assert pace.bag_ns(102.0) == START_NS + 8 * SECOND
    assert pace.wait_s(START_NS + 8 * SECOND, 101.5) == pytest.approx(0.5)
    assert pace.wait_s(START_NS, 101.0) == pytest.approx(-1.0)


@pytest.mark.parametrize('arguments', [
    ['/no/such/bag'],
    ['.'],                      # no bag
    ['x', '--rate', '0'],       # never
    ['x', '--rate', 'inf'],     # at once
    ['x', '--results', 'eat'],  # no such way
    [],
])
def test_bad_usage_is_status_2(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    assert 'Traceback' not in capfd.readouterr().err


def test_a_bag_that_was_cut_off_is_one_line_that_says_what_to_do(
        tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bag = BagWriter(tmp_path / 'bag')
    bag.write(bag.add_topic(BagTopic('/words', 'std_msgs/msg/String', 'string data')), b'', 1, 1)
    bag.flush()
    assert main([str(tmp_path / 'bag')]) == 2
    error = capfd.readouterr().err
    assert 'record --recover' in error and len(error.splitlines()) == 1
    bag.close()


def test_the_command_line_says_how() -> None:
    assert parse(['b', '--rate', '2', '--loop', '--delay', '0', '--clock-rate', '50', '--topics',
                  '/a', '/b', '--results', 'skip', '--wait-for', '/a']) == ReplayOptions(
        Path('b'), 2.0, True, 0.0, 50.0, ('/a', '/b'), 'skip', ('/a',))
