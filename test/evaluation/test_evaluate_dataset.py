"""``evaluate dataset`` and ``compare`` from the files of a data set to figures and exit codes."""
from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import mini_sets
import pytest
from oracle import Oracle
from rich.console import Console

from vr_ros.datasets.registry import open_data_set
from vr_ros.evaluation import cli
from vr_ros.evaluation.commands import compare as compare_command
from vr_ros.evaluation.commands import dataset, options
from vr_ros.evaluation.metrics.figures import Comparison, figures
from vr_ros.evaluation.runs import summary
from vr_ros.evaluation.runs.compare import RunComparison
from vr_ros.evaluation.runs.records import read_records
from vr_ros.evaluation.runs.runner import Job

FORMATS = ['folder', 'coco', 'yolo', 'refcoco_val', 'ReasonSeg_val', 'counting_pixmo_test']
# What each format must have something to say about; all of it is right when an oracle answers.
FIGURES = {
    'folder': ('gIoU', 'box F1@0.5', 'mask F1@0.5', 'exact count', 'VQA exact', 'ANLS'),
    'coco': ('gIoU', 'box recall@0.5', 'mask recall@0.5', 'published COCO AP@[.5:.95]'),
    'yolo': ('box F1@0.5', 'exact count', 'published COCO AP@0.5'),
    'refcoco_val': ('gIoU', 'cIoU', 'published gIoU', 'published box hit'),
    'ReasonSeg_val': ('gIoU', 'cIoU', 'published gIoU with absence'),
    'counting_pixmo_test': ('exact count', 'published exact count'),
}


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('sets')
    mini_sets.write_folder(root / 'folder')
    return root


def parse(*arguments: object) -> argparse.Namespace:
    return cli.parser().parse_args([str(a) for a in arguments])


def few_draws(*arguments: object, **unused: object):
    return figures(*arguments, rounds=20)


def evaluate(path: Path, tmp_path: Path, *arguments: object, **oracle: object):
    """:return: exit code and JSON of a run whose answers are true, but where told to fail."""
    options = parse('dataset', path, '--json', tmp_path / 'out.json', *arguments)
    open_ = partial(open_data_set, str(path), options.split)
    job = Job(Oracle(open_, **oracle), open_, options.batch)
    with pytest.MonkeyPatch.context() as patch:   # few draws: intervals are tested elsewhere
        patch.setattr(summary, 'figures', few_draws)
        code = dataset.run(options, job)
    return code, json.loads((tmp_path / 'out.json').read_text())


@pytest.mark.parametrize('name', FORMATS)
def test_every_format_passes_through_every_figure(tmp_path, name):
    if name not in ('folder', 'coco', 'yolo'):
        pytest.importorskip('pyarrow')
    mini_sets.SETS[name](tmp_path / name)
    split = 'val' if name == 'yolo' else ''
    code, content = evaluate(tmp_path / name, tmp_path, '--split', split)
    assert code == 0 and content['skipped'] == []
    assert content['answered'] == content['samples'] > 1
    claims = {claim['name']: claim for claim in content['claims']}
    for figure in FIGURES[name]:
        assert claims[figure]['value'] == pytest.approx(1.0), figure
        assert claims[figure]['better'] == 'higher'


def ids_in(path: Path) -> list[str]:
    lines = path.read_text().splitlines()[1:]
    return [json.loads(line)['id'] for line in lines if line.endswith('}')]


def figures_of(content) -> dict:
    """All figures but those of time."""
    return {f['name']: f for f in content['figures'] if 'latency' not in f['name']}


def test_two_processes_find_what_one_finds(root, tmp_path):
    one = evaluate(root / 'folder', tmp_path)[1]
    code, two = evaluate(root / 'folder', tmp_path, '--processes', 2, '--records', tmp_path)
    assert code == 0
    assert figures_of(one) == figures_of(two)
    assert sorted(ids_in(Path(two['records']))) == sorted(
        f'q{i}' for i in range(len(mini_sets.folder_questions())))
    read = read_records(Path(two['records'])).answered
    assert all(record.found.raw_text.startswith('<think>') for record in read)


# Imports nothing that imports torch: that takes longer than all the rest.
RUN = """
if __name__ == '__main__':
    import resource, sys
    from functools import partial
    from oracle import Oracle
    from vr_ros.evaluation import cli
    from vr_ros.evaluation.commands import options
    from vr_ros.datasets.registry import open_data_set
    path, pids, seconds, bytes_, *arguments = sys.argv[1:]
    oracle = Oracle(partial(open_data_set, path), seconds=float(seconds), pids=pids)
    options.LoadPerceiver = lambda *unused: oracle
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(bytes_), int(bytes_)))
    raise SystemExit(cli.main(['dataset', path, *arguments]))
"""


