"""Writing in a thread: nothing is lost that there is room for, and what ends it is said."""
from __future__ import annotations

import threading
from pathlib import Path

import pytest
from bag_checks import check

from vr_ros.nodes.bags.thread import (
    BagThread,
    LowSpaceError,
    Message,
    WriteLimits,
    check_space,
    free_bytes,
)
from vr_ros.nodes.bags.writer import BagTopic, BagWriter

TOPIC = BagTopic('/words', 'std_msgs/msg/String', 'string data')


class SlowWriter(BagWriter):
    """A bag on a disk that takes nothing until it is let."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.let = threading.Event()

    def write(self, number: int, data: bytes, received_ns: int, published_ns: int) -> None:
        self.let.wait()
        super().write(number, data, received_ns, published_ns)


def message(number: int, at_ns: int, size: int = 10) -> Message:
    return Message(number, at_ns.to_bytes(size, 'little'), at_ns, at_ns)


def test_everything_is_written_in_order(tmp_path: Path) -> None:
    thread = BagThread(BagWriter(tmp_path / 'bag'))
    number = thread.add_topic(TOPIC)
    sent = [message(number, at) for at in range(1, 500)]
    assert all(thread.put(item) for item in sent)
    thread.close()
    thread.close()
    assert check(tmp_path / 'bag') == [('/words', m.received_ns, m.data) for m in sent]
    assert not thread.dropped and thread.problem is None
    assert thread.size_bytes == next((tmp_path / 'bag').glob('*.mcap')).stat().st_size


def test_what_there_is_no_room_for_is_dropped_and_counted_by_topic(tmp_path: Path) -> None:
    bag = SlowWriter(tmp_path / 'bag')
    thread = BagThread(bag, WriteLimits(max_waiting_bytes=1000))
    first, second = thread.add_topic(TOPIC), thread.add_topic(
        BagTopic('/more', TOPIC.type_name, TOPIC.definition))
    taken = [thread.put(message(first, at, 100)) for at in range(1, 13)]
    assert taken == [True] * 10 + [False] * 2
    assert not thread.put(message(second, 20, 100))
    assert thread.dropped == {first: 2, second: 1}
    bag.let.set()
    while not thread.put(message(second, 30, 100)):
        pass  # there is room again as soon as something was written
    thread.close()
    written = check(tmp_path / 'bag')
    assert [at for topic, at, _ in written if topic == '/words'] == list(range(1, 11))
    assert [at for topic, at, _ in written if topic == '/more'] == [30]


def test_a_disk_that_fills_up_ends_it_with_a_whole_bag(tmp_path: Path) -> None:
    room = iter([5000, 3000, 999])
    thread = BagThread(BagWriter(tmp_path / 'bag'),
                       WriteLimits(flush_period_s=1e-9, min_free_bytes=1000),
                       free=lambda path: next(room))
    number = thread.add_topic(TOPIC)
    at = 0
    while thread.problem is None:
        at += 1
        thread.put(message(number, at))
    assert isinstance(thread.problem, LowSpaceError)
    thread.close()
    written = check(tmp_path / 'bag')
    assert [at for _, at, _ in written] == list(range(1, len(written) + 1))
    assert not thread.put(message(number, 1))


def test_room_is_what_the_disk_says(tmp_path: Path) -> None:
    check_space(tmp_path, 0)
    check_space(tmp_path, 1)
    with pytest.raises(LowSpaceError, match='MB are free on the disk of .* 1000000000000 MB'):
        check_space(tmp_path, 10**18)
    assert 0 < free_bytes(tmp_path) < 10**18
