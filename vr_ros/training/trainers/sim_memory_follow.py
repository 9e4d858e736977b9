"""Following objects in clips as transformers' inference session does, batched, with gradients."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import Sam2VideoModel

from vr_ros.models.transformers_sam2 import drop_video_positions
from vr_ros.training.trainers.sim_memory_data import ClipBatch
from vr_ros.training.trainers.sim_segmenter_model import segmentation_loss

# Source: SAM 2. Logit of every pixel of an object that is not there.
ABSENT = -1024.0
# Few objects are hidden, and it is those that a tracker must not lose to what hides them.
HIDDEN_WEIGHT = 3.0


@dataclass(frozen=True)
class Seen:
    """What the mask decoder made of N objects on one frame.

    :param logits: (N, 3, h, w); :param scores: (N, 3) estimated IoU.
    :param presence: (N) logits of being visible; :param pointers: (N, D) of visible objects.
    :param image: (N, C, h, w) what the decoder was given of the frame, marks included.
    """

    logits: torch.Tensor
    scores: torch.Tensor
    presence: torch.Tensor
    pointers: torch.Tensor
    image: torch.Tensor

    @property
    def masks(self) -> torch.Tensor:
        """:return: (N, h, w) the logits it picks; ABSENT where it sees no object."""
        rows = torch.arange(len(self.scores), device=self.scores.device)
        picked = self.logits[rows, self.scores.argmax(1)]
        return torch.where(self.presence[:, None, None] > 0, picked, ABSENT)


class ClipFollower:
    """Follows objects as transformers' inference session does, with gradients and all at once.

    :param model: its neck computes no position encodings from here on; they are the same on every
        frame.
    """

    def __init__(self, model: Sam2VideoModel) -> None:
        self.model = model
        self._encoding = model.vision_encoder.neck.position_encoding
        drop_video_positions(model)

    def encode(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Run the image encoder, which does not learn.

        :param pixels: (B, 3, S, S) normalised.
        :return: (B, C, h, w), fine to coarse.
        """
        with torch.no_grad():
            seen = self.model.get_image_features(pixels, return_dict=True).fpn_hidden_states
        return [flat.permute(1, 2, 0).unflatten(2, tuple(size))
                for flat, size in zip(seen, self.model.backbone_feature_sizes, strict=True)]

    def follow(
        self, frames: Sequence[Sequence[torch.Tensor]], seeds: torch.Tensor
    ) -> list[Seen]:
        """Seed N objects on the first frame; find them on the others.

        :param frames: T times the maps (N, C, h, w) of each object's own frame.
        :param seeds: (N, S, S) float masks on the first frame, 0 or 1.
        :return: T results; the first is what the decoder says to the seed, of which only the
            pointer is remembered.
        """
        first, memory, pointer = self.begin(frames[0], seeds)
        seen, memories, pointers = [first], [memory], [pointer]
        for maps in frames[1:]:
            now = self.find(maps, memories, pointers)
            memory, pointer = self.remember(maps, now)
            memories.append(memory)
            pointers.append(pointer)
            seen.append(now)
        return seen

    def begin(
        self, maps: Sequence[torch.Tensor], seeds: torch.Tensor
    ) -> tuple[Seen, dict[str, torch.Tensor], torch.Tensor]:
        """Take N objects up, given by masks (N, S, S).

        :return: what the decoder says to them, and the memory and pointers of the frame.
        """
        model, seeds = self.model, seeds[:, None]
        seen = self._decode(maps, model.mask_downsample(seeds))
        there = seeds.flatten(1).any(1).float()[:, None]
        memory = self._encode(maps, 20 * seeds - 10, 20 * there - 10, given=True)
        return seen, memory, self._pointers(seen, there > 0)

    def find(
        self, maps: Sequence[torch.Tensor], memories: list[dict[str, torch.Tensor]],
        pointers: list[torch.Tensor],
    ) -> Seen:
        """Find N objects on a frame, from the memories and pointers of all frames before it."""
        return self._decode([*maps[:-1], self._recall(maps[-1], memories, pointers)])

    def remember(
        self, maps: Sequence[torch.Tensor], seen: Seen
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """:return: the memory and pointers that a frame leaves behind."""
        high = F.interpolate(seen.masks[:, None].float(), [self.model.image_size] * 2,
                             mode='bilinear', align_corners=False)
        return self._encode(maps, high, seen.presence[:, None], given=False), self._pointers(seen)

    @torch.no_grad()
    def marked(self, maps: Sequence[torch.Tensor], masks: torch.Tensor) -> torch.Tensor:
        """Mark objects in their frame as a given mask does: what a perfect memory would say.

        :param maps: (N, C, h, w), fine to coarse; :param masks: (N, S, S) 0 or 1.
        :return: (N, C, h, w).
        """
        return maps[-1] + self.model.prompt_encoder.mask_embed(
            self.model.mask_downsample(masks[:, None]))

    def _decode(self, maps: Sequence[torch.Tensor], masks: torch.Tensor | None = None) -> Seen:
        """:param masks: (N, 1, h, w) given to the prompt encoder, or None."""
        model, count = self.model, len(maps[-1])
        nowhere = torch.zeros(count, 1, 1, 2, device=model.device)
        labels = -torch.ones(count, 1, 1, dtype=torch.int, device=model.device)
        sparse, dense = model.prompt_encoder(nowhere, labels, None, masks)
        places = model.get_image_wide_positional_embeddings().expand(count, -1, -1, -1)
        logits, scores, tokens, presence = model.mask_decoder(
            image_embeddings=maps[-1], image_positional_embeddings=places,
            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense,
            multimask_output=True, high_resolution_features=list(maps[:-1]))
        rows = torch.arange(count, device=model.device)
        pointers = model.object_pointer_proj(tokens[rows, 0, scores[:, 0].argmax(1)])
        return Seen(logits[:, 0], scores[:, 0], presence.flatten(), pointers, maps[-1] + dense)

    def _pointers(self, seen: Seen, given: torch.Tensor | bool = True) -> torch.Tensor:
        """Replace the pointers of objects that are not there."""
        there = ((seen.presence[:, None] > 0) & given).float()
        return there * seen.pointers + (1 - there) * self.model.no_object_pointer

    def _encode(
        self, maps: Sequence[torch.Tensor], masks: torch.Tensor, presence: torch.Tensor, *,
        given: bool,
    ) -> dict[str, torch.Tensor]:
        """:param masks: (N, 1, S, S) logits; :param presence: (N, 1) logits."""
        features, positions = self.model._encode_new_memory(
            _flat(maps[-1]), masks, presence[:, None], given)
        return {'maskmem_features': features, 'maskmem_pos_enc': positions}

    def _recall(
        self, newest: torch.Tensor, memories: list[dict[str, torch.Tensor]],
        pointers: list[torch.Tensor],
    ) -> torch.Tensor:
        """Add to the coarsest map (N, C, h, w) what is remembered of each object."""
        model, age, count = self.model, len(memories), len(newest)
        recent = range(min(age - 1, model.num_maskmem - 1), 0, -1)
        kept = [(0, memories[0]), *((offset, memories[age - offset]) for offset in recent)]
        maps, places = model._build_memory_attention_inputs(kept, model.device)
        limit = model.config.max_object_pointers_in_encoder
        ages = [age, *range(1, min(age, limit))]
        tokens, token_places = model._process_object_pointers(
            ages, [pointers[0], *(pointers[age - back] for back in ages[1:])],
            limit, count, model.hidden_dim, model.device)
        shape = torch.Size((1, *newest.shape[1:]))
        own = _flat(self._encoding(shape, newest.device, torch.float32))
        found = model.memory_attention(
            current_vision_features=_flat(newest),
            current_vision_position_embeddings=own.expand(-1, count, -1),
            memory=torch.cat([*maps, tokens]).float(),
            memory_posision_embeddings=torch.cat([*places, token_places]),
            num_object_pointer_tokens=len(tokens))
        return found.reshape(count, -1, model.hidden_dim).mT.unflatten(2, tuple(newest.shape[2:]))


def _flat(image: torch.Tensor) -> torch.Tensor:
    """:return: (h * w, N, C) of (N, C, h, w)."""
    return image.flatten(2).permute(2, 0, 1)


def batch_maps(
    follower: ClipFollower, batch: ClipBatch, device: torch.device
) -> list[list[torch.Tensor]]:
    """:return: T times the feature maps (N, C, h, w) of each object's own frame."""
    count, clips = batch.pixels.shape[:2]
    maps = follower.encode(batch.pixels.flatten(0, 1).to(device))
    owner = batch.owner.to(device)
    return [[level.unflatten(0, (count, clips))[t][owner] for level in maps]
            for t in range(count)]


def clip_loss(
    seen: list[Seen], batch: ClipBatch, presence_weight: float, seed_weight: float
) -> tuple[torch.Tensor, dict[str, float]]:
    """Hold what was found on every frame against the truth.

    Masks count where the object is visible, the presence wherever that is clear. On the first
    frame the decoder is to repeat the mask that it is given: it learns there to read what marks
    an object in its features, and remembers a pointer that means it.

    :return: the loss; its parts, the mean IoU of the masks picked, the share of presences right.
    """
    visible = batch.masks.flatten(2).any(2) & batch.known
    presence = torch.stack([frame.presence.float() for frame in seen])
    wrong = F.binary_cross_entropy_with_logits(presence, visible.float(), reduction='none')
    weights = 1 + (HIDDEN_WEIGHT - 1) * (~visible).float()
    loss = presence_weight * (weights * wrong)[batch.known].mean()
    right = ((presence > 0) == visible).float()
    values = {'presence': float(loss.detach()), 'presence_right': float(right[batch.known].mean())}
    if (~visible & batch.known).any():
        values['hidden_right'] = float(right[~visible & batch.known].mean())
    if visible[1:].any():
        pairs = list(zip(seen[1:], visible[1:], strict=True))
        logits = torch.cat([frame.logits[there].float() for frame, there in pairs])
        scores = torch.cat([frame.scores[there].float() for frame, there in pairs])
        masks, parts = segmentation_loss(logits, scores, batch.masks[1:][visible[1:]])
        loss = loss + masks
        values |= parts
    given, seed_parts = segmentation_loss(
        seen[0].logits.float(), seen[0].scores.float(), batch.seeds)
    values['seed_iou'] = seed_parts['iou']
    loss = loss + seed_weight * given
    return loss, values


def mark_loss(
    follower: ClipFollower, maps: list[list[torch.Tensor]], seen: list[Seen], masks: torch.Tensor
) -> torch.Tensor:
    """Hold the memory's marks against those that the true masks would leave.

    Through the decoder alone the memory finds out slowly what it should say.

    :param masks: (T, N, S, S) the truth.
    :return: mean squared error, in shares of the marks' own variance. Not all of it can go: what
        leaves the memory is normalised per place, the image's own part included.
    """
    errors = []
    for frame, own, truth in zip(seen[1:], maps[1:], masks[1:], strict=True):
        wanted = follower.marked(own, truth).float()
        scale = (wanted - own[-1]).std((0, 2, 3)).square().clamp(min=1e-3)
        wrong = (frame.image.float() - wanted).square().mean((0, 2, 3))
        errors.append((wrong / scale).clamp(max=100.0).mean())
    return torch.stack(errors).mean()
