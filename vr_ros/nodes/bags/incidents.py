"""Keeps the last seconds in memory, and saves them as a bag when something has happened."""
from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vr_ros.nodes.bags.message_ring import MessageRing
from vr_ros.nodes.bags.thread import Message, check_space
from vr_ros.nodes.bags.writer import BagTopic, BagWriter


@dataclass(frozen=True)
class Saved:
    """A bag that was saved.

    :param seconds: that its messages span.
    """

    path: Path
    messages: int
    seconds: float


class Incidents:
    """A ring of messages, and a thread that saves it while further messages come in.

    :param folder: for the bags; is made.
    :param min_free_bytes: nothing is saved when less is free on the disk.
    :raises OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, ring: MessageRing, ros_distro: str = '', *,
                 compress: bool = True, max_file_bytes: int = 0, min_free_bytes: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder
        self._ring, self._ros_distro = ring, ros_distro
        self._compress, self._max_file_bytes = compress, max_file_bytes
        self._min_free_bytes = min_free_bytes
        self._topics: list[BagTopic] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix='vr_ros incident')
        self._job: Future[Saved] | None = None
        self.saved = 0

    @property
    def problem(self) -> None:
        """Nothing ends it: one save that fails says nothing of the next."""
        return None

    @property
    def dropped(self) -> Counter[int]:
        """Messages that made room for others before they were too old, by topic."""
        return self._ring.crowded_out

    @property
    def size_bytes(self) -> int:
        """What the ring holds."""
        return self._ring.size_bytes

    def add_topic(self, topic: BagTopic, kept: int = 0) -> int:
        """Announce a topic.

        :param kept: how many of its messages stay, however old they are.
        :return: its number, for messages.
        """
        self._topics.append(topic)
        self._ring.keep(len(self._topics), kept)
        return len(self._topics)

    def put(self, message: Message) -> bool:
        """Take in the newest message."""
        self._ring.put(message)
        return True

    def save(self, now_ns: int) -> Future[Saved] | None:
        """Begin to save what there is.

        :return: None: the save before is not at its end yet. The future raises OSError or
            LowSpaceError.
        """
        if self._job is not None and not self._job.done():
            return None
        self._job = self._pool.submit(self._write, self._ring.messages(now_ns), [*self._topics])
        return self._job

    def close(self) -> None:
        """Wait for a save that is under way. Safe to call twice."""
        self._pool.shutdown()

    def _write(self, messages: Sequence[Message], topics: Sequence[BagTopic]) -> Saved:
        check_space(self.path, self._min_free_bytes)
        path = self._free_name()
        # Whoever sees the folder sees all of the bag.
        draft = path.with_name(f'.{path.name}')
        try:
            with BagWriter(draft, self._ros_distro, compress=self._compress, name=path.name,
                           max_file_bytes=self._max_file_bytes) as bag:
                for topic in topics:
                    bag.add_topic(topic)
                for message in messages:
                    bag.write(message.number, message.data, message.received_ns,
                              message.published_ns)
            draft.rename(path)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        self.saved += 1
        span_ns = messages[-1].received_ns - messages[0].received_ns if messages else 0
        return Saved(path, len(messages), span_ns / 1e9)

    def _free_name(self) -> Path:
        first = self.path / time.strftime('incident_%Y%m%d_%H%M%S')
        path, number = first, 1
        while path.exists():
            number += 1
            path = first.with_name(f'{first.name}_{number}')
        return path
