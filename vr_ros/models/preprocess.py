"""From a camera image to the patches that a Qwen-VL vision tower reads, in torch, on the model's
device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from vr_ros.core.types import Size


@dataclass(frozen=True)
class PatchSpec:
    """How a model family cuts and normalises its input.

    :param patch_size: edge of a patch in pixels.
    :param merge_size: patches per merged image token, along each edge.
    :param temporal_patch_size: frames per patch; a still image is repeated.
    :param mean, std: per RGB channel, for values in 0..1.
    """

    patch_size: int
    merge_size: int
    temporal_patch_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def factor(self) -> int:
        """Edge of one image token in pixels: sides of the resized image are multiples of it."""
        return self.patch_size * self.merge_size

    def image_tokens(self, size: Size) -> int:
        """Number of image tokens of a resized image."""
        return (size.width // self.factor) * (size.height // self.factor)


# Source: preprocessor_config.json of Qwen/Qwen2.5-VL-7B-Instruct and Qwen/Qwen3-VL-4B-Instruct.
QWEN2_5_VL_PATCHES = PatchSpec(
    14, 2, 2, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
)
QWEN3_VL_PATCHES = PatchSpec(16, 2, 2, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def resize_image(
    image: np.ndarray, size: Size, device: torch.device | str = 'cpu', mode: str = 'bilinear'
) -> torch.Tensor:
    """Resize a camera image as Pillow does: antialiased, rounded back to whole grey levels.

    :param image: (H, W, 3) uint8 RGB.
    :param size: wanted width and height in pixels; the aspect ratio is not kept.
    :param mode: 'bilinear' (VisionReasoner's own resize) or 'bicubic' (the Qwen processors').
    :return: (3, size.height, size.width) float32 in 0..255, whole numbers.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1).float()
    if tuple(pixels.shape[1:]) == (size.height, size.width):
        return pixels
    resized = F.interpolate(
        pixels[None], (size.height, size.width), mode=mode, antialias=True, align_corners=False
    )
    return resized[0].round_().clamp_(0, 255)


def patchify(pixels: torch.Tensor, spec: PatchSpec) -> torch.Tensor:
    """Normalise images and cut them into patches in the order that the vision tower expects.

    The four patches of one merged token follow each other; within a patch the order is channel,
    frame, row, column.

    :param pixels: (B, 3, H, W) float in 0..255, H and W multiples of ``spec.factor``.
    :return: (B * H/p * W/p, 3 * temporal * p * p) float32.
    :raises ValueError: when a side is no multiple of ``spec.factor``.
    """
    batch, channels, height, width = pixels.shape
    if height % spec.factor or width % spec.factor:
        raise ValueError(f'{width}x{height} is no multiple of {spec.factor} pixels')
    mean = pixels.new_tensor(spec.mean).view(1, 3, 1, 1)
    std = pixels.new_tensor(spec.std).view(1, 3, 1, 1)
    normalised = (pixels / 255 - mean) / std
    p, m = spec.patch_size, spec.merge_size
    rows, columns = height // spec.factor, width // spec.factor
    blocks = normalised.view(batch, channels, rows, m, p, columns, m, p)
    blocks = blocks.permute(0, 2, 5, 3, 6, 1, 4, 7)  # B, rows, columns, m, m, C, p, p
    frames = blocks.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, spec.temporal_patch_size, -1, -1)
    return frames.reshape(batch * rows * columns * m * m, -1)


def image_grid(size: Size, spec: PatchSpec) -> torch.Tensor:
    """Frames, rows and columns of patches of one resized image.

    :return: (1, 3) int64.
    """
    return torch.tensor([[1, size.height // spec.patch_size, size.width // spec.patch_size]])
