"""Makes a readable bag of one that was cut off: by kill -9, a full disk, a loss of power."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from mcap.records import Channel, Message, Schema

from vr_ros.bags.mcap_files import Damage, mcap_files, read_parts
from vr_ros.nodes.bags.writer import BagTopic, BagWriter


class RecoveryError(Exception):
    """Nothing can be read; one line that says why."""


@dataclass
class Recovered:
    """What could be read, and what could not."""

    path: Path
    counts: Counter[str] = field(default_factory=Counter)
    damage: Damage = field(default_factory=Damage)

    def __str__(self) -> str:
        found = f'{self.counts.total()} messages of {len(self.counts)} topics in {self.path}'
        return '; '.join([found, *(self.damage.words or ['nothing was missing'])])


def recover(bag: Path, out: Path) -> Recovered:
    """Copy all messages that can be read into a new bag; the old one stays as it is.

    A copy, as the space that a mended file needs is not there on the disk that was full: it may go
    to another one. Each chunk is taken whole, by its checksum, or left out.

    :param bag: folder of a bag of MCAP files; its metadata.yaml is not needed.
    :param out: folder to make.
    :raises RecoveryError: there is nothing to read.
    :raises OSError: the new bag cannot be written.
    """
    files = mcap_files(bag)
    if not files:
        raise RecoveryError('there is no .mcap file in it' if bag.is_dir() else 'it is no folder')
    if out.exists():
        raise RecoveryError(f'{out} exists: name another folder with --out')
    done = Recovered(out)
    with BagWriter(out, _ros_distro(bag)) as writer:
        numbers: dict[tuple[str, str], int] = {}
        for path in files:
            for topic, message in _messages(path, done.damage):
                key = topic.name, topic.type_name
                if key not in numbers:
                    numbers[key] = writer.add_topic(topic)
                writer.write(numbers[key], message.data, message.log_time, message.publish_time)
                done.counts[topic.name] += 1
    return done


def _messages(path: Path, damage: Damage) -> Iterator[tuple[BagTopic, Message]]:
    """Read one file as far as it goes."""
    schemas: dict[int, Schema] = {}
    topics: dict[int, BagTopic] = {}
    for record in (record for _, part in read_parts(path, damage) for record in part):
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel):
            if record.id not in topics and record.schema_id in schemas:
                topics[record.id] = _topic(record, schemas[record.schema_id])
        elif isinstance(record, Message) and record.channel_id in topics:
            yield topics[record.channel_id], record


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
