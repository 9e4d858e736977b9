"""TRL's GRPO trainer with the advantages of this project and a greedy examination."""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import GRPOTrainer

from vr_ros.training.rewards.advantages import (
    TaskScales,
    ema_advantages,
    group_advantages,
    with_truth,
)
from vr_ros.training.rewards.samples import sample_from_json
from vr_ros.training.rewards.truth_rollout import truth_response
from vr_ros.training.trainers.grpo.scoring import response_of

SCALES_FILE = 'task_scales.json'


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
    :param with_truth_rollout: the last rollout of each group is the ground truth (ViSurf).

    Other parameters are those of TRL's trainer.
    """

    _tag_names = ('trl', 'grpo', 'vr_ros')

    def __init__(
        self, *args: Any, by_task: bool = False, with_truth_rollout: bool = False, **options: Any
    ) -> None:
        self._by_task, self._with_truth = by_task, with_truth_rollout
        self._scales = TaskScales()
        self._inputs: list[dict[str, Any]] = []
        self._rewards: torch.Tensor | None = None
        self.seen: Seen | None = None
        super().__init__(*args, **options)
        self._greedy = type(self.generation_config)(
            **(self.generation_kwargs | {'do_sample': False, 'temperature': None, 'top_p': None,
                                         'top_k': None, 'min_p': None}),
            disable_compile=True) if not self.use_vllm else None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        # A batch without any image is one of texts; TRL looks for images where it finds a column.
        if all(row.get('image') is None for row in inputs):
            inputs = [{key: value for key, value in row.items() if key != 'image'}
                      for row in inputs]
        self._inputs = inputs
        output = super()._generate_and_score_completions(inputs)
        if self.model.training and (self._by_task or self._with_truth):
            output['advantages'] = self._own_advantages(output['advantages'])
        return output

    def _generate_single_turn(self, *args: Any, **options: Any) -> Any:
        sampled = self.generation_config if not self.use_vllm else None
        if sampled is not None and not self.model.training:
            # The robot answers greedily: that is what is examined.
            self.generation_config = self._greedy
        try:
            completion_ids, log_probs = super()._generate_single_turn(*args, **options)
        finally:
            if sampled is not None:
                self.generation_config = sampled
        if self._with_truth and self.model.training:
            self._put_truths(completion_ids)
        return completion_ids, log_probs

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: Any, completions: Any, completion_ids: Any
    ) -> torch.Tensor:
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids)
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

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        path = Path(checkpoint or '.') / SCALES_FILE
        if self._by_task and checkpoint is not None and path.is_file():
            self._scales = TaskScales(**json.loads(path.read_text(encoding='utf-8')))

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write none: what a checkpoint needs is the project's own card, see :mod:`~.export`."""
