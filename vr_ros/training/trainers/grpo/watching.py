"""What a run says while it goes: a line per step, and its curve as a file."""
from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback

from vr_ros.training.rewards.vanishing import VanishingMonitor
from vr_ros.training.trainers.grpo.trainer import VisionGrpoTrainer

CURVE = 'curve.jsonl'
log = logging.getLogger(__name__)


class Curve(TrainerCallback):
    """Appends all that is measured to a file, and prints the little that one looks at.

    :param folder: for ``curve.jsonl``, a JSON object per line, with the step.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CURVE

    def on_train_begin(self, args, state, control, **_) -> None:
        """Drop what an interrupted run had measured behind its last checkpoint."""
        if not state.is_world_process_zero:
            return
        kept = [line for line in read_curve(self._path) if line['step'] <= state.global_step]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix('.tmp')
        temporary.write_text(
            ''.join(map(_line, kept if state.global_step else [])), encoding='utf-8')
        os.replace(temporary, self._path)

    def on_log(self, args, state, control, logs: Mapping[str, Any] | None = None, **_) -> None:
        """Take in what was measured."""
        if not state.is_world_process_zero or not logs:
            return
        measured = {key: value for key, value in logs.items()
                    if isinstance(value, int | float) and not isinstance(value, bool)}
        with self._path.open('a', encoding='utf-8') as file:
            file.write(_line({'step': state.global_step, **measured}))
        if 'eval_reward' in logs:
            log.info('step %d: %.4f on the held-out rows', state.global_step, logs['eval_reward'])
        elif 'reward' in logs:
            log.info('step %d of %d: reward %.4f, %.0f tokens, %.1f s', state.global_step,
                     state.max_steps, logs['reward'], logs['completions/mean_length'],
                     logs.get('step_time', 0.0))


class SignalWatch(TrainerCallback):
    """Warns when most groups teach nothing.

    :param trainer: whose rewards.
    """

    def __init__(self, trainer: VisionGrpoTrainer) -> None:
        self._trainer, self._monitor, self._said = trainer, VanishingMonitor(), ''

    def on_step_end(self, args, state, control, **_) -> None:
        """Look at the rewards of the step."""
        seen, group = self._trainer.seen, self._trainer.num_generations
        if seen is None or len(seen.rewards) % group:   # a group may lie on several processes
            return
        shape = (-1, group)
        self._monitor.add(np.reshape(seen.rewards, shape), np.reshape(seen.correct, shape))
        if self._monitor.warning and not self._said and state.is_world_process_zero:
            log.warning('%s', self._monitor.warning)
        self._said = self._monitor.warning


def read_curve(path: Path) -> list[dict[str, Any]]:
    """Read a curve; a line that was being written when the run was killed is left out."""
    lines = []
    if path.is_file():
        for text in path.read_text(encoding='utf-8').splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                log.warning('%s: a line is cut off', path)
    return lines


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps({key: round(value, 6) if isinstance(value, float) else value
                       for key, value in values.items()}) + '\n'
