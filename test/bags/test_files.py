"""Bags on the disk, whole or not: every message once, and any one again by its place."""
from __future__ import annotations

import pickle
import random
from pathlib import Path

import pytest
from bag_maker import Bag
from mcap.reader import make_reader
from mcap.writer import Writer as McapWriter
from rosbags.interfaces import ConnectionExtRosbag2
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vr_ros.bags.files import BagError, Decoder, McapBag, OtherBag, open_bag

IMAGES = 40


@pytest.fixture
def bag(tmp_path: Path) -> Bag:
    made = Bag(tmp_path / 'bag', max_file_bytes=3000)
    for stamp in range(1, IMAGES + 1):
        made.show(stamp)
        made.answer(f'{stamp}', stamp)
        if stamp % 5 == 0:
            made.flush()                       # the end of a chunk
    return made


def with_rosbags(path: Path) -> list[tuple[str, int, bytes]]:
    """Read a whole bag with another library."""
    with Reader(path) as reader:
        return [(c.topic, at, bytes(data)) for c, at, data in reader.messages()]


def converted(source: Path, out: Path, storage: StoragePlugin, mode: CompressionMode | None,
              ) -> Path:
    """Write the same messages with rosbags, in another form."""
    store = get_typestore(Stores.EMPTY)
    with Reader(source) as reader:
        for connection in reader.connections:
            store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
        writer = Writer(out, version=9, storage_plugin=storage)
        if mode:
            writer.set_compression(mode, CompressionFormat.ZSTD)
        with writer:
            made = {c.topic: writer.add_connection(
                c.topic, c.msgtype, typestore=store, offered_qos_profiles=(
                    c.ext.offered_qos_profiles if isinstance(c.ext, ConnectionExtRosbag2) else ()))
                for c in reader.connections}
            for connection, at, data in reader.messages():
                writer.write(made[connection.topic], at, data)
    return out


