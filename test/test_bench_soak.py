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


def run(mb_per_h: float) -> list[tuple[float, int]]:
    """A sample every two seconds after a warm-up; answers take 30 MB, in some minutes all the time.
    """
    dice = np.random.default_rng(0)
    busy = dice.random(MINUTES) < 0.3
    return [(t, int(1e6 * (300 + mb_per_h * t / 3600 - 80 * np.exp(-t / 120)
                           + 30 * (busy[int(t // 60)] or dice.random() < 0.5)
                           + dice.normal(0, 0.05))))
            for t in np.arange(0, 60 * MINUTES, 2.0)]


@pytest.mark.parametrize('mb_per_h', [0.0, 0.5, 2.0, 50.0])
def test_the_bound_lies_closely_above_the_growth(mb_per_h: float) -> None:
    least = bench_soak.least_mb(run(mb_per_h))
    assert len(least) == MINUTES
    bound = bench_soak.slope_bound(least)
    assert mb_per_h - 0.1 <= bound < 1.1 * mb_per_h + 0.4


def test_too_few_minutes_say_nothing() -> None:
    assert bench_soak.slope_bound(bench_soak.least_mb(run(0.0)[:300])) is None
    assert bench_soak.slope_bound([]) is None
