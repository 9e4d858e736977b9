"""Stages as data: difficulty, the two curricula that come along, and definitions that are wrong."""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vr_ros.core.types import Size
from vr_ros.training.rewards.registry import default_registry
from vr_ros.training.rewards.samples import Sample, SampleError
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
from vr_ros.training.rewards.verifier import (
    Judge,
    Judgement,
    Rollout,
    Verifier,
    parameters_of,
)

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


def test_a_stage_with_another_verifier_takes_a_truth_in_thousandths_as_pixels() -> None:
    sample = Sample('detection', '[{"label": "mug", "bbox_2d": [500, 500, 1000, 1000]}]', id='7',
                    parameters={'det_verifier_normalized': True}, image_size=Size(400, 400))
    stages = {stage.name: stage for stage in load_curriculum('boxes_first').stages}
    perception = stages['perception']
    right = '<think>a</think><answer>[{"bbox_2d": [200, 200, 400, 400], "label": "mug"}]</answer>'
    for one in (sample, perception.of(sample)):
        assert Scorer().score(Rollout(right, one, tokens=50)).accuracy == pytest.approx(1)
    with pytest.raises(SampleError, match='needs the image size'):
        perception.of(replace(sample, image_size=None))


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


@pytest.mark.parametrize(('verifier', 'parameters', 'message'), [
    ('counting', {'partal': 0}, 'counting has no parameter "partal"; did you mean "partial"'),
    ('counting', {'partial': 'half'}, "partial is 'half', not of type float"),
    ('counting', {'partial': 1}, 'partial is 1, not from 0'),
    ('exact', {'case': True}, 'exact has no parameter "case"'),
    ('numeric', {'relative': -1}, 'a tolerance is below 0'),
    ('visionreasoner', {'mode': 'united'}, "mode is 'united'"),
    ('detection', {'iou_threshold': 2}, 'above 0 and at most 1'),
    ('detection', {'det_reward_ratio': {'mapp': 1}}, 'det_reward_ratio has no "mapp"'),
    ('mixture', {'parts': {'lenght': 1}}, 'parts has no "lenght"; did you mean "length"'),
    ('mixture', {'parts': {'length': 0}}, 'no part has a weight'),
    ('mixture', {'parts': {'length': 1}, 'most_tokens': 0}, 'most_tokens is not above 0'),
    ('mixture', {'parts': {'length': 1}, 'sections': [5]}, 'sections are titles'),
    # What a row lacks comes last: what is wrong for all rows is found in spite of it.
    ('mixture', {'parts': {'keywords': 1, 'answer': 1}, 'answer': {'verifier': 'numerik'}},
     'no verifier "numerik"; did you mean "numeric"'),
    ('mixture', {'parts': {'similarity': 1, 'answer': 1},
                 'answer': {'verifier': 'numeric', 'parameters': {'relativ': 1}}},
     'numeric has no parameter "relativ"'),
    ('mixture', {'parts': {'answer': 1}, 'answer': {'verifier': ['numeric']}}, 'answer names a'),
])
def test_wrong_parameters_of_a_stage_are_named_without_any_row(
        verifier, parameters, message) -> None:
    with pytest.raises(CurriculumError, match='^stage "one", parameters: ') as error:
        curriculum_from(stage(verifier=verifier, parameters=parameters))
    assert message in str(error.value) and 'sample' not in str(error.value)


@pytest.mark.parametrize('parameters', [
    {'parts': {'keywords': 1}}, {'parts': {'similarity': 1}}, {'parts': {'objects': 1}}, {},
    {'parts': {'answer': 1}}, {'parts': {'answer': 1}, 'answer': {'verifier': 'numeric'}},
])
def test_what_a_row_may_bring_is_not_asked_of_a_stage(parameters) -> None:
    [made] = curriculum_from(stage(verifier='mixture', parameters=parameters)).stages
    assert made.parameters == parameters


def test_a_stage_may_name_a_verifier_of_ones_own() -> None:
    def prepare(sample: Sample) -> Judge:
        strict = parameters_of(sample, {'strict': False})['strict']
        length = float(sample.ground_truth)   # not what a verifier should raise
        return lambda rollout: Judgement(float(len(rollout.response) == length), 1.0, strict)

    mine = default_registry().with_verifiers(Verifier('mine', prepare))
    own = stage(verifier='mine', instead_of=['mine'], parameters={'strict': True})
    assert curriculum_from(own, mine).stages[0].verifier == 'mine'
    with pytest.raises(CurriculumError, match='verifier: no verifier "mine"'):
        curriculum_from(own)
    with pytest.raises(CurriculumError, match='mine has no parameter "strickt"'):
        curriculum_from(stage(verifier='mine', parameters={'strickt': True}), mine)


@pytest.mark.parametrize('name', [
    '', '.', '..', '../victim', 'a/b', '/etc', 'a b', 'answers.jsonl', 'é', 'a\n', 'x' * 65, '~'])
def test_the_name_of_a_stage_is_that_of_a_folder_in_the_folder(name) -> None:
    with pytest.raises(CurriculumError, match='1 to 64 letters, digits, _ and -'):
        curriculum_from(stage(name=name))
    assert curriculum_from(stage(name='Step_1-b' * 8)).stages[0].name == 'Step_1-b' * 8


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
    (stage(format_ratio=-1), '^stage "one": format_ratio is -1, not a number from 0 on$'),
    (stage(accuracy_ratio=float('nan')), '^stage "one": accuracy_ratio is nan'),
    (stage(accuracy_ratio=0, format_ratio=0.0), 'stage "one": .* both weigh nothing'),
    (stage(rows=[]), 'stage "one": it takes no rows'),
    (stage(verifier='mixtur'), 'stage "one", verifier: no verifier "mixtur"; did you mean "mixtu'),
    (stage(instead_of=['exact', 'exakt']), 'stage "one", instead_of: no verifier "exakt"'),
    (stage(parameters={'partial': 0}), 'stage "one" has parameters, but names no verifier'),
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
