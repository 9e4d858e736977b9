"""The runner on Ray Data: the same records, from two workers on this machine."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mini_sets
import pytest

from vr_ros.evaluation import cli
from vr_ros.evaluation.commands import options
from vr_ros.evaluation.runs.ray_runner import gpus_each
from vr_ros.evaluation.runs.records import Run, read_records

# Ray takes ten seconds to begin, more where others are at work.
pytestmark = pytest.mark.timeout(400)
needs_ray = pytest.mark.skipif(not options.has_ray(), reason="needs Ray: pip install 'vr_ros[ray]'")


@pytest.mark.parametrize(('processes', 'gpus', 'expected'), [
    (2, 0, 0), (2, 1, 0.5), (2, 2, 1), (2, 8, 1), (1, 4, 1),
])
def test_workers_share_what_there_is(processes, gpus, expected):
    assert gpus_each(processes, gpus) == expected


@pytest.mark.parametrize(('arguments', 'expected'), [
    (['--ray'], {'processes': 1, 'address': 'local', 'wants_gpus': True}),
    (['--ray', 'auto', '--processes', '3', '--device', 'cpu'],
     {'processes': 3, 'address': 'auto', 'wants_gpus': False}),
    (['--processes', '3'], {'processes': 3}),
])
def test_what_puts_the_questions_is_chosen_by_options(arguments, expected):
    words = cli.parser().parse_args(['dataset', 'folder', *arguments])
    assert options.asker(words).keywords == expected


def test_without_ray_it_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(options, 'has_ray', lambda: False)
    assert cli.main(['dataset', 'folder', '--ray']) == 2
    assert capsys.readouterr().err == (
        "evaluate: --ray needs Ray, which is not installed: pip install 'vr_ros[ray]'\n")


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('sets') / 'folder'
    mini_sets.write_folder(folder)
    return folder


# Ray keeps to this machine only if it is told before it is imported: in a program of its own.
RUN = """
if __name__ == '__main__':
    import sys
    from functools import partial
    from oracle import Oracle
    from vr_ros.evaluation import cli
    from vr_ros.evaluation.commands import options
    from vr_ros.datasets.registry import open_data_set
    path, seconds, fails, how, *arguments = sys.argv[1:]
    oracle = Oracle(partial(open_data_set, path), fails=(fails, how), seconds=float(seconds))
    options.LoadPerceiver = lambda *unused: oracle
    raise SystemExit(cli.main(['dataset', path, '--processes', '2', *arguments]))
"""


def start(folder: Path, records: Path, *arguments: object, seconds: float = 0.0,
          fails: tuple[str, str] = ('', '')) -> subprocess.Popen[str]:
    """Begin an evaluation whose answers are true, but where told to fail."""
    program = records.parent / 'run.py'
    program.write_text(RUN)
    words = [program, folder, seconds, *fails, '--records', records, *arguments]
    paths = [str(Path(__file__).parent), *sys.path]
    return subprocess.Popen(
        [sys.executable, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=os.environ | {'PYTHONPATH': ':'.join(paths)})


def records_of(records: Path) -> Run:
    return read_records(records / 'folder-sim_tiny.jsonl')


def plain(run: Run) -> dict[str, object]:
    """All that was answered but for times."""
    lines = {record.sample_id: record.as_json() for record in run.answered}
    for line in lines.values():
        line['found'].pop('latency_ms')
    return lines


@pytest.fixture(scope='module')
def expected(folder, tmp_path_factory) -> dict[str, object]:
    records = tmp_path_factory.mktemp('plain') / 'records'
    assert start(folder, records).wait() == 0
    return plain(records_of(records))


@needs_ray
def test_the_records_are_those_without_it(folder, tmp_path, expected):
    run = start(folder, tmp_path / 'r', '--ray', '--batch', 4)
    _, said = run.communicate()
    assert run.returncode == 0, said
    assert plain(records_of(tmp_path / 'r')) == expected and len(expected) == 10


@needs_ray
def test_a_killed_run_goes_on_and_leaves_no_process(folder, tmp_path, expected):
    run = start(folder, tmp_path / 'r', '--ray', seconds=0.5)
    path = tmp_path / 'r' / 'folder-sim_tiny.jsonl'
    while run.poll() is None and not (path.exists() and len(path.read_bytes().splitlines()) > 3):
        time.sleep(0.01)
    begun = list(children(run.pid))
    run.send_signal(signal.SIGKILL)
    run.communicate()
    before = plain(records_of(tmp_path / 'r'))
    assert 3 <= len(before) < 10 and begun
    while any(Path(f'/proc/{pid}/stat').exists() and state_of(pid) != 'Z' for pid in begun):
        time.sleep(0.1)                           # the time limit of the test says no
    assert start(folder, tmp_path / 'r').wait() == 0
    assert plain(records_of(tmp_path / 'r')) == expected


def state_of(pid: int) -> str:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return 'Z'


def children(pid: int) -> Iterator[int]:
    """Name all processes that a process began, and theirs."""
    for task in Path(f'/proc/{pid}/task').glob('*/children'):
        for child in map(int, task.read_text().split()):
            yield child
            yield from children(child)


@needs_ray
def test_a_sample_that_kills_its_worker_ends_the_run_and_the_rest_stays(
        folder, tmp_path, expected):
    text = mini_sets.folder_questions()[-1].instruction.text
    run = start(folder, tmp_path / 'r', '--ray', fails=(text, 'die'))
    _, said = run.communicate()
    assert run.returncode == 1 and 'Traceback' not in said
    assert 'evaluate: a worker of Ray died' in said.splitlines()[-1]
    before = plain(records_of(tmp_path / 'r'))
    assert before and before.items() <= expected.items()
    assert start(folder, tmp_path / 'r').wait() == 0
    assert plain(records_of(tmp_path / 'r')) == expected


@needs_ray
def test_what_a_worker_cannot_load_is_said_once(folder, tmp_path):
    program = 'from vr_ros.evaluation import cli; import sys; sys.exit(cli.main(sys.argv[1:]))'
    done = subprocess.run(
        [sys.executable, '-c', program, 'dataset', str(folder), '--ray', '--model',
         'visionreasoner_7b'], capture_output=True, text=True,
        env=os.environ | {'PYTHONPATH': ':'.join(sys.path)})
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith('evaluate: ')
    assert 'visionreasoner' in done.stderr.lower() and 'Traceback' not in done.stderr
