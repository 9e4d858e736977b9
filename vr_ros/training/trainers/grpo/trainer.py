"""TRL's GRPO trainer with the advantages of this project and a greedy examination."""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from peft import PeftModel
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import GRPOTrainer
from trl.models import unwrap_model_for_generation

from vr_ros.models.weights import check_loaded
from vr_ros.training.rewards.advantages import (
    TaskScales,
    ema_advantages,
    group_advantages,
    with_truth,
)
from vr_ros.training.rewards.samples import sample_from_json
from vr_ros.training.rewards.truth_rollout import truth_response
from vr_ros.training.trainers.grpo.packing import passes
from vr_ros.training.trainers.grpo.rollouts import Sampling, write_rollouts
from vr_ros.training.trainers.grpo.scoring import response_of

SCALES_FILE = 'task_scales.json'
IMAGE_INPUTS = ('pixel_values', 'image_grid_thw')
# Of like length, in one forward pass: more of them would be padded up to the longest.
GROUPS_PER_PASS = 4


@dataclass(frozen=True)
class Seen:
    """Rollouts of the latest step on this process, for those who watch."""

    inputs: tuple[dict[str, Any], ...]
    responses: tuple[str, ...]
    rewards: tuple[float, ...]
    correct: tuple[bool, ...]


class VisionGrpoTrainer(GRPOTrainer):
    """GRPO on rows of :mod:`~.rows`, with one reward, a :class:`~.scoring.RewardFunction`.

    :param by_task: divide advantages by the usual spread of their task (EMA-GRPO).
    :param packs: compute the prompt of a group once, see :mod:`~.packing`, and leave rollouts out
        that have no gradient.
    :param least_advantage: advantages nearer to 0 count as 0.
    :param with_truth_rollout: the last rollout of each group is the ground truth (ViSurf).

    Other parameters are those of TRL's trainer.
    """

    _tag_names = ('trl', 'grpo', 'vr_ros')

    def __init__(
        self, *args: Any, by_task: bool = False, with_truth_rollout: bool = False,
        packs: bool = True, least_advantage: float = 0.0, **options: Any,
    ) -> None:
        self._by_task, self._with_truth, self._packs = by_task, with_truth_rollout, packs
        self._least_advantage = least_advantage
        self._teaches: list[bool] | None = None   # of each rollout in the loss; None: all
        self._scales = TaskScales()
        self._inputs: list[dict[str, Any]] = []
        self._rewards: torch.Tensor | None = None
        self.seen: Seen | None = None
        super().__init__(*args, **options)
        policy = self.accelerator.unwrap_model(self.model)
        # Without its head; it knows the positions of images.
        self._inner = (policy.get_base_model() if isinstance(policy, PeftModel) else policy).model

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        # A batch without any image is one of texts; TRL looks for images where it finds a column.
        if all(row.get('image') is None for row in inputs):
            inputs = [{key: value for key, value in row.items() if key != 'image'}
                      for row in inputs]
        self._inputs = inputs
        output = super()._generate_and_score_completions(inputs)
        if self.model.training and (self._by_task or self._with_truth):
            output['advantages'] = self._own_advantages(output['advantages'])
        if self.model.training and self._least_advantage:
            advantages = output['advantages']
            output['advantages'] = advantages * (advantages.abs() >= self._least_advantage)
        return output

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        # Without a KL divergence, a rollout without an advantage has a loss of 0 and no gradient.
        teaches = (inputs['advantages'] != 0).tolist()
        self._teaches = teaches if not self.beta and any(teaches) else None
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self._teaches = None

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], images: list[Any] | None,
        multimodal_fields: dict[str, Any], num_generations: int, **options: Any,
    ) -> tuple[list[list[int]], Any]:
        plugin = self.accelerator.state.deepspeed_plugin
        is_sharded = self.is_fsdp_enabled or (plugin is not None and plugin.zero_stage == 3)
        if self.use_vllm or is_sharded:
            # vLLM has a way of its own; sharded weights are gathered as TRL does it. Both draw by
            # chance in examinations, too.
            completion_ids, log_probs = super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, **options)
        else:
            completion_ids, log_probs = self._write(prompt_ids, images, multimodal_fields), None
        if self._with_truth and self.model.training:
            self._put_truths(completion_ids)
        return completion_ids, log_probs

    def _write(self, prompt_ids: list[list[int]], images: list[Any] | None,
               multimodal_fields: dict[str, Any]) -> list[list[int]]:
        shown = [some[0] if some else None for some in images or [None] * len(prompt_ids)]
        config = self.model.config
        sampling = Sampling(
            self.max_completion_length,
            # The robot answers greedily: that is what is examined.
            self.temperature if self.model.training else 0.0,
            self.eos_token_ids, (config.image_token_id, config.video_token_id),
            self._tokenizer.pad_token_id)
        with unwrap_model_for_generation(
            self.model_wrapped, self.accelerator,
            gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
        ) as model:
            return write_rollouts(
                model, self._inner, prompt_ids,
                # The rows of a group hold the same image, and not only equal ones.
                [(tuple(ids), id(image)) for ids, image in zip(prompt_ids, shown, strict=True)],
                {name: multimodal_fields[name] for name in IMAGE_INPUTS
                 if name in multimodal_fields},
                [image is not None for image in shown], sampling)

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor,
        logits_to_keep: int, batch_size: int | None = None, compute_entropy: bool = False,
        **options: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        if not self._packs:
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy,
                **options)
        numbers = options.get('num_images') or [0] * len(input_ids)
        images = {name: options[name] for name in IMAGE_INPUTS
                  if options.get(name) is not None and sum(numbers)}
        # Several passes before one backward pass are not for models that are wrapped.
        most = GROUPS_PER_PASS if self.accelerator.num_processes == 1 else len(input_ids)
        mask = attention_mask[:, -logits_to_keep:]
        log_probs, entropies, rows = [], [], []
        for one in passes(self._inner, input_ids, attention_mask, logits_to_keep, images,
                          [bool(number) for number in numbers], most, self._teaches):
            with self.accelerator.autocast():
                output = model(**one.inputs(), fused_lm_head=True)
            log_probs.append(one.unpack(output.log_probs, mask))
            if compute_entropy:
                entropies.append(one.unpack(output.entropy, mask))
            rows.append(one.rows)
        places = torch.cat(rows)

        def of_all(values: list[torch.Tensor], other: float) -> torch.Tensor:
            found = torch.cat(values)
            return found.new_full(mask.shape, other).index_copy(0, places, found)

        if not compute_entropy:
            return of_all(log_probs, 0), None, None
        # What is left out must not change the mean that is logged.
        usual = float(sum(one.detach().sum() for one in entropies) / mask[places].sum())
        return of_all(log_probs, 0), of_all(entropies, usual), None

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: Any, completions: Any,
        completion_ids_list: Any,
    ) -> torch.Tensor:
        self.reward_funcs[0].is_examination = not self.model.training
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._rewards = rewards
        if self.model.training:
            latest = self.reward_funcs[0].latest
            self.seen = Seen(
                tuple(inputs), tuple(map(response_of, completions)),
                tuple(one.final for one in latest), tuple(one.is_correct for one in latest))
        return rewards

    def prediction_step(
        self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[None, None, None]:
        """Answer and score held-out rows; a loss would say nothing about them."""
        with torch.no_grad():
            self._prepare_inputs(inputs)
        return None, None, None

    def _put_truths(self, completion_ids: list[list[int]]) -> None:
        """Replace the last rollout of each group by the ground truth, in place."""
        first = self.accelerator.process_index * len(completion_ids)
        for place, row in enumerate(self._inputs):
            if (first + place) % self.num_generations == self.num_generations - 1:
                text = truth_response(sample_from_json(row['reward_spec']))
                ids = self._tokenizer(text, add_special_tokens=False)['input_ids']
                completion_ids[place] = [*ids, self._tokenizer.eos_token_id]

    def _own_advantages(self, theirs: torch.Tensor) -> torch.Tensor:
        """Compute the advantages of this process's rollouts from the rewards of all."""
        rewards = self._rewards[:, 0].double().cpu().numpy().reshape(-1, self.num_generations)
        if self._with_truth:
            rewards = with_truth(rewards[:, :-1], rewards[:, -1])
        if self._by_task:
            tasks = gather_object([row['task'] for row in self._inputs])[::self.num_generations]
            advantages, self._scales = ema_advantages(rewards, tasks, self._scales)
        else:
            advantages = group_advantages(rewards, self.scale_rewards)
        own = advantages.reshape(-1)[self._own_slice(len(theirs))]
        return torch.from_numpy(np.ascontiguousarray(own)).to(theirs)

    def _own_slice(self, rows: int) -> slice:
        first = self.accelerator.process_index * rows
        return slice(first, first + rows)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self._by_task and self.args.should_save:
            folder = f'{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}'
            path = Path(self._get_output_dir(trial=trial)) / folder / SCALES_FILE
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(asdict(self._scales)), encoding='utf-8')
        # A checkpoint is complete with what this writes last: see checkpoints.last_checkpoint().
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Take up the weights of a checkpoint, all of them.

        transformers 5.23 writes those of the Qwen-VL families under the names that they have on the
        hub and looks for the names in memory: it finds none, warns, and goes on with the start's.
        """
        if isinstance(self.model, PeftModel):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        saved, report = type(self.model).from_pretrained(
            resume_from_checkpoint, dtype=self.model.dtype, local_files_only=True,
            use_safetensors=True, output_loading_info=True)
        check_loaded(report, Path(resume_from_checkpoint))
        self.model.load_state_dict(saved.state_dict())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        path = Path(checkpoint or '.') / SCALES_FILE
        if self._by_task and checkpoint is not None and path.is_file():
            self._scales = TaskScales(**json.loads(path.read_text(encoding='utf-8')))

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write none: what a checkpoint needs is the project's own card, see :mod:`~.export`."""
