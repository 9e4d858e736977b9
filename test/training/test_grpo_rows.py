"""Rows as TRL gets them: the node's own tokens and pixels, truths in the model's numbers."""
from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from rows_of_data import SCHEMA, row, text_row, write_rows

from vr_ros.core.types import Size, Task
from vr_ros.models.card import load_card
from vr_ros.models.qwen_vl import QwenVLReasoner
from vr_ros.models.rows import Asked
from vr_ros.training.rewards.samples import Sample

pytest.importorskip('trl', reason='./run train grpo installs it')

from datasets import Image as ImageFeature  # noqa: E402
from trl.data_utils import apply_chat_template, prepare_multimodal_messages  # noqa: E402

from vr_ros.datasets.sample import decode_image  # noqa: E402
from vr_ros.training.trainers.grpo.processor import CardProcessor  # noqa: E402
from vr_ros.training.trainers.grpo.rows import Rows, RowsError, read_rows  # noqa: E402

pytestmark = pytest.mark.usefixtures('one_thread')
CARD = load_card('sim_tiny').reasoner
SHOWN = Size(320, 240)


@pytest.fixture(scope='module')
def reasoner() -> QwenVLReasoner:
    return QwenVLReasoner(CARD, CARD.weights.path, 'cpu')


def noise(size: Size, seed: int = 0) -> bytes:
    import cv2

    pixels = np.random.default_rng(seed).integers(0, 256, (size.height, size.width, 3), np.uint8)
    return cv2.imencode('.png', pixels)[1].tobytes()


def shown(number: int = 0, **changes) -> dict:
    changes = {'image': {'bytes': noise(SHOWN, number), 'path': ''}} | changes
    return row(number, SHOWN, **changes)


def read(folder: Path, card=CARD, **options) -> Rows:
    return read_rows([folder], card, lambda sample: sample, **options)


def chat(one: dict) -> list[dict]:
    images = [one['image']] if one['image'] is not None else []
    return prepare_multimodal_messages(one['prompt'], images)


@pytest.mark.parametrize(('problem', 'task'), [
    ('Find the "red" cup.', 'detection'),
    ('How many cups?', 'counting'),
    ('What colour is it?', 'vqa'),          # verbatim, with another template
])
def test_tokens_and_pixels_are_those_of_the_node(tmp_path, reasoner, problem, task) -> None:
    rows = [shown(0, problem=problem, task=task), shown(1)]
    one = read(write_rows(tmp_path, rows), held_out_rows=1, seed=1)
    given = next(found for part in (one.train, one.held_out) for found in part
                 if found['id'] == 'row-0')
    processor = CardProcessor.of(reasoner.tokenizer, reasoner.patches)
    inputs = processor.apply_chat_template([chat(given)], tokenize=True, return_dict=True)
    theirs = reasoner._prompt(Asked(decode_image(rows[0]['image']['bytes']), problem,
                                    Task[task.upper()]))
    assert inputs['input_ids'] == [theirs.ids.tolist()]
    assert torch.equal(inputs['pixel_values'], theirs.patches)
    assert inputs['image_grid_thw'].tolist() == [[1, 12, 12]]
    # As TRL does it a second time, from the text.
    text = apply_chat_template({'prompt': chat(given)}, processor)['prompt']
    again = processor(images=[[given['image']]], text=[text], padding=True, return_tensors='pt')
    assert again['input_ids'].tolist() == inputs['input_ids']
    assert again['mm_token_type_ids'].sum() == 36


def test_shorter_prompts_are_padded_on_the_left(reasoner) -> None:
    processor = CardProcessor.of(reasoner.tokenizer, reasoner.patches)
    texts = ['a cup', 'a very much longer text about a cup']
    padded = processor(images=[None, None], text=texts, padding=True, return_tensors='pt')
    for row_ids, mask, text in zip(padded['input_ids'], padded['attention_mask'], texts,
                                   strict=True):
        alone = reasoner.tokenizer(text, add_special_tokens=False)['input_ids']
        assert row_ids.tolist()[-len(alone):] == alone
        assert mask.sum() == len(alone)
    assert 'pixel_values' not in padded


