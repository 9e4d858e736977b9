"""Which reward the rows get: an option of the command, so that an ablation is one option."""
from __future__ import annotations

from dataclasses import dataclass, replace

from vr_ros.training.rewards.samples import Sample
from vr_ros.training.rewards.scoring import Failure, Outcome
from vr_ros.training.rewards.stages import Stage
from vr_ros.training.rewards.unified import FULL_ACCURACY

# 'rows': as each row says.
REWARDS = ('rows', 'unified', 'reference', 'dynamic-iou')
_OBJECTS = 'visionreasoner'
# Of thinking and answer, without the part against repetition.
_FULL_FORMAT = 3.0


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
                sample, verifier='detection',
                parameters={'iou_threshold': 'dynamic', 'with_labels': False},
                accuracy_ratio=None, format_ratio=None)
        elif sample.verifier == _OBJECTS and self.reward != 'rows':
            sample = replace(sample, parameters={**sample.parameters, 'mode': self.reward})
        return self.stage.of(sample) if self.stage else sample

    def outcome(self, outcome: Outcome, sample: Sample) -> Outcome:
        """Give a reward as this run counts it: without non-repetition, out of 6 in place of 7.

        :param sample: that was scored; its own weights hold.
        """
        if self.non_repetition or isinstance(outcome, Failure) or outcome.verifier != _OBJECTS:
            return outcome
        parts = outcome.parts
        form = (parts['think_format'] + parts['answer_format']) / _FULL_FORMAT
        accuracy, format_ = (
            usual if ratio is None else ratio for usual, ratio in (
                (FULL_ACCURACY, sample.accuracy_ratio), (_FULL_FORMAT, sample.format_ratio)))
        final = (accuracy * outcome.accuracy + format_ * form) / (accuracy + format_)
        return replace(outcome, final=final)