FORMS = {
    'ours, in parts': (McapBag, None, None),
    'mcap': (McapBag, StoragePlugin.MCAP, None),
    'sqlite3': (OtherBag, StoragePlugin.SQLITE3, None),
    'sqlite3, messages compressed': (OtherBag, StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
    'mcap, messages compressed': (OtherBag, StoragePlugin.MCAP, CompressionMode.MESSAGE),
    'sqlite3, files compressed': (OtherBag, StoragePlugin.SQLITE3, CompressionMode.FILE),
}


@pytest.mark.parametrize('form', FORMS)
def test_every_message_once_and_again_by_its_place(bag: Bag, tmp_path: Path, form: str) -> None:
    path, expected = bag.close(), with_rosbags(bag.path)
    kind, storage, mode = FORMS[form]
    if storage is not None:
        path = converted(path, tmp_path / 'other', storage, mode)
    opened = open_bag(path)
    assert isinstance(opened, kind)
    messages = list(opened.messages())
    assert sorted((m.place.topic, m.at_ns, m.data) for m in messages) == sorted(expected)
    assert opened.problems == opened.notes == []
    assert opened.topics == {
        '/image': 'sensor_msgs/msg/Image', '/detections': 'vr_ros/msg/DetectionArray'}
    assert len({m.place for m in messages}) == len(messages)
    # As another process does it that samples come to in any order.
    other = pickle.loads(pickle.dumps(opened))
    random.Random(0).shuffle(messages)
    assert all(other.read(m.place) == m.data for m in messages)
    decode = Decoder(opened.definitions)
    one = next(m for m in messages if m.place.topic == '/detections')
    assert decode(one.kind, one.data).detections[0].x_max == 3.0


def test_messages_of_one_topic_at_one_time_are_told_apart(tmp_path: Path) -> None:
    for storage in (StoragePlugin.SQLITE3, StoragePlugin.MCAP):
        store = get_typestore(Stores.ROS2_JAZZY)
        with Writer(tmp_path / storage.name, version=9, storage_plugin=storage) as writer:
            texts = writer.add_connection('/text', 'std_msgs/msg/String', typestore=store)
            for number in range(3):
                writer.write(texts, 7, store.serialize_cdr(
                    store.types['std_msgs/msg/String'](str(number)), 'std_msgs/msg/String'))
        opened = open_bag(tmp_path / storage.name)
        messages = list(opened.messages())
        assert len(messages) == len({m.data for m in messages}) == 3
        assert all(opened.read(m.place) == m.data for m in reversed(messages))


@pytest.mark.parametrize('share', [0.0, 0.1, 0.5, 0.9, 0.999])
def test_of_a_file_that_was_cut_off_whole_chunks_are_read(bag: Bag, share: float) -> None:
    expected = with_rosbags(bag.close())
    last = max(bag.path.glob('*.mcap'), key=lambda path: int(path.stem.rpartition('_')[2]))
    with last.open('rb') as stream:
        inside = sorted((c.topic, m.log_time, m.data)
                        for _, c, m in make_reader(stream).iter_messages())
    content = last.read_bytes()
    last.write_bytes(content[:int(len(content) * share)])
    opened = open_bag(bag.path)
    found = [(m.place.topic, m.at_ns, m.data) for m in opened.messages()]
    before = [item for item in expected if item not in inside]
    assert all(item in found for item in before)       # the other files do not suffer
    assert all(item in expected for item in found) and len(found) == len(set(found))
    assert len(opened.problems) == 1 and f'{last.name} was cut off' in opened.problems[0]
    if share < 0.1:
        assert len(found) == len(before)
    if share > 0.99:
        assert len(found) == len(expected)             # only the end mark is missing


def test_a_file_without_an_index_is_read_by_place(bag: Bag, tmp_path: Path) -> None:
    """Such as rosbag2's fastwrite leaves: neither chunks nor a summary."""
    expected = with_rosbags(bag.close())
    path = tmp_path / 'fast.mcap'
    with path.open('wb') as stream:
        writer = McapWriter(stream, use_chunking=False, use_summary_offsets=False,
                            use_statistics=False, repeat_channels=False, repeat_schemas=False)
        writer.start('ros2', 'test')
        definition = open_bag(bag.path)
        list(definition.messages())
        channels = {}
        for topic, kind in definition.topics.items():
            schema = writer.register_schema(kind, 'ros2msg', definition.definitions[kind].encode())
            channels[topic] = writer.register_channel(topic, 'cdr', schema)
        for topic, at, data in expected:
            writer.add_message(channels[topic], at, data, at)
        writer.finish()
    opened = open_bag(path)
    messages = list(opened.messages())
    assert [(m.place.topic, m.at_ns, m.data) for m in messages] == expected
    assert all(opened.read(m.place) == m.data for m in reversed(messages))
    assert opened.problems == []


def test_what_metadata_names_and_what_is_there(bag: Bag) -> None:
    path = bag.close()
    files = sorted(path.glob('*.mcap'))
    assert len(files) > 2
    whole = len(with_rosbags(path))
    stray = path / 'stray_0.mcap'
    stray.write_bytes(files[0].read_bytes())
    opened = open_bag(path)
    assert len(list(opened.messages())) == whole
    assert opened.notes == ['stray_0.mcap is not named in metadata.yaml: left out']
    stray.unlink()
    (path / 'metadata.yaml').rename(path / 'hidden')
    opened = open_bag(path)
    assert len(list(opened.messages())) == whole and not opened.problems
    assert 'metadata.yaml is missing' in opened.notes[0]
    (path / 'hidden').rename(path / 'metadata.yaml')
    files[1].unlink()
    opened = open_bag(path)
    assert 0 < len(list(opened.messages())) < whole
    assert opened.problems == [f'{files[1].name} is missing']


def test_what_rosbags_cannot_read_is_named(bag: Bag, tmp_path: Path) -> None:
    source = bag.close()
    database = converted(source, tmp_path / 'database', StoragePlugin.SQLITE3, None)
    _zero_the_middle(next(database.glob('*.db3')))
    with pytest.raises(BagError, match='malformed'):
        open_bag(database)
    packed = converted(source, tmp_path / 'packed', StoragePlugin.MCAP, CompressionMode.MESSAGE)
    _zero_the_middle(next(packed.glob('*.mcap')))
    opened = open_bag(packed)
    assert len(list(opened.messages())) < 2 * IMAGES
    assert 'packed cannot be read to its end' in opened.problems[0]


def _zero_the_middle(file: Path) -> None:
    content = file.read_bytes()
    third = len(content) // 3
    file.write_bytes(content[:third] + bytes(100) + content[third + 100:])


@pytest.mark.parametrize(('make', 'words'), [
    (lambda path: None, 'no such folder or file'),
    (lambda path: path.mkdir(), 'neither .mcap nor .db3 files'),
    (lambda path: path.write_text('a text'), 'Unrecognized storage format'),
    (lambda path: (path.mkdir(), (path / 'bag_0.db3').write_text('no database')), 'bag_0.db3'),
])
def test_what_is_no_bag_is_named(tmp_path: Path, make, words: str) -> None:
    path = tmp_path / 'it'
    make(path)
    with pytest.raises(BagError, match=words) as raised:
        open_bag(path)
    assert '\n' not in str(raised.value)
