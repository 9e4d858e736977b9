"""The proof's program: arms are trained one after another, examined, gone on from, and told."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('trl', reason='./run train grpo installs it')

from vr_ros.evaluation.runs.records import read_records  # noqa: E402
from vr_ros.training.data import command as data  # noqa: E402

PROGRAM = Path(__file__).parents[2] / 'benchmarks' / 'bench_grpo.py'
SMALL = ('--prompts 2 --group 2 --max-completion 24 --held-out-rows 2 --eval-steps 1'
         ' --learning-rate 1e-4')


@pytest.fixture(scope='module')
def rows(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('rows')
    for split in ('train', 'val'):
        assert data.main(['sim', '--out', str(folder), '--split', split, '--scenes', '2',
                          '--per-view', '2', '--processes', '1']) == 0
    return folder


def call(rows: Path, out: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(PROGRAM), '--data', str(rows), '--out', str(out), '--scenes', '3',
         '--steps', '2', *arguments],
        capture_output=True, text=True, timeout=550, check=False)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_stages_are_one_arm_and_a_second_call_trains_nothing(rows, tmp_path):
    told = tmp_path / 'told.json'
    arguments = ('--arms', 'two_stages', '--options', SMALL, '--json', str(told))
    done = call(rows, tmp_path / 'out', *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(told.read_text(encoding='utf-8'))
    arm = content['arms']['two_stages']['seeds']['0']
    # Stages of a step each: examined before, and after it; the steps are counted through.
    examined = [line['step'] for line in arm['curve'] if 'eval_reward' in line]
    assert examined == [0, 1, 1, 2]
    assert [claim['value'] for claim in content['claims']] == [None]      # there is no unified arm
    records = {path.parent.name: read_records(path)
               for path in (tmp_path / 'out' / 'records').glob('*/*.jsonl')}
    assert sorted(records) == ['sim_tiny', 'two_stages_0']
    assert all(len(run.answered) == 9 for run in records.values())
    assert arm['start'] == 'sim_tiny'
    figures = content['starts']['supervised']['sim_tiny']
    kinds = [record.kind for record in records['sim_tiny'].answered]
    assert figures['VQA']['of'] == sum(kind.startswith('vqa') for kind in kinds)
    assert len(arm['figures']) >= 4
    for name, figure in arm['figures'].items():
        assert arm['changes'][name]['change'] == pytest.approx(
            figure['value'] - figures[name]['value'])

    trained = sorted((tmp_path / 'out').glob('*/stage_*/export/reasoner/*.safetensors'))
    assert len(trained) == 2
    times = [path.stat().st_mtime_ns for path in trained]
    again = call(rows, tmp_path / 'out', *arguments)
    assert again.returncode == 0, again.stdout + again.stderr
    assert [path.stat().st_mtime_ns for path in trained] == times


@pytest.mark.parametrize(('arguments', 'status', 'message'), [
    (('--arms', 'direct'), 2, 'direct: give --direct-card'),
    (('--card', 'sim_tiny', 'mine/sim_tiny.yaml'), 2, 'cards of one name'),
    (('--arms', 'unified', '--card', 'missing.yaml'), 1, 'missing.yaml'),
    (('--arms', 'unified', '--data', '/nowhere'), 2, '--data /nowhere: there is no such folder'),
])
def test_what_cannot_be_trained_is_said(rows, tmp_path, arguments, status, message):
    done = call(rows, tmp_path / 'out', *arguments)
    assert done.returncode == status and message in done.stderr
    assert 'Traceback' not in done.stderr
    # Bad usage is said before anything is examined.
    assert (tmp_path / 'out').exists() == (status == 1)
