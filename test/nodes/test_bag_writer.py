"""Bags as two independent readers see them, complete and cut off."""
from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import zstandard
from bag_checks import check
from mcap.exceptions import EndOfFile
from mcap.reader import NonSeekingReader, make_reader
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from vr_ros.nodes.bags.writer import BagTopic, BagWriter

STORE = get_typestore(Stores.ROS2_JAZZY)
QOS = {
    'history': 'keep_last', 'depth': 5, 'reliability': 'reliable', 'durability': 'volatile',
    'deadline': {'sec': 1, 'nsec': 2}, 'lifespan': {'sec': 3, 'nsec': 4},
    'liveliness': 'automatic', 'liveliness_lease_duration': {'sec': 5, 'nsec': 6},
    'avoid_ros_namespace_conventions': False}
TOPICS = {'/name': 'std_msgs/msg/String', '/here': 'geometry_msgs/msg/PointStamped',
          '/there': 'geometry_msgs/msg/PointStamped'}
START_NS = 1_700_000_000_000_000_000


def bag_topic(name: str) -> BagTopic:
    kind = TOPICS[name]
    definition, _ = STORE.generate_msgdef(kind, ros_version=2)
    return BagTopic(name, kind, definition, STORE.hash_rihs01(kind), [QOS, QOS])


def message(topic: str, number: int) -> bytes:
    types = STORE.types
    if topic == '/name':
        return bytes(STORE.serialize_cdr(types['std_msgs/msg/String'](f'ü {number}'),
                                         'std_msgs/msg/String'))
    stamp = types['builtin_interfaces/msg/Time'](number, 0)
    header = types['std_msgs/msg/Header'](stamp, 'map')
    point = types['geometry_msgs/msg/Point'](1.5, -2.5, float(number))
    return bytes(STORE.serialize_cdr(types['geometry_msgs/msg/PointStamped'](header, point),
                                     'geometry_msgs/msg/PointStamped'))


def fill(bag: BagWriter, count: int) -> list[tuple[str, int, bytes]]:
    """Write messages in random order of topics; return topic, time and bytes of each."""
    numbers = {name: bag.add_topic(bag_topic(name)) for name in TOPICS}
    rng = np.random.default_rng(5)
    written = []
    for index in range(count):
        topic = str(rng.choice(list(TOPICS)))
        item = (topic, START_NS + 1000 * index, message(topic, index))
        bag.write(numbers[topic], item[2], item[1], item[1] - 7)
        written.append(item)
    return written


def read_with_rosbags(path: Path) -> list[tuple[str, int, bytes]]:
    with Reader(path) as reader:
        return [(c.topic, at, bytes(data)) for c, at, data in reader.messages()]


def read_with_mcap(path: Path) -> list[tuple[str, int, bytes]]:
    with next(path.glob('*.mcap')).open('rb') as stream:
        return [(c.topic, m.log_time, m.data) for _, c, m in make_reader(
            stream, validate_crcs=True).iter_messages()]


@pytest.mark.parametrize('compress', [True, False])
def test_both_readers_find_every_message_byte_by_byte(tmp_path: Path, compress: bool) -> None:
    with BagWriter(tmp_path / 'bag', 'jazzy', compress=compress) as bag:
        written = fill(bag, 500)
    assert read_with_rosbags(tmp_path / 'bag') == written
    assert read_with_mcap(tmp_path / 'bag') == written


