"""How many messages of a topic never reached the recorder."""
from __future__ import annotations


class Losses:
    """Counts what is missing between messages.

    A single publisher numbers its messages, so that a gap is a loss wherever it happened: on the
    wire, or in the queue of the subscription, of which the middleware says nothing. The numbers of
    several publishers cannot be told apart; then what the middleware reports is counted.
    """

    def __init__(self) -> None:
        self.count = 0
        self._publishers = 0
        self._last: int | None = None
        self._is_numbered = True

    def on_matched(self, publishers: int) -> None:
        """Take note of how many publishers there are now: their numbers start anew."""
        self._publishers, self._last = publishers, None

    def on_message(self, sequence: int | None) -> None:
        """Take note of a message.

        :param sequence: its number by its publisher; None if the middleware does not say.
        """
        self._is_numbered = sequence is not None
        if sequence is None or self._publishers > 1:
            return
        if self._last is not None and sequence > self._last + 1:
            self.count += sequence - self._last - 1
        self._last = sequence

    def on_lost(self, count: int) -> None:
        """Take note of what the middleware says that it lost."""
        if self._publishers > 1 or not self._is_numbered:
            self.count += count
