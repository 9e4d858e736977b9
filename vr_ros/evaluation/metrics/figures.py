"""Figures with their bootstrap intervals, and the comparison of two runs on the same samples.

Intervals: percentile bootstrap (Efron and Tibshirani, 1993, section 13.3) over samples, or over
groups of samples that belong together. Samples that are drawn twice make AP and ECE larger than
they are: where the draws lie off the value by more than a quarter of their own spread (section
10.3 there), they are moved to lie around it. Not so a part of a sum, such as a share of right
answers: draws of few groups of unequal size lie off it by chance, and moved they would reach
beyond 0 or 1. No interval of a share does. Where all samples agree, as with 5 right of 5, it has no
width: it says nothing about samples that were not drawn.
Tests: paired randomisation (Fisher): if two runs were alike, their results on one sample could as
well be exchanged.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vr_ros.evaluation.metrics.measure import Measure, Sums

ROUNDS = 1000
LEVEL = 0.95
# Weights that are held at a time: 32 MiB.
_MAX_WEIGHTS = 4 << 20
# Of the standard error: less bias is not worth a correction.
_TOLERATED_BIAS = 0.25
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Figure:
    """One figure of a run.

    :param value: None when nothing counted.
    :param of: how many instructions, objects or other things it speaks about.
    :param low: lower end of the interval; None: without one.
    :param better: 'higher' or 'lower'.
    """

    name: str
    value: float | None
    of: int
    low: float | None = None
    high: float | None = None
    unit: str = 'share'
    better: str = 'higher'


@dataclass(frozen=True)
class Comparison:
    """One figure of two runs on the same samples.

    :param difference: second - first, with its interval from low to high.
    :param p_value: two-sided, of the randomisation test; 1 where nothing differs.
    """

    name: str
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    of: int
    unit: str = 'share'
    better: str = 'higher'


def figures(
    measures: Sequence[Measure], groups: Sequence[str] | None = None, *, rounds: int = ROUNDS,
    seed: int = 0, level: float = LEVEL,
) -> list[Figure]:
    """Give figures their values and intervals; all of them see the same draws.

    :param groups: (samples,) what a sample belongs to, such as its image; None: to nothing.
    :param rounds: of the bootstrap; 0: no intervals.
    """
    drawn: list[list[np.ndarray]] = [[] for _ in measures]
    if measures and rounds:
        for weights in draws(measures[0].samples, groups, rounds, seed):
            for values, measure in zip(drawn, measures, strict=True):
                values.append(measure.values(weights))
    return [
        _figure(measure, values, level) for measure, values in zip(measures, drawn, strict=True)]


def _figure(measure: Measure, drawn: list[np.ndarray], level: float) -> Figure:
    value = _value(measure)
    # No figure here is below 0, and no share above 1; what is moved may seem so.
    low, high = _interval(drawn, value, level, moves=not _is_part(measure),
                          within=(0.0, 1.0 if measure.unit == 'share' else np.inf))
    return Figure(
        measure.name, value, measure.of, low, high, measure.unit, measure.better)


def _is_part(measure: Measure) -> bool:
    return isinstance(measure, Sums) and measure.is_part


def compare(
    first: Measure, second: Measure, groups: Sequence[str] | None = None, *,
    rounds: int = ROUNDS, seed: int = 0, level: float = LEVEL,
) -> Comparison:
    """Compare one figure of two runs, sample by sample.

    :param groups: (samples,) as for :func:`figures`; groups are drawn and exchanged whole.
    :raises ValueError: if the runs differ in figure or number of samples.
    """
    if first.name != second.name or first.samples != second.samples:
        raise ValueError(
            f'{first.name} of {first.samples} samples and {second.name} of {second.samples}'
            ' are no pair')
    values, kind = (_value(first), _value(second)), (first.unit, first.better)
    if values[0] is None or values[1] is None:
        return Comparison(first.name, *values, None, None, None, None, first.of, *kind)
    difference = values[1] - values[0]
    low, high = _interval(
        [second.values(w) - first.values(w)
         for w in draws(first.samples, groups, rounds, seed)], difference, level,
        moves=not (_is_part(first) and _is_part(second)),
        within=(-1.0, 1.0) if first.unit == 'share' else (-np.inf, np.inf))
    both = first.joined(second)
    at_least = valid = 0
    for swap in _swaps(first.samples, groups, rounds, seed + 1):
        exchanged = (both.values(np.hstack((swap, 1 - swap)))
                     - both.values(np.hstack((1 - swap, swap))))
        valid += int(np.isfinite(exchanged).sum())
        # Rounding is no difference.
        at_least += int((np.abs(exchanged) >= abs(difference) - 1e-12).sum())
    return Comparison(
        first.name, *values, difference, low, high, (at_least + 1) / (valid + 1), first.of, *kind)


def draws(
    samples: int, groups: Sequence[str] | None, rounds: int, seed: int
) -> Iterator[np.ndarray]:
    """Draw samples, or whole groups of them, with replacement.

    :return: weights, (r, samples) float64 at a time, ``rounds`` rows together.
    """
    number, belongs = _groups(samples, groups)
    rng = np.random.default_rng(seed)
    for size in _chunks(rounds, samples):
        drawn = [
            np.bincount(rng.integers(number, size=number), minlength=number)
            for _ in range(size)]
        yield np.array(drawn, float).reshape(size, number)[:, belongs]


def _swaps(
    samples: int, groups: Sequence[str] | None, rounds: int, seed: int
) -> Iterator[np.ndarray]:
    """Toss a coin for every group: (r, samples) float64, 1 where the runs are exchanged."""
    number, belongs = _groups(samples, groups)
    rng = np.random.default_rng(seed)
    for size in _chunks(rounds, samples):
        yield rng.integers(2, size=(size, number)).astype(float)[:, belongs]


def _groups(samples: int, groups: Sequence[str] | None) -> tuple[int, np.ndarray]:
    """:return: how many groups there are, and (samples,) which one each sample belongs to."""
    if groups is None:
        return samples, np.arange(samples)
    if len(groups) != samples:
        raise ValueError(f'{len(groups)} groups for {samples} samples')
    names, belongs = np.unique(np.asarray(groups), return_inverse=True)
    return len(names), belongs.reshape(-1)


def _chunks(rounds: int, samples: int) -> Iterator[int]:
    size = max(1, _MAX_WEIGHTS // max(samples, 1))
    for start in range(0, rounds if samples else 0, size):
        yield min(size, rounds - start)


def _value(measure: Measure) -> float | None:
    value = float(measure.values(np.ones((1, measure.samples)))[0])
    return value if np.isfinite(value) else None


def _interval(
    values: list[np.ndarray], value: float | None, level: float, *, moves: bool,
    within: tuple[float, float],
) -> tuple[float | None, float | None]:
    """Take the middle; rounds in which nothing counted have no say, and most must have one.

    :param moves: draws that lie off the value are moved around it.
    :param within: what the figure is never out of, unless its draws are.
    """
    drawn = np.concatenate(values) if values else np.empty(0)
    known = drawn[np.isfinite(drawn)]
    if value is None or not known.size or known.size * 2 < drawn.size:
        return None, None
    bias = known.mean() - value
    is_within = within[0] <= known.min() and known.max() <= within[1] + _ROUNDING
    if moves and abs(bias) > _TOLERATED_BIAS * known.std():
        known = known - bias
    low, high = np.quantile(known, ((1 - level) / 2, (1 + level) / 2))
    if is_within:
        low, high = np.clip((low, high), *within)
    return float(low), float(high)
