"""Parts of a run, and what is refused when they are put together."""
from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import mini_sets
import pytest
from html_page import Page
from oracle import Oracle

from vr_ros.datasets.registry import open_data_set
from vr_ros.evaluation import cli
from vr_ros.evaluation.commands import dataset
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.runs import summary
from vr_ros.evaluation.runs.records import read_records
from vr_ros.evaluation.runs.runner import Job
from vr_ros.evaluation.runs.shards import Shard


@pytest.mark.parametrize('samples', [0, 1, 7, 10, 1000])
@pytest.mark.parametrize('of', [1, 2, 3, 7, 64])
def test_each_sample_is_in_one_part(samples, of):
    parts = [Shard(number, of).places(samples) for number in range(1, of + 1)]
    assert [place for part in parts for place in part] == list(range(samples))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize('text', ['', '1', '0/2', '3/2', '1/0', '-1/2', '1/2/3', '1.0/2', 'a/b',
                                  '٢/٣', '1/9999999'])
def test_what_is_no_part(text, capsys):
    with pytest.raises(ValueError, match='is no part such as 2/4'):
        Shard.parse(text)
    with pytest.raises(SystemExit) as ended:
        cli.main(['dataset', 'folder', f'--shard={text}'])
    assert ended.value.code == 2 and 'is no part such as 2/4' in capsys.readouterr().err


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('sets')
    mini_sets.write_folder(root / 'folder')
    return root


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Intervals are tested elsewhere."""
    monkeypatch.setattr(summary, 'figures', partial(figures, rounds=20))


def evaluate(root: Path, records: Path, *arguments: object, **oracle: object) -> Path:
    """Answer with the truth.

    :return: the file of records.
    """
    words = ['dataset', root / 'folder', '--records', records, '--json', records.parent / 'o.json',
             *arguments]
    options = cli.parser().parse_args([str(word) for word in words])
    open_ = partial(open_data_set, str(root / 'folder'))
    dataset.run(options, Job(Oracle(open_, **oracle), open_))
    return Path(json.loads((records.parent / 'o.json').read_text())['records'])


@pytest.fixture(scope='module')
def parts(root, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp('parts')
    return [evaluate(root, folder, '--shard', f'{number}/3') for number in (1, 2, 3)]


def merge(parts: list[Path], into: Path, *options: object) -> int:
    return cli.main(['merge', *map(str, parts), '--into', str(into), *map(str, options)])


def plain(path: Path) -> list:
    """All lines of a file of records but for times, in any order."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines[1:]:
        line['found'].pop('latency_ms')
    return [lines[0], *sorted(lines[1:], key=lambda line: line['id'])]


def test_parts_in_any_order_are_what_one_run_makes(root, parts, tmp_path):
    assert [path.name for path in parts] == [f'folder-sim_tiny-{i}of3.jsonl' for i in (1, 2, 3)]
    assert merge([parts[2], parts[0], parts[1]], tmp_path / 'all' / 'folder-sim_tiny.jsonl') == 0
    whole = evaluate(root, tmp_path / 'whole')
    assert plain(tmp_path / 'all' / 'folder-sim_tiny.jsonl') == plain(whole)
    # The command without parts goes on from there, and asks nothing again.
    text = mini_sets.folder_questions()[0].instruction.text
    path = evaluate(root, tmp_path / 'all', fails=(text, 'die'))
    assert len(read_records(path).answered) == len(mini_sets.folder_questions())


def test_what_is_merged_is_reported_as_one_run(root, parts, tmp_path, capsys):
    files = ['--html', tmp_path / 'p.html', '--markdown', tmp_path / 'p.md', '--json',
             tmp_path / 'p.json']
    assert merge(parts, tmp_path / 'one.jsonl', *files, '--dataset', root / 'folder') == 0
    whole = len(mini_sets.folder_questions())
    page = Page(tmp_path / 'p.html')
    assert page.tags.count('article') == whole == page.source.count('data:image/jpeg')
    assert f'{whole} of {whole} samples answered' in (tmp_path / 'p.md').read_text()
    assert json.loads((tmp_path / 'p.json').read_text())['is_of_records']   # asked by others
    # What is wrong is said before anything is written.
    assert merge(parts, tmp_path / 'two.jsonl', '--dataset', root / 'folder' / 'images') == 2
    assert not (tmp_path / 'two.jsonl').exists() and 'no data set' in capsys.readouterr().err


def test_a_part_goes_on_as_a_whole_run_does(root, parts, tmp_path):
    lines = parts[1].read_bytes().splitlines(keepends=True)
    (tmp_path / parts[1].name).write_bytes(b''.join(lines[:2]))
    path = evaluate(root, tmp_path, '--shard', '2/3')
    assert plain(path) == plain(parts[1])


def altered(path: Path, folder: Path, **changes: object) -> Path:
    first, *lines = path.read_text().splitlines(keepends=True)
    (folder / path.name).write_text(
        ''.join([json.dumps(json.loads(first) | changes) + '\n', *lines]))
    return folder / path.name


@pytest.mark.parametrize(('make', 'words'), [
    (lambda parts, folder: parts[:2], 'missing: part 3/3'),
    (lambda parts, folder: parts[1:2], 'missing: part 1/3, 3/3'),
    (lambda parts, folder: [*parts, altered(parts[1], folder)], 'part 2/3 is there twice'),
    (lambda parts, folder: [*parts[:2], altered(parts[2], folder, model='other')],
     "part of another run (model: 'sim_tiny"),
    (lambda parts, folder: [*parts[:2], altered(parts[2], folder, options=json.loads(
        parts[2].read_text().splitlines()[0])['options'] | {'limit': 9})],
     'part of another run (limit: None then, 9 now)'),
    (lambda parts, folder: [*parts[:2], altered(parts[2], folder, options=json.loads(
        parts[2].read_text().splitlines()[0])['options'] | {'shard': '3/4'})],
     "part of another run (shard: 'of 3' then, 'of 4' now)"),
    (lambda parts, folder: [*parts[:2], cut(parts[2], folder)], '1 of 4 samples are missing'),
    (lambda parts, folder: [*parts[:2], copied(parts[0], parts[2], folder)],
     'do not add up to 10 samples, each once'),
    (lambda parts, folder: [folder / 'nothing'], 'No such file'),
])
def test_what_does_not_make_a_whole_is_refused(parts, tmp_path, capsys, make, words):
    assert merge(make(parts, tmp_path), tmp_path / 'all.jsonl') == 2
    error = capsys.readouterr().err
    assert words in error and error.count('\n') == 1
    assert not (tmp_path / 'all.jsonl').exists()


def cut(path: Path, folder: Path) -> Path:
    """Leave the last record out."""
    lines = path.read_text().splitlines(keepends=True)
    (folder / path.name).write_text(''.join(lines[:-1]))
    return folder / path.name


def copied(one: Path, other: Path, folder: Path) -> Path:
    """Put a record of one part in the place of a record of another."""
    lines = other.read_text().splitlines(keepends=True)
    (folder / other.name).write_text(
        ''.join([*lines[:-1], one.read_text().splitlines(keepends=True)[-1]]))
    return folder / other.name


def test_whole_runs_are_no_parts_and_files_are_not_written_over(root, parts, tmp_path, capsys):
    whole = evaluate(root, tmp_path / 'whole')
    assert merge([whole], tmp_path / 'all.jsonl') == 2
    assert 'not a part of a run, but a whole one' in capsys.readouterr().err
    content = whole.read_bytes()
    assert merge(parts, whole) == 2
    assert 'is there already' in capsys.readouterr().err and whole.read_bytes() == content
