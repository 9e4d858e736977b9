"""Which reward the rows get: an option of the command, so that an ablation is one option."""
from __future__ import annotations

import json
from dataclasses import dataclass, replace

from vr_ros.training.rewards.samples import Sample
from vr_ros.training.rewards.scoring import Failure, Outcome
from vr_ros.training.rewards.stages import Stage

# 'rows': as each row says.
REWARDS = ('rows', 'unified', 'reference', 'dynamic-iou')
_OBJECTS = 'visionreasoner'
_FULL_TOTAL = 7.0


@dataclass(frozen=True)
class RewardChoice:
    """How the reward of a run differs from what the rows say.

    :param reward: for rows with boxes: 'unified' or 'reference' takes that mode of the verifier
        ``visionreasoner``; 'dynamic-iou' takes ``detection`` with its rising threshold in its
        place; 'rows' changes nothing.
    :param non_repetition: False leaves that part out of the rewards of ``visionreasoner``.
    :param stage: of a curriculum, whose verifier and weights take the place of the rows'.
    """

    reward: str = 'rows'
    non_repetition: bool = True
    stage: Stage | None = None

    def sample(self, sample: Sample) -> Sample:
        """Give a row's sample as this run rewards it."""
        if sample.verifier == _OBJECTS and self.reward == 'dynamic-iou':
            sample = replace(
                sample, verifier='detection', parameters={'iou_threshold': 'dynamic'},
                ground_truth=_with_labels(sample.ground_truth),
                accuracy_ratio=None, format_ratio=None)
        elif sample.verifier == _OBJECTS and self.reward != 'rows':
            sample = replace(sample, parameters={**sample.parameters, 'mode': self.reward})
        return self.stage.of(sample) if self.stage else sample

    def outcome(self, outcome: Outcome) -> Outcome:
        """Give a reward as this run counts it: without non-repetition, out of 6 in place of 7."""
        if self.non_repetition or isinstance(outcome, Failure) or outcome.verifier != _OBJECTS:
            return outcome
        rest = outcome.parts['total'] - outcome.parts['non_repetition']
        return replace(outcome, final=rest / (_FULL_TOTAL - 1))


def _with_labels(truth: str) -> str:
    """Give every true object the label that a response without labels has: none."""
    return json.dumps([{'label': ''} | item for item in json.loads(truth)])
