"""Prompts for the embedded segmenter: labelled frames as boxes and points that are a little off."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from vr_ros.models.segmenter import MEAN, STD

MIN_AREA_PX = 16  # smaller objects are not asked for


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
class Recipe:
    """How to train.

    :param prompts: objects asked for per image and step.
    :param box_only: share of steps without points.
    :param box_jitter: largest standard deviation of a box edge, as a share of the box's size.
    :param small_share: share of the run on images of half the size: a quarter of the cost each.
    :param autocast: compute in bfloat16 where torch thinks it safe; None: where it is faster.
    """

    batch: int = 8
    prompts: int = 8
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    clip_norm: float = 0.5
    box_only: float = 0.15
    box_jitter: float = 0.12
    checkpoint_minutes: float = 3.0
    log_steps: int = 25
    small_share: float = 0.6
    autocast: bool | None = None
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


def objects_in(labels: np.ndarray, shrink: int = 1) -> np.ndarray:
    """:return: the numbers of the objects that are large enough to be asked for."""
    areas = np.bincount(labels.ravel(), minlength=2)[1:]
    return np.flatnonzero(areas * shrink**2 >= MIN_AREA_PX) + 1


def shrunk(image: np.ndarray, factor: int) -> np.ndarray:
    """:return: (H / factor, W / factor, 3) means over squares of an (H, W, 3) image."""
    if factor == 1:
        return image
    height, width = image.shape[0] // factor, image.shape[1] // factor
    squares = image.reshape(height, factor, width, factor, 3)
    return squares.mean((1, 3), dtype=np.float32)


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
        self.usable = np.array([i for i in range(len(frames)) if objects_in(frames.labels(i)).size])
        if not self.usable.size:
            raise ValueError('no frame holds an object')

    def draw(self, rng: np.random.Generator, *, shrink: int = 1) -> PromptBatch:
        """Make one batch.

        :param shrink: divide the edges of images and masks by it.
        """
        images, masks, boxes, points = [], [], [], []
        while len(images) < self.recipe.batch:
            index = int(rng.choice(self.usable))
            image = shrunk(self.frames.image(index), shrink)
            labels = self.frames.labels(index)[::shrink, ::shrink]
            ids = objects_in(labels, shrink)
            if not ids.size:
                continue  # what there is vanishes at this size
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
