"""Reward entry points of verl and EasyR1, called as those trainers call them."""
from __future__ import annotations

import importlib.util
import inspect
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows_of_data import BOX, NOTHING, RIGHT
from tokenizers import Tokenizer

from vr_ros.training.adapters import easyr1, verl
from vr_ros.training.adapters.shared import PART_NAMES, pack
from vr_ros.training.rewards.samples import Sample
from vr_ros.training.rewards.scoring import RewardError, Scorer
from vr_ros.training.rewards.verifier import Rollout

RECORDED = Path(__file__).parent / 'recorded'
VERL = json.loads((RECORDED / 'verl_0_9_1.json').read_text(encoding='utf-8'))
EASYR1 = json.loads((RECORDED / 'easyr1_2026_07.json').read_text(encoding='utf-8'))
FILES = [Path(module.__file__) for module in (verl, easyr1)]
ROOT = Path(__file__).parents[2]
TRUTH = json.dumps([BOX])
CUP = Sample('visionreasoner', TRUTH, 'lvis', 'row-1')
SUM = Sample('numeric', '12', 'puzzles', 'row-2')
# IoU 0.9: right at the start of V-Triune's schedule, whose last threshold is 0.99.
SHIFTED = ('<think>There.</think><answer>[{"bbox_2d": [100, 100, 200, 190], "label": "cup"}]'
           '</answer>')
DYNAMIC = Sample('detection', json.dumps([{'bbox_2d': [100, 100, 200, 200], 'label': 'cup'}]),
                 'coco', 'row-3')


