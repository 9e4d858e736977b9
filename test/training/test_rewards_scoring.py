"""Samples, registry and the way from a row to a reward."""
from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Size
from vr_ros.training.rewards import scoring
from vr_ros.training.rewards.masks import mask_verifier
from vr_ros.training.rewards.registry import Registry, default_registry
from vr_ros.training.rewards.samples import (
    Sample,
    SampleError,
    sample_from_json,
    sample_from_mapping,
    sample_from_row,
    sample_to_row,
)
from vr_ros.training.rewards.scoring import (
    Failure,
    Reward,
    RewardError,
    Scorer,
    rewards_or_raise,
)
from vr_ros.training.rewards.verifier import Judgement, Rollout, Verifier, VerifierError

BOXES = json.dumps([{'bbox_2d': [100, 100, 200, 200], 'point_2d': [150, 150], 'label': 'mug'}])
RIGHT = f'<think>a</think><answer>{BOXES}</answer>'
SAMPLES = {
    'visionreasoner': Sample('visionreasoner', BOXES, 'lvis', '1'),
    'reference': Sample('visionreasoner', BOXES, 'lvis', '2', {'mode': 'reference'}),
    'detection': Sample('detection', BOXES, 'coco', '3', {'iou_threshold': 'average'}),
    'exact': Sample('exact', 'red', 'vqa', '4'),
    'numeric': Sample('numeric', '5', 'chart', '5'),
    'edit_distance': Sample('edit_distance', 'EXIT', 'ocr', '6'),
    'counting': Sample('counting', '3', 'count', '7'),
    'mixture': Sample('mixture', '3', 'mixed', '8', {
        'parts': {'keywords': 1, 'objects': 1, 'answer': 2}, 'keywords': ['mug'],
        'objects': json.loads(BOXES), 'answer': {'verifier': 'counting'}}),
}


@pytest.mark.parametrize(('sample', 'response', 'final'), [
    (SAMPLES['visionreasoner'], RIGHT, 1.0),
    (SAMPLES['visionreasoner'], RIGHT.replace('<think>a</think>', ''), 6 / 7),     # total / 7
    (SAMPLES['reference'], RIGHT, 1.0),
    (SAMPLES['reference'], '<think>a</think><answer>[]</answer>', 2 / 7),
    (SAMPLES['detection'], RIGHT, 1.0),
    (SAMPLES['exact'], '<think>a</think><answer>red</answer>', 1.0),
    (SAMPLES['exact'], '<answer>red</answer>', (1 + 0.1 * 0.5) / 1.1),
    (Sample('exact', 'red', format_ratio=0), '<answer>red</answer>', 1.0),
    (Sample('exact', 'red', accuracy_ratio=0), '<answer>blue</answer>', 0.5),
    (Sample('exact', 'red', accuracy_ratio=3, format_ratio=1), '<answer>red</answer>', 3.5 / 4),
    (SAMPLES['mixture'], f'A mug. {RIGHT}', (0.25 * (1 + 1 + 2 * 0.5 / 3) + 0.1) / 1.1),
])
def test_the_final_reward_weighs_accuracy_and_format(sample, response, final) -> None:
    assert Scorer().score(Rollout(response, sample)).final == pytest.approx(final)


def test_the_total_is_among_the_parts() -> None:
    reward = Scorer().score(Rollout(RIGHT, SAMPLES['visionreasoner']))
    assert reward.parts['total'] == 7 and reward.parts['box_accuracy'] == 3
    assert (reward.id, reward.data_source, reward.verifier) == ('1', 'lvis', 'visionreasoner')


def test_all_rewards_have_the_same_columns() -> None:
    scorer = Scorer()
    names = scorer.registry.part_names
    columns = [scorer.score(Rollout(RIGHT, sample)).as_columns(names)
               for sample in SAMPLES.values()]
    assert len({tuple(row) for row in columns}) == 1
    assert math.isnan(columns[0]['size_penalty']) and columns[2]['size_penalty'] == 1


@pytest.mark.parametrize('sample', SAMPLES.values(), ids=SAMPLES)
def test_parts_are_those_that_the_verifier_names(sample) -> None:
    scorer = Scorer()
    for response in (RIGHT, '', '<answer>[]</answer>'):
        reward = scorer.score(Rollout(response, sample, tokens=9))
        assert set(reward.parts) <= set(scorer.registry.find(sample.verifier).parts)


