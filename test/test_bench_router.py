"""The benchmark of the router: what it reports, and what it refuses."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / 'benchmarks' / 'bench_router.py'


def call(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(PROGRAM), *arguments], capture_output=True,
                          text=True, timeout=110, check=False)


def test_what_was_not_fitted_is_said_and_the_confusion_adds_up(tmp_path: Path) -> None:
    path = tmp_path / 'claims.json'
    done = call('--number', '50', '--fit', '0', '--json', str(path))
    assert done.returncode == 1, done.stdout + done.stderr      # the tables of its own are missing
    content = json.loads(path.read_text(encoding='utf-8'))
    missing = {claim['name'] for claim in content['claims'] if claim['value'] is None}
    assert len(missing) == 7 and all('alone' in name or 'constructions' in name for name in missing)
    values = {claim['name']: claim['value'] for claim in content['claims']}
    for name, size in content['sizes'].items():
        table = content['confusion'][name]['rules and table']
        assert sum(sum(found.values()) for found in table.values()) == size
        right = sum(table[kind].get('vqa' if kind == 'editing' else kind, 0) for kind in table)
        assert values[f'{name}: rules and table'] == pytest.approx(right / size)
        if 'phrasings' in name:
            low, high = (values[f'{name}: rules and table, {end} end of 95 %']
                         for end in ('lower', 'upper'))
            assert 0 < low <= values[f'{name}: rules and table'] <= high <= 1
    hand = content['sizes']['written by hand']
    assert len(content['wrong_by_hand']) == round(
        hand * (1 - values['written by hand: rules and table']))


@pytest.mark.parametrize('arguments', [('--number', '4'), ('--fit', '10')])
def test_what_cannot_be_measured_is_refused(arguments) -> None:
    done = call(*arguments)
    assert done.returncode == 2 and arguments[0] in done.stderr
