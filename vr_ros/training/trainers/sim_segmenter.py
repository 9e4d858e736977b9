"""Train the embedded segmenter, a small SAM 2, on frames of the simulator.

Supervised as SAM 2 is: boxes and points in; the best of three masks is held against the truth, and
every mask's estimate of its IoU against its true IoU.
"""
from __future__ import annotations

import math
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
from vr_ros.training.trainers.timed_run import TimedRun


class SegmenterTrainer(TimedRun):
    """One training run: model, optimiser, random numbers and the count of what has been done.

    :param minutes: length of the run; the learning rate falls to zero towards its end.
    :param unseen: frames that are not trained on, for the curve.
    """

    def __init__(
        self, frames: Frames, out_dir: Path, minutes: float,
        architecture: Architecture | None = None, recipe: Recipe | None = None,
        device: str = 'cpu', unseen: Frames | None = None,
    ) -> None:
        self.recipe = recipe or Recipe()
        architecture = architecture or Architecture()
        super().__init__(out_dir, minutes, architecture, self.recipe, device)
        self.prompts, self._unseen = PromptMaker(frames, self.recipe), unseen
        self.model = build_segmenter(architecture, self.recipe.seed).to(device)
        self.optimizer = MuonAndAdamW([self.model], self.recipe.learning_rate)

    def learning_rate(self) -> float:
        """Cosine over the run's minutes, after a linear start."""
        progress = min(self.spent_minutes / self.minutes, 1.0)
        start = min((self.step_count + 1) / self.recipe.warmup_steps, 1.0)
        return self.recipe.learning_rate * start * (1 + math.cos(math.pi * progress)) / 2

    def learn(self) -> dict[str, float]:
        """Learn from one batch.

        :return: the parts of the loss, and the IoU of the masks the model picked.
        """
        shrink = 2 if self.spent_minutes < self.recipe.small_share * self.minutes else 1
        batch = self.prompts.draw(self.rng, shrink=shrink)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            logits, scores = run_model(self.model, batch, self.device)
        masks = batch.masks.flatten(0, 1).to(self.device)
        loss, parts = segmentation_loss(logits.float(), scores.float(), masks)
        self.require_finite(float(loss.detach()))
        self.optimizer.step(loss, self.learning_rate(), self.recipe.clip_norm)
        return {'loss': float(loss.detach()), **parts}

    def held_out(self) -> dict[str, float]:
        """Measure the IoU of masks on frames that are not trained on."""
        if self._unseen is None:
            return {}
        return {'held_out_iou': held_out_iou(self.model, self._unseen, self.recipe, self.device)}


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
    trainer = SegmenterTrainer(
        frames, out_dir, minutes, architecture, recipe, device, unseen=held_out)
    trainer.train(resume)
    export_segmenter(trainer.model, out_dir / 'weights')
    return out_dir / 'weights'
