"""Proves that a bag is whole: two independent readers must find the same in it."""
from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mcap.exceptions import McapError
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag2 import ReaderError


class BagError(Exception):
    """A bag is not what it should be; one line that says what is wrong."""


def check_bag(path: Path, instruction_ids: Collection[str] = ()) -> dict[str, Any]:
    """Read a bag with rosbags, decoding every message, and with mcap, and compare.

    :param instruction_ids: each must have a result in the bag.
    :return: number of messages, of bytes, and messages by topic.
    :raises BagError: what is wrong.
    """
    try:
        counts, answered = _read_with_rosbags(path)
        others = _read_with_mcap(path)
    except (AnyReaderError, ReaderError, McapError, OSError) as error:
        raise BagError(f'{path} cannot be read: {error}') from error
    if counts != others:
        raise BagError(f'in {path} rosbags finds {dict(counts)}, mcap finds {dict(others)}')
    missing = sorted(set(instruction_ids) - answered)
    if missing:
        raise BagError(f'{path} lacks the result of {len(missing)} instructions')
    size = sum(file.stat().st_size for file in path.iterdir())
    return {'messages': counts.total(), 'bytes': size, 'topics': dict(sorted(counts.items()))}


def _read_with_rosbags(path: Path) -> tuple[Counter[str], set[str]]:
    counts: Counter[str] = Counter()
    answered = set()
    with AnyReader([path]) as reader:
        for connection, _, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            counts[connection.topic] += 1
            if connection.topic.endswith('/detections') and 'truth' not in connection.topic:
                answered.add(message.outcome.instruction_id)
        announced = {c.topic: c.msgcount for c in reader.connections if c.msgcount}
    if announced != dict(counts):
        raise BagError(f'{path} announces {announced} but holds {dict(counts)}')
    return counts, answered


def _read_with_mcap(path: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    for file in sorted(path.glob('*.mcap')):
        with file.open('rb') as stream:
            for _, channel, _ in make_reader(stream, validate_crcs=True).iter_messages():
                counts[channel.topic] += 1
    return counts
