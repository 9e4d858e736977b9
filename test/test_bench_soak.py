"""The soak tells growth from what comes and goes."""
from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / 'benchmarks'))
bench_soak = importlib.import_module('bench_soak')
MINUTES = 60


def run(mb_per_h: float, seed: int = 0) -> list[tuple[float, int]]:
    """A sample every two seconds, half of them while an answer takes 30 MB, after a warm-up."""
    dice = np.random.default_rng(seed)
    return [(t, int(1e6 * (300 + mb_per_h * t / 3600 - 80 * np.exp(-t / 120)
                           + 30 * (dice.random() < 0.5) + dice.normal(0, 0.05))))
            for t in np.arange(0, 60 * MINUTES, 2.0)]


@pytest.mark.parametrize('mb_per_h', [0.0, 0.5, 2.0, 50.0])
def test_the_bound_lies_closely_above_the_growth(mb_per_h: float) -> None:
    least = bench_soak.least_of_each_minute(run(mb_per_h))
    assert len(least) == MINUTES
    bound = bench_soak.slope_bound(least)
    assert mb_per_h <= bound < mb_per_h + 0.3


def test_too_few_minutes_say_nothing() -> None:
    assert bench_soak.slope_bound(bench_soak.least_of_each_minute(run(0.0)[:120])) is None
    assert bench_soak.slope_bound([]) is None