def test_metadata_tells_what_is_in_the_bag(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag', 'jazzy') as bag:
        written = fill(bag, 40)
    with Reader(tmp_path / 'bag') as reader:
        assert reader.message_count == 40
        assert reader.start_time == START_NS
        assert reader.duration == 39 * 1000 + 1        # rosbags counts the end as exclusive
        assert reader.ros_distro == 'jazzy'
        for connection in reader.connections:
            topic = connection.topic
            assert connection.msgtype == TOPICS[topic]
            assert connection.msgcount == sum(name == topic for name, _, _ in written)
            assert connection.digest == STORE.hash_rihs01(TOPICS[topic])
            profiles = connection.ext.offered_qos_profiles
            assert len(profiles) == 2
            assert profiles[0].reliability.name == 'RELIABLE'
            assert profiles[0].depth == 5
            assert profiles[1].liveliness_lease_duration == (5, 6)
    assert bag.counts == {name: sum(topic == name for topic, _, _ in written) for name in TOPICS}


def test_schemas_decode_the_messages_without_any_installation(tmp_path: Path) -> None:
    from rosbags.highlevel import AnyReader
    with BagWriter(tmp_path / 'bag') as bag:
        written = fill(bag, 20)
    with AnyReader([tmp_path / 'bag']) as reader:
        decoded = [reader.deserialize(data, c.msgtype) for c, _, data in reader.messages()]
    for index, (item, (topic, _, _)) in enumerate(zip(decoded, written, strict=True)):
        if topic == '/name':
            assert item.data == f'ü {index}'
        else:
            assert (item.header.stamp.sec, item.point.z) == (index, float(index))


def test_one_schema_serves_all_topics_of_a_type(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as bag:
        fill(bag, 10)
    with next((tmp_path / 'bag').glob('*.mcap')).open('rb') as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    assert sorted(s.name for s in summary.schemas.values()) == sorted(set(TOPICS.values()))
    assert {s.encoding for s in summary.schemas.values()} == {'ros2msg'}


def streamed(data: bytes) -> list[tuple[str, int, bytes]]:
    """Read as far as a file goes."""
    found: list[tuple[str, int, bytes]] = []
    messages = NonSeekingReader(io.BytesIO(data)).iter_messages(log_time_order=False)
    try:
        for _, channel, item in messages:
            found.append((channel.topic, item.log_time, item.data))
    except (EndOfFile, struct.error, zstandard.ZstdError):
        pass  # what the reader raises depends on where in a record the file ends
    return found


def test_what_was_flushed_survives_without_a_close(tmp_path: Path) -> None:
    bag = BagWriter(tmp_path / 'bag')
    written = fill(bag, 200)
    bag.flush()
    on_disk = next((tmp_path / 'bag').glob('*.mcap')).read_bytes()
    metadata = yaml.safe_load((tmp_path / 'bag' / 'metadata.yaml').read_text())
    bag.close()
    assert streamed(on_disk) == written
    assert metadata['rosbag2_bagfile_information']['message_count'] == 200


def test_a_file_cut_off_anywhere_still_gives_its_whole_chunks(tmp_path: Path) -> None:
    bag = BagWriter(tmp_path / 'bag')
    sizes, path = [], next((tmp_path / 'bag').glob('*.mcap'))
    written = fill(bag, 30)
    bag.flush()
    sizes.append(path.stat().st_size)
    bag.write(1, written[0][2], START_NS + 10**9, START_NS)
    bag.close()
    whole = path.read_bytes()
    for length in range(sizes[0], len(whole), 61):
        assert streamed(whole[:length])[:30] == written


def test_a_bag_without_messages_is_a_bag(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as bag:
        bag.add_topic(bag_topic('/name'))
    assert read_with_rosbags(tmp_path / 'bag') == []
    assert read_with_mcap(tmp_path / 'bag') == []


def test_closing_twice_changes_nothing(tmp_path: Path) -> None:
    bag = BagWriter(tmp_path / 'bag')
    written = fill(bag, 3)
    bag.close()
    bag.close()
    assert read_with_rosbags(tmp_path / 'bag') == written


def test_a_bag_is_never_overwritten(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as bag:
        written = fill(bag, 3)
    with pytest.raises(FileExistsError):
        BagWriter(tmp_path / 'bag')
    assert read_with_rosbags(tmp_path / 'bag') == written


def test_messages_out_of_order_widen_the_span(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as bag:
        number = bag.add_topic(bag_topic('/name'))
        for at in (5000, 2000, 9000):
            bag.write(number, message('/name', at), at, at)
    with Reader(tmp_path / 'bag') as reader:
        assert (reader.start_time, reader.end_time) == (2000, 9001)
        times: list[Any] = [at for _, at, _ in reader.messages()]
    assert times == [2000, 5000, 9000]


@pytest.mark.parametrize('compress', [True, False])
def test_a_bag_is_split_by_size_and_stays_one_bag(tmp_path: Path, compress: bool) -> None:
    rng = np.random.default_rng(3)
    limit = 300_000
    with BagWriter(tmp_path / 'bag', compress=compress, max_file_bytes=limit) as bag:
        number = bag.add_topic(bag_topic('/name'))
        written = []
        for index in range(40):
            text = rng.bytes(20_000).hex()
            data = bytes(STORE.serialize_cdr(STORE.types['std_msgs/msg/String'](text),
                                             'std_msgs/msg/String'))
            bag.write(number, data, START_NS + index, START_NS)
            written.append(('/name', START_NS + index, data))
            if index == 20:
                here = bag.add_topic(bag_topic('/here'))   # one that comes late, and stays
                item = message('/here', 1)
                bag.write(here, item, START_NS + index, START_NS)
                written.append(('/here', START_NS + index, item))
            if index % 7 == 0:
                bag.flush()
    assert check(tmp_path / 'bag') == written
    files = sorted((tmp_path / 'bag').glob('*.mcap'), key=lambda p: int(p.stem.split('_')[1]))
    assert [file.name for file in files] == [f'bag_{index}.mcap' for index in range(len(files))]
    assert len(files) >= 3
    # Index and summary come on top of what is counted.
    assert all(file.stat().st_size < limit + 10_000 for file in files)
    assert bag.counts == {'/name': 40, '/here': 1}
    assert bag.size_bytes == sum(file.stat().st_size for file in files)


def test_a_message_larger_than_a_file_may_be_gets_one_for_itself(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag', compress=False, max_file_bytes=1000) as bag:
        number = bag.add_topic(bag_topic('/name'))
        for index in range(3):
            bag.write(number, bytes(5000), START_NS + index, START_NS)
    assert len(check(tmp_path / 'bag')) == 3
    assert len(list((tmp_path / 'bag').glob('*.mcap'))) == 3


def test_the_metadata_of_a_split_bag_is_right_before_it_is_closed(tmp_path: Path) -> None:
    bag = BagWriter(tmp_path / 'bag', compress=False, max_file_bytes=1000)
    number = bag.add_topic(bag_topic('/name'))
    for index in range(3):
        bag.write(number, bytes(800), START_NS + index, START_NS)
    bag.flush()
    content = yaml.safe_load((tmp_path / 'bag' / 'metadata.yaml').read_text())
    files = content['rosbag2_bagfile_information']['files']
    bag.close()
    assert [(file['path'], file['message_count']) for file in files] == [
        ('bag_0.mcap', 1), ('bag_1.mcap', 1), ('bag_2.mcap', 1)]
    assert files[2]['starting_time']['nanoseconds_since_epoch'] == START_NS + 2
