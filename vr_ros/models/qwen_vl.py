"""A reasoner of the Qwen-VL families on transformers: sees one image, reads one instruction,
streams its answer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLForConditionalGeneration,
    StoppingCriteriaList,
)

from vr_ros.core.geometry import smart_resize
from vr_ros.core.prompt import clean_question, render_chat
from vr_ros.core.types import PerceptionError, Size, Status, Task
from vr_ros.models.card import ReasonerCard
from vr_ros.models.image_prefix import ImagePrefix
from vr_ros.models.preprocess import (
    QWEN2_5_VL_PATCHES,
    QWEN3_VL_PATCHES,
    image_grid,
    patchify,
    resize_image,
)
from vr_ros.models.rows import Asked, Row, Rows, left_padded
from vr_ros.models.top_tokens import TopTokenRecorder, TopTokens
from vr_ros.models.weights import check_loaded

FAMILIES = {
    'qwen2_5_vl': (Qwen2_5_VLForConditionalGeneration, QWEN2_5_VL_PATCHES),
    'qwen3_vl': (Qwen3VLForConditionalGeneration, QWEN3_VL_PATCHES),
}


@dataclass(frozen=True)
class Reasoning:
    """What the model wrote, and how.

    :param finish_reason: 'stop' (the model or a stop string ended it), 'length' or 'cancelled'.
    :param model_size: size of the resized image: absolute coordinates are in its pixels.
    :param token_spans: first and last + 1 character of ``text`` that each token wrote.
    :param top: (tokens, 5) the best tokens of each step; the first is the one that was written.
    :param prefix: of the prompt, to ask more about the same image; None unless asked for.
    """

    text: str
    finish_reason: str
    model_size: Size
    token_ids: tuple[int, ...]
    token_spans: tuple[tuple[int, int], ...]
    top: TopTokens
    prompt_tokens: int
    preprocess_ms: float
    first_token_ms: float
    generate_ms: float
    prefix: ImagePrefix | None = None

    @property
    def log_probs(self) -> np.ndarray:
        """Of the tokens that were written: (tokens,) natural logarithms of probabilities."""
        return self.top.log_probs[:, 0]


@dataclass(frozen=True, eq=False)
class _Prompt:
    """One question as the model gets it.

    :param ids: (L,) tokens, on the device.
    :param patches: (P, values) of the resized image.
    """

    ids: torch.Tensor
    size: Size
    patches: torch.Tensor


def _load(
    card: ReasonerCard, directory: Path, device: torch.device
) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        model, report = FAMILIES[card.family][0].from_pretrained(
            directory,
            dtype=getattr(torch, card.dtype_for(device.type)),
            attn_implementation='sdpa',
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = ' '.join(str(error).split())
        raise PerceptionError(
            Status.MODEL_UNAVAILABLE, f'{directory} cannot be loaded as {card.family}: {reason}'
        ) from error
    check_loaded(report, directory)
    # Without its files transformers makes up an empty tokenizer and says nothing.
    if tokenizer.convert_tokens_to_ids('<|image_pad|>') != model.config.image_token_id:
        raise PerceptionError(
            Status.MODEL_UNAVAILABLE,
            f'{directory} has no tokenizer of this model: is tokenizer.json there?',
        )
    return tokenizer, model


class QwenVLReasoner:
    """Qwen2.5-VL and Qwen3-VL checkpoints, the embedded model among them, by card.

    :param card: how to prompt and read the checkpoint.
    :param directory: a local directory with config.json, tokenizer.json and safetensors.
    :param device: where to compute, such as 'cuda' or 'cpu'.
    :raises PerceptionError: MODEL_UNAVAILABLE when the family is unknown or the checkpoint is of
        another one or lacks tensors.
    """

    def __init__(self, card: ReasonerCard, directory: Path, device: str) -> None:
        if card.family not in FAMILIES:
            raise PerceptionError(
                Status.MODEL_UNAVAILABLE,
                f'unknown family "{card.family}"; known: {", ".join(FAMILIES)}',
            )
        self.patches = FAMILIES[card.family][1]
        self.card = card
        self.device = torch.device(device)
        self.tokenizer, model = _load(card, directory, self.device)
        self.model = model.to(self.device).eval()
        self.model.generation_config = self._generation_config()
        self._image_token = self.model.config.image_token_id
        # Few of the many tokens come up, and they come up again and again.
        self._text_of = lru_cache(4096)(lambda token: self.tokenizer.decode([token]))

    def _generation_config(self) -> GenerationConfig:
        ends = {
            self.tokenizer.eos_token_id,
            *self.tokenizer.convert_tokens_to_ids(['<|im_end|>', '<|endoftext|>']),
        }
        return GenerationConfig(
            do_sample=False,
            repetition_penalty=1.0,
            use_cache=True,
            max_new_tokens=self.card.max_new_tokens,
            eos_token_id=sorted(ends - {None}),
            pad_token_id=self.tokenizer.pad_token_id,
        )

    def model_size(self, image_size: Size, task: Task) -> Size:
        """Size to which an image is resized for a task: the card's own, or the image's rounded to
        whole tokens."""
        policy = self.card.image(task)
        if policy.size is not None:
            return policy.size
        return smart_resize(image_size, self.patches.factor, policy.min_pixels, policy.max_pixels)

    def texts_of(self, token_ids: Iterable[int]) -> tuple[str, ...]:
        """Write out tokens, each by itself, special ones too."""
        return tuple(map(self._text_of, map(int, token_ids)))

    def reason(self, image: np.ndarray, question: str, task: Task, **hooks: Any) -> Reasoning:
        """Answer one question about one image, greedily; for what can be given see Asked."""
        return self.reason_batch([Asked(image, question, task, **hooks)])[0]

    @torch.inference_mode()
    def reason_batch(self, asked: Sequence[Asked]) -> list[Reasoning]:
        """Answer questions, each about its own image, side by side, greedily.

        Each answer is what it would be alone, up to the rounding of sums in another order.

        :param asked: one at least.
        """
        started = time.perf_counter()
        prompts = [self._prompt(one) for one in asked]
        inputs = self._inputs(prompts)
        prepared = time.perf_counter()
        rows = [Row(one, self._decode, self.card.stop, self._ends) for one in asked]
        recorder = TopTokenRecorder()
        generated = self.model.generate(
            **inputs,
            logits_processor=LogitsProcessorList([recorder]),
            stopping_criteria=StoppingCriteriaList([Rows(rows)]),
            return_dict_in_generate=True,
        )
        for row in rows:
            row.close()
        tops = recorder.results([len(row.token_ids) for row in rows])
        width, cache = inputs['input_ids'].shape[1], generated.past_key_values
        prefixes = [
            ImagePrefix.of(self.model, prompt.ids.tolist(), cache, place, width - len(prompt.ids))
            if one.keep_prefix else None
            for place, (one, prompt) in enumerate(zip(asked, prompts, strict=True))
        ]
        return [
            Reasoning(
                row.text,
                row.finish_reason,
                prompt.size,
                row.token_ids,
                row.spans,
                top,
                prompt_tokens=len(prompt.ids),
                preprocess_ms=(prepared - started) * 1e3,
                first_token_ms=(row.first_token_at - prepared) * 1e3,
                generate_ms=(row.last_token_at - prepared) * 1e3,
                prefix=prefix,
            )
            for row, prompt, top, prefix in zip(rows, prompts, tops, prefixes, strict=True)
        ]

    @property
    def _ends(self) -> list[int]:
        return self.model.generation_config.eos_token_id

    def _decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def _prompt(self, asked: Asked) -> _Prompt:
        image, task = asked.image, asked.task
        size = self.model_size(Size(image.shape[1], image.shape[0]), task)
        pixels = resize_image(image, size, self.device, self.card.image(task).interpolation)
        text = render_chat(
            self.card.template(task),
            clean_question(asked.question, self.card.question_style(task)),
            self.patches.image_tokens(size),
        )
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors='pt')['input_ids'][0]
        return _Prompt(ids.to(self.device), size, patchify(pixels[None], self.patches))

    def _inputs(self, prompts: Sequence[_Prompt]) -> dict[str, torch.Tensor]:
        ids, mask = left_padded(
            [prompt.ids for prompt in prompts], self.model.generation_config.pad_token_id)
        grids = torch.cat([image_grid(prompt.size, self.patches) for prompt in prompts])
        return {
            'input_ids': ids,
            'attention_mask': mask,
            # Without it transformers silently falls back to text positions for image tokens.
            'mm_token_type_ids': (ids == self._image_token).int(),
            'pixel_values': torch.cat([prompt.patches for prompt in prompts]).to(self.model.dtype),
            'image_grid_thw': grids.to(self.device),
        }
