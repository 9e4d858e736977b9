"""Train the embedded segmenter, a small SAM 2, on frames of the simulator.

Supervised as SAM 2 is: boxes and points in, the best of three masks held against the truth (focal and dice
loss), and every mask's IoU estimate against its true IoU.
"""
from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from transformers import Sam2Config, Sam2Model

from vr_ros.models.segmenter import MEAN, STD, drop_video_positions

CHECKPOINT = 'checkpoint.pt'
CURVE = 'curve.jsonl'
MIN_AREA_PX = 10  # smaller objects are not asked for


class Frames(Protocol):
    """Labelled images, all of one square size."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> np.ndarray:
        """:return: (S, S, 3) uint8 RGB."""
        ...

    def labels(self, index: int) -> np.ndarray:
        """:return: (S, S) uint8: 0 for the background, another number for each object."""
        ...


@dataclass(frozen=True)
class Architecture:
    """Sizes of the embedded segmenter.

    :param image_size: edge in pixels of the square that it sees; masks come out at a quarter of it.
    :param dims, blocks, heads, windows: of the encoder's four stages, at 1/4, 1/8, 1/16 and 1/32.
    :param global_blocks: blocks that attend to the whole image; none may be the first of a stage.
    """

    image_size: int = 256
    dims: tuple[int, ...] = (32, 64, 128, 256)
    blocks: tuple[int, ...] = (1, 2, 3, 1)
    heads: tuple[int, ...] = (1, 2, 4, 8)
    windows: tuple[int, ...] = (8, 4, 8, 8)
    global_blocks: tuple[int, ...] = (4,)
    hidden: int = 64
    decoder_mlp: int = 256
    decoder_heads: int = 4


@dataclass(frozen=True)
class Recipe:
    """How to train.

    :param prompts: objects asked for per image and step.
    :param box_only: share of steps without points.
    :param box_jitter: largest standard deviation of a box edge, as a share of the box's size.
    :param autocast: compute in bfloat16 where torch thinks it safe.
    """

    batch: int = 8
    prompts: int = 6
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100
    clip_norm: float = 1.0
    box_only: float = 0.15
    box_jitter: float = 0.12
    checkpoint_minutes: float = 3.0
    log_steps: int = 25
    autocast: bool = False
    seed: int = 0


@dataclass(frozen=True)
class PromptBatch:
    """B images with K objects each.

    :param pixels: (B, 3, S, S) normalised.
    :param masks: (B, K, S, S) float, 0 or 1.
    :param boxes: (B, K, 4) pixels; :param points: (B, K, 1, 2) pixels, or None.
    """

    pixels: torch.Tensor
    masks: torch.Tensor
    boxes: torch.Tensor
    points: torch.Tensor | None


def build_segmenter(architecture: Architecture, seed: int = 0) -> Sam2Model:
    """Make an untrained model.

    transformers starts linear layers at a width of 0.02, too small for layers this narrow: they start as
    torch starts them.
    """
    torch.manual_seed(seed)
    a, edge = architecture, architecture.image_size
    config = Sam2Config(
        vision_config={
            'backbone_config': {
                'model_type': 'sam2_hiera_det_model', 'hidden_size': a.dims[0],
                'num_attention_heads': a.heads[0], 'image_size': [edge, edge],
                'blocks_per_stage': list(a.blocks), 'embed_dim_per_stage': list(a.dims),
                'num_attention_heads_per_stage': list(a.heads),
                'window_size_per_stage': list(a.windows),
                'global_attention_blocks': list(a.global_blocks),
            },
            'backbone_channel_list': list(a.dims[::-1]),
            'backbone_feature_sizes': [[edge // step] * 2 for step in (4, 8, 16)],
            'fpn_hidden_size': a.hidden,
        },
        prompt_encoder_config={'hidden_size': a.hidden, 'image_size': edge, 'patch_size': 16},
        mask_decoder_config={
            'hidden_size': a.hidden, 'mlp_dim': a.decoder_mlp,
            'num_attention_heads': a.decoder_heads, 'iou_head_hidden_dim': a.hidden,
        },
    )
    model = Sam2Model(config)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.reset_parameters()
    # The image's positions and the prompts' are the same code, as in every published checkpoint.
    model.shared_image_embedding.positional_embedding.copy_(
        model.prompt_encoder.shared_embedding.positional_embedding
    )
    drop_video_positions(model)
    return model


def normalise(images: np.ndarray) -> torch.Tensor:
    """:return: (B, 3, S, S) float32 as the segmenter sees them, of (B, S, S, 3) uint8 or float."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


