"""Sets in the form in which they are given away for training."""
from __future__ import annotations

import json

import mini_sets
import mini_training
import numpy as np
import pytest
from test_datasets import Rows
from test_public_sets import IMAGE, PNG

from vr_ros.core.types import Task
from vr_ros.datasets.coco import Coco
from vr_ros.datasets.columns import Columns
from vr_ros.datasets.json_rows import JsonRows
from vr_ros.datasets.known import Known, find_known
from vr_ros.datasets.pictures import Pictures
from vr_ros.datasets.reasonseg import ReasonSeg
from vr_ros.datasets.refer import Refer
from vr_ros.datasets.registry import open_data_set
from vr_ros.datasets.sample import DataSetError, SampleError
from vr_ros.datasets.solved import Solved
from vr_ros.sim.truth import KINDS


def test_first_sentences_alone(tmp_path):
    mini_training.write_refs(tmp_path)
    assert Refer(tmp_path, 'train').ids == ('0/0', '0/1', '1/10', '1/11')
    first = Refer(tmp_path, 'train', first_only=True)
    assert first.ids == ('0/0', '1/10') and first.numbers == (1, 1)
    assert [first.load(place).instruction for place in range(2)] == ['the 0', 'the 1']


def test_all_that_is_asked_for_in_an_image_in_one_sample(tmp_path):
    mini_training.write_refs(tmp_path)
    data_set = Refer(tmp_path, 'train', first_only=True, joined=True)
    frame = mini_sets.frames()[1].truth
    assert data_set.ids == (str(frame.seed),) and data_set.numbers == (2,)
    sample = data_set.load(0)
    assert sample.instruction == "'the 0' and 'the 1'"
    assert sample.truth.masks == tuple(o.mask for o in frame.objects[:2])
    every = Refer(tmp_path, 'train', joined=True).load(0)                # an object is there once
    assert every.instruction == "'the 0' and 'other 0' and 'the 1' and 'other 1'"
    assert len(every.truth.boxes) == 2


def test_how_many_objects_an_expression_has_is_known_without_its_image(tmp_path):
    mini_training.write_refs(tmp_path, 'grefs(unc).json')
    data_set = Refer(tmp_path, 'train')
    assert data_set.numbers == tuple(len(data_set.load(place).truth.boxes) for place in range(8))
    assert data_set.numbers == (1, 1, 1, 1, 2, 2, 0, 0)


@pytest.mark.parametrize('absent', [0, 1, 2, 99])
def test_categories_that_an_image_has_no_object_of(tmp_path, absent):
    mini_sets.write_coco(tmp_path)
    path = tmp_path / 'annotations' / 'instances_val.json'
    data_set, again = Coco(path, absent=absent), Coco(path, absent=absent)
    assert data_set.ids == again.ids
    for frame in mini_sets.frames():
        there = {o.kind for o in frame.truth.objects}
        places = [i for i, name in enumerate(data_set.ids)
                  if name.startswith(f'{frame.truth.seed}/')]
        asked = {data_set.categories[i]: data_set.load(i).truth for i in places}
        assert there <= asked.keys()
        missing = asked.keys() - there
        assert len(missing) == min(absent, len(KINDS) - len(there))
        assert all(asked[category].is_absent for category in missing)
        for i in places:
            truth = data_set.load(i).truth
            assert data_set.numbers[i] == (-1 if truth.crowd.any() else truth.count)


def test_other_images_get_other_absent_categories(tmp_path):
    images = [{'id': i, 'file_name': f'{i}.png'} for i in range(200)]
    (tmp_path / 'a.json').write_text(json.dumps({
        'images': images, 'categories': [{'id': i, 'name': f'c{i}'} for i in range(10)],
        'annotations': [{'image_id': i, 'category_id': 3, 'bbox': [0, 0, 1, 1]}
                        for i in range(200)]}))
    data_set = Coco(tmp_path / 'a.json', absent=1)
    drawn = [category for category, number in zip(
        data_set.categories, data_set.numbers, strict=True) if not number]
    counts = np.unique(drawn, return_counts=True)
    assert len(drawn) == 200 and set(counts[0]) == {f'c{i}' for i in range(10)} - {'c3'}
    assert counts[1].min() > 8 and counts[1].max() < 45              # 22 on average


def test_lvis_is_not_searched_for_what_is_absent(tmp_path):
    absent, unsure = mini_training.write_lvis(tmp_path)
    path = tmp_path / 'annotations' / 'lvis_v1_train.json'
    with pytest.raises(DataSetError, match='absent is known by neg_category_ids alone'):
        Coco(path, absent=1)
    data_set = Coco(path)
    first = mini_sets.frames()[0].truth.seed
    asked = {name: number for name, category, number in zip(
        data_set.ids, data_set.categories, data_set.numbers, strict=True)
        if name.startswith(f'{first}/')}
    assert asked[f'{first}/{KINDS[absent]}'] == 0
    assert f'{first}/{KINDS[unsure]}' not in asked
    assert data_set.load(data_set.ids.index(f'{first}/{KINDS[absent]}')).truth.is_absent


