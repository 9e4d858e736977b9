"""Make the embedded models ``sim_tiny`` from nothing: render, train the reasoner, train the
segmenter, give it a video memory, export."""

from __future__ import annotations

import argparse
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast, Sam2Model

from vr_ros.core.types import Size, Task
from vr_ros.models.card import ModelCard, load_card
from vr_ros.models.sam2_checkpoint import load_sam2
from vr_ros.sim.instructions import corpus
from vr_ros.sim.truth import COLOURS, KINDS, SIZES
from vr_ros.training import sim_checks, sim_targets
from vr_ros.training.trainers.compiled import compile_layers
from vr_ros.training.trainers.sim_batches import BatchMaker
from vr_ros.training.trainers.sim_frames import BankSpec, FrameBank, render_bank
from vr_ros.training.trainers.sim_memory import train_memory
from vr_ros.training.trainers.sim_memory_data import ClipBank, ClipSpec, render_clips
from vr_ros.training.trainers.sim_memory_model import still_view
from vr_ros.training.trainers.sim_model import Architecture, build_model, spell_numbers
from vr_ros.training.trainers.sim_reasoner import CHECKPOINT, ReasonerTrainer, Schedule
from vr_ros.training.trainers.sim_segmenter import train_segmenter
from vr_ros.training.trainers.sim_tokenizer import (
    build_tokenizer,
    coordinate_tokens,
    place_tokens,
)

log = logging.getLogger(__name__)
SEGMENTER_SIZE = Size(256, 256)
# Below the held-out seeds, and apart from each other.
FIRST_SEED, FIRST_MASK_SEED = 10_000, 50_000
FIRST_CLIP_SEED, FIRST_HIDING_SEED, HIDING_FRAMES = 100_000, 200_000, 24