FRAGMENTS = st.sampled_from([
    '<think>', '</think>', '<answer>', '</answer>', '[', ']', '{', '}', '"bbox_2d":', '"point_2d":',
    '[1,2,3,4]', '[1,2]', ',', '"label":"mug"', 'NaN', '1e999', '-' * 9, '\\boxed{', '}', '### ',
    'The final answer is:', '5', '%', '\x00', '\ud800', ' ' * 99, '\n', '"', '9' * 50, 'null',
    '[[[[[[[[', 'mug', RIGHT,
])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.lists(FRAGMENTS, max_size=14).map(''.join) | st.text())
def test_no_response_makes_a_verifier_fail(name, response) -> None:
    reward = Scorer().score(Rollout(response, SAMPLES[name], tokens=len(response)))
    assert 0 <= reward.final <= 1 and 0 <= reward.accuracy <= 1 and 0 <= reward.format <= 1
    assert all(math.isfinite(value) for value in reward.parts.values())


@pytest.mark.parametrize('response', [
    '<think>' + ' ' * 200_000, '<answer>' * 20_000, '<answer>' + ' ' * 200_000 + '</answer',
    '[' * 100_000, '</think>' + ' \n' * 100_000, '###' * 50_000, '. ' * 100_000,
    '<answer>' + '\\boxed{' * 20_000, '<answer>' + '1,' * 50_000 + '</answer>',
], ids=lambda response: response[:9])
def test_long_responses_take_linear_time(response) -> None:
    """One that took quadratic time would run into the time limit of the tests."""
    for sample in SAMPLES.values():
        assert Scorer().score(Rollout(response, sample)).accuracy == 0


def test_one_failure_stops_nothing_else() -> None:
    def broken(sample: Sample):
        def judge(rollout: Rollout) -> Judgement:
            raise ZeroDivisionError('of all things')
        return judge

    scorer = Scorer(default_registry().with_verifiers(Verifier('broken', broken)))
    outcomes = scorer.score_all([
        Rollout(RIGHT, SAMPLES['visionreasoner']),
        Rollout(RIGHT, Sample('broken', '', 'src', 'b')),
        Rollout(RIGHT, Sample('detecton', BOXES, 'src', 'd')),
        Rollout(RIGHT, Sample('detection', 'x', 'src', 'e')),
        Rollout('', SAMPLES['exact']),
    ])
    assert [type(outcome) for outcome in outcomes] == [Reward, Failure, Failure, Failure, Reward]
    assert outcomes[1] == Failure('b', 'src', "sample 'b': ZeroDivisionError('of all things')")
    assert 'did you mean "detection"?' in outcomes[2].reason
    assert outcomes[3].reason.startswith("sample 'e': the ground truth is no JSON")
    with pytest.raises(RewardError, match='3 of 5 responses have no reward: sample .b.'):
        rewards_or_raise(outcomes)
    assert len(rewards_or_raise(outcomes[:1])) == 1


@pytest.mark.parametrize(('given', 'reason'), [
    (Judgement(math.nan, 1.0, True), 'odd: its accuracy is nan, not a number from 0 to 1'),
    (Judgement(0.5, math.inf, True), 'odd: its format is inf, not a number from 0 to 1'),
    (Judgement(np.float32('nan'), 1.0, True), 'its accuracy is'),
    (Judgement(1.01, 1.0, True), 'its accuracy is 1.01'),
    (Judgement(1.0, -0.01, True), 'its format is -0.01'),
    (Judgement(None, 1.0, True), 'its accuracy is None'),
    (Judgement('1', 1.0, True), "its accuracy is '1'"),
    (1.0, 'odd: it gave 1.0, no Judgement'), (None, 'odd: it gave None, no Judgement'),
])
def test_what_is_no_judgement_is_no_reward(given, reason) -> None:
    odd = Verifier('odd', lambda sample: lambda rollout: given)
    scorer = Scorer(default_registry().with_verifiers(odd))
    failure, reward = scorer.score_all([
        Rollout('', Sample('odd', 'x', 'src', '7')), Rollout(RIGHT, SAMPLES['visionreasoner'])])
    assert isinstance(failure, Failure) and reward.final == 1
    assert failure.reason.startswith("sample '7': ") and reason in failure.reason
    with pytest.raises(VerifierError):
        scorer.score(Rollout('', Sample('odd', 'x')))


