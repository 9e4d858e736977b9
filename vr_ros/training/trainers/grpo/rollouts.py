"""Write the rollouts of a step: every prompt is read once, and a row that has ended costs nothing.

``generate`` reads a prompt as often as it has rollouts, and goes on with all rows until the last
one has ended. On the embedded model this takes a third of the time; the tokens are drawn from the
same distribution.
"""
from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from vr_ros.models.rows import left_padded

# Rows that have ended leave the batch together, once they are so large a share of it.
_ENDED_SHARE = 0.15


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    :param most_tokens: of a rollout.
    :param temperature: 0 takes the likeliest token.
    :param ends: tokens that end a rollout.
    :param banned: tokens that are never drawn: one of an image would have no image to it.
    :param padding: token in front of shorter prompts.
    """

    most_tokens: int
    temperature: float
    ends: Collection[int]
    banned: Collection[int]
    padding: int


@torch.no_grad()
def write_rollouts(
    model: PreTrainedModel, inner: torch.nn.Module, prompts: Sequence[Sequence[int]],
    keys: Sequence[Hashable], images: Mapping[str, torch.Tensor], has_image: Sequence[bool],
    sampling: Sampling,
) -> list[list[int]]:
    """Write one rollout for each prompt.

    :param model: what is called; may be wrapped.
    :param inner: the model of the family, without its head: it knows the positions of images.
    :param prompts: token ids of each rollout's prompt.
    :param keys: rollouts of equal keys have the same prompt and image.
    :param images: ``pixel_values`` and ``image_grid_thw`` of all images, or nothing.
    :param has_image: of each rollout.
    :return: token ids, the end included where one was drawn.
    """
    firsts, places = _first_of_each(keys)
    ids, mask, inputs = _prompt_inputs(
        inner, [prompts[first] for first in firsts], sampling,
        _images_of(firsts, images, has_image))
    inner.rope_deltas = None   # of the last step's prompts
    output = model(input_ids=ids, attention_mask=mask, use_cache=True, logits_to_keep=1, **inputs)
    cache, logits = output.past_key_values, output.logits[:, -1]
    deltas = _deltas(inner, len(firsts), ids.device)
    rows = torch.tensor(places, device=ids.device)
    cache.batch_select_indices(rows)
    logits, mask, deltas = logits[rows], mask[rows], deltas[rows]
    positions = mask.sum(1) + deltas
    is_padded = bool((mask == 0).any())
    ends = torch.tensor(sorted(sampling.ends), device=ids.device)
    banned = torch.tensor(sorted(sampling.banned), device=ids.device)
    active = torch.arange(len(places), device=ids.device)
    alive = torch.ones(len(places), dtype=torch.bool, device=ids.device)
    written = torch.full((len(places), sampling.most_tokens), sampling.padding, device=ids.device)
    lengths = torch.full((len(places),), sampling.most_tokens, device=ids.device)
    for step in range(sampling.most_tokens):
        tokens = _draw(logits, banned, sampling.temperature)
        written[active[alive], step] = tokens[alive]
        ended = alive & torch.isin(tokens, ends)
        lengths[active[ended]] = step + 1
        alive &= ~ended
        left = int(alive.sum())
        if not left or step + 1 == sampling.most_tokens:
            break
        if left <= (1 - _ENDED_SHARE) * len(active):
            kept = alive.nonzero().flatten()
            cache.batch_select_indices(kept)
            active, tokens, positions, mask = (
                active[kept], tokens[kept], positions[kept], mask[kept])
            alive = torch.ones_like(active, dtype=torch.bool)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        logits = model(
            input_ids=tokens[:, None], attention_mask=mask if is_padded else None,
            position_ids=positions.view(1, -1, 1).expand(3, -1, -1), past_key_values=cache,
            use_cache=True, logits_to_keep=1).logits[:, -1]
        positions = positions + 1
    return [row[:length].tolist()
            for row, length in zip(written.cpu(), lengths.tolist(), strict=True)]


def _draw(logits: torch.Tensor, banned: torch.Tensor, temperature: float) -> torch.Tensor:
    logits = logits.float().index_fill(1, banned, -torch.inf)
    if not temperature:
        return logits.argmax(-1)
    return torch.multinomial((logits / temperature).softmax(-1), 1).flatten()


def _prompt_inputs(
    inner: torch.nn.Module, prompts: Sequence[Sequence[int]], sampling: Sampling,
    images: Mapping[str, torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    device = inner.get_input_embeddings().weight.device
    ids, mask = left_padded([torch.tensor(prompt) for prompt in prompts], sampling.padding)
    ids, mask = ids.to(device), mask.to(device)
    if not images:
        return ids, mask, {}
    return ids, mask, {
        'mm_token_type_ids': (ids == inner.config.image_token_id).int(),
        **{name: tensor.to(device) for name, tensor in images.items()}}


def _images_of(
    firsts: Sequence[int], images: Mapping[str, torch.Tensor], has_image: Sequence[bool]
) -> dict[str, torch.Tensor]:
    """Pick the images of some rollouts."""
    if not images:
        return {}
    grids = images['image_grid_thw']
    pixels = images['pixel_values'].split(grids.prod(-1).tolist())
    number = torch.tensor(has_image).int().cumsum(0) - 1   # of each rollout's image
    picked = [int(number[first]) for first in firsts if has_image[first]]
    if not picked:
        return {}
    return {'pixel_values': torch.cat([pixels[one] for one in picked]),
            'image_grid_thw': grids[picked]}


def _deltas(inner: torch.nn.Module, rows: int, device: torch.device) -> torch.Tensor:
    """Tell how far the position of the next token is from its place: an image of many tokens takes
    few positions.

    :return: (rows,).
    """
    deltas = inner.rope_deltas
    if deltas is None:   # no image in the batch
        return torch.zeros(rows, dtype=torch.long, device=device)
    return deltas.reshape(-1).to(device)


def _first_of_each(keys: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """:return: where each different key is first, and for every key which of these it is."""
    numbers: dict[Hashable, int] = {}
    firsts = []
    for place, key in enumerate(keys):
        if key not in numbers:
            numbers[key] = len(firsts)
            firsts.append(place)
    return firsts, [numbers[key] for key in keys]
