"""SAM 2 on transformers: the back-end that can also follow objects, see video_memory.py."""
from __future__ import annotations

from pathlib import Path

import torch
from transformers import Sam2Model, Sam2VideoModel

from vr_ros.models.card import SegmenterCard
from vr_ros.models.sam2_checkpoint import load_sam2
from vr_ros.models.segmenter import Segmenter
from vr_ros.models.weights import resolve_weights


class Sam2Segmenter(Segmenter):
    """A SAM 2 or SAM 2.1 checkpoint in the layout of transformers, of any size.

    :param directory: a local directory with config.json and safetensors.
    :param image_size: edge in pixels of the square that the model sees; may differ from the
        checkpoint's own.
    :param device: where to compute, such as 'cuda' or 'cpu'.
    :param dtype: number format of the image encoder and mask decoder.
    :raises PerceptionError: MODEL_UNAVAILABLE when the checkpoint is of another model or cannot
        take that size.
    """

    def __init__(
        self, directory: Path, image_size: int, device: str | torch.device = 'cpu',
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(image_size, torch.device(device), dtype)
        model = load_sam2(directory, image_size)
        # The memory needs them once: they depend on the size alone.
        self.video_positions = model.vision_encoder.neck.position_encoding
        drop_video_positions(model)
        with torch.inference_mode():
            self._positions = model.get_image_wide_positional_embeddings().to(self.device, dtype)
        model.vision_encoder.to(dtype)
        model.mask_decoder.to(dtype)
        model.no_memory_embedding.data = model.no_memory_embedding.data.to(dtype)
        self.model = model.to(self.device).eval()

    @classmethod
    def load(cls, card: SegmenterCard, device: str | torch.device = 'cpu') -> Sam2Segmenter:
        """Find and load a card's checkpoint.

        :raises PerceptionError: MODEL_UNAVAILABLE with one line that says what is wrong.
        """
        device = torch.device(device)
        directory = resolve_weights(card.weights)
        return cls(directory, card.image_size, device, getattr(torch, card.dtype_for(device.type)))

    @property
    def has_memory(self) -> bool:
        """Whether the checkpoint can follow objects from frame to frame; see VideoMemory."""
        return isinstance(self.model, Sam2VideoModel)

    def _encode(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen = self.model.get_image_features(pixels, return_dict=True).fpn_hidden_states
        # (h * w, 1, C), for the memory's sake, back to the images that they are.
        return tuple(
            flat.permute(1, 2, 0).unflatten(2, tuple(size))
            for flat, size in zip(seen, self.model.backbone_feature_sizes, strict=True)
        )

    def _decode(
        self, maps: tuple[torch.Tensor, ...], boxes: torch.Tensor, points: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        labels = None
        if points is not None:
            points = points[None, :, None]
            labels = torch.ones(points.shape[:3], dtype=torch.long, device=self.device)
        sparse, dense = self.model.prompt_encoder(points, labels, boxes[None], None)
        without_memory = maps[-1] + self.model.no_memory_embedding.mT[..., None]
        masks, scores, _, _ = self.model.mask_decoder(
            image_embeddings=without_memory, image_positional_embeddings=self._positions,
            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense.to(self.dtype),
            multimask_output=True, high_resolution_features=list(maps[:-1]),
        )
        return masks[0], scores[0]


class _NoPositions(torch.nn.Module):
    """Stands in for the neck's position encodings, which only the video memory reads, once."""

    def forward(
        self, shape: torch.Size, device: torch.device, dtype: torch.dtype, mask: None = None
    ) -> torch.Tensor:
        return torch.zeros(1, 1, 1, 1, device=device, dtype=dtype)


def drop_video_positions(model: Sam2Model | Sam2VideoModel) -> None:
    """Save the time that the neck's position encodings take: masks of single images need none."""
    model.vision_encoder.neck.position_encoding = _NoPositions()