@pytest.mark.parametrize(('given', 'accuracy', 'form'), [
    (Judgement(1 + 2e-16, -1e-17, 1), 1.0, 0.0),                                # sums of weights
    (Judgement(np.float32(0.5), np.int64(1), np.True_), 0.5, 1.0),
    (Judgement(True, False, False), 1.0, 0.0),
])
def test_a_judgement_in_other_numbers_is_read(given, accuracy, form) -> None:
    odd = Verifier('odd', lambda sample: lambda rollout: given, format_ratio=1.0)
    reward = Scorer(Registry([odd])).score(Rollout('', Sample('odd', 'x')))
    assert (reward.accuracy, reward.format, reward.final) == (accuracy, form, (accuracy + form) / 2)
    assert json.loads(json.dumps([reward.accuracy, reward.format, reward.is_correct])) == [
        accuracy, form, bool(given.is_correct)]


@pytest.mark.parametrize('ratio', [-1, math.nan, '1', True])
def test_a_verifier_with_a_wrong_weight_is_refused(ratio) -> None:
    with pytest.raises(ValueError, match='verifier "odd": accuracy_ratio is'):
        Verifier('odd', lambda sample: None, accuracy_ratio=ratio)


def test_a_truth_is_read_once() -> None:
    read = []

    def prepare(sample: Sample):
        read.append(sample.id)
        return lambda rollout: Judgement(1.0, 1.0, True)

    scorer = Scorer(Registry([Verifier('counted', prepare)]))
    for _ in range(3):
        for place in ('1', '2'):
            scorer.score(Rollout('', Sample('counted', 'x', id=place)))
    assert read == ['1', '2']
    scorer.check(Sample('counted', 'y', id='2'))
    assert read == ['1', '2', '2']   # another truth


def test_the_truths_that_are_used_stay_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, 'KEPT_SAMPLES', 2)
    read = []

    def prepare(sample: Sample):
        read.append(sample.id)
        return lambda rollout: Judgement(1.0, 1.0, True)

    scorer = Scorer(Registry([Verifier('counted', prepare)]))
    for place in 'ABACAB':
        scorer.check(Sample('counted', 'x', id=place))
    assert ''.join(read) == 'ABCB'


def test_two_verifiers_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match='two verifiers are called "exact"'):
        default_registry().with_verifiers(Verifier('exact', lambda sample: None))


# Samples.

FULL = Sample('detection', BOXES, 'coco', '7', {'iou_threshold': [[0.5, 0.6], [1, 0.9]]}, 2.0, 0.5,
              Size(644, 476), 'a.png')


def test_a_sample_survives_json_and_its_columns() -> None:
    assert sample_from_json(FULL.to_json()) == FULL
    assert sample_from_row(sample_to_row(FULL)) == FULL
    plain = Sample('exact', '')
    assert sample_from_json(plain.to_json()) == plain == sample_from_row(sample_to_row(plain))
    assert '\n' not in FULL.to_json()


def test_a_row_of_v_triune_is_read() -> None:
    sample = sample_from_row({
        'data_source': 'coco', 'images': [], 'prompt': [], 'ability': 'detection',
        'reward_model': {
            'answer': BOXES, 'ground_truth': BOXES, 'accuracy_ratio': 1.0, 'format_ratio': 0.1,
            'verifier': 'detection',
            'verifier_parm': {'det_verifier_normalized': True, 'of_another_row': None,
                              'det_reward_ratio': {'iou_max_label_first': 1.0, 'map': None}}},
        'extra_info': {'id': 12, 'image_path': 'a.png', 'image_grid_thw': [1, 34, 46]}})
    assert sample.image_size == Size(644, 476) and sample.id == '12'
    assert sample.parameters == {
        'det_verifier_normalized': True, 'det_reward_ratio': {'iou_max_label_first': 1.0}}
    Scorer().check(sample)


@pytest.mark.parametrize(('content', 'message'), [
    ([], 'a sample is a JSON object'),
    ({'verifier': 'exact'}, 'without "ground_truth"'),
    ({'ground_truth': 'x'}, 'without "verifier"'),
    ({'verifier': 'exact', 'ground_truth': 'x', 'groundtruth': 'y'}, 'did you mean "ground_truth"'),
    ({'verifier': 'exact', 'ground_truth': 5, 'id': '7'}, "sample '7': ground_truth is no text"),
    ({'verifier': 'exact', 'ground_truth': 'x', 'parameters': []}, 'no JSON object'),
    ({'verifier': 'exact', 'ground_truth': 'x', 'format_ratio': -1}, 'format_ratio is -1'),
    ({'verifier': 'exact', 'ground_truth': 'x', 'format_ratio': math.nan}, 'format_ratio is nan'),
    ({'verifier': 'exact', 'ground_truth': 'x', 'accuracy_ratio': True}, 'accuracy_ratio is True'),
    ({'verifier': 'exact', 'ground_truth': 'x', 'image_size': [5]}, 'width and a height'),
    ({'verifier': 'exact', 'ground_truth': 'x', 'image_size': [0, 5]}, 'no pixels'),
])
def test_a_wrong_sample_is_named(content, message) -> None:
    with pytest.raises(SampleError, match=message):
        sample_from_mapping(content)
    with pytest.raises(SampleError):
        sample_from_json(json.dumps(content)[:-1])


