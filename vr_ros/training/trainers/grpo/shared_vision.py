"""See each image once: the rollouts of a prompt all look at the same one."""
from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn


def share_equal_images(visual: nn.Module) -> None:
    """Let a vision tower compute equal images of a call once, and hand the result to all of them.

    With 8 rollouts per prompt that is an eighth of its work, for the same numbers; gradients add up
    as they would.

    :param visual: the tower of a Qwen-VL model; its ``forward`` is replaced.
    """
    original = visual.forward
    merged = visual.spatial_merge_size ** 2

    @functools.wraps(original)
    def forward(hidden_states: torch.Tensor, grid_thw: torch.Tensor, **options: Any) -> Any:
        sizes = grid_thw.prod(-1).tolist()
        firsts, places = equal_images(hidden_states.split(sizes), grid_thw.tolist())
        if len(firsts) == len(sizes):
            return original(hidden_states, grid_thw=grid_thw, **options)
        images = hidden_states.split(sizes)
        seen = original(torch.cat([images[first] for first in firsts]),
                        grid_thw=grid_thw[firsts], **options)
        tokens = [sizes[first] // merged for first in firsts]

        def for_all(features: torch.Tensor) -> torch.Tensor:
            each = features.split(tokens)
            return torch.cat([each[place] for place in places])

        seen.pooler_output = for_all(seen.pooler_output)
        if getattr(seen, 'deepstack_features', None) is not None:   # of Qwen3-VL
            seen.deepstack_features = [for_all(one) for one in seen.deepstack_features]
        seen.last_hidden_state = None   # nobody asks for it, and it is not of all images
        return seen

    visual.forward = forward


def drop_empty_images(model: nn.Module) -> None:
    """Leave the image inputs out of a call that has no image in it.

    Of rows with and without images, TRL may put some without into one forward pass; it then passes
    on tensors without rows, which transformers cannot read.

    :param model: the inner model, which takes ``pixel_values``.
    """
    def hook(_: nn.Module, args: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        pixels = options.get('pixel_values')
        if pixels is not None and not len(pixels):
            options = options | {'pixel_values': None, 'image_grid_thw': None}
        return args, options

    model.register_forward_pre_hook(hook, with_kwargs=True)


def equal_images(
    images: tuple[torch.Tensor, ...], grids: list[list[int]]
) -> tuple[list[int], list[int]]:
    """Find equal images.

    :return: where each different one is first, and for every image which of these it is.
    """
    firsts: list[int] = []
    places: list[int] = []
    # A sum is quick to compare; only images of the same sum are looked at value by value.
    sums = [float(image.double().sum()) for image in images]
    by_key: dict[tuple[Any, ...], list[int]] = {}
    for index, image in enumerate(images):
        alike = by_key.setdefault((*grids[index], sums[index]), [])
        found = next((n for n in alike if torch.equal(images[firsts[n]], image)), None)
        if found is None:
            found = len(firsts)
            alike.append(found)
            firsts.append(index)
        places.append(found)
    return firsts, places
