"""Which request hangs, and when, on a clock of our own."""
from __future__ import annotations

import math

from vr_ros.core.types import Perception, Status, Task
from vr_ros.pipeline.protocol import Heartbeat, Masks, Result, Started, Text
from vr_ros.pipeline.request_ledger import RequestLedger


def ledger(inference_timeout_s: float = 10.0, cancel_grace_s: float = 2.0) -> RequestLedger:
    return RequestLedger(inference_timeout_s, cancel_grace_s)


def result(request_id: int) -> Result:
    return Result(request_id, Perception(Status.OK))


def blamed(book: RequestLedger, now: float) -> tuple[int, Status] | None:
    overdue = book.overdue(now)
    return None if overdue is None else (overdue.request_id, overdue.status)


def test_nothing_open_never_hangs() -> None:
    book = ledger()
    assert book.deadline() == math.inf and book.overdue(1e9) is None


def test_silence_since_the_request_hangs() -> None:
    book = ledger()
    book.open(1, Task.AUTO, now=100.0)
    assert book.deadline() == 110.0
    assert blamed(book, 109.9) is None
    assert blamed(book, 110.0) == (1, Status.TIMEOUT)


def test_every_event_of_a_request_is_progress_and_a_heartbeat_is_none() -> None:
    book = ledger()
    book.open(1, Task.AUTO, now=0.0)
    for now, event in ((5.0, Started(1)), (12.0, Text(1, 'x')), (20.0, Masks(1, ()))):
        assert book.observe(event, now)
        assert book.deadline() == now + 10.0
    assert book.observe(Heartbeat(1, busy_request_id=1), 25.0)
    assert book.deadline() == 30.0


def test_the_running_request_is_blamed_not_those_that_wait() -> None:
    book = ledger()
    book.open(1, Task.AUTO, now=0.0)
    book.open(2, Task.AUTO, now=9.0)
    book.observe(Started(1), 0.0)
    book.observe(result(1), 9.5)
    book.observe(Started(2), 9.6)
    book.open(3, Task.AUTO, now=12.0)
    assert blamed(book, 19.5) is None
    assert blamed(book, 19.6) == (2, Status.TIMEOUT)


def test_without_any_start_the_oldest_is_blamed() -> None:
    book = ledger()
    book.open(4, Task.AUTO, now=0.0)
    book.open(3, Task.AUTO, now=9.0)
    assert blamed(book, 10.0) == (4, Status.TIMEOUT)


def test_idle_time_does_not_count() -> None:
    book = ledger()
    book.open(1, Task.AUTO, now=0.0)
    book.observe(result(1), 1.0)
    book.open(2, Task.AUTO, now=1000.0)
    assert book.deadline() == 1010.0


def test_a_cancelled_request_has_its_grace() -> None:
    book = ledger()
    book.open(1, Task.VQA, now=0.0)
    book.observe(Started(1), 0.0)
    assert book.cancel(1, now=5.0) is Task.VQA
    assert book.cancel(1, now=6.0) is None      # answered already
    assert book.cancel(9, now=6.0) is None      # never asked
    assert not book.observe(Text(1, 'late'), 6.5)
    assert book.deadline() == 7.0
    assert blamed(book, 6.9) is None
    assert blamed(book, 7.0) == (1, Status.CANCELLED)
    assert not book.observe(result(1), 7.1) and 1 not in book
    assert book.overdue(1e9) is None


def test_a_result_comes_once() -> None:
    book = ledger()
    book.open(1, Task.AUTO, now=0.0)
    assert book.observe(result(1), 1.0)
    assert not book.observe(result(1), 1.1)
    assert not book.observe(Text(1, 'after the end'), 1.2)


def test_a_timeout_of_zero_is_no_limit() -> None:
    book = ledger(inference_timeout_s=0.0)
    book.open(1, Task.AUTO, now=0.0)
    assert book.deadline() == math.inf and book.overdue(1e9) is None