def by_path(path: Path) -> ModuleType:
    """Load a file as both trainers do, without a name in sys.modules, as verl does."""
    spec = importlib.util.spec_from_file_location('custom_module_1', path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ask_verl(response: str, sample: Sample, progress: float | None = None, **more) -> dict:
    """Call by keyword, with what verl adds to extra_info."""
    extra = {'reward_spec': sample.to_json(), 'progress': progress, 'index': 0, 'num_turns': 2,
             'rollout_reward_scores': {}}
    values = (sample.data_source, response, sample.ground_truth, extra)
    return verl.compute_score(**dict(zip(VERL['reward_call']['keywords'], values, strict=True)),
                              **more)


def ask_easyr1(*asked: tuple, **kwargs) -> list[dict[str, float]]:
    """Call with a list; :param asked: response, sample and progress each."""
    return easyr1.compute_score([
        dict(zip(EASYR1['reward_call']['batch_of'],
                 (response, 7, pack(sample.to_json(), progress, 'val')), strict=True))
        for response, sample, progress in asked], **kwargs)


def test_signatures_are_those_that_were_recorded() -> None:
    parameters = inspect.signature(verl.compute_score).parameters
    call = VERL['reward_call']
    assert list(parameters)[:-1] == call['keywords'] and call['positional'] == 0
    assert parameters['kwargs'].kind is inspect.Parameter.VAR_KEYWORD
    call = EASYR1['reward_call']
    parameters = inspect.signature(easyr1.compute_score).parameters
    assert len(parameters) - 1 == call['positional']
    assert getattr(easyr1, call['type_constant']) in call['types']
    assert isinstance(getattr(easyr1, call['name_constant']), str)


@pytest.mark.parametrize(('response', 'sample'), [
    (RIGHT, CUP), (NOTHING, CUP), ('', CUP), ('<answer>12</answer>', SUM), (SHIFTED, DYNAMIC),
])
def test_both_give_what_the_scorer_gives(response, sample) -> None:
    reward = Scorer().score(Rollout(response, sample, 0.05))
    one = ask_verl(response, sample, 0.05)
    assert one[VERL['reward_call']['result_key']] == reward.final
    assert one[VERL['reward_call']['core_metric']] == float(reward.is_correct)
    assert {name: one[name] for name in reward.parts} == dict(reward.parts)
    [other] = ask_easyr1((response, sample, 0.05))
    assert other == {EASYR1['reward_call']['result_key']: reward.final, 'format': reward.format,
                     'accuracy': reward.accuracy, 'correct': float(reward.is_correct)}


def test_verl_gets_the_same_keys_for_every_row_and_none_for_other_verifiers() -> None:
    cup, number = ask_verl(RIGHT, CUP), ask_verl('<answer>12</answer>', SUM)
    assert cup.keys() == number.keys() == {'score', 'acc', 'accuracy', 'format', *PART_NAMES}
    left_out = VERL['reward_call']['left_out_of_means']
    assert cup['numeric'] is left_out and number['iou_50'] is left_out
    assert cup['iou_50'] == number['numeric'] == 1.0
    few = ask_verl(RIGHT, CUP, parts=['iou_50'])
    assert few.keys() == {'score', 'acc', 'accuracy', 'format', 'iou_50'}


def test_easyr1_gets_the_parts_that_it_asked_for() -> None:
    rows = ask_easyr1((RIGHT, CUP, None), (NOTHING, CUP, None), parts=['iou_50'])
    assert [row['iou_50'] for row in rows] == [1.0, 0.0]
    assert rows[0].keys() == rows[1].keys() == {
        'overall', 'accuracy', 'format', 'correct', 'iou_50'}


@pytest.mark.parametrize(('progress', 'accuracy'), [(0.0, 0.9), (0.1, 0.9), (0.2, 0.0), (None, 0)])
def test_progress_comes_with_the_row(progress, accuracy) -> None:
    assert ask_verl(SHIFTED, DYNAMIC, progress)['accuracy'] == pytest.approx(accuracy)
    [row] = ask_easyr1((SHIFTED, DYNAMIC, progress))
    assert row['accuracy'] == pytest.approx(accuracy)


@pytest.mark.parametrize(('sample', 'reason'), [
    (Sample('visionreasoner', 'no list', id='row-8'), "sample 'row-8': the ground truth"),
    (Sample('visonreasoner', TRUTH, id='row-8'), "sample 'row-8': .*did you mean"),
    (Sample('mixture', TRUTH, id='row-8', parameters={'parts': {'similarity': 1}}),
     "sample 'row-8': .*compares image and text"),
])
def test_a_row_that_cannot_be_scored_is_an_error_by_name(sample, reason) -> None:
    with pytest.raises(RewardError, match=reason):
        ask_verl(RIGHT, sample)
    with pytest.raises(RewardError, match=f'1 of 2 responses have no reward: .*{reason}'):
        ask_easyr1((RIGHT, CUP, None), (RIGHT, sample, None))


@pytest.mark.parametrize(('extra', 'reason'), [
    (None, 'without reward_spec'), ({}, 'without reward_spec'), ({'reward_spec': '{'}, 'no JSON'),
    ({'reward_spec': CUP.to_json(), 'progress': 2}, "'row-1': progress is 2"),
    ({'reward_spec': '{"verifier": "exact", "ground_truth": "", "image_size": [Infinity, 1]}'},
     'a width and a height'),
])
def test_a_row_of_another_make_is_an_error(extra, reason) -> None:
    with pytest.raises(RewardError, match=reason):
        verl.compute_score('lvis', RIGHT, TRUTH, extra)
    with pytest.raises(RewardError, match=reason):
        easyr1.compute_score([{
            'response': RIGHT, 'response_length': 7, 'ground_truth': json.dumps(extra or {})}])
    with pytest.raises(RewardError, match='not written by ./run train convert'):
        easyr1.compute_score([{'response': RIGHT, 'response_length': 7, 'ground_truth': '12'}])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=3), max_leaves=5)
SPECS = JSON | st.fixed_dictionaries({}, optional={
    'verifier': st.sampled_from(['visionreasoner', 'detection', 'counting', 'numeric', 'mixture'])
    | JSON, 'ground_truth': st.sampled_from([TRUTH, '[]', '3']) | JSON, 'parameters': JSON,
    'accuracy_ratio': JSON, 'image_size': JSON, 'id': JSON})


@settings(max_examples=150, deadline=None)
@given(spec=SPECS, progress=JSON)
def test_whatever_a_row_says_it_is_scored_or_refused(spec, progress) -> None:
    packed = pack(json.dumps(spec), progress)
    try:
        [row] = easyr1.compute_score([
            {'response': RIGHT, 'response_length': 7, 'ground_truth': packed}])
    except RewardError as error:
        assert 'have no reward' in str(error) and '\n' not in str(error)
        return
    assert 0 <= row['overall'] <= 1
    extra = {'reward_spec': json.dumps(spec), 'progress': progress}
    assert verl.compute_score('', RIGHT, '', extra)['score'] == row['overall']


