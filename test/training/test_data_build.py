"""``./run train data``: whole builds of a small data set, killed, resumed, limited, refused."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vr_ros.training.cli import main
from vr_ros.training.data.build import reason_of
from vr_ros.training.data.schema import Row
from vr_ros.training.data.shards import find_files, iter_rows, read_broken

ROOT = Path(__file__).parents[2]
# Encoding takes a while, so that a kill comes in the middle.
SLOWLY = """
import sys, time
from vr_ros.training.data.storage import Storage
encode = Storage.encode
Storage.encode = lambda *given: (time.sleep(0.05), encode(*given))[1]
from vr_ros.training.cli import main
main(sys.argv[1:])
"""
ROWS = 60
BROKEN = {7: 'lacks its image', 23: 'has a box outside', 41: 'is no JSON'}


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a set of JSON lines, of which three are broken; images of 64x48 pixels."""
    path = tmp_path_factory.mktemp('set')
    rng = np.random.default_rng(0)
    lines = []
    for number in range(ROWS):
        name = f'{number % 10}.png'
        if number < 10:
            Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)).save(path / name)
        x = number % 30
        line = {'id': f'q{number}', 'image': name, 'instruction': f'find cup {number}',
                'boxes': [[x, 4, x + 20, 24]]}
        if BROKEN.get(number) == 'lacks its image':
            line['image'] = 'lost.png'
        if BROKEN.get(number) == 'has a box outside':
            line['boxes'] = [[500, 500, 600, 600]]
        lines.append('{' if BROKEN.get(number) == 'is no JSON' else json.dumps(line))
    (path / 'all.jsonl').write_text('\n'.join(lines))
    return path


def build(folder: Path, out: Path, *more: str) -> int:
    return main(['data', 'set', str(folder), '--name', 'cups', '--size', '84', '--out', str(out),
                 '--shard-size', '8', '--processes', '1', *more])


def rows_of(out: Path, split: str = 'train') -> list[Row]:
    return list(iter_rows(out, split))


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


@pytest.fixture(scope='module')
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('out') / 'whole'
    assert build(folder, out) == 1          # three are broken
    return out


def test_rows_come_in_order_and_what_is_broken_is_listed(whole: Path) -> None:
    rows = rows_of(whole)
    assert [row.id for row in rows] == [f'cups/q{n}' for n in range(ROWS) if n not in BROKEN]
    assert len(find_files(whole, 'train')) == 8          # 57 rows, 8 in each but the last
    # Row 9 is q10: 10 to 30 of 64 pixels, in 84: 13.1 and 39.4; 4 to 24 of 48: 7 and 42.
    assert json.loads(rows[9].sample.ground_truth)[0]['bbox_2d'] == [13, 7, 39, 42]
    broken = read_broken(whole)
    assert [one['place'] for one in broken] == list(BROKEN)
    assert [one['reason'] for one in broken] == [
        'no image …: No such file or directory', 'box … lies outside the image of …',
        'no JSON: Expecting property name enclosed in double quotes: line … column … (char …']
    assert broken[0]['detail'].startswith('q7: no image lost.png')
    assert json.loads((whole / 'train.json').read_text())['written']['rows'] == 57


def test_a_killed_build_goes_on_to_the_same_bytes(
    folder: Path, whole: Path, tmp_path: Path,
) -> None:
    out = tmp_path / 'killed'
    arguments = ['data', 'set', str(folder), '--name', 'cups', '--size', '84', '--out', str(out),
                 '--shard-size', '8', '--processes', '1']
    process = subprocess.Popen([sys.executable, '-c', SLOWLY, *arguments], cwd=ROOT)
    journal = out / 'train.journal.jsonl'
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b'\n') < 4:      # header, three files
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    begun = sorted(path.name for path in out.glob('*.partial'))
    assert len(begun) >= 3 and not list(out.glob('*.parquet'))
    kept = {name: (out / name).stat().st_mtime_ns for name in begun[:3]}
    assert build(folder, out) == 1
    assert contents(out) == contents(whole)
    files = find_files(out, 'train')
    assert [path.stat().st_mtime_ns for path in files[:3]] == list(kept.values())   # not made again


def test_two_processes_write_the_same_bytes(folder: Path, whole: Path, tmp_path: Path) -> None:
    assert build(folder, tmp_path / 'two', '--processes', '2') == 1
    assert contents(tmp_path / 'two') == contents(whole)


def test_a_finished_build_is_left_as_it_is(folder: Path, whole: Path, capsys) -> None:
    before = contents(whole)
    assert build(folder, whole) == 1
    assert contents(whole) == before and '57 rows in 8 files' in capsys.readouterr().out


@pytest.mark.parametrize('limit', [5, 8, 20])
def test_a_limit_ends_it_with_so_many_rows(
    folder: Path, whole: Path, tmp_path: Path, limit: int,
) -> None:
    build(folder, tmp_path, '--limit', str(limit))
    assert rows_of(tmp_path) == rows_of(whole)[:limit]


