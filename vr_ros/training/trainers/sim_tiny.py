"""Make the embedded models ``sim_tiny`` from nothing: render, train the reasoner, train the
segmenter, export."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from vr_ros.core.types import Size, Task
from vr_ros.models.card import ModelCard, load_card
from vr_ros.sim.instructions import corpus
from vr_ros.sim.truth import COLOURS, KINDS, SIZES
from vr_ros.training import sim_targets
from vr_ros.training.trainers.sim_batches import BatchMaker
from vr_ros.training.trainers.sim_frames import BankSpec, FrameBank, render_bank
from vr_ros.training.trainers.sim_model import Architecture, build_model
from vr_ros.training.trainers.sim_reasoner import ReasonerTrainer, Schedule
from vr_ros.training.trainers.sim_segmenter import train_segmenter
from vr_ros.training.trainers.sim_tokenizer import build_tokenizer, place_tokens

log = logging.getLogger(__name__)
SEGMENTER_SIZE = Size(256, 256)


def prompt_phrases(card: ModelCard) -> list[str]:
    """Constant pieces of the card's prompts and of the responses: one token each."""
    phrases = [
        'system\n',
        'user\n',
        'assistant\n',
        sim_targets.LIST_OPENING,
        sim_targets.MATCH_OPENING,
        sim_targets.NO_MATCH,
        sim_targets.REASON_OPENING,
    ]
    for task in (Task.DETECTION, Task.SEGMENTATION, Task.COUNTING, Task.VQA):
        template = card.reasoner.template(task)
        phrases.append(template.system)
        before, _, after = template.user.replace('{Answer}', template.example).partition(
            '{Question}'
        )
        phrases += [before, after]
    return [phrase for phrase in dict.fromkeys(phrases) if phrase]


def sentences() -> Iterator[str]:
    """Everything the tokenizer should have words for."""
    for text in corpus('train'):
        yield text
        yield text.lower()
    for kind in KINDS:
        for colour in COLOURS:
            for size in SIZES:
                yield f'the {size} {colour} {kind}'


def make_tokenizer(card: ModelCard, size: Size) -> PreTrainedTokenizerFast:
    """Build the reduced tokenizer for a card's prompts."""
    cell = sim_targets.CELL_PX
    return build_tokenizer(
        sentences(), prompt_phrases(card), place_tokens(size.height // cell, size.width // cell)
    )


def train_reasoner(card: ModelCard, frames: Path, out: Path, schedule: Schedule) -> ReasonerTrainer:
    """Train, or go on training, and leave checkpoint and curve under ``out``."""
    torch.manual_seed(0)
    size = card.reasoner.image(Task.DETECTION).size
    assert size is not None, 'the embedded model has a fixed input size'
    tokenizer_dir = out / 'tokenizer'
    if tokenizer_dir.exists():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(tokenizer_dir)
    else:
        tokenizer = make_tokenizer(card, size)
        tokenizer.save_pretrained(tokenizer_dir)
    architecture = Architecture()
    model = build_model(architecture, tokenizer, size).train()
    bank = FrameBank(frames)
    log.info(
        '%d frames, %d tokens, %.2f M parameters',
        len(bank),
        len(tokenizer),
        sum(p.numel() for p in model.parameters()) / 1e6,
    )
    seed = int(
        np.random.SeedSequence().entropy % 2**32
    )  # a resumed run must not see the same batches again
    batches = BatchMaker(bank, tokenizer, card.reasoner, size, seed=seed)
    trainer = ReasonerTrainer(model, tokenizer, batches, schedule, out, architecture.dense_layer)
    if trainer.resume():
        log.info('resumed: %s', trainer.progress)
    trainer.warm_up()
    trainer.train()
    trainer.save()
    return trainer


def export_reasoner(trainer: ReasonerTrainer, directory: Path) -> None:
    """Write safetensors (bfloat16), configuration and tokenizer as any Qwen2.5-VL checkpoint has
    them."""
    model = trainer.model.to(torch.bfloat16)
    model.save_pretrained(directory)
    trainer.tokenizer.save_pretrained(directory)


def main(arguments: list[str] | None = None) -> int:
    """Run one step of the recipe."""
    parser = argparse.ArgumentParser(prog='run train sim_tiny', description=__doc__)
    parser.add_argument('step', choices=('frames', 'reasoner', 'export', 'masks', 'segmenter'))
    parser.add_argument('--out', type=Path, default=Path('runs/sim_tiny'))
    parser.add_argument('--scenes', type=int, default=4000)
    parser.add_argument('--first-seed', type=int, default=0)
    parser.add_argument('--views', type=int, default=3)
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--warm-minutes', type=float, default=Schedule.warm_minutes)
    parser.add_argument('--joint-minutes', type=float, default=Schedule.joint_minutes)
    parser.add_argument('--batch', type=int, default=Schedule.batch)
    parser.add_argument('--rate', type=float, default=Schedule.learning_rate)
    parser.add_argument('--minutes', type=float, default=25.0, help='of the segmenter')
    parser.add_argument('--weights', type=Path, default=Path('weights/sim_tiny'))
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s')
    card = load_card('sim_tiny')
    frames, masks = options.out / 'frames', options.out / 'masks'
    if options.step == 'frames':
        size = card.reasoner.image(Task.DETECTION).size
        return _render(
            BankSpec(options.scenes, options.first_seed, options.views, size), frames, options
        )
    if options.step == 'masks':
        spec = BankSpec(
            options.scenes, options.first_seed, options.views, SEGMENTER_SIZE, keep_masks=True
        )
        return _render(spec, masks, options)
    if options.step == 'segmenter':
        train_segmenter(FrameBank(masks), options.out / 'segmenter', minutes=options.minutes)
        return 0
    schedule = Schedule(options.warm_minutes, options.joint_minutes, options.batch, options.rate)
    if options.step == 'export':
        schedule = Schedule(0, 0)
    trainer = train_reasoner(card, frames, options.out / 'reasoner', schedule)
    if options.step == 'export':
        export_reasoner(trainer, options.weights / 'reasoner')
    return 0


def _render(spec: BankSpec, directory: Path, options: argparse.Namespace) -> int:
    for path in render_bank(spec, directory, options.processes):
        log.info('%s', path.name)
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
