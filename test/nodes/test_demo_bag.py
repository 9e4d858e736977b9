"""Bags that are whole, and bags that are not."""
from __future__ import annotations

from pathlib import Path

import pytest
from rclpy.serialization import serialize_message

from vr_ros.msg import DetectionArray
from vr_ros.nodes.bags.message_definitions import message_definition
from vr_ros.nodes.bags.writer import BagTopic, BagWriter
from vr_ros.nodes.demo.bag import BagError, check_bag

KIND = 'vr_ros/msg/DetectionArray'


def write(path: Path, ids: list[str]) -> None:
    with BagWriter(path) as bag:
        numbers = [bag.add_topic(BagTopic(topic, KIND, message_definition(KIND)))
                   for topic in ('/detections', '/truth/detections')]
        for index, name in enumerate(ids):
            message = DetectionArray()
            message.outcome.instruction_id = name
            bag.write(numbers[0], serialize_message(message), 1000 + index, 1000)
        bag.write(numbers[1], serialize_message(DetectionArray()), 5000, 5000)


def test_a_whole_bag_is_counted(tmp_path: Path) -> None:
    write(tmp_path / 'bag', ['a', 'b', 'b'])
    found = check_bag(tmp_path / 'bag', ['a', 'b'])
    assert found['messages'] == 4
    assert found['topics'] == {'/detections': 3, '/truth/detections': 1}
    assert found['bytes'] == sum(p.stat().st_size for p in (tmp_path / 'bag').iterdir())


def test_a_result_that_was_not_recorded_is_missed(tmp_path: Path) -> None:
    write(tmp_path / 'bag', ['a'])
    with pytest.raises(BagError, match='lacks the result of 2 instructions'):
        check_bag(tmp_path / 'bag', ['a', 'b', 'c'])


def test_a_bag_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BagError, match='no_bag cannot be read'):
        check_bag(tmp_path / 'no_bag')


def damaged(path: Path, content: bytes) -> None:
    file = next(path.glob('*.mcap'))
    file.write_bytes(content)


@pytest.mark.parametrize('share', [0.0, 0.5, 0.99])
def test_a_bag_that_was_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    write(tmp_path / 'bag', ['a', 'b'])
    whole = next((tmp_path / 'bag').glob('*.mcap')).read_bytes()
    damaged(tmp_path / 'bag', whole[:int(share * len(whole))])
    with pytest.raises(BagError):
        check_bag(tmp_path / 'bag')


def test_metadata_that_promises_more_is_refused(tmp_path: Path) -> None:
    write(tmp_path / 'bag', ['a'])
    metadata = tmp_path / 'bag' / 'metadata.yaml'
    metadata.write_text(metadata.read_text().replace('message_count: 1\n', 'message_count: 7\n'))
    with pytest.raises(BagError, match='announces'):
        check_bag(tmp_path / 'bag')
