"""A language model that names the type of an instruction: TaskRouter-1.5B, VisionReasoner's own."""
from __future__ import annotations

import math
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, GenerationConfig, Qwen2ForCausalLM

from vr_ros.core.router import REPLY_DIGITS, parse_router_reply, render_router_chat, route
from vr_ros.core.types import PerceptionError, Status, Task
from vr_ros.models.card_types import RouterCard
from vr_ros.models.weights import check_loaded

END_OF_TURN = '<|im_end|>'
_ONE_TYPE = (Task.DETECTION, Task.SEGMENTATION)


class LanguageRouter:
    """A Qwen2 checkpoint that was taught to name types.

    :param directory: its files.
    :raises PerceptionError: MODEL_UNAVAILABLE with what is missing or wrong.
    """

    def __init__(self, card: RouterCard, directory: Path, device: str) -> None:
        self._device = torch.device(device)
        dtype = getattr(torch, card.dtype_for(self._device.type))
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
            model, report = Qwen2ForCausalLM.from_pretrained(
                directory, dtype=dtype, local_files_only=True, use_safetensors=True,
                output_loading_info=True)
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
            reason = ' '.join(str(error).split())
            raise PerceptionError(
                Status.MODEL_UNAVAILABLE, f'{directory} cannot be loaded as qwen2: {reason}'
            ) from error
        check_loaded(report, directory)
        ends = self._tokenizer(END_OF_TURN, add_special_tokens=False).input_ids
        if len(ends) != 1:
            raise PerceptionError(
                Status.MODEL_UNAVAILABLE,
                f'{directory} has no tokenizer of this model: is tokenizer.json there?')
        self._model = model.to(self._device).eval()
        # The checkpoint's own settings may draw by chance: the same words are to give one task.
        self._model.generation_config = GenerationConfig(
            do_sample=False, max_new_tokens=card.max_new_tokens, eos_token_id=ends,
            pad_token_id=ends[0], output_scores=True, return_dict_in_generate=True)

    def ask(self, text: str) -> tuple[Task, float]:
        """Classify an instruction.

        Detection and segmentation are one type there: the rules tell which of them it is.

        :return: the task, and the probability of the token that decided; NaN where none did.
        """
        task, probability = self.reply(text)
        if task in _ONE_TYPE:
            rules = route(text).task
            task = rules if rules in _ONE_TYPE else task
        return task, probability

    @torch.inference_mode()
    def reply(self, text: str) -> tuple[Task, float]:
        """:return: what the reply means to VisionReasoner, and the probability that ask() gives."""
        prompt = self._tokenizer(render_router_chat(text), return_tensors='pt',
                                 add_special_tokens=False).to(self._device)
        written = self._model.generate(**prompt)
        ids = written.sequences[0, prompt.input_ids.shape[1]:]
        words = [self._tokenizer.decode([token], skip_special_tokens=True)
                 for token in ids.tolist()]
        digits = [at for at, word in enumerate(words) if re.search(REPLY_DIGITS, word)]
        probability = math.nan
        if digits:
            scores = written.scores[digits[-1]][0].float()
            probability = float(torch.softmax(scores, dim=-1)[ids[digits[-1]]])
        reply = self._tokenizer.decode(ids, skip_special_tokens=True)
        return parse_router_reply(reply), probability
