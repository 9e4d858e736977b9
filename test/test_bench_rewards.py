"""The benchmark of the rewards: both sides agree, and its plain loops are what they say."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / 'benchmarks' / 'bench_rewards.py'


def call(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(PROGRAM), *arguments], capture_output=True,
                          text=True, timeout=100, check=False)


def test_both_sides_agree(tmp_path: Path) -> None:
    path = tmp_path / 'claims.json'
    done = call('--objects', '4', '--repeats', '1', '--json', str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(path.read_text(encoding='utf-8'))
    claims = {claim['name']: claim for claim in content['claims']}
    assert claims['matchings worth another sum than by plain loops']['value'] == 0
    assert claims['128 rollouts of 4 objects, unified']['target'] is None   # promised for 30
    assert all(claim['value'] is not None for claim in claims.values())
    assert content['rollouts'] == 128 and 'load_before' in content


@pytest.mark.parametrize('arguments', [('--objects', '0'), ('--objects', '301'),
                                       ('--repeats', '0')])
def test_what_cannot_be_measured_is_refused(arguments) -> None:
    done = call(*arguments)
    assert done.returncode == 2 and arguments[0] in done.stderr
