"""The benchmark of the recorder: what it counts, and a short run of it."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / 'benchmarks' / 'bench_record.py'


def call(*arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess:
    environment = {**os.environ, 'COLUMNS': '200', 'PYTHONPATH': os.pathsep.join(
        filter(None, (str(ROOT), os.environ.get('PYTHONPATH', ''))))}
    return subprocess.run([sys.executable, str(PROGRAM), *arguments], env=environment,
                          capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip('rclpy')
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    import bench_record
    return bench_record


def result(**numbers: Any) -> dict[str, Any]:
    recorded = Counter({f'/bench/{name}': 100 for name in (
        'image/compressed', 'detections', 'count', 'answer')})
    return {'published': 100, 'reported': 0, 'seconds': 4.0, 'cpu': 0.1, 'jpeg_bytes': 4e5,
            'words': '', 'recorded': recorded, 'files': 1, 'bytes': 10**7, **numbers}


def test_what_is_not_in_the_bag_breaks_the_promise_of_its_topic(bench: Any) -> None:
    assert not [claim for claim in bench.claims_of(result()) if claim.holds is False]
    lossy = result(reported=2)
    lossy['recorded']['/bench/detections'] = 97
    broken = {claim.name: claim.value for claim in bench.claims_of(lossy) if claim.holds is False}
    assert broken == {'/bench/detections: messages that are not in the bag': 3,
                      'messages missing, less those that the recorder reported': 1}
    values = {claim.name: claim.value for claim in bench.claims_of(lossy)}
    assert values['rate of the camera'] == 25.0 and values['CPU of the recorder'] == 10.0


def test_pictures_differ_and_are_as_large_as_those_of_a_camera(bench: Any) -> None:
    first, second = bench.make_jpeg(85, 0), bench.make_jpeg(85, 1)
    assert first[:2] == b'\xff\xd8' and first != second
    assert 200_000 < len(first) < 700_000


@pytest.mark.parametrize('arguments', [('--minutes', '0'), ('--minutes', 'nan'), ('--quality', '0'),
                                       ('--quality', '101')])
def test_what_cannot_be_measured_is_refused(arguments: tuple[str, ...]) -> None:
    pytest.importorskip('rclpy')
    done = call(*arguments)
    assert done.returncode == 2 and arguments[0] in done.stderr


def test_a_place_that_is_not_there_is_one_line() -> None:
    pytest.importorskip('rclpy')
    done = call('--folder', '/no/such/folder')
    assert done.returncode == 1
    assert done.stderr.startswith('bench record: ') and len(done.stderr.splitlines()) == 1


def test_a_short_run_accounts_for_every_message(tmp_path: Path) -> None:
    pytest.importorskip('rclpy')
    path = tmp_path / 'claims.json'
    done = call('--minutes', '0.03', '--folder', str(tmp_path), '--json', str(path), timeout_s=110)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(path.read_text(encoding='utf-8'))
    values = {claim['name']: claim['value'] for claim in content['claims']}
    published = round(0.03 * 60 * 30)
    for topic in ('image/compressed', 'detections', 'count', 'answer'):
        missing = values[f'/bench/{topic}: messages that are not in the bag']
        assert content['recorded'][f'/bench/{topic}'] == published - missing
    assert values['messages missing, less those that the recorder reported'] == 0
    assert values['written'] > 1 and values['CPU of the recorder'] > 0
    assert list(tmp_path.iterdir()) == [path]
