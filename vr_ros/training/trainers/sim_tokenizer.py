"""The embedded model's tokenizer: Qwen's special tokens, one token per digit, any text without
loss, few entries.

A byte-level BPE like Qwen's, trained on the simulator's own sentences. The constant parts of the
prompt and of the answer are single tokens, so that a sequence is a third as long; the text they
stand for stays the reference's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = (
    '<|endoftext|>',
    '<|im_start|>',
    '<|im_end|>',
    '<|vision_start|>',
    '<|vision_end|>',
    '<|vision_pad|>',
    '<|image_pad|>',
    '<|video_pad|>',
)
ANSWER_TOKENS = (
    '<think>',
    '</think>',
    '<answer>',
    '</answer>',
    '{"bbox_2d": [',
    '], "point_2d": [',
    ']}',
    ', {"bbox_2d": [',
    '[{"bbox_2d": [',
    ']}]',
    '[]',
)


def place_tokens(rows: int, columns: int) -> list[str]:
    """One token per cell of the image grid."""
    return [f' r{row}c{column}' for row in range(rows) for column in range(columns)]


def coordinate_tokens(width: int, height: int) -> list[str]:
    """One token per column and row of pixels, in order, edges included."""
    return [f' {axis}{i}' for axis, n in (('x', width), ('y', height)) for i in range(n + 1)]


def build_tokenizer(
    sentences: Iterable[str], phrases: Sequence[str], places: Sequence[str], vocab_size: int = 1200
) -> PreTrainedTokenizerFast:
    """Train the reduced tokenizer.

    :param sentences: instructions and answers, for the merges.
    :param phrases: constant pieces of prompts and responses that become one token each.
    :param places: names of grid cells, see :func:`place_tokens`.
    :param vocab_size: entries of the trained part, the 256 bytes included.
    :return: a fast tokenizer with the same special tokens as Qwen2.5-VL.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r'\p{N}'), 'isolated'),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        sentences,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            show_progress=False,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    pieces = dict.fromkeys([*ANSWER_TOKENS, *phrases, *places])
    tokenizer.add_tokens([AddedToken(piece, normalized=False, special=False) for piece in pieces])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token='<|im_end|>',
        pad_token='<|endoftext|>',
        clean_up_tokenization_spaces=False,
        padding_side='left',
        extra_special_tokens=[
            '<|im_start|>',
            '<|vision_start|>',
            '<|vision_end|>',
            '<|image_pad|>',
            '<|video_pad|>',
            '<|vision_pad|>',
        ],
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write tokenizer.json and its configuration beside the weights."""
    tokenizer.save_pretrained(directory)
