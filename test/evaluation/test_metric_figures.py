"""Intervals and tests of figures against closed forms, and against all cases written out."""
from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from vr_ros.evaluation.metrics.figures import compare, draws, figures
from vr_ros.evaluation.metrics.measure import Quantile, Sums, mean, ratio


def test_mean_and_ratio_leave_out_what_has_no_part() -> None:
    shares = mean('share', [1, None, 0, 0.5])
    pooled = ratio('pooled', [3, 0, 1], [4, 0, 6])
    values = [(f.value, f.of) for f in figures([shares], rounds=0) + figures([pooled], rounds=0)]
    assert values == [(0.5, 3), (0.4, 10)]
    assert figures([mean('nothing', [None])])[0].value is None
    assert figures([mean('nothing', [])])[0].low is None
    assert figures([]) == []


def test_interval_of_a_share_is_that_of_the_binomial_distribution() -> None:
    """Resampling n yes and no is drawing from a binomial distribution."""
    right = np.arange(200) < 140
    figure = figures([mean('share', right)], rounds=20_000)[0]
    low, high = binom.ppf((0.025, 0.975), 200, 0.7) / 200
    assert figure.value == pytest.approx(0.7)
    assert (figure.low, figure.high) == (pytest.approx(low, abs=0.006),
                                         pytest.approx(high, abs=0.006))


def test_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(300):
        figure = figures([mean('m', rng.normal(3, 1, 60))], rounds=400, seed=seed)[0]
        covered += figure.low <= 3 <= figure.high
    assert 0.90 <= covered / 300 <= 0.98


def test_groups_are_drawn_whole() -> None:
    """Samples that repeat each other make an interval no narrower."""
    values = np.random.default_rng(2).normal(10, 1, 50)
    copies, groups = np.repeat(values, 8), [f'{n}' for n in range(50) for _ in range(8)]
    plain = figures([mean('m', values)], rounds=4000)[0]
    grouped = figures([mean('m', copies)], groups, rounds=4000)[0]
    naive = figures([mean('m', copies)], rounds=4000)[0]
    assert grouped.high - grouped.low == pytest.approx(plain.high - plain.low, rel=0.1)
    assert naive.high - naive.low < 0.5 * (grouped.high - grouped.low)
    weights = next(draws(400, groups, 3, 0))
    assert (weights.reshape(3, 50, 8) == weights.reshape(3, 50, 8)[..., :1]).all()
    assert (weights.sum(axis=1) == 400).all()
    with pytest.raises(ValueError, match='2 groups'):
        figures([mean('m', values)], ['a', 'b'])


def test_the_same_seed_gives_the_same_interval() -> None:
    measure = mean('m', np.random.default_rng(0).random(30))
    one, again, other = (figures([measure], seed=seed)[0] for seed in (5, 5, 6))
    assert one == again != other


def test_draws_that_lie_off_the_value_are_moved_around_it() -> None:
    """The size of a sum that is 0 is never less in any draw."""
    signs = np.array([1, -1] * 50)
    measure = Sums('size', np.stack((signs, np.ones(100)), axis=1),
                   lambda sums: np.abs(sums[:, 0]) / sums[:, 1] + 1, 100)
    figure = figures([measure], rounds=2000)[0]
    assert figure.value == 1
    assert figure.low < 1 < figure.high


@pytest.mark.parametrize(('right', 'of', 'ends'), [
    # As in two scenes with 2 right of 2 and 0 right of 1: draws are 0, 2/3 twice and 1.
    ((2, 0), (2, 1), (0, 1)),
    ((0, 1), (2, 1), (0, 1)),
    ((4, 2), (4, 4), (0.5, 1)),
    ((3, 0), (9, 1), (0, 1 / 3)),
])
def test_a_share_of_two_groups_stays_within_what_they_show(right, of, ends) -> None:
    """Of two groups there are three draws: their ends are the only interval that there is."""
    answers = [float(n < yes) for yes, all in zip(right, of, strict=True) for n in range(all)]
    groups = [str(group) for group, all in enumerate(of) for _ in range(all)]
    for measure, names in ((mean('m', answers), groups), (ratio('m', right, of), None)):
        figure = figures([measure], names)[0]
        assert (figure.low, figure.high) == pytest.approx(ends)
        assert figure.low <= figure.value <= figure.high


def test_intervals_of_shares_of_few_groups_cover_and_stay_within_their_bounds() -> None:
    """Groups of 1 to 5 answers, which are alike within a group, as those about one scene."""
    rng = np.random.default_rng(7)
    covered = 0
    for seed in range(300):
        number = rng.integers(1, 6, 5)
        right = rng.binomial(number, rng.beta(1.2, 1.2, 5))
        figure = figures([ratio('m', right, number)], rounds=200, seed=seed)[0]
        assert 0 <= figure.low <= figure.value <= figure.high <= 1
        covered += figure.low <= 0.5 <= figure.high
    assert covered / 300 >= 0.84           # not 0.95: five groups are few


