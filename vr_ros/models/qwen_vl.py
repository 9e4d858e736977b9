"""A reasoner of the Qwen-VL families on transformers: sees one image, reads one instruction,
streams its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

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
    StoppingCriteria,
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
from vr_ros.models.token_stream import TokenStream
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


class _Watcher(StoppingCriteria):
    """See each token as it is written; end at a stop string or when told to."""

    def __init__(
        self,
        stream: TokenStream,
        stop: tuple[str, ...],
        on_text: Callable[[str], None],
        is_answered: Callable[[], bool],
        should_stop: Callable[[], bool],
    ) -> None:
        self._stream, self._stop = stream, stop
        self._on_text, self._is_answered, self._should_stop = on_text, is_answered, should_stop
        self._pieces: list[str] = []
        self._tail = ''
        self._tail_length = max(map(len, stop), default=0)
        self.first_token_at: float | None = None
        self.finish_reason = 'length'

    @property
    def text(self) -> str:
        return ''.join(self._pieces)

    def take(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
            self._on_text(piece)

    def __call__(
        self, input_ids: torch.Tensor, scores: torch.Tensor | None, **_: object
    ) -> torch.Tensor:
        piece = self._stream.push(int(input_ids[0, -1]))
        if self.first_token_at is None:
            self.first_token_at = time.perf_counter()
        self.take(piece)
        window = self._tail + piece
        self._tail = window[-self._tail_length :] if self._tail_length else ''
        ended = True
        if any(stop in window for stop in self._stop) and self._is_answered():
            self.finish_reason = 'stop'
        elif self._should_stop():
            self.finish_reason = 'cancelled'
        else:
            ended = False
        return torch.tensor([ended], device=input_ids.device)


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
        return tuple(self.tokenizer.decode([int(token)]) for token in token_ids)

    @torch.inference_mode()
    def reason(
        self,
        image: np.ndarray,
        question: str,
        task: Task,
        *,
        on_text: Callable[[str], None] = lambda _: None,
        is_answered: Callable[[], bool] = lambda: True,
        should_stop: Callable[[], bool] = lambda: False,
        keep_prefix: bool = False,
    ) -> Reasoning:
        """Answer one question about one image, greedily.

        :param image: (H, W, 3) uint8 RGB.
        :param question: a validated instruction.
        :param on_text: called with each new piece of text.
        :param is_answered: asked at a stop string: models repeat the prompt's tags while they
            think.
        :param should_stop: asked after each token; True ends the generation there.
        :param keep_prefix: whether more will be asked about the image.
        """
        started = time.perf_counter()
        size = self.model_size(Size(image.shape[1], image.shape[0]), task)
        pixels = resize_image(image, size, self.device, self.card.image(task).interpolation)
        inputs = self._inputs(patchify(pixels[None], self.patches), size, question, task)
        prepared = time.perf_counter()
        stream = TokenStream(lambda ids: self.tokenizer.decode(ids, skip_special_tokens=True))
        watcher = _Watcher(stream, self.card.stop, on_text, is_answered, should_stop)
        recorder = TopTokenRecorder()
        generated = self.model.generate(
            **inputs,
            logits_processor=LogitsProcessorList([recorder]),
            stopping_criteria=StoppingCriteriaList([watcher]),
            return_dict_in_generate=True,
        )
        watcher.take(stream.flush())
        ended = time.perf_counter()
        if stream.ids and stream.ids[-1] in self.model.generation_config.eos_token_id:
            watcher.finish_reason = 'stop'
        return Reasoning(
            watcher.text,
            watcher.finish_reason,
            size,
            stream.ids,
            tuple(stream.spans),
            recorder.result(),
            prompt_tokens=inputs['input_ids'].shape[1],
            preprocess_ms=(prepared - started) * 1e3,
            first_token_ms=((watcher.first_token_at or ended) - prepared) * 1e3,
            generate_ms=(ended - prepared) * 1e3,
            prefix=ImagePrefix.of(
                self.model, inputs['input_ids'][0].tolist(), generated.past_key_values
            ) if keep_prefix else None,
        )

    def _inputs(
        self, patches: torch.Tensor, size: Size, question: str, task: Task
    ) -> dict[str, torch.Tensor]:
        text = render_chat(
            self.card.template(task),
            clean_question(question, self.card.question_style(task)),
            self.patches.image_tokens(size),
        )
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors='pt')['input_ids'].to(
            self.device
        )
        return {
            'input_ids': ids,
            'attention_mask': torch.ones_like(ids),
            # Without it transformers silently falls back to text positions for image tokens.
            'mm_token_type_ids': (ids == self._image_token).int(),
            'pixel_values': patches.to(self.model.dtype),
            'image_grid_thw': image_grid(size, self.patches).to(self.device),
        }