def start(folder: Path, tmp_path: Path, *arguments: object, seconds: float = 0.2,
          bytes_: int = -1) -> subprocess.Popen[str]:
    """Begin an evaluation in a program of its own.

    :param seconds: that an answer takes.
    :param bytes_: that a file may have: more is refused as on a full disk; -1: any number.
    """
    (tmp_path / 'run.py').write_text(RUN)
    (tmp_path / 'pids').mkdir(exist_ok=True)
    words = [tmp_path / 'run.py', folder, tmp_path / 'pids', seconds, bytes_, '--records', tmp_path,
             *arguments]
    return subprocess.Popen(
        [sys.executable, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, env=os.environ | {'PYTHONPATH': ':'.join(sys.path)})


def is_alive(pid: str) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


@pytest.mark.parametrize(('how', 'processes'), [
    (signal.SIGKILL, 1),
    (signal.SIGKILL, 2),
    (signal.SIGINT, 1),          # Ctrl-C
    (signal.SIGINT, 2),
])
def test_a_run_that_was_ended_goes_on_and_counts_nothing_twice(root, tmp_path, how, processes):
    records = tmp_path / 'folder-sim_tiny.jsonl'
    run = start(root / 'folder', tmp_path, '--processes', processes)
    while run.poll() is None and not (records.exists() and len(ids_in(records)) >= 3):
        time.sleep(0.01)
    run.send_signal(how)
    said = run.communicate()[1]
    before = ids_in(records)
    assert 3 <= len(before) < len(mini_sets.folder_questions())
    if how == signal.SIGINT:
        assert run.returncode == 1
        assert said.splitlines()[-1].startswith('evaluate: stopped; with --records')
        assert 'Traceback' not in said
    pids = os.listdir(tmp_path / 'pids')
    numbers = sorted((tmp_path / 'pids' / pid).read_text() for pid in pids)
    assert numbers == [str(number) for number in range(len(pids))]
    while any(map(is_alive, pids)):               # the time limit of the test says no
        time.sleep(0.01)
    require_that_it_goes_on(root, tmp_path, before)


def require_that_it_goes_on(root: Path, tmp_path: Path, before: list[str]) -> None:
    records = tmp_path / 'folder-sim_tiny.jsonl'
    code, content = evaluate(root / 'folder', tmp_path, '--records', tmp_path)
    assert code == 0
    after = ids_in(records)
    assert after[:len(before)] == before
    assert sorted(after) == sorted(f'q{i}' for i in range(len(mini_sets.folder_questions())))
    assert figures_of(content) == figures_of(evaluate(root / 'folder', tmp_path)[1])


@pytest.mark.parametrize('processes', [1, 2])
def test_a_full_disk_ends_the_run_and_the_rest_stays(root, tmp_path, processes):
    evaluate(root / 'folder', tmp_path, '--records', tmp_path / 'whole')
    whole = (tmp_path / 'whole' / 'folder-sim_tiny.jsonl').read_bytes().splitlines(keepends=True)
    room = sum(map(len, whole[:4])) + 20          # a header, some records, and part of another
    run = start(root / 'folder', tmp_path, '--processes', processes, seconds=0, bytes_=room)
    said = run.communicate()[1]
    assert run.returncode == 1 and 'Traceback' not in said
    assert 'folder-sim_tiny.jsonl: File too large; what is there stays' in said.splitlines()[-1]
    before = ids_in(tmp_path / 'folder-sim_tiny.jsonl')
    assert 1 <= len(before) < len(whole) - 1
    require_that_it_goes_on(root, tmp_path, before)


def test_what_cannot_be_used_is_listed_and_comes_in_after_a_repair(tmp_path):
    path = tmp_path / 'folder'
    mini_sets.write_folder(path)
    whole = (path / 'images' / f'{mini_sets.SCENES[0][0]}.png').read_bytes()
    (path / 'images' / f'{mini_sets.SCENES[0][0]}.png').write_bytes(whole[:2000])
    lines = (path / 'val.jsonl').read_text().splitlines()
    (path / 'val.jsonl').write_text('\n'.join([*lines, '{"id": "q', lines[-1].replace(
        '"boxes"', '"boxez"').replace(json.loads(lines[-1])['id'], 'typo')]))
    code, content = evaluate(path, tmp_path, '--records', tmp_path / 'records')
    number = len(mini_sets.folder_questions())
    skipped = {entry['id']: entry['reason'] for entry in content['skipped']}
    assert code == 1 and content['answered'] == number // 2
    assert skipped.keys() == {*(f'q{i}' for i in range(number // 2)), f'line {number + 1}', 'typo'}
    assert 'broken image' in skipped['q0'] and 'boxes' in skipped['typo']
    (path / 'images' / f'{mini_sets.SCENES[0][0]}.png').write_bytes(whole)
    code, content = evaluate(path, tmp_path, '--records', tmp_path / 'records')
    assert code == 1 and content['answered'] == number and len(content['skipped']) == 2


@pytest.mark.parametrize(('how', 'status'), [('raise', 'MODEL_ERROR'), ('late', 'TIMEOUT')])
def test_failures_are_wrong_answers(root, tmp_path, how, status):
    text = mini_sets.folder_questions()[0].instruction.text
    code, content = evaluate(root / 'folder', tmp_path, fails=(text, how))
    assert code == 1 and content['statuses'][status] == 1
    assert figures_of(content)['gIoU']['value'] < 1
    assert figures_of(content)['gIoU']['of'] == figures_of(
        evaluate(root / 'folder', tmp_path)[1])['gIoU']['of']


def test_a_process_that_dies_ends_the_run_and_the_rest_stays(root, tmp_path, capsys, monkeypatch):
    text = mini_sets.folder_questions()[-1].instruction.text
    dying = Oracle(partial(open_data_set, str(root / 'folder')), fails=(text, 'die'))
    monkeypatch.setattr(options, 'LoadPerceiver', lambda *unused: dying)
    arguments = ['dataset', root / 'folder', '--records', tmp_path, '--processes', 2]
    assert cli.main([str(argument) for argument in arguments]) == 1
    assert 'a process of the evaluation died' in capsys.readouterr().err
    assert ids_in(tmp_path / 'folder-sim_tiny.jsonl')
    assert evaluate(root / 'folder', tmp_path, '--records', tmp_path)[0] == 0


def test_a_limit_takes_the_first(root, tmp_path):
    evaluate(root / 'folder', tmp_path, '--limit', 2, '--records', tmp_path)
    assert ids_in(tmp_path / 'folder-sim_tiny-2.jsonl') == ['q0', 'q1']


@pytest.mark.parametrize(('arguments', 'words'), [
    (['dataset', 'nowhere'], 'no such folder'),
    (['dataset', 'FOLDER', '--split', 'test'], '--split is one of val'),
    (['dataset', 'FOLDER', '--model', 'nobody'], 'unknown model card "nobody"'),
    (['dataset', 'FOLDER', '--limit', '0'], 'at least 1'),
    (['dataset', 'FOLDER', '--processes', '0'], 'at least 1'),
    (['sim', '--first-seed', '-1'], 'at least 0'),
    (['dataset', 'FOLDER', '--records', 'FOLDER/val.jsonl'], 'File exists'),
    (['compare', 'FOLDER/val.jsonl', 'FOLDER/val.jsonl'], 'no file of records'),
    (['compare', 'nothing', 'nothing'], 'No such file'),
])
def test_bad_usage_is_one_line(root, capsys, arguments, words):
    words_of = [a.replace('FOLDER', str(root / 'folder')) for a in arguments]
    assert cli.main(words_of) == 2
    error = capsys.readouterr().err
    assert words in error and error.count('\n') == 1


@pytest.fixture(scope='module')
def runs(root, tmp_path_factory) -> tuple[Path, Path]:
    """Records of two runs, the second of which misses the objects of one question."""
    folder, runs = tmp_path_factory.mktemp('runs'), []
    text = next(q.instruction.text for q in mini_sets.folder_questions() if q.wanted)
    for name, fails in (('first', ('', '')), ('second', (text, 'miss'))):
        evaluate(root / 'folder', folder, '--records', folder / name, fails=fails)
        runs.append(folder / name / 'folder-sim_tiny.jsonl')
    return tuple(runs)


class TestCompare:
    """Two runs that differ in one question."""

    def test_the_difference_is_that_of_the_figures(self, runs, tmp_path):
        assert cli.main(['compare', *map(str, runs), '--json', str(tmp_path / 'c.json')]) == 0
        content = json.loads((tmp_path / 'c.json').read_text())
        rows = {row['name']: row for row in content['comparisons']}
        of = rows['gIoU']['of']
        assert rows['gIoU']['first'] == 1.0
        assert rows['gIoU']['difference'] == pytest.approx(-1 / of)
        assert rows['gIoU']['p_value'] > 0.05     # one question proves nothing
        assert rows['VQA exact']['difference'] == 0 and rows['VQA exact']['p_value'] == 1

    def test_the_screen_and_the_markdown_have_the_digits_of_reports(self, runs, tmp_path, capsys):
        """Shares have three digits, differences a sign unless they are nothing."""
        files = ['--json', str(tmp_path / 'c.json'), '--markdown', str(tmp_path / 'c.md')]
        assert cli.main(['compare', *map(str, runs), *files]) == 0
        rows = {row['name']: row for row in json.loads((tmp_path / 'c.json').read_text())[
            'comparisons']}
        screen = capsys.readouterr().out
        lines = (tmp_path / 'c.md').read_text().splitlines()
        cells = {row[0]: row[1:] for row in (
            [cell.strip() for cell in line.replace('\\', '').strip('|').split(' | ')]
            for line in lines if line.startswith('| '))}
        assert len(cells) == len(rows) + 2                     # the head, and the line below
        gIoU = rows['gIoU']
        assert cells['gIoU'] == [
            '1.000', f'{1 - 1 / gIoU["of"]:.3f}', f'-{1 / gIoU["of"]:.3f}',
            f'{gIoU["low"]:.3f} to 0.000', f'{gIoU["p_value"]:.3f}', str(gIoU['of']), 'higher']
        assert cells['VQA exact'][2:5] == ['0.000', '0.000 to 0.000', '1.000']
        assert cells['latency p50, ms'][-1] == 'lower'
        # On 80 columns, too, each figure is one line, with the cells of the Markdown; a slow
        # machine's latencies may leave the name too little room.
        lines = [line.split() for line in screen.splitlines()]
        for name, row in list(cells.items())[2:]:
            figures = ' '.join(row[:-1]).split()
            assert any(line[-len(figures):] == figures and name.startswith(line[0])
                       for line in lines), name
        assert '…' not in screen

    def test_figures_of_any_length_are_not_cut_on_80_columns(self, monkeypatch, capsys):
        monkeypatch.setenv('COLUMNS', '80')
        slow = Comparison(
            'latency of all that were answered', 98_765.4, 123_456.7, 24_691.3, -12_345.6,
            45_678.9, 0.123, 12_345, 'ms', 'lower')
        Console().print(compare_command.table_of(RunComparison(
            'first', 'second', 'sets', 12_345, (slow,), ())))
        screen = capsys.readouterr().out
        lines = [line.split() for line in screen.splitlines()]
        figures = '98,765 123,457 +24,691 -12,346 to +45,679 0.123 12,345'.split()
        assert any(line[-len(figures):] == figures for line in lines)
        assert 'answered, ms' in screen and '…' not in screen

    def test_an_unfinished_run_is_refused(self, runs, tmp_path, capsys):
        lines = runs[1].read_bytes().splitlines(keepends=True)
        (tmp_path / 'part.jsonl').write_bytes(b''.join(lines[:-1]))
        assert cli.main(['compare', str(runs[0]), str(tmp_path / 'part.jsonl')]) == 2
        assert '1 of 10 samples are missing' in capsys.readouterr().err

    def test_a_run_on_other_samples_is_refused(self, root, runs, tmp_path, capsys):
        evaluate(root / 'folder', tmp_path, '--limit', 2, '--records', tmp_path)
        assert cli.main(['compare', str(runs[0]), str(tmp_path / 'folder-sim_tiny-2.jsonl')]) == 2
        assert 'runs on other samples' in capsys.readouterr().err

    def test_another_truth_is_refused(self, runs, tmp_path, capsys):
        header, *lines = runs[1].read_text().splitlines()
        altered = [json.loads(line) for line in lines]
        altered[0]['truth']['category'] = 'altered'
        (tmp_path / 'other.jsonl').write_text('\n'.join(
            [header, *map(json.dumps, altered)]) + '\n')
        assert cli.main(['compare', str(runs[0]), str(tmp_path / 'other.jsonl')]) == 2
        assert 'what is true differs' in capsys.readouterr().err

    def test_samples_that_one_skipped_are_left_out(self, runs, tmp_path, capsys):
        header, first, *rest = runs[1].read_text().splitlines()
        skipped = json.dumps({'id': json.loads(first)['id'], 'skipped': 'broken image'})
        (tmp_path / 'b.jsonl').write_text('\n'.join([header, skipped, *rest]) + '\n')
        assert cli.main(['compare', str(runs[0]), str(tmp_path / 'b.jsonl')]) == 1
        assert f'left out {json.loads(first)["id"]}' in capsys.readouterr().out


def test_the_embedded_model_answers(root, tmp_path):
    code = cli.main(['dataset', str(root / 'folder'), '--limit', '2', '--device', 'cpu',
                     '--records', str(tmp_path)])
    run = read_records(tmp_path / 'folder-sim_tiny-2.jsonl')
    assert code == 0 and run.missing == 0 and not run.skipped
    assert all(r.found.raw_text and r.found.latency_ms > 0 for r in run.answered)
