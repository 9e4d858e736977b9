"""V-Triune's rows as they are published, in miniature."""
from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pytest
from mini_training import picture
from pyarrow import parquet

from vr_ros.core.types import Task
from vr_ros.datasets.sample import DataSetError, SampleError
from vr_ros.training.data.command import main
from vr_ros.training.data.shards import iter_rows
from vr_ros.training.data.source import LeftOut
from vr_ros.training.data.sources.orsta import OrstaSource

BOXES = [{'bbox_2d': [100, 200, 300, 400], 'label': 'cup'}]
ASK_BOXES = ('<image>Please detect all instances of the following category within the image: \ncup.'
             "\n\nLet's think step by step and output the final answer in <answer> and </answer>"
             " tags.\nFor example:\n<answer>\n[{'bbox_2d': [x1,y1,x2,y2]}]\n</answer>")
ASK_SUM = '<image>\nHow many sides?\nThink step by step, and put the answer in \\boxed{}.'


def row(verifier: str = 'detection', **change: object) -> dict:
    boxes = verifier == 'detection'
    truth = json.dumps(BOXES) if boxes else '\\boxed{4}'
    return {
        'data_source': 'v3det' if boxes else 'mm_math', 'images': [picture()],
        'prompt': [{'role': 'system', 'content': 'x'},
                   {'role': 'user', 'content': ASK_BOXES if boxes else ASK_SUM}],
        'ability': 'detection' if boxes else 'math',
        'reward_model': {
            'answer': truth, 'ground_truth': truth, 'accuracy_ratio': 1.0, 'format_ratio': 0.1,
            'verifier': verifier, 'verifier_parm': {
                'det_verifier_normalized': True if boxes else None,
                'det_reward_ratio': {'iou_max_iou_first': 1.0 if boxes else None, 'map': None}}},
        'extra_info': {'id': 'a7', 'image_path': 'x/y.png'}} | change


def write(root: Path, name: str, rows: list[dict]) -> None:
    (root / 'train').mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), root / 'train' / f'{name}.parquet')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / 'orsta', 'train_detection_v3det_2', [row(), row()])
    write(tmp_path / 'orsta', 'train_math_mmmath_1', [row('mathverify')])
    return tmp_path / 'orsta'


def test_rows_keep_their_verifier_truth_and_weights(folder):
    source = OrstaSource(folder, 'train')
    assert source.ids == ['train_detection_v3det_2/0', 'train_detection_v3det_2/1',
                          'train_math_mmmath_1/0']
    boxes, = source.load(0)
    assert boxes.problem == (
        'Please detect all instances of the following category within the image: \ncup.')
    assert (boxes.task, boxes.ability, boxes.data_source) == (
        Task.DETECTION, 'detection', 'orsta_v3det')
    scoring = boxes.scoring
    assert (scoring.verifier, json.loads(scoring.ground_truth)) == ('detection', BOXES)
    assert scoring.parameters == {
        'det_verifier_normalized': True, 'det_reward_ratio': {'iou_max_iou_first': 1.0}}
    assert (scoring.accuracy_ratio, scoring.format_ratio) == (1.0, 0.1)
    question, = source.load(2)
    assert question.problem.startswith('How many sides?') and question.task is Task.VQA
    assert 'boxed' in question.problem                       # said in many ways: it stays
    assert question.scoring.parameters == {}                 # those of boxes are but columns
    assert question.scoring.ground_truth == '\\boxed{4}' and question.extra == {'orsta_id': 'a7'}


def test_on_the_command_line(folder, tmp_path):
    pytest.importorskip('math_verify')
    arguments = ['orsta', '--data', str(folder), '--processes', '1', '--out', str(tmp_path / 'out')]
    assert main(arguments) == 0
    rows = list(iter_rows(tmp_path / 'out', 'train'))
    assert sorted(row.data_source for row in rows) == ['orsta_mm_math'] + 2 * ['orsta_v3det']
    assert all(512 ** 2 <= row.width * row.height <= 2048 ** 2 for row in rows)


def test_some_sources_only(folder):
    source = OrstaSource(folder, 'train', ['mm_math'])
    with pytest.raises(LeftOut, match='of another source'):
        list(source.load(0))
    assert len(list(source.load(2))) == 1


def test_order(folder):
    orders = [OrstaSource(folder, 'train', seed=seed).ids for seed in (1, 1, 4)]
    assert orders[0] == orders[1] and sorted(orders[0]) == sorted(orders[2])


@pytest.mark.parametrize(('change', 'words'), [
    ({'reward_model': None}, 'without reward_model'), ({'prompt': []}, 'broken row'),
    ({'images': []}, '0 images'), ({'images': [picture(), picture()]}, '2 images'),
    ({'images': [{'bytes': b'x', 'path': None}]}, 'no known format'),
])
def test_a_broken_row_is_named(tmp_path, change, words):
    write(tmp_path, 'train_detection_v3det_2', [row(), row(**change)])
    source = OrstaSource(tmp_path, 'train')
    with pytest.raises(SampleError, match=words):
        list(source.load(1))
    assert len(list(source.load(0))) == 1


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(DataSetError, match='Orsta-Data-47k, in train/ and test/'):
        OrstaSource(tmp_path, 'train')
    write(tmp_path, 'train_a', [{'images': [picture()], 'prompt': 'x'}])
    with pytest.raises(DataSetError, match='lacks the columns data_source, ability'):
        OrstaSource(tmp_path, 'train')
