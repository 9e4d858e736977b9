"""What a reasoner has seen of an image and been asked about it, kept to ask more at little cost.

The keys and values of a prompt's tokens do not depend on what follows. A further prompt that begins
alike (the same system message and image) needs neither the vision tower nor those tokens again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache, PreTrainedModel


@dataclass(frozen=True, eq=False)
class ImagePrefix:
    """The prompt of one answer, with its keys and values.

    :param ids: (L,) its tokens, on the host.
    :param layers: keys and values of each layer, (1, heads, >= L, width); what lies behind L is of
        the answer.
    :param delta: position of a token behind the image less its place in the sequence: an image of
        many tokens takes few positions.
    """

    model: PreTrainedModel
    ids: tuple[int, ...]
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    delta: int

    @classmethod
    def of(
        cls, model: PreTrainedModel, ids: Sequence[int], cache: DynamicCache, row: int = 0,
        padding: int = 0,
    ) -> ImagePrefix:
        """Take over one row of the cache of a generation.

        :param padding: how many places of the row lie in front of its prompt.
        """
        layers = tuple(
            (layer.keys[row:row + 1, :, padding:], layer.values[row:row + 1, :, padding:])
            for layer in cache.layers)
        return cls(model, tuple(ids), layers, int(model.model.rope_deltas.reshape(-1)[row]))

    def shared_with(self, ids: Sequence[int]) -> int:
        """Count the first tokens that another prompt has in common with this one."""
        for place, (own, other) in enumerate(zip(self.ids, ids, strict=False)):
            if own != other:
                return place
        return min(len(self.ids), len(ids))

    def continued(self, prompts: Sequence[Sequence[int]]) -> Continuation:
        """Read on with other prompts, all at once.

        :param prompts: token ids; each begins like this prompt at least up to the image's end.
        :raises ValueError: one does not.
        """
        shared = min(self.shared_with(ids) for ids in prompts)
        # One token of each must be left to be read: what comes next is seen there.
        shared = min([shared, *(len(ids) - 1 for ids in prompts)])
        image = self.model.config.image_token_id
        if any(image in ids[shared:] for ids in (self.ids, *prompts)):
            raise ValueError('the prompts differ before the end of the image')
        return Continuation(self, shared, [ids[shared:] for ids in prompts])


class Continuation:
    """Several texts that go on from the same prefix, row by row.

    Shorter ones are padded in front, behind the prefix: all end at the same place.

    :param shared: tokens of the prefix that are used.
    :param rests: token ids that follow, at least one each.

    ``logits`` (rows, vocabulary) float32 say what comes next.
    """

    def __init__(
        self, prefix: ImagePrefix, shared: int, rests: Sequence[Sequence[int]]
    ) -> None:
        self._prefix, self._device = prefix, prefix.model.device
        rows, width = len(rests), max(map(len, rests))
        self._cache = DynamicCache()
        for index, (keys, values) in enumerate(prefix.layers):
            shape = (rows, -1, -1, -1)
            self._cache.update(
                keys[:, :, :shared].expand(shape), values[:, :, :shared].expand(shape), index
            )
        padding = torch.tensor([width - len(rest) for rest in rests])
        self._next = (shared + width - padding + prefix.delta).to(self._device)
        is_text = torch.arange(width) >= padding[:, None]
        self._mask = torch.cat((torch.ones(rows, shared, dtype=torch.long), is_text.long()), 1)
        self._mask = self._mask.to(self._device)
        ids = torch.zeros(rows, width, dtype=torch.long)
        for row, rest in enumerate(rests):
            ids[row, width - len(rest):] = torch.tensor(rest)
        places = (torch.arange(width) - padding[:, None]).clamp(min=0) + shared + prefix.delta
        self.logits = self._read(ids.to(self._device), places.to(self._device))

    def write(self, tokens: torch.Tensor) -> None:
        """Append one token to each row.

        :param tokens: (rows,) ids.
        """
        self._mask = torch.cat((self._mask, self._mask.new_ones(len(tokens), 1)), 1)
        self.logits = self._read(tokens[:, None], self._next[:, None])
        self._next = self._next + 1

    def _read(self, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        output = self._prefix.model(
            input_ids=ids,
            # Time, height and width are one behind the image.
            position_ids=places.expand(3, -1, -1),
            past_key_values=self._cache,
            attention_mask=self._mask,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1].float()
