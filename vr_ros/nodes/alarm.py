"""A timer that rings once, at a time that may change."""
from __future__ import annotations

import math
import time
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

_SHORTEST_NS = 1_000_000
_LONGEST_S = 3600.0


class Alarm:
    """Rings by the steady clock, so also while simulated time stands still.

    Where nothing waits nothing ticks: an idle node stays idle.

    :param ring: called in the executor's thread; sets the alarm anew if it wants to.
    """

    def __init__(self, node: Node, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._at = math.inf
        self._timer = node.create_timer(
            _LONGEST_S, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._timer.cancel()

    def set(self, at: float) -> None:
        """Ring at this time and at no other.

        :param at: time.monotonic(); infinity: not at all.
        """
        if at == self._at:
            return
        self._at = at
        if at == math.inf:
            self._timer.cancel()
            return
        delay_s = min(at - time.monotonic(), _LONGEST_S)
        self._timer.timer_period_ns = max(round(delay_s * 1e9), _SHORTEST_NS)
        self._timer.reset()

    def _on_timer(self) -> None:
        self._timer.cancel()
        self._at = math.inf
        self._ring()
