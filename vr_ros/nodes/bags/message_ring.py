"""The messages of the last seconds, in memory."""
from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace

from vr_ros.nodes.bags.thread import Message


class MessageRing:
    """Keeps messages until they are too old, or too many.

    Of a topic whose last messages hold until the next ones come, such as fixed transforms, those
    stay however old they are.

    :param window_s: how long a message is kept.
    :param max_bytes: of all messages together; the oldest make room.
    """

    def __init__(self, window_s: float, max_bytes: int) -> None:
        self._window_ns, self._max_bytes = round(window_s * 1e9), max_bytes
        self._messages: deque[Message] = deque()
        self._kept: dict[int, deque[Message]] = {}
        self.size_bytes = 0
        self.crowded_out: Counter[int] = Counter()

    def keep(self, number: int, count: int) -> None:
        """Let the last messages of a topic stay, whatever their age; those that repeat one, not."""
        if count:
            self._kept[number] = deque(maxlen=count)

    def put(self, message: Message) -> None:
        """Add the newest message."""
        newest_ns = self._messages[-1].received_ns if self._messages else message.received_ns
        if message.received_ns < newest_ns - self._window_ns:
            self._clear()  # time starts over, as where a bag is played again
        self._messages.append(message)
        self.size_bytes += len(message.data)
        if message.number in self._kept:
            self._hold(self._kept[message.number], message)
        self._let_go(message.received_ns)

    def messages(self, now_ns: int) -> list[Message]:
        """Give what there is, in the order in which it came.

        What has stayed beyond its age stands at the start, received when the rest begins, so that
        the time that the messages span is that of the window.
        """
        self._let_go(now_ns)
        start_ns = self._messages[0].received_ns if self._messages else now_ns
        here = {id(message) for message in self._messages}
        old = [message for held in self._kept.values() for message in held
               if id(message) not in here]
        old.sort(key=lambda message: message.received_ns)
        return [*(replace(message, received_ns=start_ns) for message in old), *self._messages]

    def _let_go(self, now_ns: int) -> None:
        while self._messages and (
                self._messages[0].received_ns < now_ns - self._window_ns
                or self.size_bytes > self._max_bytes):
            message = self._messages.popleft()
            if message.received_ns >= now_ns - self._window_ns:
                self.crowded_out[message.number] += 1
            self.size_bytes -= len(message.data)

    def _clear(self) -> None:
        self._messages.clear()
        self.size_bytes = 0
        for held in self._kept.values():
            held.clear()

    @staticmethod
    def _hold(held: deque[Message], message: Message) -> None:
        for earlier in held:
            if earlier.data == message.data:
                held.remove(earlier)
                break
        held.append(message)
