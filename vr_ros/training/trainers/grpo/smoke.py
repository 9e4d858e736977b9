"""A run of two minutes that shows that training works on this machine: few prompts, large steps.

The prompts are those whose answers differ most in reward, and rollouts are drawn hotter than usual,
so that there is something to learn, however good the model is.
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from vr_ros.training.data import command as data
from vr_ros.training.trainers.difficulty import command as difficulty
from vr_ros.training.trainers.difficulty.command import RATES

PROMPTS = 6
# Defaults of the options.
SETTINGS = {
    'out': Path('runs/grpo_smoke'), 'card': 'sim_tiny', 'steps': 10, 'prompts': PROMPTS,
    'limit': PROMPTS, 'group': 8, 'temperature': 1.5, 'learning_rate': 1e-4, 'beta': 0.0,
    'eval_steps': 3, 'held_out_rows': 12, 'picture_steps': 5, 'max_completion': 120,
    'device': 'cpu',
}
SCENES, HELD_OUT_SCENES, TRIES = 16, 4, 6


class SmokeError(RuntimeError):
    """The data of the run could not be made."""


def build(options: argparse.Namespace) -> None:
    """Make a small data set in ``--out``, and set ``--data`` to it.

    :raises SmokeError: a step failed; it has said why.
    """
    rows, held_out, sorted_rows = (
        options.out / name for name in ('data', 'held_out', 'difficulty'))
    _build(rows, 'train', SCENES)
    _build(held_out, 'val', HELD_OUT_SCENES)
    if not (sorted_rows / RATES).exists():
        _must(difficulty.main([
            '--card', options.card, '--data', str(rows), '--out', str(sorted_rows),
            '--rollouts', str(TRIES), '--device', 'cpu']))
    chosen = options.out / 'chosen'
    if not chosen.is_dir():
        _choose(rows, sorted_rows / RATES, options.prompts, chosen)
    options.data = [chosen, held_out]


def _choose(rows: Path, rates: Path, count: int, folder: Path) -> None:
    """Write the rows whose answers differ most in reward."""
    from pyarrow import array, compute, parquet

    spread = {rate['id']: float(np.std(rate['rewards']))
              for rate in map(json.loads, rates.read_text().splitlines())}
    ids = sorted(spread, key=lambda name: -spread[name])[:count]
    temporary = folder.with_suffix('.tmp')
    temporary.mkdir(exist_ok=True)
    for path in sorted(rows.glob('*.parquet')):
        table = parquet.read_table(path)
        kept = table.filter(compute.is_in(table['id'], value_set=array(ids)))
        parquet.write_table(kept, temporary / path.name)
    temporary.rename(folder)   # whole or not there


def _build(folder: Path, split: str, scenes: int) -> None:
    """Write a split, unless an interrupted run has done it."""
    if not any(folder.glob(f'{split}-*.parquet')):
        _must(data.main([
            'sim', '--out', str(folder), '--split', split, '--scenes', str(scenes),
            '--per-view', '3', '--absent', '0', '--processes', '1']))


def _must(status: int) -> None:
    if status:
        raise SmokeError('the data of the run could not be made')