@pytest.mark.parametrize('row', [
    {}, {'reward_model': 5}, {'reward_model': {'verifier': 'exact'}},
    {'reward_model': {'verifier': 'exact', 'ground_truth': 'x', 'verifier_parm': '{'}},
    {'reward_model': {'verifier': 'exact', 'ground_truth': 'x'},
     'extra_info': {'image_grid_thw': [1, 2]}},
])
def test_a_wrong_row_is_named(row) -> None:
    with pytest.raises(SampleError):
        sample_from_row(row)


def test_both_weights_may_not_be_0() -> None:
    with pytest.raises(SampleError, match='both weigh nothing'):
        Scorer().check(Sample('exact', 'x', accuracy_ratio=0, format_ratio=0))


# Masks, with a segmenter that fills the boxes.

def filled(*boxes) -> list:
    found = []
    for x0, y0, x1, y1 in boxes:
        pixels = np.zeros((40, 60), bool)
        pixels[int(y0):int(y1), int(x0):int(x1)] = True
        found.append(mask_to_rle(pixels))
    return found


def true_masks(*boxes) -> str:
    return json.dumps([{'size': [40, 60], 'counts': mask.counts} for mask in filled(*boxes)])


def judge_masks(boxes, truth, segment=lambda sample, boxes, points: filled(*boxes)) -> Judgement:
    answer = json.dumps([{'bbox_2d': box} for box in boxes])
    sample = Sample('masks', truth, id='7')
    judge = mask_verifier(segment).prepare(sample)
    return judge(Rollout(f'<think>a</think><answer>{answer}</answer>', sample))


A, HALF, B = [0, 0, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30]


@pytest.mark.parametrize(('boxes', 'true', 'accuracy', 'region', 'right'), [
    ([A], [A], 1, 1, True),
    ([HALF], [A], 0.5, 0.5, True),
    ([B, A], [A, B], 1, 1, True),               # in another order
    ([A], [A, B], 0.5, 0.5, False),
    ([A, B], [A], 0.5, 0.5, False),
    ([A, A], [A], 0.5, 1, False),               # the region does not see a duplicate
    ([], [], 1, 1, True), ([A], [], 0, 0, False), ([], [A], 0, 0, False),
])
def test_masks(boxes, true, accuracy, region, right) -> None:
    found = judge_masks(boxes, true_masks(*true))
    assert (found.accuracy, found.parts['region_iou']) == (accuracy, region)
    assert found.is_correct == right
    assert found.format == pytest.approx(0.75 if boxes else 1)    # no points


def test_a_point_that_is_missing_is_the_centre() -> None:
    seen = []

    def segment(sample, boxes, points):
        seen.extend(points.tolist())
        return filled(*boxes)

    judge_masks([A, B], true_masks(A), segment)
    assert seen == [[5, 5], [25, 25]]


def test_a_segmenter_that_fails_is_no_reward_of_0() -> None:
    def fail(sample, boxes, points):
        raise MemoryError('no memory')

    for segment, message in ((fail, 'the segmenter failed: MemoryError'),
                             (lambda *_: [], '0 masks for 1 boxes'),
                             (lambda *_: [mask_to_rle(np.ones((2, 2), bool))],
                              'do not fit')):
        with pytest.raises(VerifierError, match=message):
            judge_masks([A], true_masks(A), segment)


@pytest.mark.parametrize('truth', [
    'x', '[5]', '[{"size": [40, 60]}]', '[{"size": [40, 60], "counts": [7]}]',
    '[{"size": [1, 1], "counts": [1]}, {"size": [1, 2], "counts": [2]}]',
])
def test_wrong_true_masks_are_named(truth) -> None:
    with pytest.raises(SampleError, match="sample '7'"):
        judge_masks([A], truth)


# The mixture of a curriculum's stages.

def mixed(response: str, similarity=None, tokens=100, truth='3', **parameters) -> Judgement:
    sample = Sample('mixture', truth, id='7', parameters=parameters)
    judge = default_registry(similarity).find('mixture').prepare(sample)
    return judge(Rollout(response, sample, tokens=tokens))


