"""The reward function that TRL calls: this project's rewards, with metrics for each source."""
from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from vr_ros.training.rewards.samples import Sample, sample_from_json
from vr_ros.training.rewards.scoring import Reward, Scorer, rewards_or_raise
from vr_ros.training.rewards.source_metrics import source_metrics
from vr_ros.training.rewards.verifier import Rollout
from vr_ros.training.trainers.grpo.choice import RewardChoice


class State(Protocol):
    """How far a training is, as TRL says it."""

    global_step: int
    max_steps: int


class RewardFunction:
    """Scores the responses of a step.

    What has no reward stops the training with the names of the rows: a failure that counted as 0
    would be learnt from.

    :param longest: tokens at which a response is cut off.
    :param ends: token ids that end a response.

    ``sources`` are all data sources, known once the rows are read; ``latest`` are the rewards of
    the latest call. While ``is_examination``, a reward that changes with the training is that of
    its end: otherwise it, not the model, would choose the best checkpoint.
    """

    # TRL names its metric by it.
    __name__ = 'reward'

    def __init__(
        self, choice: RewardChoice, longest: int, ends: Collection[int],
        scorer: Scorer | None = None,
    ) -> None:
        self._choice, self._longest, self._ends = choice, longest, frozenset(ends)
        self._scorer = scorer or Scorer()
        self.sources: Sequence[str] = ()
        self.is_examination = False
        self.latest: list[Reward] = []

    def prepare(self, sample: Sample) -> Sample:
        """Give a row's sample as this run rewards it.

        :raises SampleError: it cannot be scored, whatever the response.
        """
        chosen = self._choice.sample(sample)
        self._scorer.check(chosen)
        return chosen

    def __call__(
        self, *, completions: Sequence[Any], completion_ids: Sequence[Sequence[int]],
        reward_spec: Sequence[str], trainer_state: State,
        log_metric: Callable[[str, float], None], **_: Any,
    ) -> list[float]:
        """Score responses, and log what each source's are like.

        :param completions: of each a chat of one message, as TRL gives them.
        :param completion_ids: their tokens.
        :param reward_spec: of each its sample as JSON.
        :return: rewards, 0 to 1.
        :raises RewardError: one of them has none.
        """
        progress = (None if self.is_examination
                    else trainer_state.global_step / max(trainer_state.max_steps, 1))
        rollouts = [
            Rollout(response_of(completion), sample_from_json(spec), progress, len(ids),
                    len(ids) >= self._longest and ids[-1] not in self._ends)
            for completion, ids, spec in zip(completions, completion_ids, reward_spec, strict=True)]
        outcomes = [self._choice.outcome(outcome, rollout.sample) for rollout, outcome in zip(
            rollouts, self._scorer.score_all(rollouts), strict=True)]
        for name, value in source_metrics(rollouts, outcomes, sources=self.sources).items():
            # TRL averages over the processes that name a metric: NaN from one that has no row of
            # the source would take the others' value away.
            if not math.isnan(value):
                log_metric(name, value)
        self.latest = rewards_or_raise(outcomes)
        return [reward.final for reward in self.latest]


def response_of(completion: Any) -> str:
    """Give the text of a response: a text, or a chat that ends with it."""
    return completion if isinstance(completion, str) else completion[-1]['content']
