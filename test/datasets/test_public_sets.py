"""Public sets by their own columns: what is asked, what is right, and by which figure it counts."""
from __future__ import annotations

import hashlib
from pathlib import Path

import mini_sets
import numpy as np
import pytest
from test_datasets import Rows

from vr_ros.core.types import Task
from vr_ros.datasets.choices import choices_in, read_choices, right_choice
from vr_ros.datasets.columns import Columns, hide_number
from vr_ros.datasets.known import KNOWN, find_known
from vr_ros.datasets.pictures import Pictures
from vr_ros.datasets.sample import DataSetError, SampleError
from vr_ros.datasets.splits import pick_split
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.rules import SCORES, rule_measures

PNG = mini_sets.png(np.zeros((6, 8, 3), np.uint8))
IMAGE = {'bytes': PNG, 'path': None}
SHA = hashlib.sha256(PNG).hexdigest()
LETTER = 'Answer with the letter of the right choice.'
# A row with the columns of the real set, what is asked, what is right, the rule, and answers that
# are right and wrong by it.
ROWS = {
    'DocVQA': (
        {'questionId': '1', 'question': 'What year?', 'question_types': ['form'], 'image': IMAGE,
         'docId': 7, 'ucsf_document_id': 'x', 'answers': ['1999', 'in 1999']},
        'What year?\nAnswer with a word or a short phrase.', ('1999', 'in 1999'), 'ANLS',
        'In 1999', '2004'),
    'ChartQA': (
        {'type': 'human_test', 'question': 'How many?', 'answer': '100', 'image': IMAGE},
        'How many?\nAnswer with a word or a short phrase.', ('100',), 'relaxed accuracy',
        '103', '110'),
    'HuggingFaceM4/ChartQA': (
        {'image': IMAGE, 'query': 'How many?', 'label': ['100'], 'human_or_machine': 0},
        'How many?\nAnswer with a word or a short phrase.', ('100',), 'relaxed accuracy',
        '103', '110'),
    'TextVQA': (
        {'image_id': 'a', 'question_id': 3, 'question': 'Which brand?', 'image': IMAGE,
         'image_width': 1024, 'image_height': 768, 'answers': ['nokia'] * 4 + ['phone'] * 6,
         'ocr_tokens': ['NOKIA']},
        'Which brand?\nAnswer with a word or a short phrase.', ('nokia',) * 4 + ('phone',) * 6,
        'VQA accuracy', 'Nokia', 'Samsung'),
    'OCRBench': (
        {'dataset': 'IIIT5K', 'question': 'what is written in the image?',
         'question_type': 'Regular Text Recognition', 'answer': ['CENTRE'], 'image': IMAGE},
        'what is written in the image?', ('CENTRE',), 'answer contained', 'It says Centre.', 'it'),
    'MathVista, chosen': (
        {'pid': '1', 'question': 'Which?', 'image': 'images/1.jpg', 'decoded_image': IMAGE,
         'choices': ['B', 'A', 'no'], 'unit': None, 'precision': None, 'answer': 'A',
         'question_type': 'multi_choice', 'query': 'Hint: … Which?'},
        f'Which?\nA. B\nB. A\nC. no\n{LETTER}', ('B', 'A'), 'choice accuracy', '(B)', 'A'),
    'MathVista, free': (
        {'pid': '2', 'question': 'How long?', 'image': 'images/2.jpg', 'decoded_image': IMAGE,
         'choices': None, 'unit': None, 'precision': 1.0, 'answer': '0.5',
         'question_type': 'free_form', 'query': 'Hint: … How long?'},
        'How long?\nGive the final answer alone: a number, an expression or a word.', ('0.5',),
        'mathematics', r'\frac{1}{2}', '5'),
    'MathVerse': (
        {'sample_index': '1', 'problem_version': 'Text Dominant', 'image': IMAGE, 'answer': 'D',
         'question': 'Find it.\nChoices:\nA:65°\nB:55°\nC:45°\nD:35°', 'query_cot': '…',
         'question_type': 'multi-choice'},
        f'Find it.\nChoices:\nA:65°\nB:55°\nC:45°\nD:35°\n{LETTER}', ('D', '35°'),
        'choice accuracy', 'D:35°', 'A'),
    'MathVision': (
        {'id': '1', 'question': 'How many?', 'options': [], 'image': 'images/1.jpg',
         'decoded_image': IMAGE, 'answer': '12', 'level': 2, 'subject': 'counting'},
        'How many?\nGive the final answer alone: a number, an expression or a word.', ('12',),
        'mathematics', '12', '13'),
    'ScienceQA': (
        {'image': IMAGE, 'question': 'Which is north?', 'choices': ['Ohio', 'Texas'], 'answer': 0,
         'hint': 'Look at the map.', 'lecture': '…', 'task': 'closed choice'},
        f'Look at the map.\nWhich is north?\nA. Ohio\nB. Texas\n{LETTER}', ('A', 'Ohio'),
        'choice accuracy', 'ohio', 'B'),
    'AI2D': (
        {'question': 'Which is 2?', 'options': ['3', '2', '1'], 'answer': '2', 'image': IMAGE},
        f'Which is 2?\nA. 3\nB. 2\nC. 1\n{LETTER}', ('C', '1'), 'choice accuracy', 'C', 'B'),
    'MMMU': (
        {'id': 'x', 'question': 'Which? <image 1>', 'options': "['$63', '$55']", 'image_1': IMAGE,
         'image_2': None, 'img_type': '[]', 'answer': 'B', 'question_type': 'multiple-choice',
         'subfield': 'x'},
        f'Which? <image 1>\nA. $63\nB. $55\n{LETTER}', ('B', '$55'), 'choice accuracy', '$55',
        'A'),
    'MMMU_Pro': (
        {'id': 'x', 'image': IMAGE, 'options': "['one', 'two', 'three']", 'answer': 'C',
         'subject': 'Art'},
        f'What is the answer to the question in the picture?\n{LETTER}', ('C', 'three'),
        'choice accuracy', 'Answer: C', 'B'),
    'RealWorldQA, chosen': (
        {'image': IMAGE, 'question': 'Which way?\n\nA. left\nB. right\nPlease answer directly.',
         'answer': 'A'},
        f'Which way?\n\nA. left\nB. right\nPlease answer directly.\n{LETTER}', ('A', 'left'),
        'choice accuracy', 'A', ''),
    'RealWorldQA, free': (
        {'image': IMAGE, 'question': 'How many cars?', 'answer': '3'}, 'How many cars?', ('3',),
        'VQA exact', '3.', '4'),
}


