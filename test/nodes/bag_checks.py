"""Reads a bag with rosbags, with mcap, and its metadata.yaml by a schema of our own."""
from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader

Found = list[tuple[str, int, bytes]]
TIME, DURATION = {'nanoseconds_since_epoch': int}, {'nanoseconds': int}
DDS_DURATION = {'sec': int, 'nsec': int}
QOS = {
    'history': str, 'depth': int, 'reliability': str, 'durability': str, 'deadline': DDS_DURATION,
    'lifespan': DDS_DURATION, 'liveliness': str, 'liveliness_lease_duration': DDS_DURATION,
    'avoid_ros_namespace_conventions': bool}
# What rosbag2 of ROS 2 Jazzy writes and reads: version 9.
METADATA = {
    'version': int, 'storage_identifier': str, 'duration': DURATION, 'starting_time': TIME,
    'message_count': int, 'topics_with_message_count': [{
        'topic_metadata': {
            'name': str, 'type': str, 'serialization_format': str, 'offered_qos_profiles': [QOS],
            'type_description_hash': str},
        'message_count': int}],
    'compression_format': str, 'compression_mode': str, 'relative_file_paths': [str],
    'files': [{'path': str, 'starting_time': TIME, 'duration': DURATION, 'message_count': int}],
    'custom_data': (dict, type(None)), 'ros_distro': str}


def check(path: Path) -> Found:
    """Check that a bag is whole, and that everybody finds the same in it.

    :return: topic, time and bytes of each message, in the order of the files.
    """
    metadata = yaml.safe_load((path / 'metadata.yaml').read_text(encoding='utf-8'))
    assert list(metadata) == ['rosbag2_bagfile_information']
    content = metadata['rosbag2_bagfile_information']
    _check_form(content, METADATA, 'metadata')
    by_mcap: Found = []
    for file, name in zip(content['files'], content['relative_file_paths'], strict=True):
        found = _read_file(path / name)
        assert (file['path'], file['message_count']) == (name, len(found))
        if found:
            first, last = min(at for _, at, _ in found), max(at for _, at, _ in found)
            assert file['starting_time']['nanoseconds_since_epoch'] == first
            assert file['duration']['nanoseconds'] == last - first
        by_mcap += found
    assert {p.name for p in path.iterdir()} == {
        'metadata.yaml', *content['relative_file_paths']}
    with Reader(path) as reader:
        by_rosbags = [(c.topic, at, bytes(data)) for c, at, data in reader.messages()]
        announced = {c.topic: c.msgcount for c in reader.connections}
    assert sorted(by_rosbags) == sorted(by_mcap)
    counts = Counter(topic for topic, _, _ in by_mcap)
    assert {topic: count for topic, count in announced.items() if count} == dict(counts)
    assert content['message_count'] == len(by_mcap)
    return by_mcap


def _read_file(path: Path) -> Found:
    with path.open('rb') as stream:
        reader = make_reader(stream, validate_crcs=True)
        found = [(c.topic, m.log_time, m.data) for _, c, m in
                 reader.iter_messages(log_time_order=False)]
        summary = reader.get_summary()
    assert summary is not None and summary.statistics is not None
    assert summary.statistics.message_count == len(found)
    return found


def _check_form(value: Any, form: Any, where: str) -> None:
    if isinstance(form, dict):
        assert value.keys() == form.keys(), where
        for name, part in form.items():
            _check_form(value[name], part, f'{where}.{name}')
    elif isinstance(form, list):
        assert isinstance(value, list), where
        for part in value:
            _check_form(part, form[0], where)
    else:
        assert isinstance(value, form), f'{where}: {value!r}'
