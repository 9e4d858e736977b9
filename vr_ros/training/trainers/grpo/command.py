"""``./run train grpo``: learn from rewards, choose the best checkpoint on held-out rows, export it.

An interrupted run goes on from its last checkpoint when it is called again.
"""
from __future__ import annotations

import argparse
import logging
import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from accelerate import PartialState
from peft import PeftModel
from safetensors import safe_open
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from vr_ros.core.types import PerceptionError
from vr_ros.models.card import known_cards, load_card
from vr_ros.models.card_types import ReasonerCard
from vr_ros.models.weights import resolve_weights
from vr_ros.training.rewards.scoring import RewardError
from vr_ros.training.rewards.stages import CurriculumError, Stage, load_curriculum
from vr_ros.training.trainers.grpo import smoke
from vr_ros.training.trainers.grpo.checkpoints import (
    SettingsError,
    claim,
    last_checkpoint,
)
from vr_ros.training.trainers.grpo.choice import RewardChoice
from vr_ros.training.trainers.grpo.config import (
    examined_together,
    trainer_arguments,
    weights_dtype,
)
from vr_ros.training.trainers.grpo.export import export
from vr_ros.training.trainers.grpo.files import RowsError, check_folders
from vr_ros.training.trainers.grpo.options import check, parse, settings_of
from vr_ros.training.trainers.grpo.pictures import RolloutPictures
from vr_ros.training.trainers.grpo.policy import load_policy, lora_config
from vr_ros.training.trainers.grpo.rows import read_rows
from vr_ros.training.trainers.grpo.scoring import RewardFunction
from vr_ros.training.trainers.grpo.trainer import VisionGrpoTrainer
from vr_ros.training.trainers.grpo.watching import Curve, SignalWatch

EXPORT = 'export'
log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the options say.

    :return: 0 done, 1 a response could not be scored, 2 bad usage, each with one line why.
    """
    options = parse(arguments, smoke.SETTINGS)
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s')
    _quieten()
    try:
        check(options)
        card_file = run(options)
    except (ValueError, RowsError, SettingsError, CurriculumError, PerceptionError) as error:
        print(f'train grpo: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    except (RewardError, smoke.SmokeError) as error:
        print(f'train grpo: {error}', file=sys.stderr)
        return 1
    if card_file is not None:
        print(f'next: ./run evaluate sim --model {card_file}')
    return 0


def run(options: argparse.Namespace) -> Path | None:
    """Train, and export the best checkpoint.

    :return: the file of the new card; None on processes that only help.
    """
    settings = settings_with_stage(options)
    source = card_path(options.card)
    card = load_card(source).reasoner
    if not options.smoke:   # before --fresh removes anything
        check_folders(options.data, options.train_split)
    state = PartialState(cpu=options.device == 'cpu')
    # The first process decides, before the others look.
    with state.main_process_first():
        if state.is_main_process:
            checkpoint = claim(options.out, settings, fresh=options.fresh)
        else:
            checkpoint = last_checkpoint(options.out)
        if options.smoke:
            smoke.build(options)
    directory = resolve_weights(card.weights)
    trainer = build_trainer(options, card, directory, goes_on=checkpoint is not None)
    if checkpoint is not None:
        log.info('goes on from %s', checkpoint)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if not trainer.is_world_process_zero():
        return None
    # Not the path that it was saved under: the folder may have been moved since.
    step = trainer.state.best_global_step
    best = options.out / f'{PREFIX_CHECKPOINT_DIR}-{step}' if step else last_checkpoint(options.out)
    say_what_came_of_it(trainer, best)
    return export_checkpoint(best, options, card, directory, source)


def build_trainer(
    options: argparse.Namespace, card: ReasonerCard, directory: Path, *, goes_on: bool
) -> VisionGrpoTrainer:
    """Put rows, policy, reward and trainer together.

    :param directory: of the start model's weights.
    """
    # Before the model: DeepSpeed looks there for how it is to be loaded.
    arguments = trainer_arguments(options, card, _parameters(directory), goes_on=goes_on)
    policy, processor = load_policy(
        card, directory, weights_dtype(options), train_vision=options.train_vision)
    choice = RewardChoice(options.reward, options.non_repetition, _stage(options))
    reward = RewardFunction(choice, arguments.max_completion_length,
                            policy.generation_config.eos_token_id)
    rows = read_rows(
        options.data, card, reward.prepare, train_split=options.train_split,
        held_out_split=options.held_out_split, held_out_rows=options.held_out_rows,
        limit=options.limit, seed=options.seed)
    reward.sources = rows.sources
    log.info('%d rows to learn from, %d held out; sources: %s', len(rows.train),
             len(rows.held_out), ', '.join(rows.sources))
    if len(rows.train) < options.prompts:   # TRL would leave the step out, and all of them
        raise RowsError(f'{len(rows.train)} rows to learn from, but --prompts {options.prompts}'
                        ' per step')
    arguments.per_device_eval_batch_size = examined_together(
        len(rows.held_out), arguments.per_device_eval_batch_size)
    peft = lora_config(options.lora, options.lora_alpha or 2 * options.lora) if options.lora else (
        None)
    trainer = VisionGrpoTrainer(
        policy, reward, arguments, rows.train, rows.held_out, processor, peft_config=peft,
        by_task=options.advantages == 'ema', with_truth_rollout=options.truth_rollout,
        packs=options.packing, least_advantage=options.least_advantage)
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    for callback in (
        Curve(options.out), SignalWatch(trainer),
        RolloutPictures(trainer, options.out / 'pictures', options.picture_steps,
                        relative=card.coordinates == 'relative_1000'),
    ):
        trainer.add_callback(callback)
    return trainer


def export_checkpoint(
    checkpoint: Path, options: argparse.Namespace, card: ReasonerCard, directory: Path, source: Path
) -> Path:
    """Turn a checkpoint into a card with weights of the start model's number format."""
    stored = _stored_dtype(directory)
    adapted = (checkpoint / 'adapter_config.json').is_file()
    policy, processor = load_policy(
        card, directory if adapted else checkpoint, torch.float32, train_vision=True)
    if adapted:
        policy = PeftModel.from_pretrained(policy, checkpoint)
    name = options.name or f'{source.stem}_grpo'
    return export(policy, processor, source, options.out / EXPORT, name, stored)


