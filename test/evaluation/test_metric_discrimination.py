"""AUROC against every pair of objects, counted one by one."""
from __future__ import annotations

import numpy as np
import pytest

from vr_ros.evaluation.metrics.calibration import Confidences
from vr_ros.evaluation.metrics.discrimination import Discrimination
from vr_ros.evaluation.metrics.figures import figures


def sample(*pairs: tuple[float, bool]) -> Confidences:
    return Confidences(np.array([score for score, _ in pairs], float),
                       np.array([right for _, right in pairs], bool))


def value(*known: Confidences | None) -> float:
    return float(Discrimination(known).values(np.ones((1, len(known))))[0])


@pytest.mark.parametrize(('known', 'expected'), [
    ([sample((0.9, True), (0.1, False))], 1.0),
    ([sample((0.1, True), (0.9, False))], 0.0),
    ([sample((0.5, True), (0.5, False))], 0.5),                          # equal
    ([sample((0.9, True)), None, sample((0.2, False), (0.95, False))], 0.5),  # across samples
    ([sample((0.9, True))], np.nan),                                     # nothing wrong
    ([sample((0.9, False))], np.nan),                                    # nothing right
    ([sample()], np.nan),
    ([], np.nan),
])
def test_small_cases(known, expected):
    assert value(*known) == pytest.approx(expected, nan_ok=True)


def made_up(seed: int, samples: int = 40) -> list[Confidences]:
    rng = np.random.default_rng(seed)
    return [Confidences(np.round(rng.random(n), 1), rng.random(n) < 0.6)
            for n in rng.integers(0, 5, samples)]


def pairs_won(known: list[Confidences], weights: np.ndarray) -> float:
    won = total = 0.0
    for one, weight in zip(known, weights, strict=True):
        for score in one.scores[one.right]:
            for other, other_weight in zip(known, weights, strict=True):
                for wrong in other.scores[~other.right]:
                    won += weight * other_weight * ((score > wrong) + (score == wrong) / 2)
                    total += weight * other_weight
    return won / total


@pytest.mark.parametrize('seed', range(3))
def test_every_pair_counted(seed):
    known = made_up(seed)
    weights = np.random.default_rng(seed).integers(0, 4, (2, len(known))).astype(float)
    found = Discrimination(tuple(known)).values(weights)
    assert found == pytest.approx([pairs_won(known, row) for row in weights])


def test_two_runs_joined_are_the_samples_of_both():
    first, second = made_up(1), made_up(2)
    both = Discrimination(tuple(first)).joined(Discrimination(tuple(second)))
    assert float(both.values(np.ones((1, 80)))[0]) == pytest.approx(value(*first, *second))
    assert both.samples == 80
    assert both.of == sum(len(one.scores) for one in first + second)


def test_it_gets_an_interval():
    (figure,) = figures([Discrimination(tuple(made_up(3, 200)))], rounds=200)
    assert figure.low < figure.value < figure.high
    assert (figure.name, figure.better) == ('AUROC', 'higher')