@pytest.mark.parametrize('name', ROWS)
def test_answers(name):
    row, asked, answers, rule, right, wrong = ROWS[name]
    if rule == 'mathematics' or KNOWN.get(name.partition(',')[0]) and KNOWN[
            name.partition(',')[0]].rule == 'mathematics':
        pytest.importorskip('math_verify')
    known = find_known(name.partition(',')[0])
    sample = Columns(Rows([row]), known).load(0)
    truth = sample.truth
    assert (sample.instruction, truth.answers, truth.rule) == (asked, answers, rule)
    assert sample.task is Task.VQA and truth.count is None
    scores = [SCORES[rule](truth, answer) for answer in (right, wrong)]
    assert scores[0] > 0.99 and scores[1] < 0.01
    names = {m.name for m in rule_measures([truth], [Found(answer=right)]) if m.of}
    assert known.figure in {*names, rule}


@pytest.mark.parametrize('name', [name for name in ROWS if find_known('x', ROWS[name][0]).figure])
def test_a_set_is_known_by_its_columns_too(name):
    assert find_known('my_copy', ROWS[name][0]) is find_known(name.partition(',')[0])


def test_most_sets_are_known_by_their_columns():
    unknown = [name for name in ROWS if not find_known('x', ROWS[name][0]).figure]
    assert unknown == ['ChartQA', 'AI2D', 'RealWorldQA, chosen', 'RealWorldQA, free']


@pytest.mark.parametrize(('name', 'hub_id'), [
    ('DocVQA', 'lmms-lab/DocVQA'), ('lmms-lab/DocVQA', 'lmms-lab/DocVQA'),
    ('someone/docvqa@v1', 'lmms-lab/DocVQA'), ('text_vqa', 'lmms-lab/textvqa'),
    ('Ricky06662/refcoco_val', 'Ricky06662/refcoco_val'), ('refcoco_val_most', ''), ('', ''),
    ('refcocog_test_all', 'Ricky06662/refcocog_test_all'),
])
def test_names(name, hub_id):
    assert find_known(name).hub_id == hub_id


