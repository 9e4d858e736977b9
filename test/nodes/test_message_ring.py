"""The ring against a list that keeps everything and chooses at the end."""
from __future__ import annotations

import numpy as np
import pytest

from vr_ros.nodes.bags.message_ring import MessageRing
from vr_ros.nodes.bags.thread import Message

SECOND = 10**9


def message(at_s: float, number: int = 1, data: bytes = b'1234') -> Message:
    return Message(number, data, round(at_s * SECOND), round(at_s * SECOND) - 5)


@pytest.mark.parametrize('seed', range(5))
def test_the_last_seconds_are_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ring, everything, now_s = MessageRing(3.0, 10**9), [], 0.0
    for _ in range(400):
        now_s += float(rng.exponential(0.1))
        everything.append(message(now_s, int(rng.integers(1, 4)), rng.bytes(8)))
        ring.put(everything[-1])
    later_ns = round((now_s + 0.5) * SECOND)
    expected = [m for m in everything if m.received_ns >= later_ns - 3 * SECOND]
    assert ring.messages(later_ns) == expected
    assert ring.size_bytes == sum(len(m.data) for m in expected)
    assert not ring.crowded_out


def test_no_more_is_kept_than_there_is_room_for() -> None:
    ring = MessageRing(100.0, 1000)
    for at in range(30):
        ring.put(message(at, 1 + at % 2, bytes(100)))
    assert [m.received_ns // SECOND for m in ring.messages(29 * SECOND)] == list(range(20, 30))
    assert ring.size_bytes == 1000
    assert ring.crowded_out == {1: 10, 2: 10}


def test_what_holds_until_it_changes_stays_at_the_start() -> None:
    ring = MessageRing(2.0, 10**6)
    ring.keep(1, 2)
    ring.keep(2, 1)
    ring.keep(3, 0)
    for at, data in enumerate((b'base', b'arm', b'base', b'old')):
        ring.put(message(at, 3 if data == b'old' else 1, data))
    ring.put(message(4, 2, b'first'))
    ring.put(message(5, 2, b'second'))
    for at in (20, 21):
        ring.put(message(at, 4, b'new'))
    found = ring.messages(21 * SECOND)
    assert [(m.number, m.data) for m in found] == [
        (1, b'arm'), (1, b'base'), (2, b'second'), (4, b'new'), (4, b'new')]
    assert [m.received_ns // SECOND for m in found] == [20, 20, 20, 20, 21]
    assert found[0].published_ns == 1 * SECOND - 5         # when it was said stays


def test_what_stays_is_there_once() -> None:
    ring = MessageRing(2.0, 10**6)
    ring.keep(1, 5)
    ring.put(message(1, 1, b'base'))
    assert [m.data for m in ring.messages(1 * SECOND)] == [b'base']
    assert [m.received_ns for m in ring.messages(90 * SECOND)] == [90 * SECOND]


def test_when_time_starts_over_so_does_the_ring() -> None:
    ring = MessageRing(2.0, 10**6)
    ring.keep(1, 5)
    for at in (100, 101, 3, 4):
        ring.put(message(at))
    assert [m.received_ns // SECOND for m in ring.messages(4 * SECOND)] == [3, 4]
    ring.put(message(3.5))                                 # a little out of order is no new start
    assert len(ring.messages(4 * SECOND)) == 3
