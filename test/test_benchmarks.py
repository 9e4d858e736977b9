"""The benchmarks as programs: their usage, and what they leave in the file of claims."""
from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = sorted((ROOT / 'benchmarks').glob('bench_*.py'))


def call(program: Path, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess:
    environment = {**os.environ, 'COLUMNS': '200', 'PYTHONPATH': os.pathsep.join(
        filter(None, (str(ROOT), os.environ.get('PYTHONPATH', ''))))}
    return subprocess.run([sys.executable, str(program), *arguments], env=environment,
                          capture_output=True, text=True, timeout=timeout_s, check=False)


def test_there_are_benchmarks() -> None:
    assert {'bench_rle', 'bench_ros'} <= {program.stem for program in BENCHMARKS}


@pytest.mark.parametrize('program', BENCHMARKS, ids=lambda program: program.stem)
def test_help_tells_how_to_get_json(program: Path) -> None:
    done = call(program, '--help')
    assert done.returncode == 0, done.stderr
    assert '--json' in done.stdout


@pytest.mark.parametrize('program', BENCHMARKS, ids=lambda program: program.stem)
def test_an_unknown_option_is_a_usage_error(program: Path) -> None:
    done = call(program, '--no-such-option')
    assert done.returncode == 2
    assert '--no-such-option' in done.stderr


@pytest.mark.parametrize('arguments', [
    ('--sizes', '640'),          # no height
    ('--sizes', '0x480'),        # no pixels
    ('--sizes', '99999x480'),    # more than an image has
    ('--sizes', '640x480', 'x'), # one that is right, one that is not
    ('--seconds', '0'),          # no time
    ('--seconds', 'nan'),        # no number
    ('--seconds', 'inf'),        # no end
])
def test_ros_refuses_what_it_cannot_measure(arguments: tuple[str, ...]) -> None:
    done = call(ROOT / 'benchmarks' / 'bench_ros.py', *arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr


@pytest.fixture(scope='module')
def ros_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """Give what a short measurement prints and writes."""
    pytest.importorskip('rclpy')
    path = tmp_path_factory.mktemp('bench') / 'claims.json'
    done = call(ROOT / 'benchmarks' / 'bench_ros.py', '--seconds', '1', '--sizes', '320x240',
                '--json', str(path), timeout_s=180)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads(path.read_text(encoding='utf-8'))


def test_ros_measures_both_sides(ros_run: tuple[str, dict[str, Any]]) -> None:
    printed, content = ros_run
    values = {claim['name']: claim['value'] for claim in content['claims']}
    for text in (
        'CPU of the node, idle', 'CPU of the plain subscriber', 'CPU of the worker, idle',
        'frames that reach the node, idle', 'frames that reach the plain subscriber',
        'publish to worker, as RGB, median', 'publish to worker, as RGB, 95 %',
        'publish to plain callback', 'publish to plain array, as BGR, median',
    ):
        name = f'320x240: {text}'
        assert math.isfinite(values[name]) and values[name] > 0, name
        assert name in printed


def test_ros_orders_the_stations_of_a_frame(ros_run: tuple[str, dict[str, Any]]) -> None:
    values = {claim['name'].removeprefix('320x240: '): claim['value']
              for claim in ros_run[1]['claims']}
    assert (values['publish to worker, as RGB, median']
            <= values['publish to worker, as RGB, 95 %'])
    assert (values['publish to plain callback']
            <= values['publish to plain array, as BGR, median'])


def test_ros_counts_the_copies(ros_run: tuple[str, dict[str, Any]]) -> None:
    """Bytes are made once by a raw take; bytes, array and picture otherwise."""
    values = {claim['name'].removeprefix('320x240: '): claim['value']
              for claim in ros_run[1]['claims']}
    assert values['copies per frame by Python in the node, idle'] == 1
    assert values['copies per frame by Python in the plain subscriber'] == 3


def test_ros_promises_only_for_the_size_that_was_asked_for(
        ros_run: tuple[str, dict[str, Any]]) -> None:
    cpu, = (c for c in ros_run[1]['claims'] if c['name'] == '320x240: CPU of the node, idle')
    assert cpu['target'] is None


def test_ros_without_ros_says_so(tmp_path: Path) -> None:
    """A package in front hides rclpy, as where ROS is not installed."""
    (tmp_path / 'rclpy.py').write_text("raise ImportError('no rclpy here')\n", encoding='utf-8')
    code = (f'import sys, runpy; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT / "benchmarks")!r}]; '
            f'sys.argv = ["bench_ros", "--json", {str(tmp_path / "claims.json")!r}]; '
            f'runpy.run_path({str(ROOT / "benchmarks" / "bench_ros.py")!r}, run_name="__main__")')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60,
                          cwd=ROOT, check=False)
    assert done.returncode == 1, done.stderr
    claims = json.loads((tmp_path / 'claims.json').read_text(encoding='utf-8'))['claims']
    assert claims and all(claim['value'] is None for claim in claims)
    assert all('cannot be imported' in claim['reason'] for claim in claims)
