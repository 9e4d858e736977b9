"""``./run train grpo --smoke``, killed half-way and called again: reward rises, the export answers.

This is the whole of it: data, difficulty, training, checkpoint, resume, export, the loaded model.
"""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('trl', reason='./run train grpo installs it')

from safetensors.torch import load_file  # noqa: E402

from vr_ros.core.types import Status, Task  # noqa: E402
from vr_ros.datasets.sample import decode_image  # noqa: E402
from vr_ros.pipeline.perceiver import Perceiver  # noqa: E402
from vr_ros.training.trainers.grpo.checkpoints import last_checkpoint  # noqa: E402
from vr_ros.training.trainers.grpo.smoke import SETTINGS  # noqa: E402
from vr_ros.training.trainers.grpo.watching import read_curve  # noqa: E402

ROOT = Path(__file__).parents[2]


def start(out: Path, log: Path) -> subprocess.Popen:
    with log.open('ab') as file:
        return subprocess.Popen(
            [sys.executable, '-m', 'vr_ros.training.cli', 'grpo', '--smoke', '--out', str(out)],
            cwd=ROOT, stdout=file, stderr=subprocess.STDOUT,
            env=os.environ | {'MUJOCO_GL': 'egl', 'HF_HUB_OFFLINE': '1',
                              'HF_DATASETS_CACHE': str(out / 'cache')})


def kill_behind_a_checkpoint(run: subprocess.Popen, out: Path, seconds: float) -> int:
    """Let the run go a step beyond its first checkpoint, and kill it.

    :return: the step of that checkpoint.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end and run.poll() is None:
        checkpoint = last_checkpoint(out)
        if checkpoint is not None:
            step = int(checkpoint.name.rpartition('-')[2])
            if any(line['step'] > step for line in read_curve(out / 'curve.jsonl')):
                run.send_signal(signal.SIGKILL)
                run.wait(200)
                return step
        time.sleep(0.2)
    raise AssertionError(f'no checkpoint; the run ended with {run.poll()}')


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_reward_rises_through_a_kill_and_the_export_answers(tmp_path) -> None:
    out, log = tmp_path / 'run', tmp_path / 'log.txt'
    run = start(out, log)
    try:
        killed_at = kill_behind_a_checkpoint(run, out, 700)
        (out / f'checkpoint-{killed_at + 1}').mkdir()   # as if it had been writing another one
        run = start(out, log)
        assert run.wait(700) == 0, log.read_text()[-2000:]
    finally:
        run.kill()
        run.wait(200)
    said = log.read_text()
    assert f'goes on from {out}/checkpoint-{killed_at}' in said
    card = out / 'export' / 'sim_tiny_grpo.yaml'
    assert f'next: ./run evaluate sim --model {card}' in said

    curve = read_curve(out / 'curve.jsonl')
    rewards = {line['step']: line['reward'] for line in curve if 'reward' in line}
    assert list(rewards) == list(range(1, SETTINGS['steps'] + 1))   # each once, though some twice
    values = list(rewards.values())
    # 48 rollouts of the same 6 prompts per step: the mean of 2 steps has a deviation of about 0.03.
    # It rises by 0.2 and more.
    assert np.mean(values[-3:]) > np.mean(values[:2]) + 0.1, values
    assert sum('eval_reward' in line for line in curve) >= SETTINGS['steps'] // 3
    assert sorted(path.name for path in (out / 'pictures').iterdir()) == [
        'step_000001.png', 'step_000005.png', 'step_000010.png']
    assert any((out / 'runs').rglob('events.out.tfevents.*'))

    before = load_file(ROOT / 'weights' / 'sim_tiny' / 'reasoner' / 'model.safetensors')
    after = load_file(out / 'export' / 'reasoner' / 'model.safetensors')
    assert before.keys() == after.keys()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed and not any('visual' in name for name in changed)
    assert all(after[name].dtype == before[name].dtype for name in before)

    from pyarrow import parquet

    row = parquet.read_table(next((out / 'data').glob('train-*.parquet'))).to_pylist()[0]
    perceiver = Perceiver.from_card(str(card), device='cpu')
    answer = perceiver.perceive(decode_image(row['image']['bytes']), row['problem'],
                                task=Task[row['task'].upper()])
    perceiver.close()
    assert answer.status in (Status.OK, Status.NO_OBJECT)
    assert answer.reasoning.startswith('Looking for:')
    assert json.loads((out / 'settings.json').read_text())['group'] == 8
