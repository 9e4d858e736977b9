"""``evaluate report`` and ``--html``, ``--markdown``: from a run, and from its records alone."""
from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import mini_sets
import pytest
from html_page import Page
from oracle import Oracle

from vr_ros.datasets import sim_scenes
from vr_ros.datasets.registry import open_data_set
from vr_ros.datasets.sim_scenes import SimScenes
from vr_ros.evaluation import cli
from vr_ros.evaluation.commands import dataset, sim
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.runs import summary
from vr_ros.evaluation.runs.runner import Job

SAMPLES = len(mini_sets.folder_questions())


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(summary, 'figures', lambda *words, **unused: figures(*words, rounds=20))


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('sets') / 'folder'
    mini_sets.write_folder(root)
    return root


def files(folder: Path) -> list[object]:
    return ['--json', folder / 'run.json', '--html', folder / 'run.html',
            '--markdown', folder / 'run.md']


def ask(root: Path, folder: Path, *arguments: object) -> int:
    """Run with answers that are true but for the first question."""
    options = cli.parser().parse_args([str(word) for word in (
        'dataset', root, '--records', folder, *files(folder), *arguments)])
    open_ = partial(open_data_set, str(root))
    text = mini_sets.folder_questions()[0].instruction.text
    return dataset.run(options, Job(Oracle(open_, fails=(text, 'late')), open_))


@pytest.fixture
def records(root, tmp_path) -> Path:
    assert ask(root, tmp_path) == 1               # one was late
    return tmp_path / 'folder-sim_tiny.jsonl'


def report(*arguments: object) -> int:
    return cli.main(['report', *map(str, arguments)])


def test_records_tell_what_the_run_told(root, records, tmp_path):
    again = tmp_path / 'again'
    assert report(records, '--dataset', root, *files(again)) == 1
    run, told = (json.loads((folder / 'run.json').read_text()) for folder in (tmp_path, again))
    assert told['figures'] == run['figures'] and told['failures'] == run['failures']
    assert (run['is_of_records'], told['is_of_records']) == (False, True)
    one, other = Page(tmp_path / 'run.html'), Page(again / 'run.html')
    assert [link for link in one.links if link.startswith('data:')] == [
        link for link in other.links if link.startswith('data:')]
    assert one.tags.count('article') == other.tags.count('article') == SAMPLES
    assert 'cpu of this report' in other.text and 'cpu of this report' not in one.text
    tables = [(folder / 'run.md').read_text().partition('## How it was run')[0]
              for folder in (tmp_path, again)]
    assert tables[0] == tables[1]


def test_a_gallery_has_as_many_as_wanted(root, tmp_path):
    ask(root, tmp_path, '--gallery', 1)
    assert Page(tmp_path / 'run.html').tags.count('article') == 2     # the worst and the best


def test_a_half_finished_run_can_be_looked_at(root, records, tmp_path, capsys):
    lines = records.read_bytes().splitlines(keepends=True)
    records.write_bytes(b''.join(lines[:5]) + lines[5][:20])          # a crash cut it off
    assert report(records, *files(tmp_path)) == 1
    page = Page(tmp_path / 'run.html')
    assert f'not finished: {SAMPLES - 4} of {SAMPLES} samples are missing' in page.text
    assert '--dataset shows its pictures' in page.text
    assert f'{SAMPLES - 4} missing' in (tmp_path / 'run.md').read_text()
    assert f'{SAMPLES - 4} of {SAMPLES} samples missing' in capsys.readouterr().out
    assert ask(root, tmp_path) == 1                                   # and goes on
    assert json.loads((tmp_path / 'run.json').read_text())['missing'] == 0


def test_a_picture_that_went_away_is_said_so(root, records, tmp_path):
    other = tmp_path / 'folder'
    mini_sets.write_folder(other)
    (other / 'images' / f'{mini_sets.SCENES[0][0]}.png').unlink()
    assert report(records, '--dataset', other, *files(tmp_path)) == 1
    page = Page(tmp_path / 'run.html')
    assert page.text.count('cannot be read any more: no image') == SAMPLES // 2
    assert page.source.count('data:image/jpeg') == SAMPLES // 2


@pytest.mark.parametrize(('arguments', 'words'), [
    (['RECORDS', '--dataset', 'OTHER'], 'records of folder/val.jsonl'),
    (['RECORDS', '--dataset', 'nowhere'], 'no such folder'),
    (['RECORDS', '--gallery', '0'], '--gallery is at least 1'),
    (['RECORDS', '--html', 'RECORDS/x.html'], 'File exists'),
    (['nothing'], 'No such file'),
])
def test_bad_usage_is_one_line(root, records, tmp_path, capsys, arguments, words):
    lines = (root / 'val.jsonl').read_text().splitlines()
    (root.parent / 'other.jsonl').write_text('\n'.join(lines[:3]))
    capsys.readouterr()
    names = {'RECORDS': str(records), 'OTHER': str(root.parent / 'other.jsonl')}
    for name, path in names.items():
        arguments = [argument.replace(name, path) for argument in arguments]
    assert report(*arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count('\n') == 1


def test_the_simulator_renders_its_pictures_again(tmp_path, monkeypatch):
    options = cli.parser().parse_args([
        'sim', '--scenes', '1', '--records', str(tmp_path), *map(str, files(tmp_path))])
    open_ = partial(SimScenes, 1, 3, options.first_seed, options.split)
    assert sim.run(options, Job(Oracle(open_), open_)) == 0
    records = json.loads((tmp_path / 'run.json').read_text())['records']
    pictures = Page(tmp_path / 'run.html').source.count('data:image/jpeg')
    assert report(records, *files(tmp_path / 'again')) == 0
    assert Page(tmp_path / 'again' / 'run.html').source.count('data:image/jpeg') == pictures == 3
    monkeypatch.setattr(sim_scenes, 'simulator_digest', lambda: 'another')
    assert report(records, *files(tmp_path / 'later')) == 0
    page = Page(tmp_path / 'later' / 'run.html')
    assert 'the simulator has changed since' in page.text
    assert 'data:image/jpeg' not in page.source
