"""The arms of the proof on the simulator: what each changes, and how it is trained and examined."""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vr_ros.evaluation.runs.records import Run, read_records

# The embedded model answers sixteen prompts within seconds on one core; more threads do not help.
THREADS = '1'
LOG_LINES = 12
# Questions that the examined model answers side by side: less of its time goes into calls.
BATCH = 16


class ArmError(RuntimeError):
    """A training or an examination ended with an error; its last lines say which."""


@dataclass(frozen=True)
class Arm:
    """One way to train.

    :param question: what it is to show, held against ``unified``.
    :param stages: options of ``train grpo``, a run each; a later one starts from the one before.
    :param start: which of the start points it needs.
    """

    name: str
    question: str
    stages: tuple[tuple[str, ...], ...] = ((),)
    start: str = 'supervised'


ARMS: Mapping[str, Arm] = {arm.name: arm for arm in (
    Arm('unified', 'the unified reward'),
    Arm('reference', 'the reward as it was published', (('--reward', 'reference'),)),
    Arm('direct', 'answers without reasoning', start='direct'),
    Arm('repetition', 'without the part against repetition', (('--without-non-repetition',),)),
    Arm('dynamic_iou', "V-Triune's rising IoU threshold", (('--reward', 'dynamic-iou'),)),
    Arm('two_stages', 'perception first, then reasoning', (
        ('--curriculum', 'boxes_first', '--stage', 'perception'),
        ('--curriculum', 'boxes_first', '--stage', 'reasoning'))),
    Arm('rollouts_4', '4 rollouts per prompt', (('--group', '4'),)),
    Arm('rollouts_12', '12 rollouts per prompt', (('--group', '12'),)),
)}


@dataclass(frozen=True)
class Recipe:
    """What all arms have in common.

    :param starts: cards of each start point; the runs of an arm take them in turn.
    :param data: folders with the rows to learn from and those that choose the checkpoint.
    :param options: of ``train grpo`` for every arm.
    :param steps: of an arm, shared evenly by its stages.
    :param scenes: held-out ones, of the examination.
    :param first_seed: of the first of them.
    """

    starts: Mapping[str, Sequence[Path]]
    data: Sequence[Path]
    out: Path
    options: Sequence[str]
    steps: int
    scenes: int
    first_seed: int


def train(arm: Arm, seed: int, start: Path, recipe: Recipe) -> Path:
    """Train, or go on, or do nothing where it is done.

    :param start: card to start from.
    :return: card of the trained model.
    :raises ArmError: a stage failed.
    """
    card = start
    for number, stage in enumerate(arm.stages):
        folder = recipe.out / run_name(arm, seed) / f'stage_{number}'
        exported = folder / 'export' / f'{run_name(arm, seed)}.yaml'
        if not exported.is_file():
            _call('vr_ros.training.cli', [
                'grpo', '--card', str(card), '--data', *map(str, recipe.data), '--out', str(folder),
                '--steps', str(recipe.steps // len(arm.stages)), '--seed', str(seed),
                '--name', run_name(arm, seed), '--device', 'cpu', '--report-to', 'none',
                '--picture-steps', '0', '--reward', 'unified', *recipe.options, *stage,
            ], folder.with_suffix('.log'))
        card = exported
    return card


def examine(card: Path, recipe: Recipe) -> Run:
    """Ask the held-out instructions, as ``./run evaluate sim`` does; what is there already counts.

    :raises ArmError: not all could be answered.
    """
    folder = recipe.out / 'records' / card.stem
    folder.mkdir(parents=True, exist_ok=True)
    _call('vr_ros.evaluation.cli', [
        'sim', '--model', str(card), '--scenes', str(recipe.scenes), '--first-seed',
        str(recipe.first_seed), '--processes', '1', '--batch', str(BATCH),
        '--records', str(folder)], folder.with_suffix('.log'))
    found = sorted(folder.glob(f'sim-heldout-{recipe.scenes}x3-{recipe.first_seed}-*.jsonl'))
    if len(found) != 1:
        raise ArmError(f'{folder} holds records of {len(found)} models for {recipe.scenes} scenes:'
                       ' keep one')
    return read_records(found[0])


def run_name(arm: Arm, seed: int) -> str:
    return f'{arm.name}_{seed}'


def _call(module: str, arguments: Sequence[str], log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('a', encoding='utf-8') as out:
        status = subprocess.run(
            [sys.executable, '-m', module, *arguments], stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, 'OMP_NUM_THREADS': THREADS}, check=False).returncode
    if status:
        last = '\n'.join(log.read_text(encoding='utf-8').splitlines()[-LOG_LINES:])
        raise ArmError(f'{module} {arguments[0]} ended with {status}; {log} ends:\n{last}')