def test_pebr_r1_stage_1_by_hand() -> None:
    said = []

    def similarity(sample, text) -> float:
        said.append(text)
        return 0.3

    response = ('### Image Description: A red Mug.\n### Rationales: Because.\n'
                "### Let's think step by step.\n### Step 1: Look.\n### The final answer is: 3")
    sections = ['Image Description', 'Rationales', 'Step 1', 'The final answer is']
    found = mixed(response, similarity, 1024, sections=sections, keywords=['mug', 'bowl'],
                  parts={'similarity': 0.4, 'keywords': 0.4, 'length': 0.1})
    assert said == ['A red Mug.']
    assert found.parts == {'similarity': pytest.approx(0.75), 'keywords': 0.5, 'length': 0.5}
    overall = 0.9 * found.accuracy + 0.1 * found.format
    assert overall == pytest.approx(0.4 * 0.75 + 0.4 * 0.5 + 0.1 * 1 + 0.1 * 0.5)
    assert mixed('### Rationales:', sections=sections, parts={'length': 1}).format == 0


@pytest.mark.parametrize(('answer', 'is_correct'), [(3, True), (2, False)])
def test_a_mixture_is_correct_where_its_answer_is(answer, is_correct) -> None:
    found = mixed(f'<answer>{answer}</answer>', parts={'answer': 1, 'length': 1},
                  answer={'verifier': 'counting'})
    assert found.is_correct == is_correct


DESCRIBED = '### Image Description: A mug.'


@pytest.mark.parametrize(('cosine', 'part'), [(0.4, 1), (0.9, 1), (0.1, 0.25), (-0.2, 0)])
def test_similarity(cosine, part) -> None:
    found = mixed(DESCRIBED, lambda sample, text: cosine, parts={'similarity': 1})
    assert found.accuracy == pytest.approx(part)


def test_without_a_description_nothing_is_alike() -> None:
    assert mixed('', lambda sample, text: 0.4, parts={'similarity': 1}).accuracy == 0


@pytest.mark.parametrize('cosine', [math.nan, math.inf])
def test_a_likeness_that_is_no_number_is_an_error(cosine) -> None:
    with pytest.raises(VerifierError, match='have the likeness'):
        mixed(DESCRIBED, lambda sample, text: cosine, parts={'similarity': 1})


@pytest.mark.parametrize(('tokens', 'part'), [(1, 1), (512, 1), (513, 512 / 513), (5120, 0.1)])
def test_length(tokens, part) -> None:
    assert mixed('', tokens=tokens, parts={'length': 1}).accuracy == pytest.approx(part)


def test_an_unknown_length_is_no_reward() -> None:
    with pytest.raises(VerifierError, match='its length is rewarded, but not given'):
        mixed('', tokens=None, parts={'length': 1})


def test_objects_are_those_of_the_truth_where_it_is_boxes() -> None:
    assert mixed(RIGHT, truth=BOXES, parts={'objects': 1}).accuracy == 1
    assert mixed(RIGHT, truth='[]', parts={'objects': 1}).accuracy == 0


@pytest.mark.parametrize(('parameters', 'message'), [
    ({}, 'no part has a weight'), ({'parts': {'length': 0}}, 'no part has a weight'),
    ({'parts': {'lenght': 1}}, 'did you mean "length"'), ({'parts': {'length': -1}}, 'weight -1'),
    ({'parts': {'keywords': 1}}, 'no keywords'), ({'parts': {'similarity': 1}}, 'no model'),
    ({'parts': {'length': 1}, 'most_tokens': 0}, 'most_tokens'),
    ({'parts': {'objects': 1}, 'objects': [5]}, 'objects: object 0'),
    ({'parts': {'objects': 1}}, 'objects: the ground truth is no JSON list'),
    ({'parts': {'answer': 1}}, 'no verifier ""'),
    ({'parts': {'answer': 1}, 'answer': {'verifier': 'mixture'}}, 'within a mixture'),
])
def test_a_wrong_mixture_is_named(parameters, message) -> None:
    with pytest.raises(SampleError, match=message):
        mixed('', **parameters)


def test_rewards_load_neither_torch_nor_a_trainer() -> None:
    code = ('import sys, vr_ros.training.rewards.scoring; '
            'print(sorted({"torch", "transformers", "trl", "cv2"} & set(sys.modules)))')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60,
                          check=True)
    assert done.stdout.strip() == '[]'


def test_a_weight_of_400_digits_is_named() -> None:
    with pytest.raises(SampleError):
        Sample('exact', 'red', accuracy_ratio=10**400)
