"""Writes rosbag2 bags: MCAP files that hold their message definitions, and metadata.yaml."""
from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mcap.writer import CompressionType, Writer

# The bag format of ROS 2 Jazzy and later.
METADATA_VERSION = 9
CHUNK_BYTES = 1 << 20
# Opcode, length, channel, sequence, two times.
_MESSAGE_OVERHEAD_BYTES = 31
# libyaml takes a tenth of the time, where PyYAML was built with it.
_Dumper: type = getattr(yaml, 'CSafeDumper', yaml.SafeDumper)


@dataclass(frozen=True)
class BagTopic:
    """A topic as it is recorded.

    :param definition: of its type with all types in it, schema encoding ros2msg.
    :param type_hash: as in 'RIHS01_…' (REP 2011), or ''.
    :param offered_qos: profiles of its publishers, in the words of metadata.yaml.
    """

    name: str
    type_name: str
    definition: str
    type_hash: str = ''
    offered_qos: Sequence[Mapping[str, Any]] = ()


class BagWriter:
    """Writes serialised messages to a new bag.

    What was flushed survives the end of the process, however it comes: the file then lacks its
    index, but a streaming reader, bag_recovery.py, `mcap recover` and `ros2 bag reindex` get the
    messages.

    :param path: folder of the bag; must not exist.
    :param ros_distro: goes into the metadata.
    :param compress: with zstd, chunk by chunk.
    :param max_file_bytes: a file that would grow beyond it is completed, and the next one begun; 0:
        one file. A single message may be larger.
    :param name: its files begin with; '': the name of the folder.
    :raises FileExistsError: the folder exists.
    :raises OSError: it cannot be made.
    """

    def __init__(self, path: Path | str, ros_distro: str = '', *, compress: bool = True,
                 max_file_bytes: int = 0, name: str = '') -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True)
        self._name = name or self.path.resolve().name
        self._compression = CompressionType.ZSTD if compress else CompressionType.NONE
        self._max_file_bytes, self._ros_distro = max_file_bytes, ros_distro
        self._topics: list[BagTopic] = []
        self._complete: list[_Part] = []
        self._part = self._next_part()
        self._closed = False
        self.flush()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, *unused: object) -> None:
        try:
            self.close()
        except OSError:
            self.abandon()
            raise

    @property
    def counts(self) -> dict[str, int]:
        """Messages written so far, by topic."""
        return self._counts((*self._complete, self._part))

    @property
    def size_bytes(self) -> int:
        """About what the bag takes on the disk so far; more than that while it is compressed."""
        return sum(part.size_bytes for part in (*self._complete, self._part))

    def add_topic(self, topic: BagTopic) -> int:
        """Announce a topic.

        :return: its number, for write: 1 for the first, then 2, …
        """
        self._topics.append(topic)
        return self._part.add_topic(topic)

    def write(self, number: int, data: bytes, received_ns: int, published_ns: int) -> None:
        """Write one message in CDR.

        :param received_ns, published_ns: nanoseconds since 1970.
        :raises OSError: the disk is full or gone.
        """
        if (self._max_file_bytes and self._part.count
                and self._part.size_bytes + len(data) > self._max_file_bytes):
            self._complete_part()
            self._part = self._next_part()
        self._part.write(number, data, received_ns, published_ns)

    def flush(self) -> None:
        """Hand all that was written to the system, with metadata that fits.

        :raises OSError: the disk is full or gone.
        """
        self._part.flush()
        self._write_metadata()

    def close(self) -> None:
        """Write what is left and the index. Safe to call twice.

        :raises OSError: the disk is full or gone.
        """
        if self._closed:
            return
        self._closed = True
        self._part.finish(self._metadata((self._part,)))
        self._write_metadata()

    def abandon(self) -> None:
        """Close the file as it is, after an error of the disk."""
        self._closed = True
        self._part.abandon()
        with contextlib.suppress(OSError):
            self._draft.unlink(missing_ok=True)

    def _next_part(self) -> _Part:
        part = _Part(self.path / f'{self._name}_{len(self._complete)}.mcap', self._compression)
        for topic in self._topics:
            part.add_topic(topic)
        return part

    def _complete_part(self) -> None:
        self._part.finish(self._metadata((self._part,)))
        self._complete.append(self._part)

    def _counts(self, parts: Sequence[_Part]) -> dict[str, int]:
        return {topic.name: sum(part.counts[number] for part in parts)
                for number, topic in enumerate(self._topics, 1)}

    @property
    def _draft(self) -> Path:
        return self.path / '.metadata.yaml'

    def _write_metadata(self) -> None:
        text = _yaml({'rosbag2_bagfile_information': self._metadata((*self._complete, self._part))})
        self._draft.write_text(text, encoding='utf-8')
        os.replace(self._draft, self.path / 'metadata.yaml')

    def _metadata(self, parts: Sequence[_Part]) -> dict[str, Any]:
        counts = self._counts(parts)
        return {
            'version': METADATA_VERSION, 'storage_identifier': 'mcap', **_extent(parts),
            'topics_with_message_count': [{
                'topic_metadata': {
                    'name': topic.name, 'type': topic.type_name, 'serialization_format': 'cdr',
                    'offered_qos_profiles': _plain_qos(topic),
                    'type_description_hash': topic.type_hash},
                'message_count': counts[topic.name]} for topic in self._topics],
            'compression_format': '', 'compression_mode': '',
            'relative_file_paths': [part.path.name for part in parts],
            'files': [{'path': part.path.name, **_extent([part])} for part in parts],
            'custom_data': None, 'ros_distro': self._ros_distro,
        }