def test_truths_are_in_the_numbers_that_the_model_writes(tmp_path) -> None:
    truth = [{'bbox_2d': [32, 24, 160, 120], 'point_2d': [64, 61]}]
    sample = Sample('visionreasoner', json.dumps(truth), 'lvis', 'row-0')
    write_rows(tmp_path, [shown(0, reward_spec=sample.to_json()), shown(1)])
    for card, box, point in (
        (CARD, [17, 17, 84, 84], [34, 43]),                                   # 168 / 320, 168 / 240
        (load_card('qwen3_vl_4b').reasoner, [100, 100, 500, 500], [200, 254]),   # thousandths
    ):
        found = {one['id']: json.loads(one['reward_spec'])['ground_truth']
                 for part in (lambda r: (r.train, r.held_out))(read(tmp_path, card))
                 for one in part}
        assert json.loads(found['row-0']) == [{'bbox_2d': box, 'point_2d': point}]


def test_rows_of_text_alone_have_no_image(tmp_path) -> None:
    write_rows(tmp_path, [text_row(0), text_row(1)])
    [one] = read(tmp_path).train
    assert one['image'] is None


def test_images_that_datasets_would_decode_are_left_as_they_are(tmp_path) -> None:
    import datasets

    write_rows(tmp_path / 'plain', [shown(0), shown(1), shown(2)])
    stored = datasets.load_dataset(
        'parquet', data_files=[str(next((tmp_path / 'plain').glob('*')))], split='train')
    (tmp_path / 'typed').mkdir()
    stored.cast_column('image', ImageFeature()).to_parquet(
        tmp_path / 'typed' / 'train-00000-of-00001.parquet')
    plain, typed = (read(tmp_path / name).train for name in ('plain', 'typed'))
    assert [one['image'].tobytes() for one in plain] == [one['image'].tobytes() for one in typed]


def test_held_out_rows_are_taken_from_their_split_else_from_the_training(tmp_path) -> None:
    write_rows(tmp_path, [shown(number) for number in range(40)])
    rows = read(tmp_path)
    names = [{one['id'] for one in part} for part in (rows.train, rows.held_out)]
    assert [len(one) for one in names] == [38, 2] and not names[0] & names[1]
    write_rows(tmp_path, [shown(number) for number in range(50, 60)], 'val')
    rows = read(tmp_path, held_out_rows=4, limit=7)
    assert (len(rows.train), len(rows.held_out)) == (7, 4)
    assert all(int(one['id'].removeprefix('row-')) >= 50 for one in rows.held_out)