@pytest.mark.parametrize(('unit', 'high'), [('share', 1), ('objects', 1.03)])
def test_what_is_moved_stays_a_share_where_it_is_one(unit, high) -> None:
    """Draws of a largest number lie below it: moved around it they reach beyond."""
    def largest(sums: np.ndarray) -> np.ndarray:
        return np.where(sums > 0, np.arange(10) / 9, 0).max(axis=1)

    figure = figures([Sums('largest', np.eye(10), largest, 10, unit)], rounds=2000)[0]
    assert figure.value == 1 and figure.low > 0.5
    assert figure.high == 1 if unit == 'share' else figure.high > high
    other = Sums('largest', np.eye(10), lambda sums: largest(sums) * 0, 10, unit)
    change = compare(other, replace(other, formula=largest), rounds=200)
    assert change.difference == 1
    assert change.high == 1 if unit == 'share' else change.high > high


def test_sizes_that_are_no_shares_are_moved_as_before() -> None:
    """The same numbers as a share and as objects: the latter have no upper end."""
    share, size = (figures([ratio('m', [2, 0], [2, 1], unit=unit)])[0]
                   for unit in ('share', 'objects'))
    assert share.high == 1 and size.high > 1.05


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 3)), min_size=1, max_size=12),
       st.sampled_from((0.0, 0.5, 0.9, 1.0)))
def test_weighed_quantile_is_that_of_numbers_written_out(pairs, share: float) -> None:
    numbers, weights = (np.array(column, float) for column in zip(*pairs, strict=True))
    value = Quantile('q', numbers, share).values(weights[None])[0]
    written_out = np.repeat(numbers, weights.astype(int))
    if not written_out.size:
        assert np.isnan(value)
    else:
        assert value == pytest.approx(np.quantile(written_out, share))


def test_quantile_leaves_out_what_was_not_measured() -> None:
    measure = Quantile('q', np.array([4.0, np.nan, 1.0, 2.0]), 0.5)
    assert (figures([measure])[0].value, measure.of) == (2.0, 3)
    assert figures([Quantile('q', np.array([np.nan]), 0.5)])[0].value is None


def test_p_value_is_that_of_all_exchanges_written_out() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.random(9), rng.random(9) + 0.1
    difference = second - first
    means = [np.mean(difference * signs) for signs in product((-1, 1), repeat=9)]
    exact = np.mean(np.abs(means) >= abs(difference.mean()) - 1e-12)
    result = compare(mean('m', first), mean('m', second), rounds=20_000)
    assert 0.01 < exact < 0.5
    assert result.p_value == pytest.approx(exact, abs=0.01)
    assert result.difference == pytest.approx(difference.mean())
    assert result.low < result.difference < result.high


def test_runs_that_are_alike_do_not_differ() -> None:
    values = np.random.default_rng(4).random(40)
    result = compare(mean('m', values), mean('m', values))
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1)


def test_a_small_difference_on_the_same_samples_is_seen() -> None:
    """Samples are far more different from each other than the runs are: pairing removes that."""
    rng = np.random.default_rng(5)
    first = rng.random(100)
    second = first + rng.normal(0.02, 0.02, 100)
    result = compare(mean('m', first), mean('m', second))
    assert result.p_value < 0.002 and result.low > 0
    one, other = (figures([mean('m', values)])[0] for values in (first, second))
    assert one.high > other.low


def test_p_values_of_runs_without_a_difference_are_spread_evenly() -> None:
    rng = np.random.default_rng(6)
    p_values = [
        compare(mean('m', rng.random(30)), mean('m', rng.random(30)), rounds=199).p_value
        for _ in range(300)]
    assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.09
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.06)


def test_no_difference_is_beyond_chance() -> None:
    """Of 100 exchanges none is as different as the runs: the runs themselves are the 101st."""
    result = compare(mean('m', np.zeros(50)), mean('m', np.ones(50)), rounds=100)
    assert result.p_value == pytest.approx(1 / 101)


def test_medians_are_compared_too() -> None:
    slow, fast = (Quantile('ms', np.arange(40.0) + offset, 0.5) for offset in (8, 0))
    result = compare(slow, fast)
    assert (result.difference, result.low, result.high) == (-8, -8, -8)
    assert result.p_value < 0.05


def test_only_pairs_are_compared() -> None:
    with pytest.raises(ValueError, match='no pair'):
        compare(mean('a', [1]), mean('b', [1]))
    with pytest.raises(ValueError, match='no pair'):
        compare(mean('a', [1]), mean('a', [1, 2]))
    assert compare(mean('a', [None]), mean('a', [1])).p_value is None
