"""Bags as files, without ROS: every message once, and any one again by its place.

MCAP is read in place, also where it was cut off, has no index, or lacks its metadata.yaml. What
else rosbag2 writes (sqlite3, messages or files that are compressed one by one) is read by rosbags.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import yaml
from mcap.records import Channel, McapRecord, Message, Schema
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vr_ros.bags.mcap_files import Damage, mcap_files, read_part, read_parts
from vr_ros.datasets.sample import DataSetError

METADATA = 'metadata.yaml'


class BagError(DataSetError):
    """A bag, or a topic of it, that cannot be read at all, in one line that says what to do."""


class Place(NamedTuple):
    """Where a message lies; what the numbers mean is up to the bag."""

    topic: str
    file: int
    begin: int
    number: int


class BagMessage(NamedTuple):
    """A message as it was recorded.

    :param at_ns: when it was received, nanoseconds since 1970.
    :param data: in CDR.
    """

    kind: str
    at_ns: int
    data: bytes
    place: Place


class Bag(Protocol):
    """Messages in files; can be pickled, so that other processes read the same ones.

    ``topics``: message type by topic; ``definitions``: text by message type; ``problems``: what is
    missing or cannot be read; ``notes``: what is odd, and does no harm. They are whole after
    messages() came to its end.
    """

    path: Path
    topics: dict[str, str]
    definitions: dict[str, str]
    problems: list[str]
    notes: list[str]

    def messages(self) -> Iterator[BagMessage]:
        """Read all, in the order of the files."""

    def read(self, place: Place) -> bytes:
        """Read one again."""


class McapBag:
    """MCAP files, of which each is read as far as it goes.

    :param files: in their order.
    """

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        self.path, self._files = path, tuple(files)
        self.topics: dict[str, str] = {}
        self.definitions: dict[str, str] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []
        # Samples follow one another: the chunk that was read last serves the next ones, too.
        self._last: tuple[int, int, Sequence[McapRecord]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return McapBag, (self.path, self._files)

    def messages(self) -> Iterator[BagMessage]:
        """Read all, in the order of the files."""
        damage = Damage()
        for number, path in enumerate(self._files):
            yield from self._read_file(number, path, damage)
        self.problems += damage.words

    def read(self, place: Place) -> bytes:
        """Read one again."""
        if self._last is None or self._last[:2] != (place.file, place.begin):
            with self._files[place.file].open('rb') as stream:
                self._last = place.file, place.begin, read_part(stream, place.begin)
        message = self._last[2][place.number]
        assert isinstance(message, Message)
        return message.data

    def _read_file(self, file: int, path: Path, damage: Damage) -> Iterator[BagMessage]:
        schemas: dict[int, str] = {}
        channels: dict[int, tuple[str, str]] = {}
        for begin, part in read_parts(path, damage):
            for number, record in enumerate(part):
                if isinstance(record, Message):
                    if record.channel_id in channels:
                        topic, kind = channels[record.channel_id]
                        yield BagMessage(kind, record.log_time, record.data,
                                         Place(topic, file, begin, number))
                elif isinstance(record, Schema):
                    schemas[record.id] = record.name
                    if record.encoding == 'ros2msg':
                        self.definitions[record.name] = record.data.decode(errors='replace')
                elif isinstance(record, Channel) and record.schema_id in schemas:
                    channels[record.id] = record.topic, schemas[record.schema_id]
                    self.topics[record.topic] = schemas[record.schema_id]


class OtherBag:
    """Whatever rosbags reads: one of its readers per path.

    :param paths: folders with metadata.yaml, or files.
    :raises BagError: one of them cannot be read.
    """

    def __init__(self, path: Path, paths: Sequence[Path]) -> None:
        self.path, self._paths = path, tuple(paths)
        self.problems: list[str] = []
        self.notes: list[str] = []
        self._readers = [_opened(path) for path in paths]
        connections = [c for reader in self._readers for c in reader.connections]
        self.topics = {c.topic: c.msgtype for c in connections}
        self.definitions = {c.msgtype: c.msgdef.data for c in connections
                            if c.msgdef.format.name == 'MSG'}

    def __reduce__(self) -> tuple[Any, ...]:
        return OtherBag, (self.path, self._paths)

    def messages(self) -> Iterator[BagMessage]:
        """Read all, in the order of their times."""
        for file, reader in enumerate(self._readers):
            # Messages of a topic at the very same time are told apart by their order.
            last, number = dict[str, int](), dict[str, Iterator[int]]()
            try:
                for connection, at_ns, data in reader.messages():
                    topic = connection.topic
                    if last.get(topic) != at_ns:
                        last[topic], number[topic] = at_ns, count()
                    yield BagMessage(connection.msgtype, at_ns, bytes(data),
                                     Place(topic, file, at_ns, next(number[topic])))
            except Exception as error:  # of sqlite, zstd, lz4 and rosbags itself
                self.problems.append(f'{self._paths[file].name} cannot be read to its end:'
                                     f' {_line(error)}')

    def read(self, place: Place) -> bytes:
        """Read one again."""
        reader = self._readers[place.file]
        connections = [c for c in reader.connections if c.topic == place.topic]
        found = reader.messages(connections, place.begin, place.begin + 1)
        return next(bytes(data) for number, (_, _, data) in enumerate(found)
                    if number == place.number)


class Decoder:
    """Makes messages of bytes, by the definitions that the bag brings along."""

    def __init__(self, definitions: Mapping[str, str]) -> None:
        self._definitions = definitions
        self._stores: dict[str, Any] = {}

    def __call__(self, kind: str, data: bytes) -> Any:
        """:raises Exception: of whatever kind rosbags raises for definitions or data that do not
        fit; LookupError where there is no definition."""
        if kind not in self._stores:
            if kind not in self._definitions:
                raise LookupError(f'the bag has no definition of {kind}')
            # One each: definitions of two types may differ in a third that both use.
            store = get_typestore(Stores.EMPTY)
            store.register(get_types_from_msg(self._definitions[kind], kind))
            self._stores[kind] = store
        return self._stores[kind].deserialize_cdr(data, kind)


def open_bag(path: Path) -> Bag:
    """Open a bag: its folder, or one of its files.

    :raises BagError: there is none.
    """
    if not path.exists():
        raise BagError(f'{path}: no such folder or file')
    if path.is_file():
        return McapBag(path, [path]) if path.suffix == '.mcap' else OtherBag(path, [path])
    found, others = mcap_files(path), sorted(path.glob('*.db3*'))
    metadata = _metadata(path)
    if not found and not others and not metadata:
        raise BagError(f'{path}: no bag: neither .mcap nor .db3 files in it')
    if metadata is None:
        bag: Bag = McapBag(path, found) if found else OtherBag(path, others)
        bag.notes.append(f'{METADATA} is missing or cannot be read: all files are taken')
        return bag
    named = [path / Path(str(name)).name for name in metadata['relative_file_paths']]
    if metadata.get('storage_identifier') != 'mcap' or metadata.get('compression_mode'):
        return OtherBag(path, [path])
    bag = McapBag(path, [file for file in named if file.exists()])
    bag.problems += [f'{file.name} is missing' for file in named if not file.exists()]
    bag.notes += [f'{file.name} is not named in {METADATA}: left out'
                  for file in found if file not in named]
    return bag


def _metadata(bag: Path) -> dict[str, Any] | None:
    """Read what belongs to the bag; None where nobody says so."""
    try:
        content = yaml.safe_load((bag / METADATA).read_text(encoding='utf-8'))
        information = content['rosbag2_bagfile_information']
        return information if isinstance(information['relative_file_paths'], list) else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return None


def _opened(path: Path) -> Reader:
    try:
        reader = Reader(path)
        reader.open()
    except Exception as error:  # of sqlite, zstd, lz4 and rosbags itself
        raise BagError(f'{path}: {_line(error)}') from error
    return reader


def _line(error: Exception) -> str:
    words = ' '.join(str(error).split())
    return words if isinstance(error, ReaderError) else f'{type(error).__name__}: {words}'
