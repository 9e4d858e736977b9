"""Writes rosbag2 bags: one MCAP file that holds its message definitions, and metadata.yaml."""
from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mcap.writer import CompressionType, Writer

# The bag format of ROS 2 Jazzy and later.
METADATA_VERSION = 9
CHUNK_BYTES = 1 << 20


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
    index, but a streaming reader, `mcap recover` and `ros2 bag reindex` get the messages.

    :param path: folder of the bag; must not exist.
    :param ros_distro: goes into the metadata.
    :param compress: with zstd, chunk by chunk.
    :raises FileExistsError: the folder exists.
    :raises OSError: it cannot be made.
    """

    def __init__(self, path: Path | str, ros_distro: str = '', *, compress: bool = True) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True)
        self._file_name = f'{self.path.resolve().name}_0.mcap'
        self._stream = (self.path / self._file_name).open('wb')
        self._mcap = Writer(
            self._stream, CHUNK_BYTES,
            CompressionType.ZSTD if compress else CompressionType.NONE)
        self._mcap.start('ros2', 'vr_ros')
        self._ros_distro = ros_distro
        self._topics: dict[int, BagTopic] = {}
        self._counts: dict[int, int] = {}
        self._schemas: dict[str, int] = {}
        self._first_ns, self._last_ns = 0, 0
        self._closed = False
        self.flush()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    @property
    def counts(self) -> dict[str, int]:
        """Messages written so far, by topic."""
        return {topic.name: self._counts[number] for number, topic in self._topics.items()}

    def add_topic(self, topic: BagTopic) -> int:
        """Announce a topic.

        :return: its number, for write.
        """
        if topic.type_name not in self._schemas:
            self._schemas[topic.type_name] = self._mcap.register_schema(
                topic.type_name, 'ros2msg', topic.definition.encode())
        number = self._mcap.register_channel(
            topic.name, 'cdr', self._schemas[topic.type_name], {
                'offered_qos_profiles': _yaml(_plain_qos(topic)),
                'topic_type_hash': topic.type_hash})
        self._topics[number], self._counts[number] = topic, 0
        return number

    def write(self, number: int, data: bytes, received_ns: int, published_ns: int) -> None:
        """Write one message in CDR.

        :param received_ns, published_ns: nanoseconds since 1970.
        :raises OSError: the disk is full or gone.
        """
        self._mcap.add_message(number, received_ns, data, published_ns, self._counts[number])
        is_first = not any(self._counts.values())
        self._counts[number] += 1
        self._first_ns = received_ns if is_first else min(self._first_ns, received_ns)
        self._last_ns = max(self._last_ns, received_ns)

    def flush(self) -> None:
        """Hand all that was written to the system, with metadata that fits.

        :raises OSError: the disk is full or gone.
        """
        self._mcap.flush()
        self._write_metadata()

    def close(self) -> None:
        """Write what is left and the index. Safe to call twice.

        :raises OSError: the disk is full or gone.
        """
        if self._closed:
            return
        self._closed = True
        self._mcap.add_metadata('rosbag2', {'serialized_metadata': _yaml(self._metadata())})
        self._mcap.finish()
        self._stream.close()
        self._write_metadata()

    def abandon(self) -> None:
        """Close the file as it is, after an error of the disk."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._stream.close()

    def _write_metadata(self) -> None:
        path, draft = self.path / 'metadata.yaml', self.path / '.metadata.yaml'
        draft.write_text(_yaml({'rosbag2_bagfile_information': self._metadata()}), encoding='utf-8')
        os.replace(draft, path)

    def _metadata(self) -> dict[str, Any]:
        start = {'nanoseconds_since_epoch': self._first_ns}
        duration = {'nanoseconds': self._last_ns - self._first_ns}
        count = sum(self._counts.values())
        topics = [{
            'topic_metadata': {
                'name': topic.name, 'type': topic.type_name, 'serialization_format': 'cdr',
                'offered_qos_profiles': _plain_qos(topic),
                'type_description_hash': topic.type_hash},
            'message_count': self._counts[number],
        } for number, topic in self._topics.items()]
        return {
            'version': METADATA_VERSION, 'storage_identifier': 'mcap', 'duration': duration,
            'starting_time': start, 'message_count': count, 'topics_with_message_count': topics,
            'compression_format': '', 'compression_mode': '',
            'relative_file_paths': [self._file_name],
            'files': [{'path': self._file_name, 'starting_time': start, 'duration': duration,
                       'message_count': count}],
            'custom_data': None, 'ros_distro': self._ros_distro,
        }


class _PlainDumper(yaml.SafeDumper):
    """Other readers need not know anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _plain_qos(topic: BagTopic) -> list[dict[str, Any]]:
    return [dict(profile) for profile in topic.offered_qos]


def _yaml(content: Any) -> str:
    return yaml.dump(content, Dumper=_PlainDumper, sort_keys=False)