def test_options_are_checked() -> None:
    with pytest.raises(TypeError, match='no "part"'):
        ask_verl(RIGHT, CUP, part=['iou_50'])
    with pytest.raises(ValueError, match='did you mean "iou_50"'):
        ask_verl(RIGHT, CUP, parts=['iou50'])
    with pytest.raises(TypeError, match='no "part"'):
        ask_easyr1((RIGHT, CUP, None), part=['iou_50'])
    of_a_reward_model = dict.fromkeys(VERL['reward_call']['with_a_reward_model'])
    assert ask_verl(RIGHT, CUP, **of_a_reward_model)['score'] == 1.0


def test_easyr1_keeps_the_metrics_of_sources_apart(tmp_path) -> None:
    path = tmp_path / 'sources.jsonl'
    for _ in range(2):
        ask_easyr1((RIGHT, CUP, None), (NOTHING, CUP, None), ('<answer>12</answer>', SUM, None),
                   source_metrics=str(path), max_response_length=7)
    lines = [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]
    assert len(lines) == 2 and lines[0] == lines[1] and lines[0]['split'] == 'val'
    assert lines[0]['rews_correct/lvis'] == 0.5 and lines[0]['rews_correct/puzzles'] == 1.0
    assert lines[0]['rews_iou_50/lvis'] == 0.5 and 'rews_iou_50/puzzles' not in lines[0]
    # All were 7 tokens long, which is where they were cut off.
    assert lines[0]['response_length_lvis/length_clip_ratio'] == 1.0


def test_length_reaches_the_rewards_of_easyr1() -> None:
    sample = Sample('mixture', TRUTH, parameters={
        'parts': {'objects': 0.5, 'length': 0.5}, 'most_tokens': 3.5})
    [row] = ask_easyr1((RIGHT, sample, None))
    assert row['accuracy'] == pytest.approx(0.5 + 0.5 * 3.5 / 7)


def test_length_reaches_the_rewards_of_verl_by_a_tokenizer() -> None:
    folder = ROOT / 'weights' / 'sim_tiny' / 'reasoner'
    ids = Tokenizer.from_file(str(folder / 'tokenizer.json')).encode(RIGHT).ids
    sample = Sample('mixture', TRUTH, id='row-8', parameters={
        'parts': {'objects': 0.5, 'length': 0.5}, 'most_tokens': (len(ids) + 1) / 2})
    assert ask_verl(RIGHT, sample, tokenizer=str(folder))['accuracy'] == pytest.approx(0.75)
    with pytest.raises(RewardError, match="'row-8': its length is rewarded, but not given"):
        ask_verl(RIGHT, sample)


def test_threads_of_verl_share_the_scorer() -> None:
    samples = [Sample('visionreasoner', TRUTH, 'lvis', str(number)) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda sample: ask_verl(RIGHT, sample)['score'], samples * 5))
    assert found == [1.0] * 200


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_loads_by_path_and_travels_to_another_process(path, tmp_path) -> None:
    """verl's manager ``remote`` sends the function, whose module has no name, to its processes."""
    function = by_path(path).compute_score
    keywords = ({'data_source': '', 'solution_str': RIGHT, 'ground_truth': '',
                 'extra_info': {'reward_spec': CUP.to_json()}} if path.stem == 'verl' else
                {'reward_inputs': [{'response': RIGHT, 'response_length': 1,
                                    'ground_truth': pack(CUP.to_json(), None)}]})
    (tmp_path / 'sent').write_bytes(cloudpickle.dumps((function, keywords)))
    code = ('import pickle, sys; function, given = pickle.load(open(sys.argv[1], "rb"));'
            'found = function(**given); found = found if isinstance(found, dict) else found[0];'
            'print(found.get("score", found.get("overall")), "torch" in sys.modules)')
    done = subprocess.run([sys.executable, '-c', code, tmp_path / 'sent'], cwd=ROOT, check=True,
                          capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ['1.0', 'False']


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_says_what_to_do_where_vr_ros_is_not_installed(path) -> None:
    code = ('import importlib.util as u, sys; s = u.spec_from_file_location("m", sys.argv[1]);'
            's.loader.exec_module(u.module_from_spec(s))')
    done = subprocess.run([sys.executable, '-I', '-S', '-c', code, path], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert 'pip install --no-deps PATH_OF_VR_ROS' in done.stderr.splitlines()[-1]
