"""SciVQA, ChartX, TableVQA-Bench and EST-VQA, each on a miniature of its published form."""
from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from vr_ros.core.types import Size
from vr_ros.datasets.sample import DataSetError, SampleError
from vr_ros.training.data.convert import Converter
from vr_ros.training.data.schema import Row, check_row
from vr_ros.training.data.source import LeftOut
from vr_ros.training.data.sources.declared import Drawing, PublicSource, open_public
from vr_ros.training.data.sources.public import NATURAL, SETS
from vr_ros.training.data.storage import Storage
from vr_ros.training.rewards.scoring import Scorer
from vr_ros.training.rewards.verifier import Rollout

KEPT = Storage(None)
ASK = 'Answer with a word, a number or a short phrase.'
LETTER = 'Answer with the letter of the right choice.'


def opened(name: str, path: Path, split: str = 'train', filters: list[str] | None = None,
           ) -> PublicSource:
    return open_public(name, SETS[name], path, split, Drawing(seed=None, filters=filters))


def outcomes(source: PublicSource) -> list[Row | str]:
    """Give the row of each place, or why there is none."""
    converter, found = Converter(source.name, 'train', KEPT), []
    for place in range(len(source)):
        try:
            found += [converter.row(draft) for draft in source.load(place)]
        except LeftOut as error:
            found.append(error.reason)
        except SampleError as error:
            found.append(f'broken: {error}')
    return found


def asked(row: Row | str) -> Any:
    """Give what makes a row: the instruction, the verifier and its parameters, and the truth."""
    if isinstance(row, str):
        return row
    check_row(row)
    sample = row.sample
    return row.problem, sample.verifier, dict(sample.parameters), sample.ground_truth


def picture() -> bytes:
    data = io.BytesIO()
    Image.new('RGB', (8, 6), 'red').save(data, 'PNG')
    return data.getvalue()


def write_pictures(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture())


def options(*texts: str) -> list[dict[str, str | None]]:
    """Write choices as SciVQA does: one mapping for each letter, the others empty."""
    letters = 'ABCD'
    return [{other: text if other == letter else None for other in letters}
            for letter, text in zip(letters, texts, strict=True)]


CAPTION = 'Figure 2: Loss by step.'
COLOURS = options('red', 'blue', 'green', 'none')
# Kind, question, answer, choices; what becomes of it by V-Triune's rules, and without them.
SCIVQA = [
    ('closed-ended infinite answer set visual', 'What is the loss of the red line?', ' 0.65 ', [],
     (f'{CAPTION}\nWhat is the loss of the red line?\n{ASK}', 'numeric', {}, '0.65'), None),
    ('closed-ended infinite answer set non-visual', 'What is on the x axis?', 'step', [],
     (f'{CAPTION}\nWhat is on the x axis?\n{ASK}', 'exact', {}, 'step'), None),
    ('closed-ended finite answer set binary visual', 'Is red above blue?', 'Yes', [],
     'true or false', (f'{CAPTION}\nIs red above blue?\n{ASK}', 'exact', {}, 'Yes')),
    ('closed-ended finite answer set non-binary visual', 'Which line is lowest?', 'B', COLOURS,
     'multiple choice', (f'{CAPTION}\nWhich line is lowest?\nA. red\nB. blue\nC. green\nD. none\n'
                         f'{LETTER}', 'exact', {}, '["B", "blue"]')),
    *(('closed-ended finite answer set non-binary visual', 'Which rise?', answer, COLOURS,
       'several choices are right', 'several choices are right')
      for answer in ('A,B', 'A, C, D', 'BCD', "['A', 'B', 'C']")),
    ('unanswerable', 'Why?',
     'It is not possible to answer this question based only on the provided data.', [],
     'not answerable', 'not answerable'),
    ('closed-ended infinite answer set visual', 'Which nodes?', 'the left one and the right one',
     [], 'answer too long', (f'{CAPTION}\nWhich nodes?\n{ASK}', 'exact', {},
                             'the left one and the right one')),
    # Broken annotations.
    ('closed-ended infinite answer set visual', 'How many?', None, [],
     'broken: says nothing true: all of mask, bbox, count, answer are empty', ''),
    ('closed-ended finite answer set non-binary visual', 'Which?', 'E', COLOURS,
     "broken: the answer 'E' is none of the choices red, blue, green, none", ''),
    ('closed-ended finite answer set non-binary visual', 'Which?', 'A', ['red', 'blue'],
     "broken: broken row: AttributeError 'str' object has no attribute 'items'", ''),
    ('closed-ended infinite answer set visual', None, '3', [], 'broken: the text is None', ''),
]


