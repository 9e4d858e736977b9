"""From responses to rewards in this process: one failure is named, and stops nothing else."""
from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

from vr_ros.core.mathematics import MathVerifyMissingError
from vr_ros.training.rewards.registry import Registry, default_registry
from vr_ros.training.rewards.samples import Sample, SampleError
from vr_ros.training.rewards.verifier import (
    Judge,
    Judgement,
    Rollout,
    Verifier,
    VerifierError,
    final_reward,
)

# Truths that are kept read: more than the prompts of a batch.
KEPT_SAMPLES = 4096
# So much beside 0 or 1 is a sum of weights.
ROUNDING = 1e-9


class RewardError(RuntimeError):
    """At least one response could not be scored; the message names the samples."""


@dataclass(frozen=True)
class Reward:
    """What one response is worth.

    :param final: 0 to 1, accuracy and format weighed.
    :param parts: of the verifier, each with a range of its own.
    """

    final: float
    accuracy: float
    format: float
    is_correct: bool
    verifier: str
    data_source: str = ''
    id: str = ''
    parts: Mapping[str, float] = field(default_factory=dict)

    def as_columns(self, part_names: Iterable[str]) -> dict[str, float]:
        """Give all figures by name, NaN for parts of other verifiers: the same keys for all."""
        return {
            'final': self.final, 'accuracy': self.accuracy, 'format': self.format,
            'correct': float(self.is_correct),
            **{name: self.parts.get(name, math.nan) for name in part_names},
        }


@dataclass(frozen=True)
class Failure:
    """Why a response has no reward; never a reward of 0.

    :param id: of the sample.
    :param reason: one line.
    """

    id: str
    data_source: str
    reason: str


Outcome = Reward | Failure


class Scorer:
    """Score responses in this process.

    Truths are read once and kept, so that the rollouts of a prompt share them.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        self.registry = registry or default_registry()
        self._prepared: OrderedDict[str, tuple[Verifier, Judge, float, float]] = OrderedDict()

    def score(self, rollout: Rollout) -> Reward:
        """Score one response.

        :raises SampleError: the sample cannot be scored, whatever the response.
        :raises VerifierError: the verifier failed, for a reason that is not in the response.
        """
        sample = rollout.sample
        verifier, judge, accuracy_ratio, format_ratio = self._prepare(sample)
        try:
            judgement = judge(rollout)
        except MathVerifyMissingError as error:
            raise VerifierError(f'{sample.title}: {error}') from error
        judgement = _checked(judgement, verifier, sample)
        return Reward(
            final_reward(judgement, accuracy_ratio, format_ratio), judgement.accuracy,
            judgement.format, judgement.is_correct, verifier.name, sample.data_source, sample.id,
            judgement.parts)

    def check(self, sample: Sample) -> None:
        """Find out before the training whether a sample can be scored.

        :raises SampleError: it cannot.
        """
        self._prepare(sample)

    def score_all(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """Score responses in order; those that cannot be scored give a Failure each."""
        outcomes: list[Outcome] = []
        for rollout in rollouts:
            try:
                outcomes.append(self.score(rollout))
            except (SampleError, VerifierError) as error:
                outcomes.append(failure_of(rollout.sample, str(error)))
            except Exception as error:   # a mistake in a verifier costs this reward, not the batch
                outcomes.append(failure_of(rollout.sample, f'{rollout.sample.title}: {error!r}'))
        return outcomes

    def _prepare(self, sample: Sample) -> tuple[Verifier, Judge, float, float]:
        prepared = self._prepared.get(sample.key)
        if prepared is not None:
            self._prepared.move_to_end(sample.key)
            return prepared
        verifier = self.registry.find(sample.verifier)
        accuracy_ratio, format_ratio = (
            default if given is None else given for given, default in (
                (sample.accuracy_ratio, verifier.accuracy_ratio),
                (sample.format_ratio, verifier.format_ratio)))
        if accuracy_ratio + format_ratio <= 0:
            raise SampleError(f'{sample.title}: accuracy and format both weigh nothing')
        prepared = verifier, verifier.prepare(sample), accuracy_ratio, format_ratio
        self._prepared[sample.key] = prepared
        if len(self._prepared) > KEPT_SAMPLES:
            self._prepared.popitem(last=False)
        return prepared


def rewards_or_raise(outcomes: Sequence[Outcome]) -> list[Reward]:
    """Give the rewards if there are no failures.

    :raises RewardError: there are; it names the first three and says how many.
    """
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    if failures:
        named = '; '.join(failure.reason for failure in failures[:3])
        raise RewardError(f'{len(failures)} of {len(outcomes)} responses have no reward: {named}')
    return [outcome for outcome in outcomes if isinstance(outcome, Reward)]


def _checked(judgement: Any, verifier: Verifier, sample: Sample) -> Judgement:
    """Make sure that a verifier, perhaps of one's own, keeps to what a Judgement is.

    :raises VerifierError: it does not.
    """
    if not isinstance(judgement, Judgement):
        raise VerifierError(
            f'{sample.title}: {verifier.name}: it gave {judgement!r:.80}, no Judgement')
    # As nearly all are, so that nothing is to be made anew.
    if (type(judgement.accuracy) is type(judgement.format) is float
            and type(judgement.is_correct) is bool
            and 0 <= judgement.accuracy <= 1 and 0 <= judgement.format <= 1):
        return judgement
    values = {}
    for name in ('accuracy', 'format'):
        value = getattr(judgement, name)
        # Also NaN is not within.
        if not (isinstance(value, Real) and -ROUNDING <= value <= 1 + ROUNDING):
            raise VerifierError(f'{sample.title}: {verifier.name}: its {name} is {value!r:.80},'
                                ' not a number from 0 to 1')
        values[name] = min(1.0, max(0.0, float(value)))
    return replace(judgement, is_correct=bool(judgement.is_correct), **values)


def failure_of(sample: Sample, reason: str) -> Failure:
    """Make a failure whose reason is one line that names the sample."""
    line = ' '.join(reason.split())
    return Failure(sample.id, sample.data_source,
                   line if sample.title in line or not sample.id else f'{sample.title}: {line}')
