"""What the `datasets` package writes, and reads as a stream, is read here without it."""
from __future__ import annotations

import io
from pathlib import Path

import mini_sets
import numpy as np
import pytest
from PIL import Image

from vr_ros.datasets.registry import open_data_set

datasets = pytest.importorskip('datasets', reason='pip install datasets')
FEATURES = {'text': 'string', 'count': 'int64', 'image_id': 'string', 'ann_id': 'string',
            'img_height': 'int32', 'img_width': 'int32'}


def made(rows: list[dict]) -> datasets.Dataset:
    features = datasets.Features({
        'image': datasets.Image(), **{k: datasets.Value(v) for k, v in FEATURES.items()}})
    return datasets.Dataset.from_list(
        [row | {'image': row['image']['bytes']} for row in rows], features=features)


def assert_same(path: Path, split: str, rows: list[dict], stream) -> None:
    data_set = open_data_set(str(path), split)
    assert len(data_set.ids) == len(rows)
    for place, theirs in enumerate(stream):
        sample = data_set.load(place)
        assert np.array_equal(sample.image, np.array(theirs['image'].convert('RGB')))
        assert (sample.instruction, sample.truth.count) == (theirs['text'], theirs['count'])


def test_parquet_as_pushed_to_the_hub(tmp_path):
    rows = mini_sets.count_rows()
    (tmp_path / 'data').mkdir()
    made(rows).to_parquet(tmp_path / 'data' / 'test-00000-of-00001.parquet', batch_size=2)
    stream = datasets.load_dataset(
        'parquet', data_files={'test': str(tmp_path / 'data' / '*.parquet')}, split='test',
        streaming=True)
    assert_same(tmp_path, '', rows, stream)


@pytest.mark.parametrize('shards', [1, 2])
def test_save_to_disk(tmp_path, shards):
    rows = mini_sets.count_rows()
    parts = datasets.DatasetDict({'test': made(rows), 'val': made(rows[:2])})
    parts.save_to_disk(tmp_path, num_shards={'test': shards, 'val': 1})
    assert_same(tmp_path, 'test', rows, datasets.load_from_disk(tmp_path)['test'])
    assert_same(tmp_path, 'val', rows[:2], datasets.load_from_disk(tmp_path)['val'])


def test_a_part_of_rows_that_were_picked(tmp_path):
    """Picking keeps all rows and a list of places; saved, only the picked ones are there."""
    rows = mini_sets.count_rows()
    made(rows).select([3, 1]).save_to_disk(tmp_path)
    picked = datasets.load_from_disk(tmp_path)
    assert_same(tmp_path, '', [rows[3], rows[1]], picked)
    assert Image.open(io.BytesIO(rows[3]['image']['bytes'])).size == picked[0]['image'].size


def test_numbers_that_stand_for_words(tmp_path):
    row = mini_sets.count_rows()[0]
    words = datasets.ClassLabel(names=['no', 'yes'])
    features = datasets.Features({
        'image': datasets.Image(), 'question': datasets.Value('string'), 'answer': words,
        'answers': datasets.Sequence(words)})
    rows = [{'image': row['image']['bytes'], 'question': 'Is it?', 'answer': 1, 'answers': [1, 0]}]
    made = datasets.Dataset.from_list(rows, features=features)
    made.to_parquet(tmp_path / 'test.parquet')
    assert open_data_set(str(tmp_path)).load(0).truth.answers == ('yes', 'no')
    made.remove_columns('answers').save_to_disk(tmp_path / 'disk')
    assert open_data_set(str(tmp_path / 'disk')).load(0).truth.answers == ('yes',)
