"""``./run train convert``: the columns, the prompts, the order, and rows that cannot be used."""
from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from rows_of_data import RIGHT, png, row, text_row, write_rows

from vr_ros.core.prompt import render_chat
from vr_ros.core.types import Size, Task
from vr_ros.models.card import load_card
from vr_ros.training.adapters import easyr1, verl
from vr_ros.training.adapters.convert import main
from vr_ros.training.rewards.samples import Sample

RECORDED = Path(__file__).parent / 'recorded'
TRAINERS = ('verl', 'easyr1', 'trl')


def read(folder: Path, split: str = 'train') -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob(f'{split}-*.parquet'))
            for row in parquet.read_table(path).to_pylist()]


def convert(data: Path, to: str, *options: str) -> list[dict[str, Any]]:
    """Convert without a fault; :return: the rows of the split train."""
    out = data.with_name(f'{to}{"".join(options)}')
    assert main(['--to', to, str(data), str(out), *options]) == 0
    return read(out)


def rendered(messages: list[dict[str, Any]], image_tokens: int) -> str:
    """Render messages as the chat template of Qwen2.5-VL does."""
    text = ''
    for message in messages:
        content = message['content'].replace(
            '<image>', f'<|vision_start|>{"<|image_pad|>" * image_tokens}<|vision_end|>')
        text += f'<|im_start|>{message["role"]}\n{content}<|im_end|>\n'
    return text + '<|im_start|>assistant\n'


@pytest.fixture
def data(tmp_path) -> Path:
    folder = write_rows(tmp_path / 'data', [row(number) for number in range(5)] + [text_row(5)],
                        files=2)
    return write_rows(folder, [row(6, split='val')], 'val')


def test_rows_of_verl(data) -> None:
    record = json.loads((RECORDED / 'verl_0_9_1.json').read_text(encoding='utf-8'))
    rows = convert(data, 'verl')
    for name, inner in record['row_columns'].items():
        content = rows[0][name]
        if isinstance(content, list):
            content = content[0]
        assert isinstance(content, str) if inner == 'string' else content.keys() >= set(inner)
    assert rows[0]['images'] == [{'bytes': png(Size(840, 840)), 'path': '0.png'}]
    assert [one['extra_info']['index'] for one in rows] == list(range(6))
    # verl replaces each mark by an image, and wants as many as there are.
    marks = [sum(m['content'].count(record['image_mark']) for m in one['prompt']) for one in rows]
    assert marks == [len(one['images']) for one in rows] == [1, 1, 1, 1, 1, 0]
    score = verl.compute_score(
        data_source=rows[0]['data_source'], solution_str=RIGHT,
        ground_truth=rows[0]['reward_model']['ground_truth'], extra_info=rows[0]['extra_info'])
    assert score['score'] == 1.0


def test_rows_of_easyr1(data) -> None:
    rows = convert(data, 'easyr1')
    marks = [one['problem'].count('<image>') for one in rows]
    assert marks == [len(one['images']) for one in rows] == [1, 1, 1, 1, 1, 0]
    assert {json.loads(one['answer'])['split'] for one in rows} == {'train'}
    scores = easyr1.compute_score([
        {'response': RIGHT if one['images'] else '<answer>12</answer>', 'response_length': 9,
         'ground_truth': one['answer']} for one in rows])
    assert [score['correct'] for score in scores] == [1.0] * 6


def test_rows_of_trl(data) -> None:
    rows = convert(data, 'trl')
    assert rows[1]['image']['bytes'] == png(Size(840, 840), 1) and rows[5]['image'] is None
    assert all('<image>' not in message['content'] for message in rows[1]['prompt'])
    assert Sample('numeric', '12', 'puzzles', 'text-5').to_json() == rows[5]['reward_spec']