def prompt_phrases(card: ModelCard) -> list[str]:
    """Constant pieces of the card's prompts and of the responses: one token each."""
    phrases = [
        'system\n',
        'user\n',
        'assistant\n',
        sim_targets.AIM_OPENING,
        sim_targets.LIST_OPENING,
        sim_targets.MATCH_OPENING,
        sim_targets.NOTHING,
        sim_targets.YES,
        sim_targets.NO,
        sim_targets.REFERENCE,
    ]
    for task in (Task.DETECTION, Task.SEGMENTATION, Task.COUNTING, Task.VQA):
        template = card.reasoner.template(task)
        phrases.append(template.system)
        before, _, after = template.user.replace('{Answer}', template.example).partition(
            '{Question}'
        )
        phrases += [before, after]
    phrases += [sim_checks.AT_OPENING, *re.split(r'\{\w+\}', sim_checks.QUESTION)]
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
    places = place_tokens(size.height // cell, size.width // cell)
    places += coordinate_tokens(size.width, size.height)
    return build_tokenizer(sentences(), prompt_phrases(card), places)


def train_reasoner(
    card: ModelCard, frames: Path, out: Path, schedule: Schedule, *, direct: bool = False
) -> ReasonerTrainer:
    """Train, or go on training, and leave checkpoint and curve under ``out``.

    :param direct: teach it to answer without reasoning.
    """
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
    spell_numbers(model, tokenizer, size)
    compile_layers([*model.model.language_model.layers, *model.model.visual.blocks])
    bank = FrameBank(frames)
    log.info(
        '%d frames, %d tokens, %.2f M parameters',
        len(bank),
        len(tokenizer),
        sum(p.numel() for p in model.parameters()) / 1e6,
    )
    # A resumed run must not see the same batches again.
    seed = int(np.random.SeedSequence().entropy % 2**32)
    batches = BatchMaker(bank, tokenizer, card.reasoner, size, seed=seed, direct=direct)
    trainer = ReasonerTrainer(
        model, tokenizer, batches, schedule, out,
        architecture.dense_layer, architecture.word_layer, architecture.place_layer,
    )
    if trainer.resume():
        log.info('resumed: %s', trainer.progress)
    trainer.warm_up()
    trainer.train()
    trainer.save()
    return trainer


def export_reasoner(trainer: ReasonerTrainer, directory: Path) -> None:
    """Write a checkpoint as any of Qwen2.5-VL's is: safetensors in bfloat16, configurations."""
    model = trainer.model.to(torch.bfloat16)
    model.save_pretrained(directory)
    trainer.tokenizer.save_pretrained(directory)


def _render(spec: BankSpec, directory: Path, options: argparse.Namespace) -> None:
    for path in render_bank(spec, directory, options.processes):
        log.info('%s', path.name)


def _render_frames(card: ModelCard, options: argparse.Namespace) -> None:
    size = card.reasoner.image(Task.DETECTION).size
    assert size is not None, 'the embedded model has a fixed input size'
    spec = BankSpec(options.scenes, FIRST_SEED, options.views, size)
    _render(spec, options.out / 'frames', options)


def _train_reasoner(card: ModelCard, options: argparse.Namespace) -> None:
    schedule = Schedule(options.warm_minutes, options.joint_minutes, options.images,
                        options.word_rows)
    trainer = train_reasoner(card, options.out / 'frames', options.out / 'reasoner', schedule)
    export_reasoner(trainer, options.weights / 'reasoner')


def _train_direct(card: ModelCard, options: argparse.Namespace) -> None:
    """Teach the trained reasoner to answer at once: the start point without reasoning."""
    out, reasoner = options.out / 'direct', options.out / 'reasoner'
    if not out.is_dir():
        shutil.copytree(reasoner, out, ignore=shutil.ignore_patterns('curve.jsonl'))
        state = torch.load(out / CHECKPOINT, weights_only=True)
        state['progress']['joint_minutes'] = 0.0
        torch.save(state, out / CHECKPOINT)
    schedule = Schedule(0.0, options.direct_minutes, grow=0.01)
    trainer = train_reasoner(card, options.out / 'frames', out, schedule, direct=True)
    export_reasoner(trainer, options.weights / 'direct')


def _render_masks(card: ModelCard, options: argparse.Namespace) -> None:
    spec = BankSpec(
        options.mask_scenes, FIRST_MASK_SEED, 2, SEGMENTER_SIZE, keep_masks=True
    )
    _render(spec, options.out / 'masks', options)


def _train_segmenter(card: ModelCard, options: argparse.Namespace) -> None:
    weights = train_segmenter(
        FrameBank(options.out / 'masks'), options.out / 'segmenter',
        minutes=options.segmenter_minutes,
    )
    shutil.copytree(weights, options.weights / 'segmenter', dirs_exist_ok=True)


def _train_memory(card: ModelCard, options: argparse.Namespace) -> None:
    """Follow objects with the segmenter that is there; its encoder stays as it is."""
    _render_masks(card, options)
    spec = ClipSpec(options.clips, FIRST_CLIP_SEED, edge=SEGMENTER_SIZE.width)
    hidings = ClipSpec(options.hiding_clips, FIRST_HIDING_SEED, frames=HIDING_FRAMES,
                       edge=SEGMENTER_SIZE.width, clips_per_shard=10, hiding=True)
    for one, name in ((spec, 'clips'), (hidings, 'hidings')):
        for path in render_clips(one, options.out / name, options.processes):
            log.info('%s', path.name)
    own = options.out / 'segmenter' / 'weights'
    model = load_sam2(own if own.is_dir() else options.weights / 'segmenter', spec.edge)
    weights = train_memory(
        model if isinstance(model, Sam2Model) else still_view(model),
        ClipBank(options.out / 'clips'), FrameBank(options.out / 'masks'), options.out / 'memory',
        minutes=options.memory_minutes, hidings=ClipBank(options.out / 'hidings'),
    )
    shutil.copytree(weights, options.weights / 'segmenter', dirs_exist_ok=True)


STEPS = {
    'frames': _render_frames,
    'reasoner': _train_reasoner,
    'masks': _render_masks,
    'segmenter': _train_segmenter,
    'memory': _train_memory,
}
ABLATIONS = {'direct': _train_direct}


def main(arguments: list[str] | None = None) -> int:
    """Run the recipe, or one step of it; each goes on where it was interrupted."""
    schedule = Schedule()
    parser = argparse.ArgumentParser(
        prog='run train sim_tiny', description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('step', nargs='?', choices=('all', *STEPS, *ABLATIONS),
                        default='all', help='one step alone; direct: an ablation, not in all')
    parser.add_argument('--out', type=Path, default=Path('runs/sim_tiny'), help='working directory')
    parser.add_argument('--weights', type=Path, default=Path('weights/sim_tiny'),
                        help='where the trained models go')
    parser.add_argument('--scenes', type=int, default=4000, help='for the reasoner')
    parser.add_argument('--views', type=int, default=3, help='camera poses per scene')
    parser.add_argument('--mask-scenes', type=int, default=700, help='for the segmenter')
    parser.add_argument('--processes', type=int, default=2, help='that render')
    parser.add_argument('--warm-minutes', type=float, default=schedule.warm_minutes,
                        help='of training that warms the reasoner up')
    parser.add_argument('--joint-minutes', type=float, default=schedule.joint_minutes,
                        help='of training the whole reasoner')
    parser.add_argument('--images', type=int, default=schedule.batch, help='per step')
    parser.add_argument('--word-rows', type=int, default=schedule.word_rows,
                        help='per step, rows of words alone')
    parser.add_argument('--direct-minutes', type=float, default=20.0,
                        help='of teaching a copy of the reasoner to answer without reasoning')
    parser.add_argument('--segmenter-minutes', type=float, default=16.0,
                        help='of training the segmenter')
    parser.add_argument('--clips', type=int, default=1400, help='moving scenes for the memory')
    parser.add_argument('--hiding-clips', type=int, default=300,
                        help='of them, longer ones in which something goes out of sight')
    parser.add_argument('--memory-minutes', type=float, default=60.0,
                        help='of training the video memory')
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s')
    card = load_card('sim_tiny')
    for name in STEPS if options.step == 'all' else (options.step,):
        log.info('%s', name)
        (STEPS | ABLATIONS)[name](card, options)
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
