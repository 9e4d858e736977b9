"""The recorder as a program on the live graph: what it leaves behind, however it ends."""
from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bag_checks import check
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from mcap.exceptions import EndOfFile
from mcap.reader import NonSeekingReader, make_reader
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from watch import Watcher, watching

from vr_ros.msg import DetectionArray
from vr_ros.nodes.bags.record import main
from vr_ros.nodes.bags.record_options import RecordOptions, parse
from vr_ros.nodes.bags.subscription import matching_qos

RECORD = 'import sys; from vr_ros.nodes.bags.record import main; sys.exit(main())'
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
    """Publish on each topic once the recorder listens to it, and wait until it has what it takes;
    return topic and message of each."""
    reports = watcher.listen(DiagnosticArray, '/diagnostics')
    sent = send(watcher, topics, count)
    watcher.until(lambda: all(
        int(values(reports).get(f'{topic} recorded', 0))
        + int(values(reports).get(f'{topic} dropped', 0)) >= count for topic in topics))
    return sent


def send(watcher: Watcher, topics: dict[str, Any], count: int) -> list[tuple[str, Any]]:
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
        sent = send(watcher, topics, 10)
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


def test_a_kill_in_the_middle_of_writing_leaves_what_can_be_recovered(
        tmp_path: Path, watcher: Watcher) -> None:
    bag, mended = tmp_path / 'bag', tmp_path / 'mended'
    topics = {'/pictures': (CompressedImage, 10), '/robot/words': (String, 10)}
    arguments = ('-o', str(bag), '--flush-period', '0.02', '--max-bag-size', '1',
                 '--no-compression', *topics)
    with recorder(*arguments) as process:
        sent = send(watcher, topics, 40)
        process.kill()
        process.wait(30)
    with recorder('--recover', str(bag), '--out', str(mended)) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    found = by_topic([decoded(topic, data) for topic, _, data in check(mended)])
    assert f'{sum(map(len, found.values()))} messages of 2 topics in {mended}' in output
    assert 'was cut off' in output
    assert len(list(bag.glob('*.mcap'))) > 1
    for topic, messages in by_topic(sent).items():
        # A beginning of what was sent: up to the last flush before the end, which was just before.
        assert found[topic] == messages[:len(found[topic])]
        assert len(found[topic]) >= 20


def test_a_bag_is_split_into_files_that_are_whole(tmp_path: Path, watcher: Watcher) -> None:
    bag = tmp_path / 'bag'
    topics = {'/pictures': (CompressedImage, 50)}
    with recorder('-o', str(bag), '--max-bag-size', '0.5', '--no-compression',
                  *topics) as process:
        sent = publish(watcher, topics, 20)
        process.terminate()
        assert process.wait(30) == 0
    assert [decoded(topic, data) for topic, _, data in check(bag)] == sent
    # Seven messages of 70 kB each.
    assert len(list(bag.glob('*.mcap'))) == 3


@contextmanager
def only_one_fills_the_disk() -> Iterator[None]:
    """Wait for the same test on another distribution, which fills the same disk."""
    with (Path(tempfile.gettempdir()) / 'vr_ros_full_disk.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_a_disk_that_gets_too_full_ends_it_with_a_whole_bag(
        tmp_path: Path, watcher: Watcher) -> None:
    bag, ballast = tmp_path / 'bag', tmp_path / 'ballast'
    size = 2_000_000_000
    topics = {'/robot/words': (String, 10)}
    with only_one_fills_the_disk():
        room = shutil.disk_usage(tmp_path).free
        if room < 2 * size:
            pytest.skip('NOT TESTED: too little room on the disk')
        floor_mb = (room - size / 2) / 1e6
        with recorder('-o', str(bag), '--min-free', f'{floor_mb:.0f}', '--flush-period', '0.1',
                      *topics) as process:
            sent = send(watcher, topics, 5)
            watcher.until(
                lambda: f'message_count: {len(sent)}' in (bag / 'metadata.yaml').read_text())
            with ballast.open('wb') as stream:
                os.posix_fallocate(stream.fileno(), 0, size)
            output, _ = process.communicate(timeout=60)
        ballast.unlink()
    assert process.returncode == 1
    assert f'ended, {bag} is complete' in output.splitlines()[-1]
    assert f'less than the {floor_mb:.0f} MB' in output.splitlines()[-1]
    assert [decoded(topic, data) for topic, _, data in check(bag)] == sent
    assert main(['-o', str(tmp_path / 'more'), '--min-free', '1e9']) == 2
    assert not (tmp_path / 'more').exists()