class PromptMaker:
    """Draw images, objects in them, and the prompts that an imperfect reasoner would give.

    :param augment: False leaves images as they are and prompts at their true places.
    """

    def __init__(self, frames: Frames, recipe: Recipe, augment: bool = True) -> None:
        self.frames, self.recipe, self.augment = frames, recipe, augment

    def draw(self, rng: np.random.Generator, indices: np.ndarray | None = None) -> PromptBatch:
        """Make one batch.

        :param indices: which frames; None draws them. Frames without objects are replaced.
        """
        images, masks, boxes, points = [], [], [], []
        wanted = list(rng.integers(len(self.frames), size=self.recipe.batch)) if indices is None \
            else list(indices)
        attempts = 0
        while wanted:
            index = int(wanted.pop())
            image, labels = self.frames.image(index), self.frames.labels(index)
            ids = np.flatnonzero(np.bincount(labels.ravel(), minlength=256)[1:] >= MIN_AREA_PX) + 1
            if not ids.size:
                attempts += 1
                if attempts > 1000:
                    raise ValueError('a thousand frames in a row without objects')
                wanted.append(rng.integers(len(self.frames)))
                continue
            if self.augment and rng.random() < 0.5:
                image, labels = image[:, ::-1], labels[:, ::-1]
            chosen = rng.choice(ids, self.recipe.prompts, replace=len(ids) < self.recipe.prompts)
            images.append(self._colours(image, rng))
            masks.append(labels == chosen[:, None, None])
            boxes.append([self._box(mask, rng) for mask in masks[-1]])
            points.append([[self._point(mask, rng)] for mask in masks[-1]])
        with_points = rng.random() >= self.recipe.box_only
        return PromptBatch(
            normalise(np.stack(images)), torch.from_numpy(np.stack(masks)).float(),
            torch.tensor(np.array(boxes, np.float32)),
            torch.tensor(np.array(points, np.float32)) if with_points else None,
        )

    def _colours(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if not self.augment:
            return image.astype(np.float32)
        gain = rng.uniform(0.8, 1.2) * rng.uniform(0.95, 1.05, 3)
        noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(0, 4)
        return np.clip(image * gain.astype(np.float32) + noise, 0, 255).astype(np.float32)

    def _box(self, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
        if not self.augment:
            return box
        extent = np.tile([box[2] - box[0], box[3] - box[1]], 2)
        width = rng.uniform(0, self.recipe.box_jitter)
        box = np.clip(box + rng.normal(0, width, 4) * extent, 0, len(mask))
        return np.concatenate([np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])])

    def _point(self, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rows, columns = np.nonzero(mask)
        if not self.augment:
            middle = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
            return np.array([columns[middle], rows[middle]])
        pick = rng.integers(len(rows))
        return np.array([columns[pick], rows[pick]]) + rng.normal(0, 1, 2)


def segmentation_loss(
    logits: torch.Tensor, scores: torch.Tensor, masks: torch.Tensor
) -> tuple[torch.Tensor, dict[str, float]]:
    """Hold three masks per object against the truth.

    The mask with the lowest dice loss at low resolution is the one that learns, at full resolution, with SAM's
    weights (focal 20, dice 1); the IoU estimates of all three learn (squared error).

    :param logits: (N, 3, h, w) low-resolution mask logits.
    :param scores: (N, 3) estimated IoU.
    :param masks: (N, H, W) float truth, H and W multiples of h and w.
    :return: the loss, and its parts and the IoU of the mask that the model itself would pick.
    """
    coarse = F.adaptive_avg_pool2d(masks[:, None], logits.shape[2:])
    with torch.no_grad():
        best = dice_loss(logits, coarse).argmin(1)
        positive, truth = logits > 0, coarse >= 0.5
        overlap = (positive & truth).sum((2, 3)).float()
        true_iou = overlap / (positive | truth).sum((2, 3)).clamp(min=1)
    index = torch.arange(len(logits))
    fine = F.interpolate(
        logits[index, best][:, None], masks.shape[1:], mode='bilinear', align_corners=False
    )[:, 0]
    focal, dice = focal_loss(fine, masks).mean(), dice_loss(fine, masks).mean()
    estimate = F.mse_loss(scores, true_iou)
    parts = {
        'focal': float(focal.detach()), 'dice': float(dice.detach()), 'estimate': float(estimate.detach()),
        'iou': float(true_iou[index, scores.detach().argmax(1)].mean()),
    }
    return 20 * focal + dice + estimate, parts


def dice_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """:return: 1 - dice coefficient over the last two axes, smoothed by one pixel."""
    p = logits.sigmoid()
    return 1 - (2 * (p * target).sum((-1, -2)) + 1) / (p.sum((-1, -2)) + target.sum((-1, -2)) + 1)


def focal_loss(
    logits: torch.Tensor, target: torch.Tensor, alpha: float = 0.25, gamma: float = 2.0
) -> torch.Tensor:
    """:return: mean over the last two axes of the focal loss (Lin et al. 2017, equation 5)."""
    p = logits.sigmoid()
    error = p + target - 2 * p * target
    weight = alpha * target + (1 - alpha) * (1 - target)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
    return (weight * error ** gamma * cross_entropy).mean((-1, -2))
