"""A training run that lasts a number of minutes, and can be interrupted: its count of what has been
done, its checkpoint, its curve."""
from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

CHECKPOINT = 'checkpoint.pt'
CURVE = 'curve.jsonl'


class Pace(Protocol):
    """The part of a recipe that a run needs: how often it logs and saves, and its random seed."""

    log_steps: int
    checkpoint_minutes: float
    seed: int
    autocast: bool | None


class TimedRun(ABC):
    """One training run.

    A subclass gives it ``model`` and ``optimizer`` before anything is saved; ``also_saved`` names
    further attributes that a checkpoint holds.

    :param minutes: length of the whole run, whatever of it is already done.
    :param architecture: what a checkpoint must have been made with to go on from it.
    """

    model: nn.Module
    optimizer: Any
    also_saved: tuple[str, ...] = ()

    def __init__(
        self, out_dir: Path, minutes: float, architecture: object, pace: Pace, device: str,
    ) -> None:
        self.out_dir, self.minutes, self.device = out_dir, minutes, torch.device(device)
        self.architecture, self._pace = architecture, pace
        self.rng = np.random.default_rng(pace.seed)
        self.autocast = fast_bfloat16(self.device) if pace.autocast is None else pace.autocast
        self.step_count, self.spent_minutes = 0, 0.0
        out_dir.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def learning_rate(self) -> float:
        """Give the rate of the next step."""

    @abstractmethod
    def learn(self) -> dict[str, float]:
        """Learn from one batch.

        :return: the parts of the loss, and how right the model was.
        """

    @abstractmethod
    def held_out(self) -> dict[str, float]:
        """Measure on what is not trained on; empty where there is nothing to measure on."""

    def step(self) -> dict[str, float]:
        """Learn from one batch, and count it.

        :return: see learn().
        :raises FloatingPointError: when the loss is no longer a number.
        """
        started = time.perf_counter()
        self.model.train()
        values = self.learn()
        self.step_count += 1
        self.spent_minutes += (time.perf_counter() - started) / 60
        return values

    def require_finite(self, loss: float) -> None:
        """:raises FloatingPointError: before the optimiser has spread what is no number."""
        if not np.isfinite(loss):
            raise FloatingPointError(f'the loss is {loss} at step {self.step_count}')

    def train(self, resume: bool = True) -> None:
        """Run to the end, from the checkpoint where there is one and ``resume`` says so."""
        if not (resume and self.resume()):
            (self.out_dir / CURVE).unlink(missing_ok=True)
        saved_at = self.spent_minutes
        window: list[dict[str, float]] = []
        while self.spent_minutes < self.minutes:
            window.append(self.step())
            if self.step_count % self._pace.log_steps == 0:
                keys = dict.fromkeys(key for values in window for key in values)
                self.log({k: float(np.mean([v[k] for v in window if k in v])) for k in keys})
                window.clear()
            if self.spent_minutes - saved_at >= self._pace.checkpoint_minutes:
                self._checkpoint()
                saved_at = self.spent_minutes
        self._checkpoint()

    def _checkpoint(self) -> None:
        self.save()
        values = self.held_out()
        if values:
            self.log(values)

    def save(self) -> None:
        """Write the checkpoint; it is whole or the one before."""
        state = {
            'model': self.model.state_dict(), 'optimizer': self.optimizer.state_dict(),
            'rng': json.dumps(self.rng.bit_generator.state), 'step_count': self.step_count,
            'spent_minutes': self.spent_minutes, 'architecture': str(self.architecture),
            **{name: getattr(self, name) for name in self.also_saved},
        }
        temporary = self.out_dir / (CHECKPOINT + '.tmp')
        torch.save(state, temporary)
        os.replace(temporary, self.out_dir / CHECKPOINT)

    def resume(self) -> bool:
        """Continue from the checkpoint.

        :return: whether there was one.
        :raises ValueError: when it is of another architecture.
        """
        path = self.out_dir / CHECKPOINT
        if not path.is_file():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state['architecture'] != str(self.architecture):
            raise ValueError(f'{path} is of {state["architecture"]}: remove it to start anew')
        self.model.load_state_dict(state['model'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.rng.bit_generator.state = json.loads(state['rng'])
        self.step_count, self.spent_minutes = state['step_count'], state['spent_minutes']
        for name in self.also_saved:
            setattr(self, name, state[name])
        return True

    def log(self, values: dict[str, float]) -> None:
        """Add a line to the curve."""
        line = {'step': self.step_count, 'minutes': round(self.spent_minutes, 3),
                'lr': self.learning_rate(), **{k: round(v, 4) for k, v in values.items()}}
        with (self.out_dir / CURVE).open('a', encoding='utf-8') as file:
            file.write(json.dumps(line) + '\n')


def fast_bfloat16(device: torch.device) -> bool:
    """:return: whether the device multiplies bfloat16 faster than float32."""
    if device.type == 'cpu':
        return getattr(torch.cpu, '_is_avx512_bf16_supported', lambda: False)()
    return device.type == 'cuda' and torch.cuda.is_bf16_supported()
