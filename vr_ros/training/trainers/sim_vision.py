"""The vision tower of the embedded reasoner in training: all images of a batch at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen


def _batched_vision_attention(
    self: nn.Module,
    hidden_states: torch.Tensor,
    cu_seqlens: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    **_: object,
) -> torch.Tensor:
    patches, images = hidden_states.shape[0], cu_seqlens.numel() - 1
    query, key, value = (
        self.qkv(hidden_states)
        .reshape(patches, 3, self.num_heads, -1)
        .permute(1, 0, 2, 3)
        .unbind(0)
    )
    query, key = qwen.apply_rotary_pos_emb_vision(query, key, *position_embeddings)
    query, key, value = (
        x.to(value.dtype).reshape(images, patches // images, self.num_heads, -1).transpose(1, 2)
        for x in (query, key, value)
    )
    weights = torch.softmax((query * self.scaling) @ key.transpose(-1, -2), dim=-1)
    return self.proj((weights @ value).transpose(1, 2).reshape(patches, -1))


@contextmanager
def equal_images() -> Iterator[None]:
    """Attend to all images of a batch at once, which is exact when every image has the same size.

    transformers loops over the images instead, which costs a third of a training step on a CPU.
    """
    original = qwen.Qwen2_5_VLVisionAttention.forward
    qwen.Qwen2_5_VLVisionAttention.forward = _batched_vision_attention
    try:
        yield
    finally:
        qwen.Qwen2_5_VLVisionAttention.forward = original
