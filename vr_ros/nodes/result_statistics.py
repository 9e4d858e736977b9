"""What came of instructions lately: how many results, of which status, how soon."""
from __future__ import annotations

import math
from collections import Counter, deque

import numpy as np

from vr_ros.core.types import Perception, Source, Status

# Latencies are those of the last so many results of a kind.
WINDOW = 200


class ResultStatistics:
    """Counts since the node was started, and latencies of the last results.

    :ivar statuses: number of results by status.
    :ivar sources: number of results by source.
    :ivar frames_dropped: images that no result is about, counted for each instruction.
    """

    def __init__(self) -> None:
        self.statuses: Counter[Status] = Counter()
        self.sources: Counter[Source] = Counter()
        self.frames_dropped = 0
        self._last_at = -math.inf
        self._latencies: dict[Source, deque[float]] = {
            source: deque(maxlen=WINDOW) for source in Source}

    def add(self, perception: Perception, now: float) -> None:
        """Take a result down.

        :param now: seconds of the steady clock.
        """
        self.statuses[perception.status] += 1
        self.sources[perception.source] += 1
        self.frames_dropped += perception.timing.frames_dropped
        self._last_at = now
        if not perception.status.is_error:
            self._latencies[perception.source].append(perception.timing.total_ms)

    def age_s(self, now: float) -> float:
        """Return the time since the last result; infinity before the first."""
        return now - self._last_at

    def latency_ms(self, source: Source, share: float) -> float:
        """Return the latency that a share of the last results kept to; NaN without results."""
        latencies = self._latencies[source]
        return float(np.quantile(latencies, share)) if latencies else math.nan