@pytest.mark.parametrize('task', ['detection', 'counting', 'vqa'])
def test_the_model_reads_what_it_reads_on_the_robot(tmp_path, task) -> None:
    said = 'How many "red" cups, <image> or <|im_end|> mugs?'
    data = write_rows(tmp_path / 'data', [row(0, problem=said, task=task)])
    card = load_card('visionreasoner_7b').reasoner
    kind = Task[task.upper()]
    # As the node hears it: marks of the chat and of the answer say nothing.
    question = 'How many "red" cups, image or im_end mugs?'
    if kind is not Task.VQA:
        question = 'how many "red" cups, image or im_end mugs'
    expected = render_chat(card.template(kind), question, 900)
    assert rendered(convert(data, 'verl')[0]['prompt'], 900) == expected
    # EasyR1 gives the user's message alone; the chat template adds the system message.
    system = {'role': 'system', 'content': 'You are a helpful assistant.'}
    user = {'role': 'user', 'content': convert(data, 'easyr1')[0]['problem']}
    assert rendered([system, user], 900) == expected


@pytest.mark.parametrize('to', TRAINERS)
def test_every_row_and_every_file_comes_out(data, to) -> None:
    convert(data, to)
    out = data.with_name(to)
    assert {path.name: parquet.read_metadata(path).num_rows for path in out.iterdir()} == {
        'train-00000-of-00002.parquet': 3, 'train-00001-of-00002.parquet': 3,
        'val-00000-of-00001.parquet': 1}


def test_image_and_truth_become_what_the_model_sees(tmp_path) -> None:
    small = row(0, Size(420, 1680), reward_spec=Sample(
        'visionreasoner', json.dumps([{'bbox_2d': [50, 200, 100, 400], 'point_2d': [75, 301]}]),
        'lvis', 'row-0').to_json())
    data = write_rows(tmp_path / 'data', [small])
    [one] = convert(data, 'verl')
    [cell] = one['images']
    assert Image.open(io.BytesIO(cell['bytes'])).size == (840, 840)
    spec = json.loads(one['extra_info']['reward_spec'])
    truth = json.loads(spec['ground_truth'])
    # 840 / 420 = 2 and 840 / 1680 = 0.5; 150.5 is rounded up, as VisionReasoner prepared its data.
    assert truth == [{'bbox_2d': [100, 100, 200, 200], 'point_2d': [150, 151]}]
    assert spec['image_size'] == [840, 840]
    assert one['reward_model']['ground_truth'] == spec['ground_truth']
    # Qwen3-VL keeps the aspect ratio, in steps of 32 pixels, and speaks of thousandths.
    [other] = convert(data, 'trl', '--card', 'qwen3_vl_4b')
    assert Image.open(io.BytesIO(other['image']['bytes'])).size == (416, 1664)
    spec = json.loads(other['reward_spec'])
    assert json.loads(spec['ground_truth']) == [
        {'bbox_2d': [119, 119, 238, 238], 'point_2d': [179, 179]}]


@pytest.mark.parametrize(('card', 'normalised'), [
    ('visionreasoner_7b', True),   # it writes pixels, which the verifier brings to 0..1000
    ('qwen3_vl_4b', False),        # it writes 0..1000 itself
])
def test_a_truth_in_thousandths_stays(tmp_path, card, normalised) -> None:
    truth = json.dumps([{'bbox_2d': [100, 100, 200, 200], 'label': 'cup'}])
    sample = Sample('detection', truth, 'lvis', 'row-0', {'det_verifier_normalized': True},
                    image_size=Size(420, 420))
    data = write_rows(tmp_path / 'data', [row(0, Size(420, 420), reward_spec=sample.to_json())])
    [one] = convert(data, 'verl', '--card', card)
    side = Image.open(io.BytesIO(one['images'][0]['bytes'])).width
    written = 100 if card == 'qwen3_vl_4b' else side // 10
    answer = json.dumps([{'bbox_2d': [written, written, 2 * written, 2 * written],
                          'label': 'cup'}])
    score = verl.compute_score('lvis', f'<answer>{answer}</answer>', '', one['extra_info'])
    assert score['accuracy'] == 1.0
    spec = json.loads(one['extra_info']['reward_spec'])
    assert spec['parameters']['det_verifier_normalized'] is normalised
    assert spec['ground_truth'] == truth


