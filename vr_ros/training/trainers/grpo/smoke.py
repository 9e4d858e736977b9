"""A run of two minutes that shows that training works on this machine: few prompts, large steps.

The prompts are those that the model answers now right and now wrong, so that there is something to
learn, however good it is.
"""
from __future__ import annotations

import argparse
from pathlib import Path

from vr_ros.training.data import command as data
from vr_ros.training.trainers.difficulty import command as difficulty

PROMPTS = 6
# Defaults of the options.
SETTINGS = {
    'out': Path('runs/grpo_smoke'), 'card': 'sim_tiny', 'steps': 10, 'prompts': PROMPTS,
    'limit': PROMPTS, 'group': 8, 'learning_rate': 1e-4, 'beta': 0.0, 'eval_steps': 3,
    'held_out_rows': 12, 'picture_steps': 5, 'max_completion': 120, 'device': 'cpu',
}
SCENES, HELD_OUT_SCENES, TRIES = 8, 4, 6


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
    medium = sorted_rows / 'medium'
    if not any(medium.glob('*.parquet')):
        _must(difficulty.main([
            '--card', options.card, '--data', str(rows), '--out', str(sorted_rows),
            '--rollouts', str(TRIES), '--device', 'cpu']))
    learns_from = medium if _count(sorted_rows, 'medium') >= options.prompts else rows
    options.data = [learns_from, held_out]


def _build(folder: Path, split: str, scenes: int) -> None:
    """Write a split, unless an interrupted run has done it."""
    if not any(folder.glob(f'{split}-*.parquet')):
        _must(data.main([
            'sim', '--out', str(folder), '--split', split, '--scenes', str(scenes),
            '--per-view', '3', '--absent', '0', '--processes', '1']))


def _count(folder: Path, name: str) -> int:
    from pyarrow import parquet

    return sum(parquet.read_metadata(path).num_rows
               for path in (folder / name).glob('*.parquet'))


def _must(status: int) -> None:
    if status:
        raise SmokeError('the data of the run could not be made')
