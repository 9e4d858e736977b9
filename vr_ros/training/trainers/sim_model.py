"""Architecture of the embedded reasoner, and what makes it learnable on a CPU: dense supervision
of its image tokens.

The model is an ordinary ``Qwen2_5_VLForConditionalGeneration``; the dense head is thrown away
after training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from vr_ros.core.types import Size
from vr_ros.sim.truth import COLOURS, KINDS, SIZES
from vr_ros.training.sim_targets import CELL_PX, ModelObject

NUMBERS = 6  # of an object: its box and its point
DIGITS = 3  # of the largest number
PERIODS = (512.0, 256.0, 128.0, 64.0, 32.0, 16.0)  # pixels, of a number's smooth code
# How much of a number's probability belongs to it and to its neighbours: to say 41 for 42 is
# nearly right.
SOFT = {-2: 0.06, -1: 0.24, 0: 0.40, 1: 0.24, 2: 0.06}


def number_loss(
    logits: torch.Tensor, first: torch.Tensor, last: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy with the neighbours of the wanted number.

    :param logits: (N, C).
    :param first, last: (N,) or scalar, classes of the lowest and of the highest number.
    :param wanted: (N,) class of the wanted number.
    :return: (N,).
    """
    log_p = logits.log_softmax(-1)
    near = torch.stack(
        [torch.maximum(torch.minimum(wanted + step, last), first) for step in SOFT], -1
    )
    return -(log_p.gather(-1, near) * torch.tensor(list(SOFT.values()))).sum(-1)


@dataclass(frozen=True)
class Architecture:
    """Sizes of the embedded reasoner.

    :param rope_theta: M-RoPE gives time, rows and columns frequencies from fast to slow. With the
        usual 1e6 a grid of six cells turns a key by next to nothing, and the language model cannot
        tell columns apart; with 10 even the slowest turns a key half round within 30 tokens, and
        it cannot find a word again that it has read before. Hence a base between the two, and few
        frequencies for time and rows, so that the columns begin fast and end nearly still.
    :param dense_layer: decoder layers below the dense head.
    :param word_layer: decoder layers after which a word of a name should be known to fit or not.
    :param place_layer: decoder layers after which a place token should know what is there.
    """

    hidden: int = 192
    layers: int = 5
    intermediate: int = 512
    vision_hidden: int = 160
    vision_depth: int = 4
    vision_intermediate: int = 432
    heads: int = 4
    rope_theta: float = 1000.0
    dense_layer: int = 2
    word_layer: int = 3
    place_layer: int = 4


def build_model(
    architecture: Architecture, tokenizer: PreTrainedTokenizerFast, model_size: Size
) -> Qwen2_5_VLForConditionalGeneration:
    """Build an untrained model for a tokenizer and an input size."""
    a = architecture
    half = a.hidden // a.heads // 2
    rows = max(1, half // 8)
    token = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            'vocab_size': len(tokenizer),
            'hidden_size': a.hidden,
            'intermediate_size': a.intermediate,
            'num_hidden_layers': a.layers,
            'num_attention_heads': a.heads,
            'num_key_value_heads': a.heads // 2,
            'max_position_embeddings': 4096,
            'tie_word_embeddings': True,
            'rope_parameters': {
                'rope_type': 'default',
                'rope_theta': a.rope_theta,
                'mrope_section': [1, rows, half - 1 - rows],
            },
            'bos_token_id': None,
            'eos_token_id': tokenizer.eos_token_id,
            'pad_token_id': tokenizer.pad_token_id,
        },
        vision_config={
            'depth': a.vision_depth,
            'hidden_size': a.vision_hidden,
            'intermediate_size': a.vision_intermediate,
            'num_heads': a.heads,
            'patch_size': 14,
            'spatial_merge_size': 2,
            'temporal_patch_size': 2,
            'window_size': max(model_size.width, model_size.height),
            'out_hidden_size': a.hidden,
            'fullatt_block_indexes': list(range(a.vision_depth)),
        },
        image_token_id=token('<|image_pad|>'),
        video_token_id=token('<|video_pad|>'),
        vision_start_token_id=token('<|vision_start|>'),
        vision_end_token_id=token('<|vision_end|>'),
        tie_word_embeddings=True,
    )
    return Qwen2_5_VLForConditionalGeneration._from_config(config, attn_implementation='eager')


@torch.no_grad()
def spell_numbers(
    model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, model_size: Size
) -> None:
    """Start the tokens of whole numbers as their digits' embeddings, each turned by a rotation for
    its place, plus a smooth code of the value.

    To copy a number into an answer, digit by digit, is then one linear step for all numbers alike,
    where else each number would have to be learnt by heart.
    """
    table = model.get_input_embeddings().weight
    hidden = table.shape[1]
    token = tokenizer.convert_tokens_to_ids
    chance = torch.Generator().manual_seed(0)
    turns = torch.linalg.qr(torch.randn(DIGITS, hidden, hidden, generator=chance)).Q
    axes = torch.randn(2, hidden, generator=chance)
    waves = torch.randn(2 * len(PERIODS), hidden, generator=chance) / len(PERIODS) ** 0.5
    digits = table[token(list('0123456789'))]
    norm = digits.norm(dim=1).mean()
    digits = digits / digits.norm(dim=1, keepdim=True)
    for axis, top in enumerate((model_size.width, model_size.height)):
        for value in range(top + 1):
            angles = 2 * math.pi * value / torch.tensor(PERIODS)
            smooth = torch.cat([angles.sin(), angles.cos()]) @ waves + axes[axis]
            spelt = sum(
                turns[place] @ digits[int(digit)] for place, digit in enumerate(str(value))
            )
            start = spelt + smooth / smooth.norm()
            table[token(f' {"xy"[axis]}{value}')] = norm * start / start.norm()