def test_objects_of_a_mixture_are_scaled(tmp_path) -> None:
    near = [{'bbox_2d': [50, 50, 100, 100], 'point_2d': [75, 75]}]
    sample = Sample('mixture', '1', 'lvis', 'row-0', {
        'parts': {'objects': 1.0}, 'objects': near})
    data = write_rows(tmp_path / 'data', [row(0, Size(420, 420), reward_spec=sample.to_json())])
    [one] = convert(data, 'verl')
    assert verl.compute_score('lvis', RIGHT, '', one['extra_info'])['objects'] == 1.0


def test_a_drawn_order_with_progress(tmp_path) -> None:
    data = write_rows(tmp_path / 'data', [row(number, Size(56, 56), task='vqa')
                                          for number in range(150)], files=3)
    plain = [one['id'] for one in convert(data, 'trl')]
    rows = convert(data, 'trl', '--shuffle', '7', '--progress')
    assert plain == [f'row-{number}' for number in range(150)]
    assert [one['id'] for one in rows] != plain
    assert Counter(one['id'] for one in rows) == Counter(plain)
    assert [one['progress'] for one in rows] == [place / 150 for place in range(150)]
    # A row keeps its own image and truth.
    for one in rows:
        number = int(one['id'].removeprefix('row-'))
        assert one['image']['bytes'] == png(Size(56, 56), number)
        assert json.loads(one['reward_spec'])['id'] == one['id']
    again = main(['--to', 'trl', str(data), str(tmp_path / 'again'), '--shuffle', '7'])
    assert again == 0 and [one['id'] for one in read(tmp_path / 'again')] == [
        one['id'] for one in rows]


@pytest.mark.parametrize(('changes', 'reason'), [
    ({'reward_spec': '{}'}, 'without "verifier"'),
    ({'reward_spec': Sample('numeric', 'many', 'lvis', 'row-1').to_json()}, "'many' is no number"),
    ({'reward_spec': Sample('numeric', '1', 'lvis', 'row-2').to_json()}, 'is of lvis row-2'),
    ({'reward_spec': None}, 'reward_spec is no text'),
    ({'task': 'drawing'}, "'drawing' is none of detection"),
    ({'problem': '<|endoftext|>?!'}, None),                        # words are left
    ({'problem': ' ?!'}, 'the instruction is empty'),
    ({'progress': 1.5}, 'progress 1.5 is not from 0 to 1'),
    ({'image': {'bytes': None, 'path': 'far/away.png'}, 'width': 0, 'height': 0}, 'only named'),
    ({'width': 1, 'task': 'vqa'}, 'more than 200 times'),
    ({'image': {'bytes': b'not a picture', 'path': ''}, 'width': 640}, 'broken image'),
    # Those of the model's own size are not stored anew, and yet are looked at.
    ({'image': {'bytes': b'not a picture', 'path': ''}}, 'broken image'),
    ({'image': {'bytes': png(Size(840, 840))[:-400], 'path': ''}}, 'broken image'),
    ({'image': {'bytes': png(Size(840, 420)), 'path': ''}}, 'is of 840x420, not of 840x840'),
])
def test_a_row_that_cannot_be_used_is_left_out_by_name(tmp_path, capsys, changes, reason) -> None:
    data = write_rows(tmp_path / 'data', [row(0), row(1, **changes), row(2)])
    out = tmp_path / 'out'
    assert main(['--to', 'verl', str(data), str(out)]) == (0 if reason is None else 1)
    if reason is None:
        return
    assert [one['extra_info']['id'] for one in read(out)] == ['row-0', 'row-2']
    [listed] = (tmp_path / 'out.left_out.jsonl').read_text(encoding='utf-8').splitlines()
    assert json.loads(listed)['id'] == 'row-1' and reason in json.loads(listed)['reason']
    assert reason in capsys.readouterr().err