def test_losses_are_counted_by_topic(tmp_path: Path, watcher: Watcher) -> None:
    bag, count = tmp_path / 'bag', 300
    with recorder('-o', str(bag), '/robot/words', '/found') as process:
        reports = watcher.listen(DiagnosticArray, '/diagnostics')
        words = watcher.node.create_publisher(String, '/robot/words', count)
        publish(watcher, {'/found': TOPICS['/found']}, 3)
        watcher.until(words.get_subscription_count)
        words.publish(String(data='0'))
        watcher.until(lambda: values(reports).get('/robot/words recorded') == '1')
        # While it stands still, its queue runs over.
        process.send_signal(signal.SIGSTOP)
        for number in range(1, count):
            words.publish(String(data=str(number)))
        watcher.spin(0.5)
        process.send_signal(signal.SIGCONT)
        watcher.until(lambda: int(values(reports)['/robot/words lost']) > 0)
        watcher.spin(1.0)
        process.terminate()
        output, _ = process.communicate(timeout=30)
    told = values(reports)
    numbers = [int(message.data) for topic, message in read(bag) if topic == '/robot/words']
    lost = count - len(numbers)
    assert numbers[-1] == count - 1 and lost > 100
    assert told['/robot/words lost'] == str(lost)
    assert told['/found lost'] == '0' and told['/found recorded'] == '3'
    assert f'/robot/words: {lost} lost on the way, 0 dropped' in output
    assert '/found: ' not in output


def test_what_the_buffer_cannot_hold_is_dropped_and_said(tmp_path: Path, watcher: Watcher) -> None:
    bag = tmp_path / 'bag'
    topics = {'/pictures': (CompressedImage, 50), '/robot/words': (String, 10)}
    with recorder('-o', str(bag), '--buffer', '0.05', *topics) as process:
        publish(watcher, topics, 4)
        process.terminate()
        output, _ = process.communicate(timeout=30)
    assert '4 messages of 2 topics' in output
    assert '/pictures: 0 lost on the way, 4 dropped' in output
    assert {topic for topic, _ in read(bag)} == {'/robot/words'}


@pytest.mark.parametrize(('first', 'later'), [
    (QoSProfile(depth=10), BEST_EFFORT),        # another driver on the same topic
    (LATCHED, QoSProfile(depth=10)),
    (LATCHED, BEST_EFFORT),
])
def test_publishers_that_come_later_with_less_are_heard_too(
        tmp_path: Path, watcher: Watcher, first: QoSProfile, later: QoSProfile) -> None:
    bag = tmp_path / 'bag'
    with recorder('-o', str(bag), '/robot/words') as process:
        publishers = []
        for text, profile in (('first', first), ('later', later)):
            publishers.append(watcher.node.create_publisher(String, '/robot/words', profile))
            watcher.until(publishers[-1].get_subscription_count)
            watcher.spin(0.3)
            publishers[-1].publish(String(data=text))
            watcher.spin(0.3)
        publishers[0].publish(String(data='first again'))
        watcher.spin(0.3)
        process.terminate()
        assert process.wait(30) == 0
    assert [message.data for _, message in read(bag)] == ['first', 'later', 'first again']