@dataclass(frozen=True)
class DenseTargets:
    """What each image token should know of the object whose box centre lies in it.

    :param present: (B, T) float, 1 where there is one; the other fields hold elsewhere 0.
    :param geometry: (B, T, 4) centre within the cell and width, height over the cell's edge.
    :param classes: (B, T, 3) indices of kind, colour, size.
    :param numbers: (B, T, 6) x_min, y_min, x_max, y_max, x, y in whole pixels.
    """

    present: torch.Tensor
    geometry: torch.Tensor
    classes: torch.Tensor
    numbers: torch.Tensor


def dense_targets(batch: Sequence[Sequence[ModelObject]], model_size: Size) -> DenseTargets:
    """Lay objects on the grid of image tokens; of two in one cell the nearer one is kept."""
    columns = model_size.width // CELL_PX
    cells = columns * (model_size.height // CELL_PX)
    present = torch.zeros(len(batch), cells)
    geometry = torch.zeros(len(batch), cells, 4)
    classes = torch.zeros(len(batch), cells, 3, dtype=torch.long)
    numbers = torch.zeros(len(batch), cells, NUMBERS, dtype=torch.long)
    for b, objects in enumerate(batch):
        for o in sorted(objects, key=lambda item: -item.truth.distance_m):
            cell = o.cell[0] * columns + o.cell[1]
            x_min, y_min, x_max, y_max = o.box
            present[b, cell] = 1
            geometry[b, cell] = torch.tensor(
                [
                    (x_min + x_max) / 2 / CELL_PX - o.cell[1],
                    (y_min + y_max) / 2 / CELL_PX - o.cell[0],
                    (x_max - x_min) / CELL_PX,
                    (y_max - y_min) / CELL_PX,
                ]
            )
            classes[b, cell] = torch.tensor(
                [
                    KINDS.index(o.truth.kind),
                    COLOURS.index(o.truth.colour),
                    SIZES.index(o.truth.size_name),
                ]
            )
            numbers[b, cell] = torch.tensor((*o.box, *o.point))
    return DenseTargets(present, geometry, classes, numbers)


class DenseHead(nn.Module):
    """Read objects off image tokens by one linear layer, so that what it needs is there to be
    copied by attention."""

    def __init__(self, hidden: int, model_size: Size) -> None:
        super().__init__()
        self.splits = [1, 4, len(KINDS), len(COLOURS), len(SIZES)]
        self.top = max(model_size.width, model_size.height)
        self.norm = nn.LayerNorm(hidden)
        self.read = nn.Linear(hidden, sum(self.splits))
        self.numbers = nn.Linear(hidden, NUMBERS * (self.top + 1))
        self.place_norm = nn.LayerNorm(hidden)
        self.place_numbers = nn.Linear(hidden, NUMBERS * (self.top + 1))

    def loss(
        self, tokens: torch.Tensor, targets: DenseTargets
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Compare image tokens with the truth.

        :param tokens: (B, T, hidden).
        :return: the loss, and its parts by name.
        """
        tokens = self.norm(tokens.float())
        present, geometry, *classes = self.read(tokens).split(self.splits, -1)
        positive = targets.present > 0
        parts = {
            'present': 3 * F.binary_cross_entropy_with_logits(present[..., 0], targets.present),
            'geometry': 2 * F.l1_loss(geometry[positive], targets.geometry[positive]),
        }
        for name, logits, wanted in zip(
            ('kind', 'colour', 'size'), classes, targets.classes[positive].unbind(-1), strict=True
        ):
            parts[name] = F.cross_entropy(logits[positive], wanted)
        parts['numbers'] = self._number_loss(
            self.numbers(tokens[positive]), targets.numbers[positive]
        )
        return sum(parts.values()), {name: float(part.detach()) for name, part in parts.items()}

    def place_loss(self, states: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Ask the state behind a place token for box and point of what is there: to have looked
        there once is enough for all that is written about it later.

        :param states: (P, hidden).
        :param numbers: (P, 6).
        """
        return self._number_loss(self.place_numbers(self.place_norm(states.float())), numbers)

    def _number_loss(self, logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        ends = torch.tensor(0), torch.tensor(self.top)
        return number_loss(logits.view(-1, self.top + 1), *ends, wanted.reshape(-1)).mean()


class LayerTap:
    """Keep the output of one decoder layer of the running forward pass."""

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration, layer: int) -> None:
        self.output: torch.Tensor | None = None
        self._handle = model.model.language_model.layers[layer - 1].register_forward_hook(
            self._keep
        )

    def _keep(self, _module: nn.Module, _inputs: object, output: torch.Tensor | tuple) -> None:
        self.output = output[0] if isinstance(output, tuple) else output

    def image_tokens(self, is_image: torch.Tensor) -> torch.Tensor:
        """:return: (B, T, hidden) where ``is_image`` (B, L) is, T equal in every row."""
        assert self.output is not None, 'no forward pass yet'
        return self.output[is_image].view(is_image.shape[0], -1, self.output.shape[-1])

    def states(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """:return: (P, hidden) at the given positions."""
        assert self.output is not None, 'no forward pass yet'
        return self.output[rows, columns]

    def close(self) -> None:
        self._handle.remove()