def test_every_text_of_reasonseg(tmp_path):
    from test_original_sets import write_reasonseg

    write_reasonseg(tmp_path)
    write_reasonseg(tmp_path, 'two', text='alone')
    write_reasonseg(tmp_path, 'zero', text=None)
    data_set = ReasonSeg(tmp_path, all_texts=True)
    assert data_set.ids == ('one/0', 'one/1', 'two/0', 'zero/0')
    assert [data_set.load(place).instruction for place in range(3)] == [
        'the part that one would hold', 'handle', 'alone']
    with pytest.raises(SampleError, match='the text is None'):
        data_set.load(3)


class TestLisaPlus:
    def test_questions_are_answered_by_objects_of_coco(self, tmp_path):
        mini_training.write_lisa_plus(tmp_path)
        data_set = open_data_set(str(tmp_path / 'data.json'))
        sample, objects = data_set.load(0), mini_sets.frames()[1].truth.objects
        assert (sample.instruction, sample.task) == ('What can be filled?', Task.SEGMENTATION)
        assert sample.truth.masks == tuple(o.mask for o in objects[:2])      # one named twice
        assert sample.truth.boxes.tolist() == [list(o.box) for o in objects[:2]]
        assert sample.truth.labels == tuple(o.kind for o in objects[:2])
        assert np.array_equal(sample.image, mini_sets.frames()[1].rgb)
        second = data_set.load(1)
        assert second.truth.masks == (objects[1].mask,) and second.truth.labels == ()

    @pytest.mark.parametrize(('place', 'words'), [
        (2, 'objects of another image'), (3, 'no objects'), (4, "KeyError '.*0.png'"),
        (5, "KeyError 'English Question'"),
    ])
    def test_a_bad_entry_is_named(self, tmp_path, place, words):
        mini_training.write_lisa_plus(tmp_path)
        with pytest.raises(SampleError, match=words):
            open_data_set(str(tmp_path / 'data.json')).load(place)

    def test_without_coco_nothing_can_be_read(self, tmp_path):
        mini_training.write_lisa_plus(tmp_path)
        (tmp_path / 'annotations' / 'instances_train2017.json').unlink()
        with pytest.raises(DataSetError, match='instances_train2017.json of COCO 2017'):
            open_data_set(str(tmp_path / 'data.json'))


LINES = [{'question': 'As shown, find $x$.', 'file_name': '1.png', 'year': 'eight',
          'solution': r'So $x=\boxed{1}$, no: $x=\boxed{\frac{1}{2}}$.', 'difficult': 'hard'}]


def columns(rows: list[dict], name: str, **more: object) -> Columns:
    return Columns(Rows(rows), find_known(name) if name else Known(**more))


class TestAnswersInsideOfTexts:
    def test_the_last_box_of_a_solution(self, tmp_path):
        pytest.importorskip('math_verify')
        (tmp_path / 'images').mkdir()
        (tmp_path / 'images' / '1.png').write_bytes(PNG)
        path = tmp_path / 'MM_Math.jsonl'
        path.write_text('\n'.join(map(json.dumps, LINES)) + '\n{"question":\n')
        known = find_known('MM_Math')
        data_set = Columns(JsonRows(path), known, Pictures(tmp_path, known.folder))
        sample = data_set.load(0)
        assert sample.truth.answers == (r'\frac{1}{2}',) and sample.truth.rule == 'mathematics'
        assert sample.instruction.startswith('As shown, find $x$.')
        with pytest.raises(SampleError, match='row 1 is no object'):
            data_set.load(1)
        listed = tmp_path / 'MM_Math.json'
        listed.write_text(json.dumps(LINES))
        assert Columns(JsonRows(listed), known, Pictures(tmp_path, known.folder)).ids == ('0',)

    @pytest.mark.parametrize(('solution', 'count'), [
        ('<answer> 3 </answer>', 3), ('<answer>0</answer>', 0), ('<answer>many</answer>', None),
        ('3', None), (None, None),
    ])
    def test_a_count(self, solution, count):
        row = {'image': IMAGE, 'problem': 'How many?', 'solution': solution}
        data_set = columns([row], 'clevr_cogen_a_train')
        if count is None:
            with pytest.raises(SampleError):
                data_set.load(0)
        else:
            sample = data_set.load(0)
            assert (sample.truth.count, sample.task) == (count, Task.COUNTING)

    def test_paths_lead_nowhere_outside(self, tmp_path):
        (tmp_path / 'set').mkdir()
        (tmp_path / 'secret.png').write_bytes(PNG)
        pictures = Pictures(tmp_path / 'set')
        for name in ('../secret.png', str(tmp_path / 'secret.png')):
            with pytest.raises(SampleError, match='lies outside set'):
                pictures.read(name, {})
        with pytest.raises(SampleError, match='no image a.png: No such file'):
            pictures.read('a.png', {})
        with pytest.raises(SampleError, match='but a link'):
            pictures.read('https://example.org/a.png', {})


