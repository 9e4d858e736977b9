"""From rewards to advantages: by group, by batch, or by the usual spread of the task.

Rewards are (G, K): G prompts, K rollouts each. NaN is a rollout without a reward: it takes no part,
and its advantage is 0.
"""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

SCALES = ('group', 'batch', 'none')
# Added to a deviation before it divides, as in the published training.
EPSILON = 1e-6


def group_advantages(rewards: np.ndarray, scale: str = 'group') -> np.ndarray:
    """Centre every group at its mean and divide by a deviation.

    Deviations are those of samples (n - 1), as PyTorch's are.
    Source: GRPO (Shao et al., 2024, equation 4); VisionReasoner trains with 'group', Dr. GRPO with
    'none'.

    :param rewards: (G, K).
    :param scale: 'group' divides by the deviation of each group, 'batch' by that of all rewards,
        'none' by nothing.
    :return: (G, K); 0 for a group whose rewards are all the same.
    :raises ValueError: the shape or the scale is wrong.
    """
    centred = _centred(rewards)
    if scale == 'none':
        return centred
    if scale == 'batch':
        return centred / (_deviation(np.asarray(rewards, float).reshape(1, -1)) + EPSILON)
    if scale != 'group':
        raise ValueError(f'scale is {scale!r}, not one of {", ".join(SCALES)}')
    return centred / (_deviation(np.asarray(rewards, float)) + EPSILON)


@dataclass(frozen=True)
class TaskScales:
    """The usual spread of the rewards of each task: a moving average of their deviation.

    Source: EMA-GRPO (OneThinker, CVPR 2026).

    :param decay: share of the old value that an update keeps.
    :param floor: no task is divided by less.
    :param largest: a group in which a scaled advantage is beyond it falls back to its own spread.
    :param deviations: by task.
    """

    decay: float = 0.99
    floor: float = 1e-3
    largest: float = 5.0
    deviations: Mapping[str, float] = field(default_factory=dict)

    def updated(self, rewards: np.ndarray, tasks: Sequence[str]) -> TaskScales:
        """Take in a batch; the first one of a task whose rewards differ sets its value.

        :param rewards: (G, K).
        :param tasks: (G) names.
        """
        known = dict(self.deviations)
        rewards = _matrix(rewards)
        for task in dict.fromkeys(tasks):
            rows = rewards[[name == task for name in tasks]]
            values = rows[np.isfinite(rows)]
            if values.size:
                now = float(values.std())
                if task not in known and now <= self.floor:
                    continue
                old = known.get(task, now)
                known[task] = self.decay * old + (1 - self.decay) * now
        return TaskScales(self.decay, self.floor, self.largest, known)

    def of(self, task: str) -> float:
        """Give what a task's advantages are divided by."""
        return max(self.floor, self.deviations.get(task, self.floor))


def ema_advantages(
    rewards: np.ndarray, tasks: Sequence[str], scales: TaskScales
) -> tuple[np.ndarray, TaskScales]:
    """Centre every group at its mean and divide by the usual spread of its task.

    Tasks whose rewards spread little are not drowned by others, and a group that happens to spread
    little is not blown up. The batch counts before it is scaled.

    :param rewards: (G, K).
    :param tasks: (G) names.
    :return: (G, K) advantages, and the scales for the next batch.
    :raises ValueError: there is not one task per group.
    """
    rewards = _matrix(rewards)
    if len(tasks) != len(rewards):
        raise ValueError(f'{len(tasks)} tasks for {len(rewards)} groups')
    scales = scales.updated(rewards, tasks)
    centred = _centred(rewards)
    divisors = np.array([scales.of(task) for task in tasks])[:, None]
    advantages = centred / divisors
    wild = np.abs(advantages).max(axis=1, initial=0) > scales.largest
    own = centred / (_deviation(rewards) + EPSILON)
    return np.where(wild[:, None], own, advantages), scales


def with_truth(
    rewards: np.ndarray, truth: np.ndarray, *, smooth: bool = True
) -> np.ndarray:
    """Put the ground truth into each group as one more rollout.

    Source: ViSurf (arXiv 2510.10606). Its other two controls are in
    :func:`~.truth_rollout.truth_response`: the truth is written as the model writes, and without
    thinking, so that it earns no reward for that.

    :param rewards: (G, K) of the rollouts.
    :param truth: (G,) of the truth, scored as a rollout is.
    :param smooth: where a rollout is as good as the truth, the truth gets the mean of the group, so
        that its advantage is 0 and the model goes on from its own answers.
    :return: (G, K + 1), the truth last.
    """
    rewards, truth = _matrix(rewards), np.asarray(truth, float)
    if truth.shape != (len(rewards),):
        raise ValueError(f'{truth.shape} truths for {len(rewards)} groups')
    if smooth:
        known = np.isfinite(rewards)
        best = np.where(known, rewards, -math.inf).max(axis=1, initial=-math.inf)
        means = np.where(known, rewards, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        truth = np.where(best >= truth, means, truth)
    return np.column_stack((rewards, truth))


def _matrix(rewards: np.ndarray) -> np.ndarray:
    rewards = np.asarray(rewards, float)
    if rewards.ndim != 2:
        raise ValueError(f'rewards are (groups, rollouts), not {rewards.shape}')
    return rewards


def _centred(rewards: np.ndarray) -> np.ndarray:
    """Subtract each group's mean; 0 where there is no reward."""
    rewards = _matrix(rewards)
    known = np.isfinite(rewards)
    means = np.where(known, rewards, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(known, rewards - means[:, None], 0.0)


def _deviation(rewards: np.ndarray) -> np.ndarray:
    """(G, 1) deviation of samples, 0 for fewer than two."""
    known = np.isfinite(rewards)
    centred, number = _centred(rewards), known.sum(axis=1)
    return np.sqrt((centred ** 2).sum(axis=1) / np.maximum(number - 1, 1))[:, None]
