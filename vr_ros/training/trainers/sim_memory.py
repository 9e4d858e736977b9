"""Teach the embedded segmenter to follow objects: SAM 2's video memory, on simulated clips.

As at run time, an object is given by a mask on one frame and found on the next ones from memory
alone; the gradient goes back through the memories. The image encoder does not learn; the mask
decoder does, slowly, while every step also asks it for masks of single images.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import Sam2Model

from vr_ros.training.trainers.sim_memory_data import ClipBank, ClipMaker
from vr_ros.training.trainers.sim_memory_follow import (
    ClipFollower,
    batch_maps,
    clip_loss,
    mark_loss,
)
from vr_ros.training.trainers.sim_memory_model import (
    MemoryArchitecture,
    build_video_model,
    fit_to_features,
    memory_parts,
    residual_writers,
    set_video_size,
    still_view,
)
from vr_ros.training.trainers.sim_memory_optimizers import RatedOptimizers
from vr_ros.training.trainers.sim_memory_stream import StreamRecipe, Streams
from vr_ros.training.trainers.sim_segmenter import (
    export_segmenter,
    held_out_iou,
    run_model,
)
from vr_ros.training.trainers.sim_segmenter_data import Frames, PromptMaker, Recipe
from vr_ros.training.trainers.sim_segmenter_model import segmentation_loss
from vr_ros.training.trainers.timed_run import TimedRun

# Cosine between what is followed and what was given, below which it counts as hidden at run time.
LEAST_LIKENESS = 0.6


@dataclass(frozen=True)
class MemoryRecipe:
    """How to train.

    :param small_share: share of the run on frames of half the size, at a quarter of the cost.
    :param seed_steps: steps at the start that only repeat given masks: one frame per clip.
    :param short, long: frames per clip after that, up to the end of the run.
    :param writer_rate: factor on the learning rate of weights that are large; :param decoder_rate:
        of weights that are trained already.
    :param still: images per step for masks of single images, with eight prompts each;
        :param late_still: once two thirds of this are done, for the mask decoder to settle on.
    :param stream_share: share of the run, at its end, in which whole clips are followed; the mask
        decoder is left alone there. :param stream_rate: the learning rate there;
        :param stream_part: of what changes there, the part that the exported weights have.
    """

    clips: int = 4
    objects: int = 4
    short: int = 2
    long: int = 8
    seed_steps: int = 100
    learning_rate: float = 4e-3
    writer_rate: float = 40.0
    decoder_rate: float = 1.0
    warmup_steps: int = 40
    clip_norm: float = 1.0
    presence_weight: float = 0.5
    seed_weight: float = 0.3
    mark_weight: float = 0.3
    small_share: float = 0.25
    still: int = 4
    late_still: int = 12
    checkpoint_minutes: float = 3.0
    stream_share: float = 0.4
    stream_rate: float = 1.2e-4
    stream_part: float = 0.5
    stream: StreamRecipe = StreamRecipe()
    log_steps: int = 10
    autocast: bool | None = False
    seed: int = 0


class MemoryTrainer(TimedRun):
    """One training run: model, optimisers, random numbers and the count of what has been done.

    :param segmenter: a trained segmenter of single images.
    :param minutes: length of the run; the learning rate falls to zero towards the end of each part.
    :param hidings: clips in which something hides; None takes the others.
    :param unseen: single images that are not trained on, for the curve.
    """

    also_saved = ('before',)

    def __init__(
        self, segmenter: Sam2Model, clips: ClipBank, frames: Frames, out_dir: Path, minutes: float,
        architecture: MemoryArchitecture | None = None, recipe: MemoryRecipe | None = None,
        device: str = 'cpu', hidings: ClipBank | None = None, unseen: Frames | None = None,
    ) -> None:
        self.recipe = recipe or MemoryRecipe()
        architecture = architecture or MemoryArchitecture()
        super().__init__(out_dir, minutes, architecture, self.recipe, device)
        self._unseen = unseen
        self.model = build_video_model(segmenter, architecture, self.recipe.seed).to(device)
        # The memory's attention is over thousands of places, where the fused kernel is faster.
        self.model.config._attn_implementation = 'sdpa'
        self.still = still_view(self.model)
        self.edge = self.model.image_size
        self.clips = ClipMaker(clips, self.recipe.clips, self.recipe.objects)
        self.prompts, self.late_prompts = (
            PromptMaker(frames, Recipe(batch=count))
            for count in (self.recipe.still, self.recipe.late_still))
        self.follower = ClipFollower(self.model)
        self.streams = Streams(self.follower, hidings or clips, clips, self.recipe.stream)
        ordinary = self.clips.draw(np.random.default_rng(1), 3).pixels.flatten(0, 1)
        fit_to_features(self.model, self.follower.encode(ordinary.to(device))[-1])
        self.optimizer = self._optimizers()
        self.before: dict[str, torch.Tensor] = {}  # the weights when the last part began

    def _optimizers(self) -> RatedOptimizers:
        self.model.requires_grad_(False)
        new = dict(memory_parts(self.model).named_parameters())
        large = {id(p) for p in residual_writers(self.model)}
        known = {id(p) for p in new.values()}
        # Its first convolutions belong to the image features, which stay as they are.
        self._decoder = decoder = {name: p for name, p in self.model.mask_decoder.named_parameters()
                   if id(p) not in known and not name.startswith('conv_s')}
        for parameter in (*new.values(), *decoder.values()):
            parameter.requires_grad_(True)
        return RatedOptimizers([
            (1.0, {name: p for name, p in new.items() if id(p) not in large}),
            (self.recipe.writer_rate, {name: p for name, p in new.items() if id(p) in large}),
            (self.recipe.decoder_rate, decoder),
        ])

    @property
    def streaming(self) -> bool:
        """Whether the run is in its last part, where whole clips are followed."""
        return self.spent_minutes >= self.minutes * (1 - self.recipe.stream_share)

    @property
    def progress(self) -> float:
        """Share that is done of the part of the run that it is in."""
        first = self.minutes * (1 - self.recipe.stream_share)
        if self.streaming:
            return min((self.spent_minutes - first) / max(self.minutes - first, 1e-9), 1.0)
        return self.spent_minutes / first

    def learning_rate(self) -> float:
        """Cosine over the minutes of each part of the run, after a linear start."""
        start = min((self.step_count + 1) / self.recipe.warmup_steps, 1.0)
        rate = self.recipe.stream_rate if self.streaming else self.recipe.learning_rate
        return rate * start * (1 + math.cos(math.pi * self.progress)) / 2

    def clip_frames(self) -> int:
        """Draw a clip's length: short ones at first, up to the longest towards the end."""
        if self.step_count < self.recipe.seed_steps:
            return 1
        span = self.recipe.long - self.recipe.short
        most = self.recipe.short + round(span * min(1.0, self.progress / 0.7))
        return int(self.rng.integers(max(self.recipe.short, most - 2), most + 1))

    def learn(self) -> dict[str, float]:
        """Learn from clips, and from single images while the mask decoder learns.

        :return: the parts of the loss, and how right the model was.
        """
        values = self._stream_step() if self.streaming else self._window_step()
        self.require_finite(values.get('loss', 0.0))
        self.optimizer.step(self.learning_rate(), self.recipe.clip_norm)
        return values

    def held_out(self) -> dict[str, float]:
        """Measure the IoU of masks on single images that are not trained on."""
        if self._unseen is None:
            return {}
        set_video_size(self.model, self.edge)
        return {'held_out_iou': held_out_iou(self.still, self._unseen, Recipe(), self.device, 4)}

    def _stream_step(self) -> dict[str, float]:
        self.before = self.before or {
            name: value.clone() for name, value in self.model.state_dict().items()}
        for parameter in self._decoder.values():
            parameter.requires_grad_(False)
        set_video_size(self.model, self.edge)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return self.streams.step(self.rng)

    def _window_step(self) -> dict[str, float]:
        frames = self.clip_frames()
        shrink = 2 if frames > 1 and self.progress < self.recipe.small_share else 1
        batch = self.clips.draw(self.rng, frames, shrink=shrink)
        set_video_size(self.model, self.edge // shrink)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            maps = batch_maps(self.follower, batch, self.device)
            seen = self.follower.follow(maps, batch.seeds.to(self.device))
            loss, values = clip_loss(
                seen, batch, self.recipe.presence_weight, self.recipe.seed_weight)
            if frames > 1:
                marks = mark_loss(self.follower, maps, seen, batch.masks.to(self.device))
                values['marks'] = float(marks.detach())
                loss = loss + self.recipe.mark_weight * (1 - self.progress) * marks
        loss.backward()
        values['loss'] = float(loss.detach())
        if self.recipe.still:
            values |= self._still_step(shrink)
        return {**values, 'frames': float(len(seen))}

    def _still_step(self, shrink: int) -> dict[str, float]:
        prompts = self.prompts if self.progress < 2 / 3 else self.late_prompts
        images = prompts.draw(self.rng, shrink=shrink)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            logits, scores = run_model(self.still, images, self.device)
        loss, parts = segmentation_loss(
            logits.float(), scores.float(), images.masks.flatten(0, 1).to(self.device))
        loss.backward()
        return {'still_loss': float(loss.detach()), 'still_iou': parts['iou']}

    def export(self, directory: Path) -> None:
        """Write the weights as the segmenter loads them."""
        set_video_size(self.model, self.edge)
        self.model.config.least_likeness = LEAST_LIKENESS
        trained = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict({
            name: torch.lerp(self.before.get(name, value), value, self.recipe.stream_part)
            if value.is_floating_point() else value for name, value in trained.items()})
        export_segmenter(self.model, directory)
        self.model.load_state_dict(trained)


def train_memory(
    segmenter: Sam2Model, clips: ClipBank, frames: Frames, out_dir: Path, *, minutes: float,
    held_out: Frames | None = None, architecture: MemoryArchitecture | None = None,
    recipe: MemoryRecipe | None = None, resume: bool = True, device: str = 'cpu',
    hidings: ClipBank | None = None,
) -> Path:
    """Give a segmenter a video memory, or go on with a training that was interrupted.

    :param out_dir: gets checkpoint.pt, curve.jsonl and, at the end, weights/.
    :param frames: single images, so that their masks do not get worse meanwhile.
    :param held_out: single images that are not trained on, for the curve.
    :param hidings: clips in which something hides, for the last part of the run.
    :return: the directory of the exported weights.
    """
    trainer = MemoryTrainer(segmenter, clips, frames, out_dir, minutes, architecture, recipe,
                            device, hidings, unseen=held_out)
    trainer.train(resume)
    trainer.export(out_dir / 'weights')
    return out_dir / 'weights'