# Columns of the real sets: what is asked, and what is right.
ASKED = {
    'geometry3k': (
        {'images': [IMAGE], 'problem': '<image>Find $x$.', 'answer': '12', 'id': 1,
         'choices': ['11', '12', '13', '14'], 'ground_truth': 'B'}, 'Find $x$.', '12', ''),
    'MMK12': (
        {'id': 'a', 'question': '<image>\nHow long is AB?', 'image': IMAGE, 'answer': '5',
         'subject': 'math'}, 'How long is AB?', '5', ''),
    'ViRL39K': (
        {'question': '<image>How many bars?', 'answer': r'\boxed{7}', 'qid': 'x', 'image': [IMAGE],
         'category': 'Tables/Diagrams/Charts', 'source': 's', 'PassRate_7BBase': 0.5},
        'How many bars?', '7', 'Tables/Diagrams/Charts'),
    'PuzzleVQA': (
        {'image': IMAGE, 'question': 'What is missing?', 'options': ['red', 'blue'],
         'answer': 'blue', 'caption': '…'}, 'What is missing?', 'blue', ''),
    'ChartQAPro': (
        {'Question': ['How much?'], 'Answer': ['12'], 'Question Type': 'Factoid', 'image': PNG,
         'Year': ['NO'], 'Paragraph': ''}, 'How much?', '12', 'Factoid'),
    'LLaVA-OneVision-Data': (
        {'id': '1', 'image': IMAGE, 'data_source': 'textocr', 'conversations': [
            {'from': 'human', 'value': '<image>\nWhat does it say?'},
            {'from': 'gpt', 'value': 'STOP'}, {'from': 'human', 'value': 'And below?'},
            {'from': 'gpt', 'value': 'WAY'}]}, 'What does it say?', 'STOP', ''),
}


@pytest.mark.parametrize('name', ASKED)
def test_columns(name):
    row, asked, answer, kind = ASKED[name]
    if find_known(name).rule == 'mathematics':
        pytest.importorskip('math_verify')
    sample = columns([row], name).load(0)
    assert sample.instruction.partition('\n')[0] == asked and '<image>' not in sample.instruction
    assert (sample.truth.answers, sample.truth.choices, sample.kind) == ((answer,), (), kind)


@pytest.mark.parametrize(('name', 'change', 'words'), [
    ('ViRL39K', {'answer': 'seven'}, "no answer in 'seven'"),
    ('ViRL39K', {'image': [IMAGE, IMAGE]}, '2 images'),
    ('ChartQAPro', {'Question': ['a', 'b'], 'Answer': ['1', '2']}, '2 questions'),
    ('LLaVA-OneVision-Data', {'conversations': [{'from': 'human', 'value': 'a'}]}, "'gpt'"),
    ('LLaVA-OneVision-Data', {'conversations': None}, 'broken row'),
])
def test_what_cannot_be_asked_is_named(name, change, words):
    if find_known(name).rule == 'mathematics':
        pytest.importorskip('math_verify')
    with pytest.raises(SampleError, match=words):
        columns([ASKED[name][0] | change], name).load(0)


def test_points_that_were_counted(tmp_path):
    mini_training.write_pixmo(tmp_path)
    sample = open_data_set(str(tmp_path), 'train').load(0)
    assert sample.truth.points.tolist() == [[32, 24], [160, 120]] and sample.truth.count == 2


def solved(**change: object) -> dict:
    solution = [{'bbox_2d': [1, 1, 4, 5], 'point_2d': [2, 3]}]
    return {'id': 'a', 'problem': "'a' and 'b'", 'image': IMAGE, 'img_height': 999,
            'img_width': 999, 'solution': json.dumps(solution)} | change


def test_published_rows_of_visionreasoner():
    sample = Solved(Rows([solved()])).load(0)
    assert (sample.instruction, sample.task) == ("'a' and 'b'", Task.DETECTION)
    assert sample.truth.boxes.tolist() == [[1, 1, 4, 5]]
    assert sample.truth.points.tolist() == [[2, 3]]


@pytest.mark.parametrize(('change', 'words'), [
    ({'solution': '['}, 'broken solution'), ({'solution': '[{"bbox_2d": [1, 1, 4, 5]}]'}, 'point'),
    ({'solution': '[{"bbox_2d": [1, 1, 4, 5], "point_2d": [1]}]'}, 'broken solution'),
    ({'solution': '[{"bbox_2d": [4, 1, 1, 5], "point_2d": [1, 1]}]'}, 'not x_min'),
    ({'problem': ' '}, 'the text is'), ({'image': None}, 'there is none'),
])
def test_a_broken_row_of_visionreasoner_is_named(change, words):
    with pytest.raises(SampleError, match=words):
        Solved(Rows([solved(**change)])).load(0)


def test_other_columns_are_told():
    with pytest.raises(DataSetError, match='lacks the columns solution; it has id'):
        Solved(Rows([{k: v for k, v in solved().items() if k != 'solution'}]))