def say_what_came_of_it(trainer: VisionGrpoTrainer, best: Path) -> None:
    """Compare the best checkpoint with the start, on the held-out rows."""
    measured = [(line['step'], line['eval_reward']) for line in trainer.state.log_history
                if 'eval_reward' in line]
    start = next((value for step, value in measured if step == 0), None)
    value = trainer.state.best_metric
    if start is not None and value is not None:
        log.info('best on the held-out rows: %s with %s at the start', best.name,
                 compared(value, start))


def compared(value: float, start: float) -> str:
    """Say how a figure compares with the start's, with digits enough to tell them apart."""
    if value == start:
        return f'{value:.4f}, NOT better: the same as'
    digits = next((d for d in range(4, 18) if f'{value:.{d}f}' != f'{start:.{d}f}'), 18)
    verb = 'up from' if value > start else 'NOT better than'
    return f'{value:.{digits}f}, {verb} {start:.{digits}f}'


def card_path(name: str) -> Path:
    """Find the file of a card that is named or given by path; load_card says what is wrong."""
    known = known_cards()
    if name in known:
        return known[name]
    load_card(name)
    return Path(name).expanduser().absolute()


def settings_with_stage(options: argparse.Namespace) -> dict[str, Any]:
    """Give what must be the same where a run goes on: of a curriculum, what the stage says."""
    stage = _stage(options)
    return settings_of(options, stage and asdict(stage))


def _quieten() -> None:
    """Leave out what other packages say at every checkpoint and file."""
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    for noisy in ('httpx', 'absl', 'OpenGL'):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # TRL 1.16 still gives the option its old name.
    warnings.filterwarnings('ignore', '.*gradient_checkpointing.*', FutureWarning)


def _stage(options: argparse.Namespace) -> Stage | None:
    if not options.curriculum:
        return None
    stages = {stage.name: stage for stage in load_curriculum(options.curriculum).stages}
    if options.stage not in stages:
        raise CurriculumError(f'{options.curriculum} has no stage "{options.stage}"; there are: '
                              f'{", ".join(stages)}')
    if stages[options.stage].kind != 'reward':
        raise CurriculumError(f'stage "{options.stage}" is {stages[options.stage].kind}: nothing to'
                              ' reward')
    return stages[options.stage]


def _parameters(directory: Path) -> int:
    """Count a checkpoint's numbers without loading it."""
    return sum(
        math.prod(file.get_slice(name).get_shape())
        for path in directory.glob('*.safetensors')
        for file in [safe_open(path, framework='pt')] for name in file.keys())


def _stored_dtype(directory: Path) -> torch.dtype:
    """Tell in which number format a checkpoint keeps its weights."""
    with safe_open(next(iter(sorted(directory.glob('*.safetensors')))), framework='pt') as file:
        return file.get_tensor(next(iter(file.keys()))).dtype