def test_mathematics_without_math_verify_is_told_before_anything_is_asked(monkeypatch):
    monkeypatch.setattr('vr_ros.datasets.known.find_spec', lambda name: None)
    with pytest.raises(DataSetError, match=r'pip install "vr_ros\[math\]"'):
        Columns(Rows([ROWS['MathVerse'][0]]), find_known('MathVerse'))


PIXMO = {'image_url': 'https://host/1.jpg', 'image_sha256': SHA, 'count': 3, 'label': 'people',
         'points': {'x': [1.0], 'y': [2.0]}}
COUNTBENCH = {'image_url': 'https://host/1.jpg', 'text': 'Six small cups', 'number': 6.0,
              'image': IMAGE}


def test_countbench_does_not_tell_the_number():
    sample = Columns(Rows([COUNTBENCH]), find_known('x', COUNTBENCH)).load(0)
    assert (sample.instruction, sample.truth.count) == ('small cups', 6)
    assert sample.task is Task.COUNTING


@pytest.mark.parametrize(('text', 'number', 'hidden'), [
    ('a set of 12 pencils', 12, 'a set of pencils'),
    ('Seven dwarfs, seven beds', 7, 'dwarfs, beds'),
    ('seventy men', 7, 'seventy men'),
    ('ten', None, 'ten'), ('ten', 9.5, 'ten'),
])
def test_numbers_are_taken_out(text, number, hidden):
    assert hide_number(text, number) == hidden


class TestLinkedImages:
    """PixMo-Count, whose rows have but links."""

    def test_without_images_it_is_told_what_to_do(self, tmp_path):
        for pictures in (None, Pictures(tmp_path)):
            with pytest.raises(DataSetError, match='images/ beside it, each named by its image_sh'):
                Columns(Rows([PIXMO]), find_known('x', PIXMO), pictures)

    def test_images_are_found_by_their_digest(self, tmp_path):
        (tmp_path / 'images').mkdir()
        (tmp_path / 'images' / f'{SHA}.jpg').write_bytes(PNG)
        other = '0' * 64
        (tmp_path / 'images' / f'{other}.jpg').write_bytes(PNG)
        rows = [PIXMO, PIXMO | {'image_sha256': other}, PIXMO | {'image_sha256': 'f' * 64},
                PIXMO | {'image_sha256': None}]
        data_set = Columns(Rows(rows), find_known('x', PIXMO), Pictures(tmp_path))
        sample = data_set.load(0)
        assert (sample.instruction, sample.truth.count, sample.image.shape) == (
            'people', 3, (6, 8, 3))
        reasons = 'not the one that is meant', 'no image images/fff', 'but a link'
        for place, words in enumerate(reasons, 1):
            with pytest.raises(SampleError, match=words):
                data_set.load(place)


@pytest.mark.parametrize(('name', 'change', 'words'), [
    ('ScienceQA', {'image': None}, 'there is none'),
    ('ScienceQA', {'answer': 2}, 'none of the choices Ohio, Texas'),
    ('ScienceQA', {'choices': ['x'] * 27}, 'more than there are letters'),
    ('ScienceQA', {'choices': [['x'], ['y']]}, 'no texts'),
    ('MMMU', {'image_2': IMAGE, 'image_3': IMAGE}, '3 images, of which one'),
    ('MMMU', {'options': '[open('}, 'are no list'),
    ('MMMU', {'options': 'print(1)'}, 'are no list'),       # nothing in a data set is run
    ('MMMU', {'answer': 'C'}, "answer 'C' is none"),
    ('DocVQA', {'answers': None}, 'says nothing true'),      # a test part whose answers are kept
    ('DocVQA', {'answers': []}, 'says nothing true'),
    ('DocVQA', {'question': ''}, 'the text is None'),
    ('OCRBench', {'image': [IMAGE, IMAGE]}, '2 images'),
    ('OCRBench', {'image': 'cat.png'}, 'but a link'),
    ('OCRBench', {'answer': [None]}, 'no texts'),
])
def test_what_cannot_be_used_is_named(name, change, words):
    row = ROWS[name][0]
    data_set = Columns(Rows([row, row | change]), find_known(name))
    with pytest.raises(SampleError, match=words):
        data_set.load(1)
    assert data_set.load(0).truth.answers