def test_a_drawn_order_has_the_same_rows(folder: Path, whole: Path, tmp_path: Path) -> None:
    for out, seed in (('one', '1'), ('again', '1'), ('two', '2')):
        build(folder, tmp_path / out, '--shuffle', '--seed', seed)
    one, again, two = (rows_of(tmp_path / out) for out in ('one', 'again', 'two'))
    assert one == again != two
    assert sorted(one, key=lambda r: r.id) == sorted(rows_of(whole), key=lambda r: r.id)


def test_splits_share_a_folder(folder: Path, tmp_path: Path) -> None:
    build(folder, tmp_path, '--limit', '9')
    build(folder, tmp_path, '--split', 'val', '--limit', '3')
    assert {row.split for row in rows_of(tmp_path, 'val')} == {'val'}
    assert len(rows_of(tmp_path)) == 9


@pytest.mark.parametrize(('more', 'message'), [
    (['--size', '90'], 'another build, with other size'),
    (['--shuffle'], 'another build, with other source'),
    (['--jpeg', '90'], 'another build, with other jpeg_quality'),
])
def test_other_settings_need_another_folder(
    folder: Path, whole: Path, capsys, more: list[str], message: str,
) -> None:
    assert build(folder, whole, *more) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(('arguments', 'message'), [
    (['nowhere'], 'no source "nowhere"; there are: '),
    (['set', 'no/such/place'], 'no such folder or file'),
    (['sim', '--split', 'test'], 'for evaluation'),
    (['sim', '--scenes', '0'], '0 scenes'),
    (['sim', '--joins', '2'], 'are shares'),
    (['sim', '--min-pixels', '10000'], 'of images that keep their size: --size keep'),
    (['sim', '--size', '84', '--max-pixels', '100'], 'of images that keep their size'),
    (['sim', '--size', 'keep', '--min-pixels', '10000', '--max-pixels', '100'],
     'at least 10000 pixels and at most 100'),
    (['refcoco', '--data', '.'], '.: no grefs(unc).json, refs(unc).json or the like in it.'),
    (['grefcoco', '--data', '.'], 'how to get it'),
])
def test_what_cannot_be_built_is_refused_in_one_line(
    capsys, monkeypatch, tmp_path: Path, arguments: list[str], message: str,
) -> None:
    given = arguments + (['--out', str(tmp_path / 'out')] if len(arguments) > 1 else [])
    monkeypatch.chdir(tmp_path)         # an empty folder
    assert main(['data', *given]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if 'looked through' not in line]
    assert len(error) == 1 and message in error[0]


@pytest.mark.parametrize(('options', 'message'), [
    (['--seed', '-1'], '--seed: -1 is not from 0 on'),
    (['--seed', 'x'], "--seed: invalid number value: 'x'"),
    (['--limit', '0'], '--limit: 0 is not from 1 on'),
    (['--jpeg', '101'], '--jpeg: 101 is not from 1 to 100'),
    (['--jpeg', '0'], '--jpeg: 0 is not from 1 to 100'),
    (['--size', '999999999'], '--size: 999999999 is not from 1 to 65500'),
    (['--size', '60000x2000'], '--size: 60000x2000 has more than 89478485 pixels'),
    (['--size', 'x840'], "--size: 'x840' is no size"),
    (['--size', 'keep', '--min-pixels', '999999999'], 'is not from 1 to 89478485'),
])
def test_numbers_out_of_their_range_are_refused(
    capsys, tmp_path: Path, options: list[str], message: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['data', 'sim', '--scenes', '1', '--out', str(tmp_path / 'out'), *options])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1] and not list(tmp_path.iterdir())


def test_negatives_are_refused_before_all_is_looked_through(capsys, tmp_path: Path) -> None:
    given = ['data', 'sim', '--scenes', '300', '--negatives', '0.5', '--out', str(tmp_path)]
    assert main(given) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert 'sim does not tell what is not in its images' in line


@pytest.mark.parametrize('arguments', [['data'], ['data', '--help']])
def test_without_a_source_they_are_listed(capsys, arguments: list[str]) -> None:
    assert main(arguments) == 0
    assert {'sim', 'set'} <= set(capsys.readouterr().out.split())


def test_help_of_samples_tells_its_own_defaults(capsys) -> None:
    with pytest.raises(SystemExit):
        main(['samples', '--help'])
    said = ' '.join(capsys.readouterr().out.split())
    assert 'runs/data/ and the name of the bag)' in said
    assert 'that make rows (default: 1)' in said and 'one per processor' not in said


@pytest.mark.parametrize(('message', 'reason'), [
    ('no image 0001.jpg: No such file or directory', 'no image …: No such file or directory'),
    ("id 'a b' is there twice", 'id … is there twice'),
    ('box [1.0, 2.0, 3.0] lies outside the image of 640x480',
     'box … lies outside the image of …'),
    ('broken image: cannot identify', 'broken image: cannot identify'),
    ('no file /data/images/cup.png', 'no file …'),
])
def test_reasons_are_counted_without_names_and_numbers(message: str, reason: str) -> None:
    assert reason_of(message) == reason


def test_rows_are_made_without_torch() -> None:
    code = ('import sys; from vr_ros.training.data.command import builders; builders();'
            ' print("torch" in sys.modules)')
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True,
                          timeout=100, check=True)
    assert done.stdout.strip() == 'False'
