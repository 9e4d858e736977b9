"""Stages as data: difficulty, the two curricula that come along, and definitions that are wrong."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vr_ros.training.rewards.registry import default_registry
from vr_ros.training.rewards.samples import Sample
from vr_ros.training.rewards.scoring import Scorer
from vr_ros.training.rewards.stages import (
    CurriculumError,
    Difficulty,
    curriculum_from,
    curriculum_names,
    difficulties,
    load_curriculum,
    rows_by_stage,
    teachable,
)
from vr_ros.training.rewards.verifier import Rollout

BOXES = [{'bbox_2d': [100, 100, 200, 200], 'point_2d': [150, 150]}]
RESPONSE = ('### Image Description: A red mug.\n### Rationales: Because.\n### Step 1: Look.\n'
            '### The final answer is: 3')


@pytest.mark.parametrize(('right', 'difficulty'), [
    (8, Difficulty.EASY), (7, Difficulty.MEDIUM), (1, Difficulty.MEDIUM), (0, Difficulty.HARD),
])
def test_difficulty_is_told_by_how_many_are_right(right, difficulty) -> None:
    correct = np.random.default_rng(0).permutation([True] * right + [False] * (8 - right))
    assert difficulties(correct[None]) == [difficulty]


@pytest.mark.parametrize('shape', [(3,), (3, 0)])
def test_difficulty_takes_responses(shape) -> None:
    with pytest.raises(ValueError):
        difficulties(np.ones(shape, bool))


def test_teachable_rows_are_neither_lost_nor_won() -> None:
    rewards = np.array([[0.125] * 16, [0.12] * 16, [0.625] * 16, [0.63] * 16])
    assert teachable(rewards, 2, 10).tolist() == [True, False, True, False]


def test_the_curricula_that_come_along() -> None:
    assert curriculum_names() == ('boxes_first', 'pebr_r1')
    for name in curriculum_names():
        curriculum = load_curriculum(name)
        assert curriculum.name == name and curriculum.rollouts == 8
        for difficulty in Difficulty:
            assert len(curriculum.stages_of(difficulty)) == 1


def test_pebr_r1_rewards_perception_then_reasoning() -> None:
    """The published sums: 0.4, 0.4, 0.1 and 0.1; then 0.9 and 0.1."""
    row = Sample('mixture', '3', 'chart', '7', {
        'keywords': ['mug', 'bowl'], 'answer': {'verifier': 'counting'}})
    rows = rows_by_stage(load_curriculum('pebr_r1'), [row] * 3,
                         np.array([[1] * 8, [1] * 7 + [0], [0] * 8], bool))
    assert [len(rows[name]) for name in ('warm_up', 'perception', 'reasoning')] == [1, 1, 1]
    assert rows['warm_up'] == [row]
    scorer = Scorer(default_registry(lambda sample, text: 0.2))
    perception = scorer.score(Rollout(RESPONSE, rows['perception'][0], tokens=1024))
    assert perception.final == pytest.approx(0.4 * 0.5 + 0.4 * 0.5 + 0.1 * 1 + 0.1 * 0.5)
    reasoning = rows['reasoning'][0]
    assert reasoning.parameters['answer'] == {'verifier': 'mathverify'}
    assert (reasoning.accuracy_ratio, reasoning.format_ratio) == (0.9, 0.1)
    # The parameters of another verifier mean nothing to the mixture.
    other = load_curriculum('pebr_r1').stages[2].of(Sample('counting', '3', '', '', {'partial': 0}))
    assert other.verifier == 'mixture' and 'partial' not in other.parameters


def test_boxes_first_rewards_boxes_then_the_rows_own_answers() -> None:
    row = Sample('counting', '1', 'table', '7', {'partial': 0.0})
    with_boxes = Sample('mixture', '1', 'table', '8', {
        'parts': {'answer': 1}, 'answer': {'verifier': 'counting'}, 'objects': BOXES})
    rows = rows_by_stage(load_curriculum('boxes_first'), [row, with_boxes],
                         np.array([[1] * 7 + [0], [1] * 8], bool))
    assert rows['reasoning'] == [row]                                 # as it is
    response = f'<think>a</think><answer>{json.dumps(BOXES)}</answer>'
    reward = Scorer().score(Rollout(response, rows['perception'][0], tokens=100))
    assert reward.final == 1 and reward.parts == {'objects': 1, 'length': 1}
    assert Scorer().score(Rollout(response, with_boxes)).final == 1   # its list is counted


def test_boxes_first_leaves_rows_without_boxes_their_own_reward() -> None:
    question = Sample('exact', 'red', 'table', '9')
    boxed = Sample('visionreasoner', json.dumps(BOXES), 'table', '10')
    stage = next(s for s in load_curriculum('boxes_first').stages if s.name == 'perception')
    assert stage.of(question) == question
    assert stage.of(boxed).verifier == 'mixture' and stage.of(boxed).accuracy_ratio == 0.9


def test_rows_and_responses_have_to_fit() -> None:
    with pytest.raises(ValueError, match='wants 8 responses for each of 1 rows'):
        rows_by_stage(load_curriculum('pebr_r1'), [Sample('exact', 'a')], np.ones((1, 4), bool))


GOOD: dict[str, Any] = {'name': 'mine', 'rollouts': 4, 'stages': [
    {'name': 'one', 'kind': 'reward', 'rows': ['easy', 'medium']}]}


def changed(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


def stage(**changes: Any) -> dict[str, Any]:
    return changed(stages=[{**GOOD['stages'][0], **changes}])


@pytest.mark.parametrize(('content', 'message'), [
    ([], 'a curriculum is a JSON object'),
    ({'name': 'x'}, 'has no rollouts, stages'),
    (changed(rollout=4), 'has no "rollout"; did you mean "rollouts"'),
    (changed(rollouts=1), 'at least 2 rollouts'),
    (changed(rollouts='4'), "rollouts is '4', of the wrong type"),
    (changed(stages=[]), 'has stages'),
    (changed(stages=GOOD['stages'] * 2), 'a name of its own'),
    (changed(stages=[5]), 'a stage is a JSON object'),
    (stage(kind='rewarded'), 'stage "one": kind is one of supervised, reward'),
    (stage(rows=['eazy']), "stage \"one\": 'eazy' is not a valid Difficulty"),
    (stage(epochs=0), 'epochs are at least 1'),
    (stage(epochs=True), 'epochs is True'),
    (stage(format_ratio=-1), 'stage "one": .*format_ratio is -1'),
    (stage(parameter={}), 'did you mean "parameters"'),
])
def test_wrong_definitions_are_named(content, message) -> None:
    with pytest.raises(CurriculumError, match=message):
        curriculum_from(content)


def test_a_curriculum_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / 'mine.json'
    path.write_text(json.dumps(GOOD), encoding='utf-8')
    assert load_curriculum(str(path)).stages_of(Difficulty.HARD) == ()
    path.write_text('{', encoding='utf-8')
    with pytest.raises(CurriculumError, match='mine.json'):
        load_curriculum(str(path))
    with pytest.raises(CurriculumError, match='did you mean "pebr_r1"'):
        load_curriculum('pebr')
    with pytest.raises(CurriculumError):
        load_curriculum(str(tmp_path / 'none.json'))
