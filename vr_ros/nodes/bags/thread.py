"""Writes a bag in a thread of its own: a busy disk holds up nobody who has messages to give."""
from __future__ import annotations

import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vr_ros.nodes.bags.writer import BagTopic, BagWriter

POLL_S = 0.05


class LowSpaceError(Exception):
    """There is less room on the disk than is to stay free; one line that says how much."""


@dataclass(frozen=True)
class Message:
    """A message as it came.

    :param number: of its topic.
    :param data: CDR.
    :param received_ns, published_ns: nanoseconds since 1970.
    """

    number: int
    data: bytes
    received_ns: int
    published_ns: int


@dataclass(frozen=True)
class WriteLimits:
    """:param flush_period_s: what is older than that survives the end of the process.
    :param max_waiting_bytes: messages beyond it are dropped while the disk is busy.
    :param min_free_bytes: the bag is completed when less is free on its disk; 0: never.
    """

    flush_period_s: float = 1.0
    max_waiting_bytes: int = 256_000_000
    min_free_bytes: int = 0


def free_bytes(path: Path) -> int:
    """Say how much room there is on the disk of a file or folder that exists."""
    return shutil.disk_usage(path).free


def check_space(path: Path, min_free_bytes: int, free: Callable[[Path], int] = free_bytes) -> None:
    """Make sure that there is room.

    :raises LowSpaceError: there is not.
    """
    found = free(path) if min_free_bytes else 0
    if found < min_free_bytes:
        raise LowSpaceError(f'{found / 1e6:.0f} MB are free on the disk of {path}, less than the '
                            f'{min_free_bytes / 1e6:.0f} MB that are to stay free')


class BagThread:
    """Takes messages from one thread, and writes them in another.

    :param bag: belongs to the thread from now on, which also closes it.
    :param free: says how much room there is.
    """

    def __init__(self, bag: BagWriter, limits: WriteLimits = WriteLimits(),
                 free: Callable[[Path], int] = free_bytes) -> None:
        self._bag, self._limits, self._free = bag, limits, free
        self.path = bag.path
        self.dropped: Counter[int] = Counter()
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._waiting: deque[BagTopic | Message] = deque()
        self._waiting_bytes, self._topics, self._size_bytes = 0, 0, 0
        self._problem: Exception | None = None
        self._thread = threading.Thread(target=self._run, name='vr_ros bag', daemon=True)
        self._thread.start()

    @property
    def problem(self) -> Exception | None:
        """What ended the recording: OSError, the bag is cut off; LowSpaceError, it is complete."""
        return self._problem

    @property
    def size_bytes(self) -> int:
        """About what the bag takes on the disk."""
        return self._size_bytes

    def add_topic(self, topic: BagTopic, kept: int = 0) -> int:
        """Announce a topic.

        :param kept: means nothing here: everything is kept.
        :return: its number, for messages.
        """
        self._waiting.append(topic)
        self._topics += 1
        return self._topics

    def put(self, message: Message) -> bool:
        """Have a message written.

        :return: false: there was no room for it, and it is dropped.
        """
        with self._lock:
            room = self._limits.max_waiting_bytes - self._waiting_bytes
            if self._problem is not None or len(message.data) > room:
                self.dropped[message.number] += 1
                return False
            self._waiting_bytes += len(message.data)
        self._waiting.append(message)
        return True

    def close(self) -> None:
        """Write what waits, and complete the bag. Safe to call twice."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._write_until_closing()
            self._bag.close()
        except LowSpaceError as error:
            self._end(error)
        except OSError as error:
            self._bag.abandon()
            self._problem = error
        self._size_bytes = self._bag.size_bytes

    def _end(self, why: LowSpaceError) -> None:
        """Complete the bag while there is room."""
        try:
            self._bag.close()
            self._problem = why
        except OSError as error:
            self._bag.abandon()
            self._problem = error

    def _write_until_closing(self) -> None:
        flush_at = time.monotonic() + self._limits.flush_period_s
        is_last = False
        while not is_last:
            # One more round after the end was called for, for what came just before.
            is_last = self._closing.wait(POLL_S)
            while self._waiting:
                self._write(self._waiting.popleft())
                if time.monotonic() >= flush_at:
                    flush_at = self._flush()
            if time.monotonic() >= flush_at:
                flush_at = self._flush()

    def _write(self, item: BagTopic | Message) -> None:
        if isinstance(item, BagTopic):
            self._bag.add_topic(item)
            return
        self._bag.write(item.number, item.data, item.received_ns, item.published_ns)
        with self._lock:
            self._waiting_bytes -= len(item.data)

    def _flush(self) -> float:
        """:return: when the next one is due."""
        self._bag.flush()
        self._size_bytes = self._bag.size_bytes
        check_space(self.path, self._limits.min_free_bytes, self._free)
        return time.monotonic() + self._limits.flush_period_s