@pytest.mark.parametrize(('name', 'lacking', 'words'), [
    ('DocVQA', 'question', 'lacks the columns text or question or query'),
    ('DocVQA', 'image', 'lacks the columns image; it has questionId'),
    ('DocVQA', 'answers', 'lacks the columns mask or bbox or count or answers'),
])
def test_missing_columns_are_named(name, lacking, words):
    row = {key: value for key, value in ROWS[name][0].items() if key != lacking}
    with pytest.raises(DataSetError, match=words):
        Columns(Rows([row]), find_known(name))


@pytest.mark.parametrize(('content', 'choices'), [
    (None, ()), ([], ()), ('', ()), (['a', 2], ('a', '2')), ("['a', 'b']", ('a', 'b')),
    ({'text': ['a', 'b'], 'label': ['A', 'B']}, ('a', 'b')), ((1.5, 'x'), ('1.5', 'x')),
])
def test_choices_in_all_their_forms(content, choices):
    assert read_choices(content) == choices


@pytest.mark.parametrize(('question', 'choices'), [
    ('Which?\nA. one\nB. two', ('one', 'two')),
    ('Which?\n(A) one\n(B) two\n(C) ', ('one', 'two')),
    ('A. one', ()),                                # one alone is no choice
    ('C. one\nA. two\nB. three', ('two', 'three')),
    ('Which is it?', ()),
])
def test_choices_that_a_question_lists(question, choices):
    assert choices_in(question) == choices


@pytest.mark.parametrize(('answer', 'by', 'letter'), [
    (1, '', 'B'), (1.0, '', 'B'), ('1', '', 'A'), ('1', 'index', 'B'), ('0', '', 'C'),
    ('B', '', 'B'), ('(B)', 'letter', 'B'), ('C.', 'letter', 'C'), ('B', 'text', None),
    (7, '', None), ('1', 'letter', None), (True, '', None), (-1, '', None),
])
def test_which_choice_is_right(answer, by, letter):
    choices = ('1', '2', '0')
    if letter is None:
        with pytest.raises(SampleError, match='none of the choices'):
            right_choice(answer, choices, by)
    else:
        assert right_choice(answer, choices, by)[0] == letter


HUB = ('README.md', 'DocVQA/test-00000-of-00001.parquet',
       'DocVQA/validation-00000-of-00002.parquet', 'DocVQA/validation-00001-of-00002.parquet',
       'InfographicVQA/validation-00000-of-00001-0123456789abcdef.parquet')


@pytest.mark.parametrize(('names', 'split', 'default', 'picked'), [
    (HUB, 'DocVQA/validation', '', HUB[2:4]),
    (HUB, '', 'DocVQA/validation', HUB[2:4]),
    (HUB, 'test', '', HUB[1:2]),                    # of one folder alone
    (HUB, '*/validation', '', HUB[2:5]),
    (HUB, 'validation', '', 'one of DocVQA/test, DocVQA/validation, InfographicVQA/validation'),
    (HUB, '', 'val', 'one of DocVQA'),
    (HUB[:3], 'DocVQA/validation', '', '1 of 2 shards, missing: 1'),
    (HUB[4:], '', 'test', HUB[4:]),                 # the only one there is
    (HUB[4:], 'test', '', 'one of InfographicVQA/validation'),
    (('data/train-00000-of-00001.parquet',), '', '', ('data/train-00000-of-00001.parquet',)),
    (('default/test/0000.parquet', 'default/test/0001.parquet'), 'test', '',
     ('default/test/0000.parquet', 'default/test/0001.parquet')),
    (('test/data-00000-of-00001.arrow', 'test/cache-0a.arrow'), '', '',
     ('test/data-00000-of-00001.arrow',)),
    (('a.txt',), '', '', 'no Parquet or Arrow files'),
])
def test_parts_of_a_set(names, split, default, picked):
    if isinstance(picked, str):
        with pytest.raises(DataSetError, match=picked):
            pick_split(names, split, default, 'set')
    else:
        assert pick_split(names, split, default, 'set') == list(picked)


def test_what_is_known_of_sets_is_in_the_documentation():
    text = (Path(__file__).parents[2] / 'docs/evaluation.md').read_text(encoding='utf-8')
    for name, known in KNOWN.items():
        if known.hub_id.startswith('Ricky'):
            continue
        row = next(line for line in text.splitlines() if f'`{known.hub_id}`' in line)
        assert known.figure in row and (known.split or '') in row, name
