"""Train the embedded segmenter, a small SAM 2, on frames of the simulator.

Supervised as SAM 2 is: boxes and points in; the best of three masks is held against the truth, and
every mask's estimate of its IoU against its true IoU.
"""
from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import Sam2Model

from vr_ros.training.trainers.optimizers import MuonAndAdamW
from vr_ros.training.trainers.sim_segmenter_data import (
    Frames,
    PromptBatch,
    PromptMaker,
    Recipe,
)
from vr_ros.training.trainers.sim_segmenter_model import (
    Architecture,
    build_segmenter,
    segmentation_loss,
    set_image_size,
)

CHECKPOINT = 'checkpoint.pt'
CURVE = 'curve.jsonl'


class SegmenterTrainer:
    """One training run: model, optimiser, random numbers and the count of what has been done.

    :param minutes: length of the run; the learning rate falls to zero towards its end.
    """

    def __init__(
        self, frames: Frames, out_dir: Path, minutes: float,
        architecture: Architecture | None = None, recipe: Recipe | None = None,
        device: str = 'cpu',
    ) -> None:
        self.recipe = recipe or Recipe()
        self.out_dir, self.minutes, self.device = out_dir, minutes, torch.device(device)
        self.prompts = PromptMaker(frames, self.recipe)
        self.architecture = architecture or Architecture()
        self.model = build_segmenter(self.architecture, self.recipe.seed).to(device)
        self.optimizer = MuonAndAdamW([self.model], self.recipe.learning_rate)
        self.rng = np.random.default_rng(self.recipe.seed)
        self.autocast = self.recipe.autocast
        if self.autocast is None:
            self.autocast = fast_bfloat16(self.device)
        self.step_count = 0
        self.spent_minutes = 0.0
        out_dir.mkdir(parents=True, exist_ok=True)

    def learning_rate(self) -> float:
        """Cosine over the run's minutes, after a linear start."""
        progress = min(self.spent_minutes / self.minutes, 1.0)
        start = min((self.step_count + 1) / self.recipe.warmup_steps, 1.0)
        return self.recipe.learning_rate * start * (1 + math.cos(math.pi * progress)) / 2

    def step(self) -> dict[str, float]:
        """Learn from one batch.

        :return: the parts of the loss, and the IoU of the masks the model picked.
        :raises FloatingPointError: when the loss is no longer a number.
        """
        started = time.perf_counter()
        shrink = 2 if self.spent_minutes < self.recipe.small_share * self.minutes else 1
        batch = self.prompts.draw(self.rng, shrink=shrink)
        self.model.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            logits, scores = run_model(self.model, batch, self.device)
        masks = batch.masks.flatten(0, 1).to(self.device)
        loss, parts = segmentation_loss(logits.float(), scores.float(), masks)
        if not torch.isfinite(loss):
            raise FloatingPointError(f'the loss is {float(loss)} at step {self.step_count}')
        self.optimizer.step(loss, self.learning_rate(), self.recipe.clip_norm)
        self.step_count += 1
        self.spent_minutes += (time.perf_counter() - started) / 60
        return {'loss': float(loss.detach()), **parts}

    def save(self) -> None:
        """Write the checkpoint; it is whole or the one before."""
        state = {
            'model': self.model.state_dict(), 'optimizer': self.optimizer.state_dict(),
            'rng': json.dumps(self.rng.bit_generator.state), 'step_count': self.step_count,
            'spent_minutes': self.spent_minutes, 'architecture': str(self.architecture),
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
        return True

    def log(self, values: dict[str, float]) -> None:
        """Add a line to the curve."""
        line = {
            'step': self.step_count, 'minutes': round(self.spent_minutes, 3),
            'images': self.step_count * self.recipe.batch, 'lr': self.learning_rate(), **values,
        }
        with (self.out_dir / CURVE).open('a', encoding='utf-8') as file:
            file.write(json.dumps(line) + '\n')


def fast_bfloat16(device: torch.device) -> bool:
    """:return: whether the device multiplies bfloat16 faster than float32."""
    if device.type == 'cpu':
        return getattr(torch.cpu, '_is_avx512_bf16_supported', lambda: False)()
    return device.type == 'cuda' and torch.cuda.is_bf16_supported()


def run_model(
    model: Sam2Model, batch: PromptBatch, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """:return: (B * K, 3, h, w) logits and (B * K, 3) estimated IoU."""
    points = None if batch.points is None else batch.points.to(device)
    set_image_size(model, batch.pixels.shape[-1])
    output = model(
        pixel_values=batch.pixels.to(device), input_boxes=batch.boxes.to(device),
        input_points=points, multimask_output=True,
    )
    return output.pred_masks.flatten(0, 1), output.iou_scores.flatten(0, 1)


@torch.no_grad()
def held_out_iou(
    model: Sam2Model, frames: Frames, recipe: Recipe, device: torch.device, batches: int = 8
) -> float:
    """Measure on fixed prompts at the true places.

    :return: mean IoU at full resolution of the masks that the model picks.
    """
    model.eval()
    prompts = PromptMaker(frames, recipe, augment=False)
    rng = np.random.default_rng(12345)
    values = []
    for _ in range(batches):
        batch = prompts.draw(rng)
        logits, scores = run_model(model, batch, device)
        picked = logits[torch.arange(len(logits)), scores.argmax(1)][:, None].float()
        edge = batch.masks.shape[-1]
        found = F.interpolate(picked, (edge, edge), mode='bilinear', align_corners=False)[:, 0] > 0
        truth = batch.masks.flatten(0, 1).to(device) > 0
        overlap = (found & truth).sum((1, 2)) / (found | truth).sum((1, 2)).clamp(min=1)
        values.append(overlap.mean())
    return float(torch.stack(values).mean())


def export_segmenter(model: Sam2Model, directory: Path) -> None:
    """Write the checkpoint that the segmenter loads: bfloat16, the position codes in float32.

    The codes are frequencies: rounded, they would place prompts beside where they are.
    """
    state = {
        name: tensor.detach().cpu().float() if 'positional_embedding' in name
        else tensor.detach().cpu().bfloat16()
        for name, tensor in model.state_dict().items()
    }
    model.save_pretrained(directory, state_dict=state)


def train_segmenter(
    frames: Frames, out_dir: Path, *, minutes: float, held_out: Frames | None = None,
    architecture: Architecture | None = None, recipe: Recipe | None = None, resume: bool = True,
    device: str = 'cpu',
) -> Path:
    """Train the embedded segmenter, or go on with a training that was interrupted.

    :param out_dir: gets checkpoint.pt, curve.jsonl and, at the end, weights/.
    :param minutes: length of the whole run, whatever of it is already done.
    :param held_out: frames that are not trained on, for the curve.
    :return: the directory of the exported weights.
    """
    trainer = SegmenterTrainer(frames, out_dir, minutes, architecture, recipe, device)
    if not (resume and trainer.resume()):
        (out_dir / CURVE).unlink(missing_ok=True)
    saved_at = trainer.spent_minutes
    window: list[dict[str, float]] = []
    while trainer.spent_minutes < minutes:
        window.append(trainer.step())
        if trainer.step_count % trainer.recipe.log_steps == 0:
            trainer.log({key: float(np.mean([w[key] for w in window])) for key in window[0]})
            window.clear()
        if trainer.spent_minutes - saved_at >= trainer.recipe.checkpoint_minutes:
            _checkpoint(trainer, held_out)
            saved_at = trainer.spent_minutes
    _checkpoint(trainer, held_out)
    export_segmenter(trainer.model, out_dir / 'weights')
    return out_dir / 'weights'


def _checkpoint(trainer: SegmenterTrainer, held_out: Frames | None) -> None:
    trainer.save()
    if held_out is not None:
        iou = held_out_iou(trainer.model, held_out, trainer.recipe, trainer.device)
        trainer.log({'held_out_iou': iou})
