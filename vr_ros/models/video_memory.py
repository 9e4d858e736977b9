"""SAM 2's video memory, streaming: objects given by masks on one frame are found on those after.

The model is transformers' Sam2VideoModel, step by step: its own inference session treats one object
after the other and keeps every frame. Here all objects share each call, and only what the next step
reads is kept, so that memory and time per frame are the same for ever.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from vr_ros.core.rle import rle_to_mask
from vr_ros.core.types import Mask, PerceptionError, Status
from vr_ros.models.appearance import doubt, looks
from vr_ros.models.sam2_masks import crop_masks
from vr_ros.models.segmenter import ImageFeatures, MaskResult, Segmenter, to_results
from vr_ros.models.transformers_sam2 import Sam2Segmenter

# Source: SAM 2. Logit of every pixel of an object that is not there.
ABSENT = -1024.0


@dataclass(frozen=True)
class TrackedMask:
    """One object on one frame.

    :param presence: logit of the object being visible.
    :param result: its mask; None when it is hidden.
    """

    presence: float
    result: MaskResult | None


@dataclass(frozen=True)
class _Memory:
    """What one frame leaves behind, of N objects.

    :param maps: (h * w, N, C) bfloat16, :param positions: their place code, alike.
    :param pointers: (N, 1, D), one vector per object.
    """

    maps: torch.Tensor
    positions: torch.Tensor
    pointers: torch.Tensor


@dataclass(frozen=True)
class _Seen:
    """What the mask decoder saw of N objects.

    :param logits: (N, h, w), :param scores: (N) estimated IoU, :param presence: (N, 1, 1) logits.
    :param pointers: (N, 1, D).
    """

    logits: torch.Tensor
    scores: torch.Tensor
    presence: torch.Tensor
    pointers: torch.Tensor


class VideoMemory:
    """Follows objects with the weights and the image features of a segmenter.

    :raises PerceptionError: MODEL_UNAVAILABLE, the segmenter's checkpoint has no video memory.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        if not (isinstance(segmenter, Sam2Segmenter) and segmenter.has_memory):
            raise PerceptionError(
                Status.MODEL_UNAVAILABLE,
                'the segmenter has no video memory: its checkpoint is not of a sam2_video model')
        self.model = segmenter.model
        self.device, self.dtype = segmenter.device, segmenter.dtype
        height, width = self.model.backbone_feature_sizes[-1]
        shape = torch.Size((1, self.model.hidden_dim, height, width))
        # Not SAM 2's: for checkpoints whose memory takes what hides an object for the object.
        self.likeness: float | None = getattr(self.model.config, 'least_likeness', None)
        with torch.inference_mode():
            self.positions = _flat(segmenter.video_positions(shape, self.device, torch.float32))

    def start(self, features: ImageFeatures, masks: Sequence[Mask]) -> MemorySession:
        """Take objects up.

        :param masks: of the frame that the features are of.
        :raises ValueError: no masks, or of another size than the frame.
        """
        if not masks or any(mask.size != features.size for mask in masks):
            raise ValueError(f'expected masks of {features.size}, got {[m.size for m in masks]}')
        return MemorySession(self, features, masks)

    def autocast(self) -> AbstractContextManager[object]:
        """Compute in the segmenter's number format; prompts and memories stay exact."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


class MemorySession:
    """The objects of one answer, on one frame after the other. Not thread-safe."""

    @torch.inference_mode()
    def __init__(
        self, memory: VideoMemory, features: ImageFeatures, masks: Sequence[Mask]
    ) -> None:
        self._memory, self.count = memory, len(masks)
        config = memory.model.config
        # Frames 1, 2, … after the first; the first stays for as long as the session.
        self._recent: deque[_Memory] = deque(maxlen=config.num_maskmem - 1)
        self._pointers: deque[torch.Tensor] = deque(
            maxlen=config.max_object_pointers_in_encoder - 1)
        self._frame = 0
        self._looks: torch.Tensor | None = None
        with memory.autocast():
            self._first = self._take_up(features, masks)

    @property
    def stored_bytes(self) -> int:
        """Size of all that is kept for the next frame."""
        tensors = [self._first.maps, self._first.positions, self._first.pointers, *self._pointers]
        for kept in self._recent:
            tensors += [kept.maps, kept.positions, kept.pointers]
        # What shares memory counts once.
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        return sum(storages.values())

    @torch.inference_mode()
    def step(self, features: ImageFeatures) -> tuple[TrackedMask, ...]:
        """Find the objects on the next frame.

        :return: in the order of the masks that the session began with.
        """
        self._frame += 1
        with self._memory.autocast():
            seen = self._decode([*features.maps[:-1], self._remember(features.maps[-1])])
            high = F.interpolate(seen.logits[:, None], [self._memory.model.image_size] * 2,
                                 mode='bilinear', align_corners=False)
            new = self._encode(features, high, seen.presence, seen.pointers, from_prompt=False)
        self._recent.append(new)
        self._pointers.append(new.pointers)
        return self._results(seen, features)

    def _decode(self, maps: Sequence[torch.Tensor]) -> _Seen:
        """Run the mask decoder without a prompt; keep the best of three masks per object."""
        model, rows = self._memory.model, torch.arange(self.count, device=self._memory.device)
        nowhere = torch.zeros(self.count, 1, 1, 2, device=self._memory.device)
        labels = -torch.ones(self.count, 1, 1, dtype=torch.int, device=self._memory.device)
        sparse, dense = model.prompt_encoder(nowhere, labels, None, None)
        masks, scores, tokens, presence = model.mask_decoder(
            image_embeddings=maps[-1],
            image_positional_embeddings=model.get_image_wide_positional_embeddings().expand(
                self.count, -1, -1, -1),
            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense,
            multimask_output=model._use_multimask(False, None),
            high_resolution_features=[one.expand(self.count, -1, -1, -1) for one in maps[:-1]])
        best = scores[:, 0].argmax(1)
        presence = presence.float().reshape(-1, 1, 1)
        if self._looks is not None:
            presence = doubt(presence, maps[0], masks[rows, 0, best] > 0, self._looks,
                             self._memory.likeness)
        there = (presence > 0).float()
        logits = torch.where(presence > 0, masks[rows, 0, best].float(), ABSENT)
        # With one mask there is one token for it; with three, one each.
        token = tokens[rows, 0, best if tokens.shape[2] > 1 else 0]
        pointers = model.object_pointer_proj(token).float()[:, None]
        return _Seen(logits, scores[rows, 0, best].float(), presence,
                     there * pointers + (1 - there) * model.no_object_pointer)

    def _take_up(self, features: ImageFeatures, masks: Sequence[Mask]) -> _Memory:
        model, edge = self._memory.model, self._memory.model.image_size
        high, pointers = [], []
        for mask in masks:
            pixels = torch.from_numpy(rle_to_mask(mask)).to(self._memory.device)[None, None].float()
            pixels = F.interpolate(pixels, (edge, edge), mode='bilinear', antialias=True,
                                   align_corners=False)
            # Thresholded: a mask that was smaller than the model's square has soft edges now.
            output = model._use_mask_as_output(
                features.maps[-1], list(features.maps[:-1]), (pixels >= 0.5).float())
            high.append(output.high_res_masks.float())
            pointers.append(output.object_pointer)
        seen = torch.cat(high)
        if self._memory.likeness is not None:
            fine = features.maps[0]
            self._looks = looks(fine, F.interpolate(
                (seen > 0).float(), fine.shape[2:], mode='area')[:, 0])
        present = (seen.flatten(1) > 0).any(1).float()
        return self._encode(features, seen, (20 * present - 10)[:, None, None],
                            torch.cat(pointers), from_prompt=True)

    def _encode(self, features: ImageFeatures, masks: torch.Tensor, presence: torch.Tensor,
                pointers: torch.Tensor, *, from_prompt: bool) -> _Memory:
        """:param masks: (N, 1, edge, edge) logits; :param presence: (N, 1, 1) logits."""
        flat = _flat(features.maps[-1]).expand(-1, self.count, -1)
        maps, positions = self._memory.model._encode_new_memory(flat, masks, presence, from_prompt)
        return _Memory(maps, positions, pointers)

    def _remember(self, newest: torch.Tensor) -> torch.Tensor:
        """Add to the coarsest feature map (1, C, h, w) what the memory knows of each object.

        :return: (N, C, h, w).
        """
        model, device = self._memory.model, self._memory.device
        recent = [(offset, {'maskmem_features': kept.maps, 'maskmem_pos_enc': kept.positions})
                  for offset, kept in zip(range(len(self._recent), 0, -1), self._recent,
                                          strict=True)]
        first = {'maskmem_features': self._first.maps, 'maskmem_pos_enc': self._first.positions}
        maps, positions = model._build_memory_attention_inputs([(0, first), *recent], device)
        ages = [self._frame, *range(1, len(self._pointers) + 1)]
        pointers, pointer_positions = model._process_object_pointers(
            ages, [self._first.pointers, *reversed(self._pointers)],
            model.config.max_object_pointers_in_encoder, self.count, model.hidden_dim, device)
        attended = model.memory_attention(
            current_vision_features=_flat(newest).expand(-1, self.count, -1),
            current_vision_position_embeddings=self._memory.positions.expand(-1, self.count, -1),
            memory=torch.cat([*maps, pointers]).to(torch.float32),
            memory_posision_embeddings=torch.cat([*positions, pointer_positions]),
            num_object_pointer_tokens=len(pointers))
        return attended.reshape(self.count, -1, model.hidden_dim).mT.unflatten(
            2, tuple(newest.shape[2:]))

    def _results(self, seen: _Seen, features: ImageFeatures) -> tuple[TrackedMask, ...]:
        masks = to_results(crop_masks(seen.logits, features.size), seen.scores.tolist(),
                           features.size)
        return tuple(
            TrackedMask(presence, mask if presence > 0 and mask.area_px else None)
            for presence, mask in zip(seen.presence.flatten().tolist(), masks, strict=True))


def _flat(image: torch.Tensor) -> torch.Tensor:
    """:return: (h * w, N, C) of (N, C, h, w)."""
    return image.flatten(2).permute(2, 0, 1)
