"""The recorder as a program on the live graph: what it leaves behind, however it ends."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcap.exceptions import EndOfFile
from mcap.reader import NonSeekingReader, make_reader
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from watch import Watcher, watching

from vr_ros.msg import DetectionArray
from vr_ros.nodes.record import RecordOptions, main, matching_qos, parse

RECORD = 'import sys; from vr_ros.nodes.record import main; sys.exit(main())'
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=9, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    with watching() as somebody:
        yield somebody


@contextmanager
def recorder(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, '-c', RECORD, *arguments], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def detections(number: int) -> DetectionArray:
    message = DetectionArray(count=number)
    message.header.frame_id = f'frame {number}'
    message.outcome.instruction_text = 'find the ☕'
    return message


def publish(watcher: Watcher, topics: dict[str, Any], count: int) -> list[tuple[str, Any]]:
    """Publish on each topic once the recorder listens to it; return topic and message of each."""
    publishers = {topic: watcher.node.create_publisher(kind, topic, profile)
                  for topic, (kind, profile) in topics.items()}
    watcher.until(lambda: all(p.get_subscription_count() for p in publishers.values()))
    sent = []
    for number in range(count):
        for topic, publisher in publishers.items():
            kind = topics[topic][0]
            message = (detections(number) if kind is DetectionArray
                       else String(data=f'number {number}') if kind is String
                       else CompressedImage(format='jpeg', data=bytes([number] * 70_000)))
            publisher.publish(message)
            watcher.spin(0.01)
            sent.append((topic, message))
    return sent


def read(bag: Path) -> list[tuple[str, Any]]:
    """Read topic and message of everything in a bag, through rosbags."""
    with Reader(bag) as reader:
        return [decoded(c.topic, bytes(data)) for c, _, data in reader.messages()]


def decoded(topic: str, data: bytes) -> tuple[str, Any]:
    return topic, deserialize_message(data, TOPICS.get(topic, (String,))[0])


def by_topic(items: list[tuple[str, Any]]) -> dict[str, list[Any]]:
    return {topic: [message for name, message in items if name == topic] for topic, _ in items}


TOPICS = {'/found': (DetectionArray, 10), '/robot/words': (String, LATCHED),
          '/pictures': (CompressedImage, BEST_EFFORT)}


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_complete_bag(tmp_path: Path, watcher: Watcher, number: int) -> None:
    bag = tmp_path / 'bag'
    with recorder('--out', str(bag), *TOPICS) as process:
        sent = publish(watcher, TOPICS, 20)
        watcher.spin(0.5)
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert f'{len(sent)} messages of 3 topics' in output
    assert by_topic(read(bag)) == by_topic(sent)
    with Reader(bag) as reader:
        hashes = {c.msgtype: c.digest for c in reader.connections}
        words = next(c for c in reader.connections if c.topic == '/robot/words')
    assert words.ext.offered_qos_profiles[0].durability.name == 'TRANSIENT_LOCAL'
    with next(bag.glob('*.mcap')).open('rb') as stream:
        found = list(make_reader(stream, validate_crcs=True).iter_messages())
    assert by_topic([decoded(c.topic, m.data) for _, c, m in found]) == by_topic(sent)
    assert all(0 < m.publish_time <= m.log_time for _, _, m in found)
    check_definitions({s.name: s.data.decode() for s, _, _ in found if s}, hashes)


def check_definitions(definitions: dict[str, str], hashes: dict[str, str]) -> None:
    """Compare the hash of each embedded definition with the one that the middleware told."""
    store = get_typestore(Stores.EMPTY)
    for name, text in definitions.items():
        store.register(get_types_from_msg(text, name))
    for name, digest in hashes.items():
        assert digest.startswith('RIHS01_')
        assert store.hash_rihs01(name) == digest
    assert set(hashes) == set(definitions)


def test_own_messages_are_read_without_an_installation(tmp_path: Path, watcher: Watcher) -> None:
    bag = tmp_path / 'bag'
    with recorder('-o', str(bag), 'found') as process:
        publish(watcher, {'/found': TOPICS['/found']}, 3)
        watcher.spin(0.5)
        process.terminate()
        assert process.wait(30) == 0
    with AnyReader([bag]) as reader:
        decoded = [reader.deserialize(data, c.msgtype) for c, _, data in reader.messages()]
    assert [(m.count, m.header.frame_id) for m in decoded] == [
        (number, f'frame {number}') for number in range(3)]
    assert decoded[0].outcome.instruction_text == 'find the ☕'


def test_a_kill_leaves_what_was_flushed(tmp_path: Path, watcher: Watcher) -> None:
    bag = tmp_path / 'bag'
    topics = {'/robot/words': (String, 10)}
    with recorder('-o', str(bag), '--flush-period', '0.1', *topics) as process:
        sent = publish(watcher, topics, 10)
        watcher.until(lambda: f'message_count: {len(sent)}' in (bag / 'metadata.yaml').read_text())
        process.kill()
        process.wait(30)
    found = []
    with next(bag.glob('*.mcap')).open('rb') as stream:
        try:
            for _, channel, item in NonSeekingReader(stream).iter_messages(log_time_order=False):
                found.append(decoded(channel.topic, item.data))
        except EndOfFile:
            pass
    assert found == sent


def test_names_are_resolved_as_those_of_other_nodes(tmp_path: Path, watcher: Watcher) -> None:
    bag = tmp_path / 'bag'
    arguments = ('words', '--ros-args', '-r', '__ns:=/robot', '-r', 'words:=speech')
    with recorder('-o', str(bag), *arguments) as process:
        sent = publish(watcher, {'/robot/speech': (String, 10)}, 1)
        watcher.spin(0.5)
        process.terminate()
        assert process.wait(30) == 0
    assert read(bag) == sent


def test_a_full_disk_ends_the_recorder_with_one_line(watcher: Watcher, tmp_path: Path) -> None:
    bag = tmp_path / 'bag'
    code = ('import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); '
            f'resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); {RECORD}')
    process = subprocess.Popen(
        [sys.executable, '-c', code, '-o', str(bag), '--no-compression', 'pictures'], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {'ROS_LOG_DIR': '/tmp'})
    try:
        publish(watcher, {'/pictures': TOPICS['/pictures']}, 3)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 1
    assert f'cannot write to {bag}' in output.splitlines()[-1]


@pytest.mark.parametrize('arguments', [
    ['--flush-period', '0'],      # never safe
    ['--flush-period', 'soon'],   # no number
    ['--out', '.'],               # there already
    ['--nonsense'],               # unknown
])
def test_bad_usage_is_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_a_place_that_cannot_be_made_is_status_2(
        tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'file').touch()
    assert main(['--out', str(tmp_path / 'file' / 'bag')]) == 2
    assert 'cannot make' in capfd.readouterr().err


def test_the_command_line_says_what_is_recorded() -> None:
    options = parse(['-o', '/x', 'a', '/b', '--no-compression', '--flush-period', '2.5'])
    assert options == RecordOptions(Path('/x'), ('a', '/b'), 2.5, False)


@pytest.mark.parametrize(('offered', 'reliable', 'latched'), [
    ([QoSProfile(depth=1)], True, False),              # the default
    ([LATCHED], True, True),                           # one that keeps its last message
    ([LATCHED, QoSProfile(depth=1)], True, False),     # only one of two does
    ([QoSProfile(depth=1), BEST_EFFORT], False, False),  # only one of two is reliable
])
def test_every_publisher_is_matched(
        offered: list[QoSProfile], reliable: bool, latched: bool) -> None:
    profile = matching_qos(offered)
    assert (profile.reliability is ReliabilityPolicy.RELIABLE) == reliable
    assert (profile.durability is DurabilityPolicy.TRANSIENT_LOCAL) == latched