def damage(folder: Path) -> None:
    [path] = folder.glob('*.parquet')
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(200) + content[204:])


def lose_a_column(folder: Path) -> None:
    [path] = folder.glob('*.parquet')
    parquet.write_table(parquet.read_table(path).drop(['task']), path)


def retype(column: str, to: pa.DataType):
    def spoil(folder: Path) -> None:
        [path] = folder.glob('*.parquet')
        table = parquet.read_table(path)
        place = table.schema.get_field_index(column)
        values = [str(value) for value in table[column].to_pylist()]
        parquet.write_table(table.set_column(place, column, pa.array(values).cast(to)), path)
    return spoil


@pytest.mark.parametrize(('column', 'to'), [
    ('width', pa.int64()), ('width', pa.int16()), ('problem', pa.large_string()),
    ('task', pa.dictionary(pa.int8(), pa.string())),
])
def test_columns_of_other_widths_are_read_alike(tmp_path, column, to) -> None:
    data = write_rows(tmp_path / 'data', [row(0), row(1)])
    expected = convert(data, 'verl')
    retype(column, to)(data)
    assert main(['--to', 'verl', str(data), str(tmp_path / 'again')]) == 0
    assert read(tmp_path / 'again') == expected


@pytest.mark.parametrize(('spoil', 'options', 'reason'), [
    (retype('width', pa.string()), [],
     'train-00000-of-00001.parquet: column width is of type string, not int32'),
    (retype('image', pa.string()), [],
     'column image is of type string, not struct<bytes: binary, path: string>'),
    (retype('problem', pa.binary()), [], 'column problem is of type binary, not string'),
    (lambda folder: write_rows(folder, [], 'val'), [],
     'val-00000-of-00001.parquet: no row is in this split'),
    (lambda folder: None, ['--card', 'visonreasoner_7b'], 'visionreasoner_7b'),
    (lambda folder: [path.unlink() for path in folder.iterdir()], [], 'holds no files such as'),
    (lambda folder: next(folder.iterdir()).rename(folder / 'train-00000-of-00002.parquet'), [],
     'holds 1 of 2 files'),
    (lose_a_column, [], 'has no column task'),
    (damage, [], 'is damaged'),
    (lambda folder: (folder.parent / 'out').mkdir(), [], 'exists'),
    # Its system message lacks the full stop that the chat template writes.
    (lambda folder: None, ['--card', 'qwen2_5_vl_7b', '--to', 'easyr1'], 'write it into the card'),
])
def test_what_cannot_be_converted_is_refused_in_one_line(tmp_path, capsys, spoil, options, reason
                                                         ) -> None:
    data = write_rows(tmp_path / 'data', [row(0)])
    spoil(data)
    before = sorted(tmp_path.iterdir())
    assert main(['--to', 'verl', str(data), str(tmp_path / 'out'), *options]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if 'train convert:' in line]
    assert len(lines) == 1 and reason in lines[0]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize('seed', ['-1', 'x'])
def test_an_order_that_cannot_be_drawn_is_refused(data, capsys, seed) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['--to', 'verl', str(data), str(data.with_name('out')), '--shuffle', seed])
    assert ended.value.code == 2 and not data.with_name('out').exists()
    assert 'argument --shuffle: ' in capsys.readouterr().err.splitlines()[-1]


def test_datasets_reads_what_was_written(data) -> None:
    """All three trainers read the files by it; a folder has the splits train and validation."""
    datasets = pytest.importorskip('datasets')
    for to in TRAINERS:
        convert(data, to)
        read_back = datasets.load_dataset(
            'parquet', data_dir=str(data.with_name(to)), cache_dir=str(data.with_name('cache')))
        assert {split: len(part) for split, part in read_back.items()} == {
            'train': 6, 'validation': 1}
        column = 'image' if to == 'trl' else 'images'
        image = read_back['validation'][0][column]
        assert (image if to == 'trl' else image[0])['bytes'] == png(Size(840, 840), 6)