def write_scivqa(root: Path, images: str = 'images_train') -> list[dict[str, Any]]:
    """Write its train part; the last two rows have no picture, and one that lies elsewhere."""
    write_pictures(root / images, '1.png')
    (root / 'elsewhere.png').write_bytes(picture())
    rows = [{
        'instance_id': f'{number:032x}', 'image_file': '1.png', 'figure_id': '1',
        'caption': CAPTION, 'figure_type': 'line chart', 'compound': False, 'figs_numb': '0',
        'qa_pair_type': kind, 'question': question, 'answer': answer, 'answer_options': choices,
        'venue': 'arxiv', 'categories': "['cs.CL']", 'source_dataset': 'scigraphqa',
        'paper_id': '1', 'pdf_url': 'https://example.org/1'}
        for number, (kind, question, answer, choices, *_) in enumerate(SCIVQA)]
    rows += [rows[0] | {'image_file': name} for name in ('2.png', '../elsewhere.png')]
    (root / 'train_2025-03-27_18-34-44.json').write_text(json.dumps(rows))
    (root / 'validation_2025-03-27_18-34-44.json').write_text(json.dumps(rows[:1]))
    return rows


@pytest.mark.parametrize('images', ['images_train', 'images/train'])
def test_scivqa(tmp_path, images):
    write_scivqa(tmp_path, images)
    expected = [filtered for *_, filtered, _ in SCIVQA]
    found = outcomes(opened('scivqa', tmp_path))
    assert [asked(row) for row in found[:-2]] == expected
    assert found[-2:] == [
        'broken: no image 2.png: No such file or directory',
        f'broken: image ../elsewhere.png lies outside {Path(images).name}']
    # Without the rules what they leave out is there, and what is broken is broken.
    whole = [plain if plain else filtered for *_, filtered, plain in SCIVQA]
    assert [asked(row) for row in outcomes(opened('scivqa', tmp_path, filters=[]))[:-2]] == whole
    row = found[0]
    assert (row.ability, row.task, row.data_source) == ('science', 'vqa', 'scivqa')
    assert json.loads(row.extra) == {'kind': SCIVQA[0][0]} and row.size == Size(8, 6)
    assert {SETS[name].storage for name in WRITERS} == {NATURAL}


def test_kinds_of_scivqa_can_be_taken(tmp_path):
    write_scivqa(tmp_path)
    found = outcomes(opened('scivqa', tmp_path, filters=[f'kinds={SCIVQA[1][0]}']))
    assert [place for place, row in enumerate(found) if isinstance(row, Row)] == [1]


# Question, answer as published; verifier, parameters and truth: 5 % of a number, unit or not.
CHARTX = [
    ("How much more is John's salary?", '$800', 'numeric', '800'),
    ('How much?', '$ 1,200.50', 'numeric', '1,200.50'), ('What share?', '15%', 'numeric', '15%'),
    ('Which month?', 'January', 'exact', 'January'), ('How much?', '2300 MW', 'exact', '2300 MW'),
]


def write_chartx(root: Path, images: str = 'ChartX_png') -> None:
    write_pictures(root / images, 'bar_chart/png/bar_87.png')
    rows = [{
        'chart_type': 'bar_chart', 'imgname': 'bar_87', 'img': './bar_chart/png/bar_87.png',
        'topic': 'Work', 'title': ' Salaries', 'csv': 'a \\t b \\n ',
        'description': {'input': 'Describe.', 'output': 'A chart.'},
        'redrawing': {'input': 'Redraw.', 'output': 'pass'},
        'QA': {'input': question, 'output': answer}} for question, answer, *_ in CHARTX]
    rows += [rows[0] | {'QA': None}, rows[0] | {'QA': {'input': 'What?'}},
             rows[0] | {'QA': {'input': 'Which?', 'output': 'North and South, but not East'}}]
    (root / 'ChartX_annotation_val.json').write_text(json.dumps(rows))
    (root / 'ChartX_annotation_test.json').write_text(json.dumps(rows[:1]))


@pytest.mark.parametrize('images', ['ChartX_png', '.'])
def test_chartx(tmp_path, images):
    write_chartx(tmp_path, images)
    found = outcomes(opened('chartx', tmp_path))
    assert [asked(row) for row in found] == [
        *((f'{question}\n{ASK}', verifier, {'relative': 0.05} if verifier == 'numeric' else {},
           truth) for question, _, verifier, truth in CHARTX),
        "broken: broken row: TypeError 'NoneType' object is not subscriptable",
        "broken: broken row: KeyError 'output'", 'answer too long']
    assert found[0].ability == 'chart' and json.loads(found[0].extra) == {'kind': 'bar_chart'}
    assert len(opened('chartx', tmp_path, 'test')) == 1


