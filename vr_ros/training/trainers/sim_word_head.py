"""What rows of words alone teach the embedded reasoner: a head on their names, and the losses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration

from vr_ros.sim.truth import COLOURS
from vr_ros.training.trainers.sim_chunks import forward_chunks
from vr_ros.training.trainers.sim_model import LayerTap
from vr_ros.training.trainers.sim_words import GROUPS, NOT_ASKED, WordBatch

# What grows while rows of words alone are learnt: up to where, by which share, once it is how high.
GROWTH = {
    'colours': (len(COLOURS), 'word_colours', 0.97),
    'groups': (len(GROUPS), 'word_groups', 0.9),
}


class WordHead(nn.Module):
    """Reads off each word of a listed name, by one linear layer, whether it fits what is asked for.

    A verdict must hold several words against the words asked for. Sizes and kinds were found out
    from the verdicts alone; the eight colours never were, not in 100,000 instructions, and not with
    this head either: to match colours is worth nothing before most of them match. With two colours
    it takes 30 steps, and each further one 10; so rows begin with two.

    The last word of a name is also asked where else the same colour and kind were listed: to
    group what is alike, as a caption does, the model must find its own words again. That, too,
    begins with two things.
    """

    def __init__(self, hidden: int, places: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.read = nn.Linear(hidden, 6)
        self.find = nn.Linear(hidden, places + 1)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """:return: (P, 2, 3) logits for states (P, hidden)."""
        return self.read(self.norm(states.float())).view(-1, 2, 3)

    def alike(self, states: torch.Tensor) -> torch.Tensor:
        """:return: (K, places + 1) logits for states (K, hidden)."""
        return self.find(self.norm(states.float()))


def word_losses(
    model: Qwen2_5_VLForConditionalGeneration, tap: LayerTap, head: WordHead, batch: WordBatch,
    verdicts: Iterable[int],
) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
    """:return: next-token loss, the head's loss, and shares right: verdicts where a colour is
        asked for, words that fit or contradict, places of what is alike, and steps of captions
        behind a group's places."""
    embeddings = model.get_input_embeddings()(batch.input_ids)
    is_group = torch.zeros_like(batch.labels, dtype=torch.bool)
    is_group[tuple(batch.groups.T)] = True
    is_colour = batch.coloured[:, None] & torch.isin(batch.labels, torch.tensor(sorted(verdicts)))
    positions = torch.arange(batch.labels.shape[1]).expand(3, *batch.labels.shape)
    logits, wanted, weights, groups, colours = [], [], [], [], []
    states, fits, last_words, alike = [], [], [], []
    for chunk in forward_chunks(model, embeddings, positions, batch):
        logits.append(chunk.logits)
        for kept, values in ((wanted, batch.labels), (weights, batch.weights),
                             (groups, is_group), (colours, is_colour)):
            kept.append(chunk.of_labels(values))
        for state, value, places, values in ((states, fits, batch.names, batch.fits),
                                             (last_words, alike, batch.kinds, batch.alike)):
            read, here = chunk.states(tap, places)
            state.append(read)
            value.append(values[here])
    logits, wanted, weights, fits, alike = map(
        torch.cat, (logits, wanted, weights, fits, alike))
    text = (F.cross_entropy(logits, wanted, reduction='none') * weights).sum() / weights.sum()
    read = head(torch.cat(states))
    found = head.alike(torch.cat(last_words))
    none = found.shape[1] - 1
    fit = F.cross_entropy(read.flatten(0, 1), fits.flatten()) + F.cross_entropy(found, alike)
    right = logits.argmax(-1) == wanted
    return text, fit, {
        'word_colours': _share(right[torch.cat(colours)]),
        'word_groups': _share(right[torch.cat(groups)]),
        'word_fits': _share((read.argmax(-1) == fits)[fits != NOT_ASKED]),
        'word_alike': _share((found.argmax(-1) == alike)[alike != none])}


def next_level(level: int, top: int, shares: Sequence[float], wanted: float) -> int:
    """Let one thing more take part once the last three steps had so many right.

    :param shares: of each step since the last came in.
    """
    is_mastered = len(shares) >= 3 and min(shares[-3:]) >= wanted
    return min(top, level + 1) if is_mastered else level


def _share(right: torch.Tensor) -> float:
    return float(right.float().mean()) if len(right) else 1.0
