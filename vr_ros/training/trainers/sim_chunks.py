"""Forward passes of the embedded reasoner in training: rows of like length together, which leaves
little padding to compute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from vr_ros.training.trainers.sim_batches import IGNORED
from vr_ros.training.trainers.sim_model import LayerTap

CHUNKS = 3


class Rows(Protocol):
    """N token sequences with labels, right-padded: (N, L) each."""

    @property
    def attention_mask(self) -> torch.Tensor: ...

    @property
    def labels(self) -> torch.Tensor: ...


class Chunk(NamedTuple):
    """R rows that went through the model together, cut where the longest ends.

    :param rows: (R,) which of the N they are.
    :param at: (N,) where each is among the R, -1 for those that are not.
    :param end: their length.
    :param labelled: (R, end - 1) bool, whether the next token carries loss.
    :param logits: (T, tokens) float, for the T tokens that do.
    """

    rows: torch.Tensor
    at: torch.Tensor
    end: int
    labelled: torch.Tensor
    logits: torch.Tensor

    def of_labels(self, values: torch.Tensor) -> torch.Tensor:
        """:return: (T,) of values (N, L), for the tokens that carry loss."""
        return values[self.rows, 1:self.end][self.labelled]

    def states(
        self, tap: LayerTap, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Read a layer, before the next chunk goes through it.

        :param places: (P, 2) row of the N, and column.
        :return: (H, hidden) of those in the chunk, and (P,) bool which are.
        """
        rows = self.at[places[:, 0]]
        here = rows >= 0
        return tap.states(rows[here], places[here, 1]), here


def forward_chunks(
    model: Qwen2_5_VLForConditionalGeneration, embeddings: torch.Tensor, positions: torch.Tensor,
    batch: Rows,
) -> Iterator[Chunk]:
    """Pass rows through the language model, chunk by chunk, in bfloat16.

    :param embeddings: (N, L, hidden).
    :param positions: (3, N, L) of M-RoPE.
    """
    lengths = batch.attention_mask.sum(1)
    for rows in lengths.argsort().chunk(CHUNKS):
        end = int(lengths[rows].max())
        labelled = batch.labels[rows, 1:end] != IGNORED
        with torch.autocast('cpu', dtype=torch.bfloat16):
            hidden = model.model.language_model(
                inputs_embeds=embeddings[rows, :end],
                attention_mask=batch.attention_mask[rows, :end],
                position_ids=positions[:, rows, :end],
                use_cache=False,
            ).last_hidden_state
            logits = model.lm_head(hidden[:, :-1][labelled])
        at = torch.full((len(lengths),), -1)
        at[rows] = torch.arange(len(rows))
        yield Chunk(rows, at, end, labelled, logits.float())
