"""The verifier ``visionreasoner``: boxes and points, in two modes: unified and as published.

Its accuracy is that of the reward divided by 3, its format the other three parts divided by 4; with
its own weights of 3 and 4 the final reward is the published total divided by 7.
"""
from __future__ import annotations

from vr_ros.training.rewards.matching import Tolerances
from vr_ros.training.rewards.reference import VisionReasonerReward, reference_reward
from vr_ros.training.rewards.samples import ParameterError, Sample, SampleError
from vr_ros.training.rewards.unified import (
    FULL_ACCURACY,
    REPORT_NAMES,
    ObjectScore,
    read_targets,
    score_objects,
    unified_reward,
)
from vr_ros.training.rewards.verifier import Judge, Judgement, Rollout, Verifier, parameters_of
from vr_ros.training.rewards.written_objects import TruthError, read_objects, read_truth

FULL_FORMAT = 4.0
MODES = ('unified', 'reference')
_DEFAULT = Tolerances()
PARAMETERS = {
    'mode': 'unified', 'box_tolerance': _DEFAULT.box, 'point_tolerance': _DEFAULT.point,
    'box_floor_px': _DEFAULT.box_floor_px, 'point_floor_px': _DEFAULT.point_floor_px,
}
PARTS = ('think_format', 'answer_format', 'box_accuracy', 'non_repetition', 'total', *REPORT_NAMES)


def prepare(sample: Sample) -> Judge:
    """Read the true objects; see :mod:`vr_ros.training.rewards.verifier`.

    Parameters: ``mode`` unified or reference; ``box_tolerance``, ``point_tolerance``,
    ``box_floor_px``, ``point_floor_px``, see :class:`~.matching.Tolerances`.
    """
    values = parameters_of(sample, PARAMETERS)
    mode = values.pop('mode')
    if mode not in MODES:
        raise ParameterError(f'{sample.title}: mode is {mode!r}, not one of {", ".join(MODES)}')
    if min(values.values()) < 0:
        raise ParameterError(f'{sample.title}: a tolerance is below 0')
    tolerances = Tolerances(values['box_tolerance'], values['point_tolerance'],
                            values['box_floor_px'], values['point_floor_px'])
    try:
        targets = read_targets(sample.ground_truth, tolerances)
        if mode == 'reference':
            read_truth(sample.ground_truth, needs_points=True)
    except TruthError as error:
        raise SampleError(f'{sample.title}: {error}') from error

    def judge(rollout: Rollout) -> Judgement:
        return _judgement(*unified_reward(rollout.response, targets))

    def judge_as_published(rollout: Rollout) -> Judgement:
        reward = reference_reward(rollout.response, sample.ground_truth)
        return _judgement(reward, score_objects(read_objects(rollout.response), targets))

    return judge if mode == 'unified' else judge_as_published


VISION_REASONER = Verifier('visionreasoner', prepare, PARTS, FULL_ACCURACY, FULL_FORMAT)


def _judgement(reward: VisionReasonerReward, score: ObjectScore) -> Judgement:
    form = reward.think_format + reward.answer_format + reward.non_repetition
    parts = {
        'think_format': reward.think_format, 'answer_format': reward.answer_format,
        'box_accuracy': reward.accuracy, 'non_repetition': reward.non_repetition,
        'total': reward.total, **score.report,
    }
    return Judgement(reward.accuracy / FULL_ACCURACY, form / FULL_FORMAT, score.is_right, parts)