class _Part:
    """One file of a bag."""

    def __init__(self, path: Path, compression: CompressionType) -> None:
        self.path = path
        self._stream = path.open('xb')
        self._mcap = Writer(self._stream, CHUNK_BYTES, compression)
        self._mcap.start('ros2', 'vr_ros')
        self._schemas: dict[str, int] = {}
        self.counts: Counter[int] = Counter()
        self.count, self.first_ns, self.last_ns = 0, 0, 0
        self._written, self._waiting = self._stream.tell(), 0

    @property
    def size_bytes(self) -> int:
        return self._written + self._waiting

    def add_topic(self, topic: BagTopic) -> int:
        if topic.type_name not in self._schemas:
            self._schemas[topic.type_name] = self._mcap.register_schema(
                topic.type_name, 'ros2msg', topic.definition.encode())
        number = self._mcap.register_channel(
            topic.name, 'cdr', self._schemas[topic.type_name], {
                'offered_qos_profiles': _yaml(_plain_qos(topic)),
                'topic_type_hash': topic.type_hash})
        return number

    def write(self, number: int, data: bytes, received_ns: int, published_ns: int) -> None:
        self._mcap.add_message(number, received_ns, data, published_ns, self.counts[number])
        self.first_ns = min(self.first_ns, received_ns) if self.count else received_ns
        self.last_ns = max(self.last_ns, received_ns)
        self.counts[number] += 1
        self.count += 1
        self._waiting += len(data) + _MESSAGE_OVERHEAD_BYTES
        self._measure()

    def flush(self) -> None:
        self._mcap.flush()
        self._measure()

    def finish(self, metadata: Mapping[str, Any]) -> None:
        self._mcap.add_metadata('rosbag2', {'serialized_metadata': _yaml(metadata)})
        self._mcap.finish()
        self._stream.close()
        self._written, self._waiting = self.path.stat().st_size, 0

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()

    def _measure(self) -> None:
        # The writer collects a chunk, and hands it to the stream when it is full.
        if (written := self._stream.tell()) > self._written:
            self._written, self._waiting = written, 0


def _extent(parts: Sequence[_Part]) -> dict[str, Any]:
    filled = [part for part in parts if part.count]
    first_ns = min((part.first_ns for part in filled), default=0)
    last_ns = max((part.last_ns for part in filled), default=0)
    return {'starting_time': {'nanoseconds_since_epoch': first_ns},
            'duration': {'nanoseconds': last_ns - first_ns},
            'message_count': sum(part.count for part in filled)}


class _PlainDumper(_Dumper):  # type: ignore[misc]
    """Other readers need not know anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _plain_qos(topic: BagTopic) -> list[dict[str, Any]]:
    return [dict(profile) for profile in topic.offered_qos]


def _yaml(content: Any) -> str:
    return yaml.dump(content, Dumper=_PlainDumper, sort_keys=False)
