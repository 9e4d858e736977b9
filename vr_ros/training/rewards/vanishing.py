"""Groups of rollouts that teach nothing: all of the same reward, so that every advantage is 0.

Source: PeBR-R1 (vanishing advantages), DAPO (dynamic sampling).
"""
from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

# Rewards nearer than this are the same.
SAME = 1e-6


@dataclass(frozen=True)
class Vanishing:
    """How many groups of a batch teach nothing.

    :param groups: with at least two rewards.
    :param vanished: of these, with all rewards the same.
    :param all_right: of these, with all answers correct; :param all_wrong: with none.
    """

    groups: int
    vanished: int
    all_right: int
    all_wrong: int

    @property
    def share(self) -> float:
        """Share of the groups that teach nothing, 0 to 1; 0 without groups."""
        return self.vanished / self.groups if self.groups else 0.0


def has_signal(rewards: np.ndarray) -> np.ndarray:
    """Tell which groups teach something: at least two of their rewards differ.

    :param rewards: (G, K); NaN where there is none.
    :return: (G,) bool; a trainer may leave the others out, or sample again (DAPO).
    """
    rewards = np.asarray(rewards, float)
    known = np.isfinite(rewards)
    most = np.where(known, rewards, -np.inf).max(axis=1, initial=-np.inf)
    least = np.where(known, rewards, np.inf).min(axis=1, initial=np.inf)
    return most - least > SAME


def vanishing(rewards: np.ndarray, correct: np.ndarray) -> Vanishing:
    """Count the groups of a batch that teach nothing.

    :param rewards: (G, K); NaN where there is none.
    :param correct: (G, K) bool, by the verifiers' own rules.
    """
    rewards, correct = np.asarray(rewards, float), np.asarray(correct, bool)
    known = np.isfinite(rewards)
    counted = known.sum(axis=1) >= 2
    vanished = counted & ~has_signal(rewards)
    all_right, all_wrong = (correct | ~known).all(axis=1), ~(correct & known).any(axis=1)
    return Vanishing(int(counted.sum()), int(vanished.sum()), int((vanished & all_right).sum()),
                     int((vanished & all_wrong).sum()))


class VanishingMonitor:
    """Watch the share of groups that teach nothing over the last steps of a training."""

    def __init__(self, steps: int = 20, most: float = 0.5) -> None:
        """Set the limits.

        :param steps: so many are looked at.
        :param most: share of groups without a signal, over these, from which on it is said so.
        """
        self._recent: deque[Vanishing] = deque(maxlen=steps)
        self._most = most

    def add(self, rewards: np.ndarray, correct: np.ndarray) -> Vanishing:
        """Take in a step; see :func:`vanishing`."""
        found = vanishing(rewards, correct)
        self._recent.append(found)
        return found

    @property
    def share(self) -> float:
        """Share of groups without a signal over the last steps, 0 to 1."""
        groups = sum(step.groups for step in self._recent)
        return sum(step.vanished for step in self._recent) / groups if groups else 0.0

    @property
    def warning(self) -> str:
        """One line that says what to do; empty while all is well or too few steps are known."""
        if len(self._recent) < (self._recent.maxlen or 1) or self.share < self._most:
            return ''
        right, wrong = (sum(getattr(step, name) for step in self._recent)
                        for name in ('all_right', 'all_wrong'))
        advice = ('sample harder rows' if right > wrong else
                  'sample easier rows, or reward perception first' if wrong > right else
                  'use a reward that is graded')
        return (f'{self.share:.0%} of the groups of the last {len(self._recent)} steps teach '
                f'nothing ({right} all right, {wrong} all wrong): {advice}')
