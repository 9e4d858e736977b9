"""Segmenters turn boxes and points in an image into masks. Here: SAM 2 on transformers."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from vr_ros.core.rle import crop_to_rle, rle_area, rle_box
from vr_ros.core.types import Mask, Size
from vr_ros.models.sam2_masks import MaskCrop, crop_masks

# Source: SAM 2's own transforms (ImageNet), for values in 0..1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

# Objects per decoder call. At 1024 px each takes about 30 MB of float32 activations.
MAX_BATCH = 64


@dataclass(frozen=True)
class ImageFeatures:
    """What the image encoder saw of one image, on the device.

    :param maps: feature maps (1, C, h, w), fine to coarse; what no memory adds to the coarsest is
        not in it.
    :param size: width and height of the image in pixels.
    """

    maps: tuple[torch.Tensor, ...]
    size: Size


@dataclass(frozen=True)
class MaskResult:
    """The mask of one box.

    :param score: the model's estimate of the mask's IoU.
    :param box: tight x_min, y_min, x_max, y_max of the mask in pixels, the last two exclusive;
        None when the mask is empty.
    """

    mask: Mask
    score: float
    box: tuple[int, int, int, int] | None
    area_px: int


def preprocess(
    image: np.ndarray, image_size: int, device: torch.device | str = 'cpu'
) -> torch.Tensor:
    """Resize and normalise an image as SAM 2's own predictor does.

    Bilinear, antialiased when it shrinks, the aspect ratio not kept. Values stay fractional after
    resizing; transformers' image processor rounds them to grey levels, half a level at most.

    :param image: (H, W, 3) uint8 RGB.
    :param image_size: edge in pixels of the square that the model sees.
    :return: (1, 3, image_size, image_size) float32.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f'expected (H, W, 3) uint8, got {image.shape} {image.dtype}')
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device)
    pixels = pixels.permute(2, 0, 1)[None].float() / 255
    if pixels.shape[2:] != (image_size, image_size):
        pixels = F.interpolate(
            pixels, (image_size, image_size), mode='bilinear', antialias=True, align_corners=False
        )
    mean = pixels.new_tensor(MEAN).view(1, 3, 1, 1)
    std = pixels.new_tensor(STD).view(1, 3, 1, 1)
    return (pixels - mean) / std


class Segmenter(ABC):
    """What every back-end has in common: prompts in pixels of the image, and the choice of masks.

    :param image_size: edge in pixels of the square that the model sees.
    :param device: where it computes.
    :param dtype: number format of the image encoder and mask decoder. Prompts are always encoded in
        float32: bfloat16 would shift points by pixels.
    """

    def __init__(self, image_size: int, device: torch.device, dtype: torch.dtype) -> None:
        self.image_size = image_size
        self.device = device
        self.dtype = dtype

    @property
    def has_memory(self) -> bool:
        """Whether it can follow objects from frame to frame; see VideoMemory."""
        return False

    @torch.inference_mode()
    def encode(self, image: np.ndarray) -> ImageFeatures:
        """Run the image encoder.

        :param image: (H, W, 3) uint8 RGB, at camera resolution.
        """
        pixels = preprocess(image, self.image_size, self.device).to(self.dtype)
        return ImageFeatures(self._encode(pixels), Size(image.shape[1], image.shape[0]))

    @torch.inference_mode()
    def decode(
        self, features: ImageFeatures, boxes: np.ndarray, points: np.ndarray | None = None,
        max_batch: int = MAX_BATCH,
    ) -> tuple[MaskResult, ...]:
        """Turn boxes, with or without a point inside, into the best of three masks each.

        All objects with a point share one decoder call, and so do all without: a padded prompt
        would change their masks.

        :param boxes: (N, 4) x_min, y_min, x_max, y_max in pixels of the image.
        :param points: (N, 2) x, y in pixels of the image; a row of NaN, or None, is no point.
        :param max_batch: most objects per decoder call; bounds memory.
        :return: N results, in the order of the boxes.
        """
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
        if points is None:
            points = np.full((len(boxes), 2), np.nan, np.float32)
        points = np.asarray(points, np.float32).reshape(-1, 2)
        if len(points) != len(boxes) or not np.isfinite(boxes).all():
            raise ValueError(f'expected finite boxes, as many points, got {boxes} and {points}')
        has_point = np.isfinite(points).all(1)
        results: dict[int, MaskResult] = {}
        for group in (np.flatnonzero(has_point), np.flatnonzero(~has_point)):
            for start in range(0, len(group), max_batch):
                chosen = group[start:start + max_batch]
                chosen_points = points[chosen] if has_point[chosen[0]] else None
                logits, scores = self.best_logits(features, boxes[chosen], chosen_points)
                crops = crop_masks(logits, features.size)
                found = to_results(crops, scores.tolist(), features.size)
                results.update(zip(map(int, chosen), found, strict=True))
        return tuple(results[index] for index in range(len(boxes)))

    @torch.inference_mode()
    def best_logits(
        self, features: ImageFeatures, boxes: np.ndarray, points: np.ndarray | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompt the mask decoder once; keep the one of each object's three masks it rates best.

        :param boxes: (N, 4) float32 in pixels of the image.
        :param points: (N, 2) float32 in pixels of the image, all present; None for boxes alone.
        :return: (N, h, w) float32 mask logits at low resolution and (N,) float32 estimated IoU, on
            the device.
        """
        size = np.array([features.size.width, features.size.height])
        scale = (self.image_size / size).astype(np.float32)
        model_boxes = torch.from_numpy(boxes * np.tile(scale, 2)).to(self.device)
        model_points = None if points is None else torch.from_numpy(points * scale).to(self.device)
        masks, scores = self._decode(features.maps, model_boxes, model_points)
        scores = scores.float()
        best = scores.argmax(1)
        index = torch.arange(len(best), device=self.device)
        return masks[index, best].float(), scores[index, best]

    @abstractmethod
    def _encode(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """:param pixels: as preprocess() gives them. :return: the maps of ImageFeatures."""

    @abstractmethod
    def _decode(
        self, maps: tuple[torch.Tensor, ...], boxes: torch.Tensor, points: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run prompt encoder and mask decoder, once.

        :param boxes: (N, 4) float32 in pixels of the square, :param points: (N, 2), alike.
        :return: (N, 3, h, w) mask logits and (N, 3) estimated IoU.
        """


def to_results(
    crops: Sequence[MaskCrop], scores: Sequence[float], size: Size
) -> list[MaskResult]:
    """Measure masks and write them as run lengths."""
    results = []
    for crop, score in zip(crops, scores, strict=True):
        mask = crop_to_rle(crop.pixels, crop.x, crop.y, size)
        results.append(MaskResult(mask, score, rle_box(mask), rle_area(mask)))
    return results