def test_rows_of_one_image_are_held_out_together(tmp_path) -> None:
    write_rows(tmp_path, [
        shown(number, image={'bytes': noise(SHOWN, number // 3), 'path': ''})
        for number in range(60)])
    rows = read(tmp_path)
    learnt, held_out = ({int(one['id'].removeprefix('row-')) // 3 for one in part}
                        for part in (rows.train, rows.held_out))
    assert (len(rows.train), len(rows.held_out)) == (57, 3)
    assert not learnt & held_out


def test_rows_of_a_single_image_have_none_to_hold_out(tmp_path) -> None:
    write_rows(tmp_path, [shown(number, image={'bytes': noise(SHOWN), 'path': ''})
                          for number in range(3)])
    with pytest.raises(RowsError, match='single image'):
        read(tmp_path)


@pytest.mark.parametrize(('rows', 'options', 'message'), [
    ([], {}, 'no train-'),
    ([0], {'held_out_split': 'none'}, 'a single row'),
    ([0, 0, 0], {}, 'called "row-0"'),
    ([0, 1], {'held_out_split': 'test'}, 'never chosen by the test split'),
    ([0, 1], {'held_out_split': 'train'}, 'same split'),
    ([0, {'task': 'drawing'}], {}, "row \"row-1\": task 'drawing' is none of"),
    ([0, {'reward_spec': 'x'}], {}, 'row "row-1": reward_spec a sample is no JSON'),
    ([0, {'problem': '?!'}], {}, 'row "row-1".*empty'),
    ([0, {'problem': None}], {}, 'row "row-1": problem is no text'),
    ([0, {'image': None}], {}, 'row "row-1": image is missing, yet there is a size'),
    ([0, {'image': {'bytes': None, 'path': 'a.png'}, 'width': 0, 'height': 0}], {},
     'row "row-1": its image is only named'),
    ([0, {'width': 0}], {}, 'row "row-1": image of 0x240 has no pixels'),
    ([0, {'image': {'bytes': b'no image', 'path': ''}}], {}, 'row "row-1": broken image'),
    ([0, {'width': 240, 'height': 320}], {}, 'row "row-1": its image is of 320x240, not of 240x3'),
    # Cut off: pillow knows its size, but not its pixels. All are looked at, some are named.
    ([0, *[{'image': {'bytes': noise(SHOWN)[:-999], 'path': ''}}] * 5], {},
     'row "row-1": broken .*row "row-2": .*row "row-3": .*; and 2 more$'),
])
def test_what_cannot_be_trained_on_is_named(tmp_path, rows, options, message) -> None:
    made = [shown(one) if isinstance(one, int) else shown(place, **one)
            for place, one in enumerate(rows)]
    if made:
        # Held out or learnt from: every row is looked at.
        write_rows(tmp_path, made)
        write_rows(tmp_path, [shown(number) for number in (97, 98)], 'val')
    with pytest.raises(RowsError, match=message):
        read(tmp_path, **options)


def written(table: pa.Table) -> bytes:
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


def retyped(table: pa.Table, name: str) -> pa.Table:
    return table.set_column(table.schema.names.index(name), name, pa.array(['x', 'y']))


@pytest.mark.parametrize(('make', 'message'), [
    (lambda path, table: path.write_bytes(b''), 'is damaged'),
    (lambda path, table: path.write_bytes(b'no parquet, but some words'), 'is damaged'),
    (lambda path, table: path.write_bytes(written(table)[:-100]), 'is damaged'),
    # Its end is whole: only who reads all of it finds out.
    (lambda path, table: path.write_bytes(bytes(9999) + written(table)[9999:]), 'is damaged'),
    (lambda path, table: path.mkdir(), 'is no file'),
    (lambda path, table: parquet.write_table(table[:0], path), 'there is no row in it'),
    (lambda path, table: parquet.write_table(table.drop_columns(['task']), path),
     'has no column task'),
    (lambda path, table: parquet.write_table(retyped(table, 'width'), path),
     ': column width is of type string'),
    (lambda path, table: parquet.write_table(retyped(table, 'image'), path),
     ': column image is of type string'),
])
def test_a_file_that_cannot_be_read_is_named(tmp_path, make, message) -> None:
    path = tmp_path / 'train-00000-of-00001.parquet'
    make(path, pa.Table.from_pylist([shown(0), shown(1)], SCHEMA))
    with pytest.raises(RowsError, match=message) as raised:
        read(tmp_path)
    assert str(raised.value).startswith(str(path)) and '\n' not in str(raised.value)


def test_a_file_or_folder_that_is_not_there_is_named(tmp_path) -> None:
    file = next(write_rows(tmp_path, [shown(0), shown(1)]).glob('*.parquet'))
    file.rename(tmp_path / 'train-00000-of-00002.parquet')
    with pytest.raises(RowsError, match='1 of 2 files'):
        read(tmp_path)
    with pytest.raises(RowsError, match=f'--data {tmp_path}/sets: there is no such folder'):
        read(tmp_path / 'sets')


def test_a_file_without_rows_beside_others_does_no_harm(tmp_path) -> None:
    write_rows(tmp_path, [shown(0), shown(1), shown(2)])
    (tmp_path / 'empty').mkdir()
    parquet.write_table(SCHEMA.empty_table(), tmp_path / 'empty/train-00000-of-00001.parquet')
    rows = read_rows([tmp_path / 'empty', tmp_path], CARD, lambda sample: sample)
    assert (len(rows.train), len(rows.held_out)) == (2, 1)
