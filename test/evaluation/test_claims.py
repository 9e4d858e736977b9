"""Claims: when they hold, and what is written about them."""
from __future__ import annotations

import io
import json
import math
import platform
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from vr_ros.evaluation.claims import (
    Claim,
    machine_description,
    package_versions,
    print_claims,
    write_claims,
)

CLAIMS = (
    Claim('time', 3.5, 'ms', 5.0, 'lower'),
    Claim('accuracy', 0.4, target=0.5),
    Claim('time on a GPU', None, 'ms', 1.0, 'lower', reason='no GPU'),
    Claim('masks', 20, 'masks'),
)


@pytest.mark.parametrize(('claim', 'holds'), [
    (Claim('a', 2.0, target=2.0), True),                      # just reached from below
    (Claim('a', 2.0, target=2.0, better='lower'), True),      # just reached from above
    (Claim('a', 1.9, target=2.0), False),
    (Claim('a', 2.1, target=2.0, better='lower'), False),
    (Claim('a', 2.1), None),                                  # nothing promised
    (Claim('a', None, target=2.0, reason='none'), None),      # nothing measured
])
def test_holds(claim: Claim, holds: bool | None) -> None:
    assert claim.holds is holds


@pytest.mark.parametrize('options', [
    {'value': math.nan},
    {'value': math.inf},
    {'value': 1.0, 'target': math.nan},
    {'value': None},                          # without a reason
    {'value': 1.0, 'better': 'faster'},
])
def test_what_is_no_claim(options: dict) -> None:
    with pytest.raises(ValueError):
        Claim('a', **options)


def test_file(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'claims.json'
    write_claims(path, CLAIMS, seed=4, seconds=1.23456, details={'skipped': 2})
    content = json.loads(path.read_text(encoding='utf-8'))
    assert content['claims'][0] == {
        'name': 'time', 'value': 3.5, 'unit': 'ms', 'target': 5.0, 'better': 'lower', 'holds': True}
    assert [claim['holds'] for claim in content['claims']] == [True, False, None, None]
    assert content['claims'][2]['value'] is None and content['claims'][2]['reason'] == 'no GPU'
    assert (content['seed'], content['seconds'], content['skipped']) == (4, 1.235, 2)
    assert content['machine'] == machine_description()
    assert content['versions'] == package_versions()


def test_details_neither_replace_entries_nor_hold_what_json_cannot(tmp_path: Path) -> None:
    for details in ({'claims': []}, {'loss': math.nan}):
        with pytest.raises(ValueError):
            write_claims(tmp_path / 'a.json', CLAIMS, seed=None, seconds=0.0, details=details)
    assert not (tmp_path / 'a.json').exists()


def test_table_says_what_holds_and_what_was_not_measured() -> None:
    text = io.StringIO()
    print_claims(CLAIMS, 'Speed', Console(file=text, width=100))
    rows = [line for line in text.getvalue().splitlines() if '│' in line]
    lines = {row.split('│')[1].strip(): row for row in rows}
    assert '3.5 ms' in lines['time'] and '≤ 5 ms' in lines['time'] and 'yes' in lines['time']
    assert '≥ 0.5' in lines['accuracy'] and 'no' in lines['accuracy']
    assert 'no GPU' in lines['time on a GPU']


def test_versions_are_those_in_use() -> None:
    versions = package_versions(('numpy', 'a-package-that-nobody-has'))
    assert versions == {'python': platform.python_version(), 'numpy': np.__version__}


def test_machine_has_what_every_machine_has() -> None:
    machine = machine_description()
    assert machine['cpu'] and machine['cores'] >= 1 and machine['memory_gib'] > 0
