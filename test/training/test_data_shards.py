"""Rows in files: what was written comes back, and a killed build ends as one that was not."""
from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rows_of_data import SCHEMA as EXPECTED_BY_CONVERTERS
from rows_of_data import png

from vr_ros.core.types import Size
from vr_ros.training.data.schema import SCHEMA, Row, RowError, check_row, row_from_columns
from vr_ros.training.data.shards import (
    Broken,
    ShardError,
    ShardWriter,
    Written,
    find_files,
    iter_columns,
    iter_rows,
    read_broken,
)
from vr_ros.training.rewards.samples import Sample

IMAGE = png(Size(4, 2))
MASK = json.dumps([{'size': [2, 4], 'counts': [3, 2, 3]}])


def row(number: int = 0, **changes: object) -> Row:
    name = f'r{number}'
    spec = Sample('counting', '3', 'sim', name, image_size=Size(4, 2)).to_json()
    return dataclasses.replace(
        Row(name, 'sim', 'counting', 'train', 'how many cups?', 'counting', spec, IMAGE, 'a.png',
            4, 2, MASK, 0.25, '{"kind": "count_all"}'), **changes)


def write(folder: Path, rows: int = 10, shard_rows: int = 4, stop: int | None = None) -> Written:
    """Write rows, every fifth place broken; :param stop: behind so many places, as by a crash."""
    writer = ShardWriter(folder, 'train', {'source': 'test', 'seed': 1}, shard_rows)
    for place in range(writer.written.places, rows):
        if place == stop:
            return writer.written
        if place % 5 == 4:
            writer.add(place, [], [Broken(place, 'broken image', f'number {place}')])
        else:
            writer.add(place, [row(place)])
    return writer.finish(rows)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_schema_is_the_one_that_converters_and_trainers_read() -> None:
    assert SCHEMA.equals(EXPECTED_BY_CONVERTERS)


def test_rows_come_back_in_their_order(tmp_path: Path) -> None:
    done = write(tmp_path)
    assert done == Written(10, 8, 2, {'broken image': 2}, 2, {'counting': 8}, True)
    files = find_files(tmp_path, 'train')
    assert [file.name for file in files] == [
        'train-00000-of-00002.parquet', 'train-00001-of-00002.parquet']
    assert list(iter_rows(tmp_path, 'train')) == [row(n) for n in (0, 1, 2, 3, 5, 6, 7, 8)]
    assert [r['id'] for r in iter_columns(files[1:], ['id'])] == ['r5', 'r6', 'r7', 'r8']
    assert read_broken(tmp_path) == [
        {'split': 'train', 'place': n, 'reason': 'broken image', 'detail': f'number {n}',
         'is_fault': True}
        for n in (4, 9)]
    assert sorted(contents(tmp_path)) == [
        'broken.jsonl', 'train-00000-of-00002.parquet', 'train-00001-of-00002.parquet',
        'train.json']


def test_rows_of_text_alone_have_no_image(tmp_path: Path) -> None:
    only_text = row(image=None, image_path=None, width=0, height=0, masks=None, progress=None)
    check_row(only_text)
    assert row_from_columns(only_text.to_columns()) == only_text


@pytest.mark.parametrize('stop', [0, 3, 4, 5, 7, 9])
def test_a_build_that_stopped_goes_on_to_the_same_bytes(tmp_path: Path, stop: int) -> None:
    write(tmp_path / 'whole')
    write(tmp_path / 'resumed', stop=stop)
    with pytest.raises(ShardError, match='holds no whole train'):
        find_files(tmp_path / 'resumed', 'train')
    write(tmp_path / 'resumed')
    assert contents(tmp_path / 'resumed') == contents(tmp_path / 'whole')
    write(tmp_path / 'resumed')                                     # a third time changes nothing
    assert contents(tmp_path / 'resumed') == contents(tmp_path / 'whole')


