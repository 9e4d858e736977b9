"""The reward function that TRL calls, and how options change it: values by hand."""
from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rows_of_data import BOX, NOTHING, RIGHT

from vr_ros.training.rewards.samples import Sample, SampleError
from vr_ros.training.rewards.scoring import RewardError
from vr_ros.training.rewards.stages import load_curriculum
from vr_ros.training.trainers.grpo.choice import RewardChoice
from vr_ros.training.trainers.grpo.scoring import RewardFunction

ONE = Sample('visionreasoner', json.dumps([BOX]), 'lvis', 'one')
NONE = Sample('visionreasoner', '[]', 'lvis', 'none')
WORDS = Sample('exact', 'red', 'words', 'colour')
# IoU 0.9 with the truth; sentences that repeat.
NEAR = ('<think>It is there. It is there. It is there.</think><answer>'
        '[{"bbox_2d": [100, 100, 200, 190], "point_2d": [150, 150]}]</answer>')


def call(function: RewardFunction, answers: list[tuple[str, Sample]], step: int = 0,
         metrics: dict | None = None) -> list[float]:
    """Call as TRL 1.16 does: with keywords only, all columns, and chats of one message."""
    found = {} if metrics is None else metrics
    return function(
        prompts=[[]] * len(answers), image=[None] * len(answers),
        completions=[[{'role': 'assistant', 'content': text}] for text, _ in answers],
        completion_ids=[[1, 2, 9]] * len(answers),
        reward_spec=[function.prepare(sample).to_json() for _, sample in answers],
        trainer_state=SimpleNamespace(global_step=step, max_steps=100),
        log_extra=None, log_metric=found.__setitem__)


@pytest.mark.parametrize(('choice', 'answer', 'sample', 'expected'), [
    (RewardChoice(), RIGHT, ONE, 1.0),
    (RewardChoice(), NOTHING, NONE, 1.0),
    # As published, an empty list is worth its thinking format and its sentences alone: 2 of 7.
    (RewardChoice('reference'), NOTHING, NONE, 2 / 7),
    (RewardChoice('unified'), NOTHING, Sample(
        'visionreasoner', '[]', parameters={'mode': 'reference'}), 1.0),
    # 1 + 2 + (0.9 + 1 + 1) + 0 of 7: repeated, an IoU of 0.9, the other terms full.
    (RewardChoice(), NEAR, ONE, 5.9 / 7),
    (RewardChoice(non_repetition=False), NEAR, ONE, 5.9 / 6),
    (RewardChoice(non_repetition=False), RIGHT, ONE, 1.0),
    # A row's own weights hold: accuracy alone, 2.9 of 3.
    (RewardChoice(non_repetition=False), NEAR, replace(
        ONE, accuracy_ratio=1, format_ratio=0), 2.9 / 3),
    # Truths without labels, answers with or without.
    (RewardChoice('dynamic-iou'), RIGHT, ONE, 1.0),
    (RewardChoice('dynamic-iou'), RIGHT.replace('{"bbox', '{"label": "mug", "bbox'), ONE, 1.0),
    (RewardChoice(non_repetition=False), '<think>a</think><answer>red</answer>', WORDS, 1.0),
])
def test_rewards_by_choice(choice, answer, sample, expected) -> None:
    assert call(RewardFunction(choice, 50, [9]), [(answer, sample)]) == [pytest.approx(expected)]


@pytest.mark.parametrize(('step', 'expected'), [
    (10, (0.9 + 0.1) / 1.1),    # up to a tenth, an IoU of 0.85 is enough: accuracy is the IoU
    (11, 0.1 / 1.1),            # then 0.95 has to be reached: the format alone is left
])
def test_the_iou_threshold_rises_with_the_steps(step, expected) -> None:
    function = RewardFunction(RewardChoice('dynamic-iou'), 50, [9])
    assert call(function, [(NEAR, ONE)], step) == [pytest.approx(expected)]


def test_examinations_are_judged_as_at_the_end() -> None:
    function = RewardFunction(RewardChoice('dynamic-iou'), 50, [9])
    function.is_examination = True
    at_the_end = call(RewardFunction(RewardChoice('dynamic-iou'), 50, [9]), [(NEAR, ONE)], 100)
    assert call(function, [(NEAR, ONE)], step=0) == at_the_end == [pytest.approx(0.1 / 1.1)]


def test_a_stage_takes_the_place_of_the_rows_reward() -> None:
    stage = {one.name: one for one in load_curriculum('boxes_first').stages}['perception']
    sample = RewardFunction(RewardChoice(stage=stage), 50, [9]).prepare(ONE)
    assert (sample.verifier, sample.accuracy_ratio) == ('mixture', 0.9)


def test_a_row_that_cannot_be_scored_is_refused_before_the_training() -> None:
    pointless = Sample('visionreasoner', json.dumps([{'bbox_2d': [1, 2, 3, 4]}]), id='17')
    RewardFunction(RewardChoice(), 50, []).prepare(pointless)
    with pytest.raises(SampleError, match="'17'.*point_2d"):
        RewardFunction(RewardChoice('reference'), 50, []).prepare(pointless)


def test_a_failure_is_an_error_and_never_a_reward() -> None:
    function = RewardFunction(RewardChoice(), 50, [9])
    broken = ONE.to_json().replace('visionreasoner', 'nobody')
    with pytest.raises(RewardError, match='1 of 2 responses have no reward.*nobody'):
        function(
            completions=[RIGHT, RIGHT], completion_ids=[[1], [1]],
            reward_spec=[ONE.to_json(), broken], log_metric=lambda *_: None,
            trainer_state=SimpleNamespace(global_step=0, max_steps=1))


def test_metrics_of_every_source_that_is_there() -> None:
    function = RewardFunction(RewardChoice(), 3, [9])
    function.sources = ('lvis', 'words', 'far')
    metrics: dict[str, float] = {}
    call(function, [(RIGHT, ONE), (NOTHING, ONE), ('<answer>blue</answer>', WORDS)],
         metrics=metrics)
    assert metrics['rews_correct/lvis'] == 0.5
    assert metrics['rews_accuracy/words'] == 0
    # Three tokens are the limit, but all end as they should.
    assert metrics['response_length_lvis/length_clip_ratio'] == 0
    assert metrics['failures/words'] == 0
    assert all(value == value for value in metrics.values())   # not a number would spread
    assert not any(name.endswith('/far') for name in metrics)


def test_what_does_not_end_is_cut_off() -> None:
    function, metrics = RewardFunction(RewardChoice(), 3, [8]), {}
    call(function, [(RIGHT, ONE)], metrics=metrics)
    assert metrics['response_length_lvis/length_clip_ratio'] == 1
