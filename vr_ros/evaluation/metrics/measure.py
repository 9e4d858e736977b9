"""Figures as functions of the weights of samples."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np


class Measure(Protocol):
    """A figure that has a value for any weights of the samples; a sample of weight 2 counts twice.

    ``of``: how many things it speaks about, all weights 1.
    """

    name: str
    unit: str
    better: str

    @property
    def samples(self) -> int: ...

    @property
    def of(self) -> int: ...

    def values(self, weights: np.ndarray) -> np.ndarray:
        """:param weights: (R, samples) float64, >= 0.
        :return: (R,) float64, NaN where nothing counts.
        """

    def joined(self, other: Measure) -> Measure:
        """Put the samples of another run behind these."""


@dataclass(frozen=True, eq=False)
class Sums:
    """A figure that depends on the samples through sums over them alone.

    :param rows: (samples, K) what each contributes; zeros where it has no part in the figure.
    :param formula: (R, K) sums to (R,) values, NaN where nothing counts.
    :param of: how many things it speaks about.
    :param is_part: it is the part that one sum is of another one, in every sample too: from 0 to 1
        whatever is drawn, and no larger or smaller where samples are drawn twice.
    """

    name: str
    rows: np.ndarray
    formula: Callable[[np.ndarray], np.ndarray]
    of: int
    unit: str = 'share'
    better: str = 'higher'
    is_part: bool = False

    @property
    def samples(self) -> int:
        return len(self.rows)

    def values(self, weights: np.ndarray) -> np.ndarray:
        return self.formula(weights @ self.rows)

    def joined(self, other: Sums) -> Sums:
        return replace(self, rows=np.concatenate((self.rows, other.rows)), of=self.of + other.of,
                       is_part=self.is_part and other.is_part)


@dataclass(frozen=True, eq=False)
class Quantile:
    """A quantile of one number per sample, interpolated as numpy's is.

    :param numbers: (samples,) NaN where a sample has none.
    :param share: 0 to 1; 0.5 is the median.
    """

    name: str
    numbers: np.ndarray
    share: float
    unit: str = ''
    better: str = 'lower'

    @property
    def samples(self) -> int:
        return len(self.numbers)

    @property
    def of(self) -> int:
        return int(np.isfinite(self.numbers).sum())

    def values(self, weights: np.ndarray) -> np.ndarray:
        known = np.flatnonzero(np.isfinite(self.numbers))
        if not known.size:
            return np.full(len(weights), np.nan)
        order = known[np.argsort(self.numbers[known], kind='stable')]
        numbers, reach = self.numbers[order], np.cumsum(weights[:, order], axis=1)
        place = (reach[:, -1] - 1) * self.share
        low, high = (
            numbers[(reach > whole[:, None]).argmax(axis=1)]
            for whole in (np.floor(place), np.ceil(place)))
        values = low + (high - low) * (place - np.floor(place))
        return np.where(reach[:, -1] >= 1, values, np.nan)

    def joined(self, other: Quantile) -> Quantile:
        return replace(self, numbers=np.concatenate((self.numbers, other.numbers)))


def quotient(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divide; NaN where there is nothing to divide by."""
    above, below = np.broadcast_arrays(np.asarray(above, float), np.asarray(below, float))
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below != 0)


def ratio(
    name: str, above: Sequence[float], below: Sequence[float], *, of: int | None = None,
    unit: str = 'share', better: str = 'higher',
) -> Sums:
    """Make the figure sum(above) / sum(below).

    :param above: (samples,), :param below: (samples,) 0 where a sample has no part in it.
    :param of: None: sum(below).
    """
    rows = np.array((above, below), float).reshape(2, -1).T
    is_part = unit == 'share' and bool(((rows[:, 0] >= 0) & (rows[:, 0] <= rows[:, 1])).all())
    return Sums(
        name, rows, lambda sums: quotient(sums[..., 0], sums[..., 1]),
        int(rows[:, 1].sum()) if of is None else of, unit, better, is_part)


def mean(
    name: str, numbers: Sequence[float | None], *, unit: str = 'share', better: str = 'higher',
) -> Sums:
    """Make the mean over those samples that have a number."""
    return ratio(
        name, [0.0 if number is None else float(number) for number in numbers],
        [number is not None for number in numbers], unit=unit, better=better)
