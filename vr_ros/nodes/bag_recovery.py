"""Makes a readable bag of one that was cut off: by kill -9, a full disk, a loss of power."""
from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import yaml
import zstandard
from mcap.exceptions import McapError
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import CRCValidationError, StreamReader, breakup_chunk

from vr_ros.nodes.bag_writer import BagTopic, BagWriter

# What the reader raises depends on where in a record a file ends, and on what stands there.
_DAMAGE = (McapError, CRCValidationError, zstandard.ZstdError, struct.error, ValueError,
           MemoryError, KeyError, IndexError, OverflowError)
# No chunk is as long as that: a length beyond it is no length.
_LONGEST_RECORD = 1 << 30


class RecoveryError(Exception):
    """Nothing can be read; one line that says why."""


@dataclass
class Recovered:
    """What could be read.

    :param ended_at: by file name, bytes up to which a file can be read that was cut off, and its
        size.
    :param damaged_chunks: that were left out in between.
    """

    path: Path
    counts: Counter[str] = field(default_factory=Counter)
    ended_at: dict[str, tuple[int, int]] = field(default_factory=dict)
    damaged_chunks: int = 0

    def __str__(self) -> str:
        words = [f'{self.counts.total()} messages of {len(self.counts)} topics in {self.path}']
        for name, (end, size) in self.ended_at.items():
            words.append(f'{name} was cut off: of its {size} bytes the last {size - end} are lost')
        if self.damaged_chunks:
            words.append(f'{self.damaged_chunks} damaged chunks are left out')
        if not self.ended_at and not self.damaged_chunks:
            words.append('nothing was missing')
        return '; '.join(words)


def recover(bag: Path, out: Path) -> Recovered:
    """Copy all messages that can be read into a new bag; the old one stays as it is.

    A copy, as the space that a mended file needs is not there on the disk that was full: it may go
    to another one. Each chunk is taken whole, by its checksum, or left out.

    :param bag: folder of a bag of MCAP files; its metadata.yaml is not needed.
    :param out: folder to make.
    :raises RecoveryError: there is nothing to read.
    :raises OSError: the new bag cannot be written.
    """
    files = sorted(bag.glob('*.mcap'), key=_number)
    if not files:
        raise RecoveryError('there is no .mcap file in it' if bag.is_dir() else 'it is no folder')
    if out.exists():
        raise RecoveryError(f'{out} exists: name another folder with --out')
    done = Recovered(out)
    with BagWriter(out, _ros_distro(bag)) as writer:
        numbers: dict[tuple[str, str], int] = {}
        for path in files:
            with path.open('rb') as stream:
                for topic, message in _messages(stream, path, done):
                    key = topic.name, topic.type_name
                    if key not in numbers:
                        numbers[key] = writer.add_topic(topic)
                    writer.write(numbers[key], message.data, message.log_time,
                                 message.publish_time)
                    done.counts[topic.name] += 1
    return done


def _messages(stream: BinaryIO, path: Path, done: Recovered) -> Iterator[tuple[BagTopic, Message]]:
    """Read one file as far as it goes."""
    schemas: dict[int, Schema] = {}
    topics: dict[int, BagTopic] = {}
    for record in _records(stream, path, done):
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel):
            if record.id not in topics and record.schema_id in schemas:
                topics[record.id] = _topic(record, schemas[record.schema_id])
        elif isinstance(record, Message) and record.channel_id in topics:
            yield topics[record.channel_id], record


def _records(stream: BinaryIO, path: Path, done: Recovered) -> Iterator[McapRecord]:
    reader = StreamReader(stream, emit_chunks=True, record_size_limit=_LONGEST_RECORD).records
    end = 0
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except _DAMAGE:
            done.ended_at[path.name] = end, path.stat().st_size
            return
        end = stream.tell()
        if not isinstance(record, Chunk):
            yield record
            continue
        try:
            parts = breakup_chunk(record, validate_crc=True)
        except _DAMAGE:
            done.damaged_chunks += 1
            continue
        yield from parts


def _topic(channel: Channel, schema: Schema) -> BagTopic:
    try:
        profiles = yaml.safe_load(channel.metadata.get('offered_qos_profiles', '')) or []
    except yaml.YAMLError:
        profiles = []
    return BagTopic(channel.topic, schema.name, schema.data.decode(errors='replace'),
                    channel.metadata.get('topic_type_hash', ''),
                    profiles if isinstance(profiles, list) else [])


def _ros_distro(bag: Path) -> str:
    try:
        content = yaml.safe_load((bag / 'metadata.yaml').read_text(encoding='utf-8'))
        return str(content['rosbag2_bagfile_information']['ros_distro'])
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        return ''


def _number(path: Path) -> tuple[int, str]:
    """Put the tenth file behind the second."""
    found = re.search(r'_(\d+)$', path.stem)
    return (int(found[1]) if found else 0), path.name