@pytest.mark.parametrize(('answer', 'accuracy'), [
    ('$760', 1.0), ('840 dollars', 1.0), ('759', 0.0), ('$841', 0.0),      # 5 % of 800 is 40
    ('eight hundred', 0.0),
])
def test_dollars_are_compared_as_numbers(tmp_path, answer, accuracy):
    write_chartx(tmp_path)
    row = outcomes(opened('chartx', tmp_path))[0]
    response = f'<think>I see.</think><answer>{answer}</answer>'
    reward, = Scorer().score_all([Rollout(response, row.sample)])
    assert reward.parts['numeric'] == accuracy


# Part, question, answer as published, what becomes of it by V-Triune's rules, and without them.
TABLES = [
    ('fintabnetqa', 'What was the low value?', '$65.95', ('numeric', '65.95'), None),
    ('fintabnetqa', 'What share?', '3.14%', ('numeric', '3.14%'), None),
    ('fintabnetqa', 'How much?', '$7,650 million', ('exact', '$7,650 million'), None),
    ('fintabnetqa', 'How much?', '(303)', 'answer with symbols', ('exact', '(303)')),
    ('vtabfact', 'the attendance never drop below 10000', '1', 'true or false', ('exact', 'true')),
    ('vtabfact', 'alex play centre in 1897', '0', 'true or false', ('exact', 'false')),
    ('vtabfact', 'which?', '2', "broken: broken row: KeyError '2'", None),
    ('vwtq', 'how many people came?', '74,871', ('numeric', '74,871'), None),
    ('vwtq', 'which came first?', 'Guyana', ('exact', 'Guyana'), None),
    ('vwtq', 'who was there?', 'Joe Straus|Lyle Larson', 'several values at once',
     'several values at once'),
    ('vwtq_syn', 'how many?', None,
     'broken: says nothing true: all of mask, bbox, count, answer are empty', None),
    ('vwtq_syn', 'what is the total?', '18', ('numeric', '18'), None),
]


def write_tablevqa(root: Path) -> None:
    """Write its four tables, with a digest in their names as the hub has them."""
    (root / 'data').mkdir(parents=True)
    schema = pyarrow.schema([
        ('qa_id', pyarrow.string()),
        ('image', pyarrow.struct([('bytes', pyarrow.binary()), ('path', pyarrow.string())])),
        *((name, pyarrow.string()) for name in (
            'question', 'text_markdown_table', 'text_html_table', 'gt'))])
    for part in ('fintabnetqa', 'vtabfact', 'vwtq', 'vwtq_syn'):
        rows = [{'qa_id': f'{part}-{number}', 'image': {'bytes': picture(), 'path': None},
                 'question': question, 'text_markdown_table': '| a |',
                 'text_html_table': '<table>', 'gt': answer}
                for number, (name, question, answer, *_) in enumerate(TABLES) if name == part]
        parquet.write_table(
            pyarrow.Table.from_pylist(rows, schema),
            root / 'data' / f'{part}-00000-of-00001-0123456789abcdef.parquet')


def test_tablevqa(tmp_path):
    write_tablevqa(tmp_path)
    for filters, column in ((None, 3), ([], 4)):
        found = outcomes(opened('tablevqa', tmp_path, filters=filters))
        expected = [(row[column] or row[3]) for row in TABLES]
        assert [row if isinstance(row, str) else (row.sample.verifier, row.sample.ground_truth)
                for row in found] == expected
        assert all(json.loads(row.extra) == {'kind': part} and row.ability == 'chart'
                   for row, (part, *_) in zip(found, TABLES, strict=True)
                   if isinstance(row, Row))
    assert found[0].problem == f'What was the low value?\n{ASK}'
    assert found[4].problem == ('Is this true or false of the table?'
                                f' the attendance never drop below 10000\n{ASK}')


def test_one_of_the_tables_alone(tmp_path):
    write_tablevqa(tmp_path)
    assert len(opened('tablevqa', tmp_path, 'vwtq')) == 3        # not those of vwtq_syn
    found = outcomes(opened('tablevqa', tmp_path, 'vtabfact', []))
    assert [row.sample.ground_truth for row in found[:2]] == ['true', 'false']


ESTVQA = [
    {'id': 0, 'image': '000000.jpg', 'annotation': [
        {'question_id': 0, 'question': 'What does the sign say?', 'answer': 'STOP',
         'evidence': ['1', '2', '3', '2', '3', '4', '1', '4']},
        {'question_id': 1, 'question': '这家店的名字是什么?', 'answer': '牛街礼拜寺',
         'evidence': ['1', '2', '3', '2', '3', '4', '1', '4']}]},
    {'id': 1, 'image': '000001.jpg', 'annotation': [
        {'question_id': 2, 'question': 'Which number?', 'answer': '1899', 'evidence': []}]},
    {'id': 2, 'image': '000001.jpg', 'annotation': None},
    {'id': 3, 'image': '000001.jpg', 'annotation': [{'question': 'Where?'}]},
    {'id': 4, 'image': '000001.jpg', 'annotation': []},
    'nothing',
]