KILLED_AT = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {paths!r}
import test_data_shards as t
real, left = os.replace, [{calls}]
def replace(*args):
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    real(*args)
os.replace = replace
t.write(Path({folder!r}))
"""


@pytest.mark.parametrize('calls', [0, 1, 3, 5])
def test_a_kill_before_any_file_gets_its_name_does_no_harm(tmp_path: Path, calls: int) -> None:
    write(tmp_path / 'whole')
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    code = KILLED_AT.format(paths=paths, calls=calls, folder=str(tmp_path / 'killed'))
    done = subprocess.run([sys.executable, '-c', code], timeout=100, check=False)
    assert done.returncode == -signal.SIGKILL
    write(tmp_path / 'killed')
    assert contents(tmp_path / 'killed') == contents(tmp_path / 'whole')


def test_a_torn_line_of_the_journal_does_not_count(tmp_path: Path) -> None:
    write(tmp_path / 'whole')
    write(tmp_path / 'torn', stop=9)
    with (tmp_path / 'torn/train.journal.jsonl').open('a') as file:
        file.write('{"next": 99, "ro')
    write(tmp_path / 'torn')
    assert contents(tmp_path / 'torn') == contents(tmp_path / 'whole')


def test_a_folder_of_another_build_is_refused(tmp_path: Path) -> None:
    write(tmp_path, stop=5)
    with pytest.raises(ShardError, match='another build, with other seed'):
        ShardWriter(tmp_path, 'train', {'source': 'test', 'seed': 2}, 4)
    write(tmp_path)
    with pytest.raises(ShardError, match='another build, with other shard_rows'):
        ShardWriter(tmp_path, 'train', {'source': 'test', 'seed': 1}, 5)
    os.remove(tmp_path / 'train.json')
    with pytest.raises(ShardError, match='from elsewhere'):
        ShardWriter(tmp_path, 'train', {'source': 'test', 'seed': 1}, 4)


def test_only_one_process_writes_a_split(tmp_path: Path) -> None:
    first = ShardWriter(tmp_path, 'train', {}, 4)
    with pytest.raises(ShardError, match='another process is writing its train split'):
        ShardWriter(tmp_path, 'train', {}, 4)
    ShardWriter(tmp_path, 'val', {}, 4).close()
    first.close()
    ShardWriter(tmp_path, 'train', {}, 4).close()


def test_splits_of_one_folder_list_what_is_broken_together(tmp_path: Path) -> None:
    write(tmp_path)
    writer = ShardWriter(tmp_path, 'val', {'source': 'test'}, 4)
    writer.add(0, [], [Broken(0, 'no image', is_fault=False)])
    assert writer.finish(1) == Written(1, 0, 1, {'no image': 1}, 0, {}, True)
    assert [(one['split'], one['place']) for one in read_broken(tmp_path)] == [
        ('train', 4), ('train', 9), ('val', 0)]
    assert list(iter_rows(tmp_path, 'val')) == []


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    first, second = find_files(tmp_path, 'train')
    second.write_bytes(second.read_bytes()[:100])
    with pytest.raises(ShardError, match=f'{second.name} is damaged'):
        list(iter_rows(tmp_path, 'train'))
    first.unlink()
    with pytest.raises(ShardError, match='1 of 2 files'):
        list(iter_rows(tmp_path, 'train'))


@pytest.mark.parametrize(('changes', 'message'), [
    ({'problem': '  '}, "row 'r0': problem is no text, or empty"),
    ({'task': 'auto'}, "task 'auto' is none of detection, segmentation, counting, vqa"),
    ({'width': 0}, 'image of 0x2 has no pixels'),
    ({'image': None}, 'image is missing, yet there is a size'),
    ({'progress': 1.5}, 'progress 1.5 is not from 0 to 1'),
    ({'progress': float('nan')}, 'progress nan'),
    ({'extra': '[]'}, 'extra is no JSON object'),
    ({'extra': '{'}, 'extra is no JSON'),
    ({'masks': '[{"size": [4, 2], "counts": [8]}]'}, 'masks are not of 4x2'),     # height first
    ({'masks': '[{"size": [2, 4], "counts": [7]}]'}, 'do not add up'),
    ({'reward_spec': '{}'}, 'reward_spec a sample without "verifier"'),
    ({'id': 'other'}, "row 'other': reward_spec is of sim r0"),
])
def test_a_bad_row_is_refused_with_its_column(changes: dict[str, object], message: str) -> None:
    check_row(row())
    with pytest.raises(RowError, match=message.replace('[', r'\[')):
        check_row(row(**changes))


def test_a_row_without_a_column_is_refused() -> None:
    columns = row().to_columns()
    del columns['masks']
    with pytest.raises(RowError, match="row 'r0' lacks masks"):
        row_from_columns(columns)
