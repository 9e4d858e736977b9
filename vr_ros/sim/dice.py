"""Fast random choices from a numpy generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar('T')
_BLOCK = 64


class Dice:
    """Draw small choices from blocks of uniform numbers: one call into numpy for many choices."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._block: list[float] = []

    def uniform(self) -> float:
        """Draw from [0, 1)."""
        if not self._block:
            self._block = self._rng.random(_BLOCK).tolist()
        return self._block.pop()

    def chance(self, probability: float) -> bool:
        return self.uniform() < probability

    def below(self, n: int) -> int:
        """Draw an integer from 0 to n - 1."""
        return int(self.uniform() * n)

    def choose(self, items: Sequence[T]) -> T:
        return items[int(self.uniform() * len(items))]
