"""The model that learns: loaded as the card says, with its eyes shut to learning."""
from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from vr_ros.models.card_types import ReasonerCard
from vr_ros.models.qwen_vl import FAMILIES
from vr_ros.models.weights import check_loaded
from vr_ros.training.trainers.grpo.processor import CardProcessor
from vr_ros.training.trainers.grpo.shared_vision import drop_empty_images, share_equal_images

# The linear layers of the language model; the vision tower has some of the same names.
LORA_TARGETS = (
    r'.*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)')
ENDS = ('<|im_end|>', '<|endoftext|>')


def load_policy(
    card: ReasonerCard, directory: Path, dtype: torch.dtype, *, train_vision: bool
) -> tuple[PreTrainedModel, CardProcessor]:
    """Load a checkpoint to train it.

    The vision tower and the connector stay as they are unless asked for: trained along, their
    gradients are more than ten times those of the language model and grow towards the first layer,
    detection collapses after some dozens of steps, and the language model alone gives all of the
    gain. Source: V-Triune, section 4.

    :param directory: of the checkpoint.
    :raises PerceptionError: MODEL_UNAVAILABLE when the checkpoint lacks tensors.
    """
    model_class, patches = FAMILIES[card.family]
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    model, report = model_class.from_pretrained(
        directory, dtype=dtype, attn_implementation='sdpa', local_files_only=True,
        use_safetensors=True, output_loading_info=True)
    check_loaded(report, directory)
    model.generation_config.eos_token_id = end_tokens(tokenizer)
    model.model.visual.requires_grad_(train_vision)
    share_equal_images(model.model.visual)
    drop_empty_images(model.model)
    return model, CardProcessor.of(tokenizer, patches)


def end_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Give the tokens that end an answer, as the node has them."""
    ends = {tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids(list(ENDS))}
    return sorted(ends - {None})


def lora_config(rank: int, alpha: int, dropout: float = 0.0) -> LoraConfig:
    """Adapt the linear layers of the language model."""
    return LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, task_type='CAUSAL_LM',
                      target_modules=LORA_TARGETS)
