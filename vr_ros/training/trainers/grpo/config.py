"""Options to the arguments of TRL."""
from __future__ import annotations

import argparse
import importlib.util
import math
import os
from collections.abc import Mapping
from typing import Any

import torch
from trl import GRPOConfig

from vr_ros.models.card_types import ReasonerCard

# A model with more has its activations recomputed in the backward pass.
_LARGE_PARAMETERS = 500_000_000
REWARD_METRIC = 'eval_reward'


def processes() -> int:
    """Count the processes of this training, as accelerate and torchrun start them."""
    return int(os.environ.get('WORLD_SIZE', '1'))


def compute_dtype(options: argparse.Namespace) -> torch.dtype:
    """Choose the number format of the computation."""
    if options.dtype != 'auto':
        return getattr(torch, options.dtype)
    on_gpu = options.device != 'cpu' and torch.cuda.is_available()
    return torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported() else torch.float32


def weights_dtype(options: argparse.Namespace) -> torch.dtype:
    """Choose the number format of the weights.

    A full training keeps them in float32, since updates of 1e-6 are lost in bfloat16; DeepSpeed
    keeps a float32 copy of its own, and with LoRA only the small adapters learn.
    """
    by_deepspeed = os.environ.get('ACCELERATE_USE_DEEPSPEED', 'false').lower() == 'true'
    return compute_dtype(options) if options.lora or by_deepspeed else torch.float32


def micro_batch(options: argparse.Namespace) -> int:
    """Give the rollouts per forward pass and process.

    :raises ValueError: the rollouts of a step cannot be divided like that.
    """
    rollouts = options.prompts * options.group
    each, rest = divmod(rollouts, processes())
    micro = options.micro_batch or each
    if rest or not each or each % micro:
        raise ValueError(
            f'{options.prompts} prompts x {options.group} rollouts cannot be divided into parts of '
            f'{micro} on {processes()} processes: change --prompts or --micro-batch')
    return micro


def examined_together(rows: int, most: int) -> int:
    """Give the held-out rows per pass and process so that all passes are of like size.

    TRL 1.16 averages over passes: four rows in a last one of their own would count like 128.

    :param rows: held out; :param most: per pass and process.
    """
    passes = math.ceil(rows / (most * processes()))
    return math.ceil(rows / (passes * processes()))


def trainer_arguments(
    options: argparse.Namespace, card: ReasonerCard, parameters: int, *, goes_on: bool
) -> GRPOConfig:
    """Translate options to TRL's.

    :param parameters: of the model, how many.
    :param goes_on: from a checkpoint: the start has been examined already.
    :raises ValueError: they do not fit together, or vLLM is not installed.
    """
    micro = micro_batch(options)
    checkpointing = options.gradient_checkpointing
    if checkpointing is None:
        checkpointing = parameters > _LARGE_PARAMETERS
    return GRPOConfig(
        output_dir=str(options.out), seed=options.seed, max_steps=options.steps,
        per_device_train_batch_size=micro, per_device_eval_batch_size=micro,
        gradient_accumulation_steps=options.prompts * options.group // (micro * processes()),
        num_generations=options.group, num_generations_eval=1,
        learning_rate=options.learning_rate, weight_decay=options.weight_decay,
        max_grad_norm=options.clip_norm, warmup_steps=options.warm_up,
        lr_scheduler_type='warmup_stable_decay', optim='adamw_torch',
        lr_scheduler_kwargs={'num_decay_steps': options.cool_down, 'decay_type': 'linear'},
        beta=options.beta, epsilon=options.epsilon, epsilon_high=options.epsilon_high,
        loss_type=options.loss, scale_rewards=options.scale_rewards,
        temperature=options.temperature,
        max_completion_length=options.max_completion or card.max_new_tokens,
        use_cpu=options.device == 'cpu', bf16=compute_dtype(options) is torch.bfloat16,
        gradient_checkpointing=checkpointing,
        eval_strategy='steps', eval_steps=options.eval_steps, eval_on_start=not goes_on,
        save_strategy='steps', save_steps=options.eval_steps,
        # The best and the last one are kept in any case.
        save_total_limit=max(options.keep, 2),
        metric_for_best_model=REWARD_METRIC, greater_is_better=True,
        logging_steps=1, report_to=options.report_to, disable_tqdm=True,
        **_vllm(options))


def _vllm(options: argparse.Namespace) -> Mapping[str, Any]:
    if options.vllm == 'off':
        return {}
    if importlib.util.find_spec('vllm') is None:
        raise ValueError(f"--vllm {options.vllm}: vLLM is not installed: pip install 'trl[vllm]'"
                         ' on a machine with a GPU, or leave the option out')
    return {'use_vllm': True, 'vllm_mode': options.vllm,
            'vllm_gpu_memory_utilization': options.vllm_memory}