def write_estvqa(root: Path, content: object = ESTVQA) -> None:
    write_pictures(root / 'images' / 'train', '000000.jpg', '000001.jpg')
    (root / 'annotations').mkdir(parents=True)
    (root / 'annotations' / 'train.json').write_text(json.dumps(content))


def test_estvqa_has_several_questions_about_an_image(tmp_path):
    pytest.importorskip('math_verify')
    write_estvqa(tmp_path)
    found = [asked(row) for row in outcomes(opened('estvqa', tmp_path))]
    # ANLS: similarity of the texts, and nothing below one half.
    anls = 'edit_distance', {'least': 0.5}
    assert found == [
        (f'What does the sign say?\n{ASK}', *anls, 'STOP'), 'not English',
        (f'Which number?\n{ASK}', *anls, '1899'),
        "broken: broken row: TypeError 'NoneType' object is not subscriptable",
        "broken: broken row: KeyError 'answer'", 'broken: row 5 is no object of JSON']


def test_a_chinese_question_is_read_where_it_is_wanted(tmp_path):
    write_estvqa(tmp_path)
    row = outcomes(opened('estvqa', tmp_path, filters=[]))[1]
    assert asked(row) == (
        f'这家店的名字是什么?\n{ASK}', 'edit_distance', {'least': 0.5}, '牛街礼拜寺')
    rewards = Scorer().score_all([
        Rollout(f'<think>a</think><answer>{answer}</answer>', row.sample)
        for answer in ('牛街礼拜寺', '牛街礼拜堂', '牛街')])
    # 0, 1 and 3 edits of 5.
    assert [reward.parts['edit_similarity'] for reward in rewards] == [1.0, 0.8, 0.0]


WRITERS = {'scivqa': write_scivqa, 'chartx': write_chartx, 'tablevqa': write_tablevqa,
           'estvqa': write_estvqa}
# What is taken away of each, and what is told then.
MISSING = {
    'scivqa': [('train_2025-03-27_18-34-44.json', '0 files train*.json, not one'),
               ('images_train', 'no folder images_train nor images/train with its pictures')],
    'chartx': [('ChartX_annotation_val.json', '0 files ChartX_annotation_val.json, not one')],
    'tablevqa': [('data', 'no Parquet or Arrow files')],
    'estvqa': [('annotations', '0 files annotations/train.json, not one'),
               ('images', 'no folder images/train with its pictures')],
}


@pytest.mark.parametrize(('name', 'gone', 'words'), [
    (name, *case) for name, cases in MISSING.items() for case in cases])
def test_files_that_are_missing_are_told_in_one_line(tmp_path, name, gone, words):
    pytest.importorskip('math_verify')
    WRITERS[name](tmp_path)
    (tmp_path / gone).rename(tmp_path.parent / f'{tmp_path.name} gone')
    with pytest.raises(DataSetError) as error:
        opened(name, tmp_path)
    message = str(error.value)
    assert words in message and SETS[name].how_to_get in message and '\n' not in message


@pytest.mark.parametrize(('name', 'file', 'column'), [
    ('scivqa', 'train_2025-03-27_18-34-44.json', 'qa_pair_type'),
    ('chartx', 'ChartX_annotation_val.json', 'QA'), ('estvqa', 'annotations/train.json', 'image'),
])
def test_columns_that_are_missing_are_told(tmp_path, name, file, column):
    WRITERS[name](tmp_path)
    path = tmp_path / file
    path.write_text(json.dumps([
        {key: value for key, value in row.items() if key != column}
        for row in json.loads(path.read_text()) if isinstance(row, dict)]))
    with pytest.raises(DataSetError, match=rf'lacks the columns {column}; it has '):
        opened(name, tmp_path, filters=[])


def test_a_table_that_lacks_a_column_is_told(tmp_path):
    write_tablevqa(tmp_path)
    path = next((tmp_path / 'data').glob('vwtq_syn*'))
    parquet.write_table(parquet.read_table(path).drop_columns(['gt']), path)
    with pytest.raises(DataSetError, match='lacks the columns gt; it has part, qa_id, image'):
        opened('tablevqa', tmp_path)


def test_two_files_of_one_part_are_told(tmp_path):
    write_scivqa(tmp_path)
    (tmp_path / 'train_2026-01-01.json').write_text('[]')
    with pytest.raises(DataSetError, match=r'2 files train\*.json, not one'):
        opened('scivqa', tmp_path)