def test_in_simulated_time_messages_have_its_time(tmp_path: Path, watcher: Watcher) -> None:
    bag = tmp_path / 'bag'
    clock = watcher.node.create_publisher(Clock, '/clock', BEST_EFFORT)
    words = watcher.node.create_publisher(String, '/robot/words', 10)

    def tell_time(seconds: int) -> bool:
        clock.publish(Clock(clock=Time(sec=seconds)))
        watcher.spin(0.1)
        return bool(words.get_subscription_count())

    with recorder('-o', str(bag), '/robot/words', '--ros-args', '-p',
                  'use_sim_time:=true') as process:
        watcher.until(clock.get_subscription_count)
        watcher.spin(0.5)
        # Before there is any time, nothing can be recorded.
        assert not words.get_subscription_count()
        watcher.until(lambda: tell_time(1000))
        for seconds in (1001, 1005):
            tell_time(seconds)
            words.publish(String(data=str(seconds)))
            watcher.spin(0.3)
        process.terminate()
        assert process.wait(30) == 0
    assert [(decoded(topic, data)[1].data, at / 1e9) for topic, at, data in check(bag)] == [
        ('1001', 1001.0), ('1005', 1005.0)]


def values(reports: list[DiagnosticArray]) -> dict[str, str]:
    """Give the newest values of the recorder's status about losses."""
    for report in reversed(reports):
        for status in report.status:
            if status.name.endswith('/record: losses'):
                return {item.key: item.value for item in status.values}
    return {}


def test_names_are_resolved_as_those_of_other_nodes(tmp_path: Path, watcher: Watcher) -> None:
    bag = tmp_path / 'bag'
    arguments = ('words', '--ros-args', '-r', '__ns:=/robot', '-r', 'words:=speech')
    with recorder('-o', str(bag), *arguments) as process:
        sent = publish(watcher, {'/robot/speech': (String, 10)}, 1)
        process.terminate()
        assert process.wait(30) == 0
    assert read(bag) == sent


def test_a_full_disk_ends_the_recorder_with_one_line_and_a_bag_to_recover(
        watcher: Watcher, tmp_path: Path) -> None:
    """A limit on the size of files fails writes in their middle as a full disk does, without root
    or a disk of its own: EFBIG in place of ENOSPC, both OSError."""
    bag = tmp_path / 'bag'
    code = ('import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); '
            f'resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)); {RECORD}')
    process = subprocess.Popen(
        [sys.executable, '-c', code, '-o', str(bag), '--no-compression', '--flush-period', '0.02',
         '/pictures'], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {'ROS_LOG_DIR': '/tmp'})
    try:
        sent = send(watcher, {'/pictures': (CompressedImage, 50)}, 20)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 1
    assert f'cannot write to {bag}' in output.splitlines()[-1]
    assert f'record --recover {bag}' in output.splitlines()[-1]
    mended = tmp_path / 'mended'
    assert main(['--recover', str(bag), '--out', str(mended)]) == 0
    found = [decoded(topic, data) for topic, _, data in check(mended)]
    assert 0 < len(found) < len(sent) and found == sent[:len(found)]


@pytest.mark.parametrize('arguments', [
    ['--flush-period', '0'],      # never safe
    ['--flush-period', 'soon'],   # no number
    ['--out', '.'],               # there already
    ['--nonsense'],               # unknown
    ['--profile', 'all'],         # no such profile
    ['--max-bag-size', '-1'],     # less than nothing
    ['--min-free', 'nan'],        # no number
    ['--window', '0'],            # nothing would be kept
    ['--save-on-error'],          # nothing to save
    ['--recover', 'x', 'topic'],  # one or the other
    ['--recover', 'no_such_bag'],
])
def test_bad_usage_is_status_2(arguments: list[str]) -> None:
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code
    assert status == 2


def test_a_place_that_cannot_be_made_is_status_2(
        tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'file').touch()
    assert main(['--out', str(tmp_path / 'file' / 'bag')]) == 2
    assert 'cannot make' in capfd.readouterr().err


def test_the_command_line_says_what_is_recorded() -> None:
    options = parse(['-o', '/x', 'a', '/b', '--no-compression', '--flush-period', '2.5'])
    assert options == RecordOptions(Path('/x'), {'a': 0, '/b': 0}, 2.5, False)


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
