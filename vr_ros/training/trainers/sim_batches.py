"""Batches for the embedded reasoner: frames with instructions, as token sequences with labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from vr_ros.core.prompt import clean_question, render_chat
from vr_ros.core.types import Size, Task
from vr_ros.models.card import ReasonerCard
from vr_ros.models.preprocess import QWEN2_5_VL_PATCHES, patchify
from vr_ros.sim.instructions import WEIGHTS, NoInstructionError, SimInstruction, generate
from vr_ros.sim.truth import FrameTruth
from vr_ros.training.sim_checks import Check, draw_check
from vr_ros.training.sim_targets import (
    CELL_PX,
    MATCH_OPENING,
    NO,
    NOTHING,
    REFERENCE,
    YES,
    ModelObject,
    matching,
    model_objects,
    response,
)
from vr_ros.training.trainers.sim_frames import FrameBank, mirror_truth
from vr_ros.training.trainers.sim_model import NUMBERS, DenseTargets, dense_targets
from vr_ros.training.trainers.sim_tokenizer import coordinate_tokens, place_tokens

IGNORED = -100  # label of positions that carry no loss
CHOICE_WEIGHT, NUMBER_WEIGHT = 4.0, 4.0
# Of what is asked: questions that take longest to learn, ...
SLOW_SHARE = 0.25
SLOW_TEMPLATES = ('vqa_caption', 'vqa_caption', 'vqa_compare', 'vqa_compare', 'vqa_related')
# ... and questions about one box.
CHECK_SHARE = 0.1
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """Tensors of one training step: B images with R instructions each.

    :param pixel_values: (B * patches, values per patch).
    :param input_ids, labels: (B * R, L), right-padded; rows of one image follow each other.
    :param weights: (B * R, L) float, how much each label counts.
    :param places: (P, 2) row and column of each place token in ``input_ids``.
    :param numbers: (P, 6) box and point, in pixels, of the object that the place token names.
    """

    pixel_values: torch.Tensor
    grid: torch.Tensor
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    dense: DenseTargets
    places: torch.Tensor
    numbers: torch.Tensor


class BatchMaker:
    """Draw frames from a bank, instructions from the generator, and write them as token
    sequences.

    :param repeats: instructions per frame.
    :param checks: share of them that ask whether a box holds what an instruction asks for.
    :param direct: answers are given without reasoning.
    :ivar columns: place tokens, and the column of each.
    """

    def __init__(
        self,
        bank: FrameBank,
        tokenizer: PreTrainedTokenizerFast,
        card: ReasonerCard,
        size: Size,
        seed: int = 0,
        repeats: int = 2,
        checks: float = CHECK_SHARE,
        direct: bool = False,
    ) -> None:
        self.bank, self.tokenizer, self.card, self.size = bank, tokenizer, card, size
        self.repeats, self.checks, self.direct = repeats, checks, direct
        self.rng = np.random.default_rng(seed)
        self._image_tokens = QWEN2_5_VL_PATCHES.image_tokens(size)
        self._eos = tokenizer.eos_token_id
        self._counts = np.zeros(0, int)
        token = tokenizer.convert_tokens_to_ids
        self.verdicts = frozenset(token([YES, NO, REFERENCE]))
        rows, columns = size.height // CELL_PX, size.width // CELL_PX
        places = token(place_tokens(rows, columns))
        self._matches = torch.tensor([*token([NOTHING, ';', '</think>']), *places])
        self.columns = {place: number % columns for number, place in enumerate(places)}
        numbers = coordinate_tokens(size.width, size.height)
        self.coordinates = frozenset(token(numbers))
        self._numbers = torch.tensor(token([*numbers, *'0123456789']))
        self.match_opening, self.end = token([MATCH_OPENING, '</think>'])

    def pick(self, batch: int, max_targets: int) -> list[int]:
        """Draw frames with at most ``max_targets`` targets (the curriculum's knob)."""
        if len(self._counts) != len(self.bank):
            self._counts = np.array(
                [len(self.bank.truth(i).targets) for i in range(len(self.bank))]
            )
        allowed = np.flatnonzero(self._counts <= max_targets)
        return self.rng.choice(allowed, batch, replace=len(allowed) < batch).tolist()

    def prompt_ids(self, instruction: SimInstruction | Check) -> list[int]:
        """Tokens of the rendered chat up to where the model starts to write."""
        template = self.card.template(instruction.task)
        question = clean_question(instruction.text, self.card.question_style(instruction.task))
        text = render_chat(template, question, self._image_tokens)
        return self.tokenizer(text, add_special_tokens=False)['input_ids']

    def response_ids(self, instruction: SimInstruction | Check, truth: FrameTruth) -> list[int]:
        """Tokens of the wanted response, with the end of the turn."""
        is_check = isinstance(instruction, Check)
        text = instruction.response if is_check else response(
            instruction, truth, self.size, direct=self.direct)
        return [*self.tokenizer(text, add_special_tokens=False)['input_ids'], self._eos]

    def pixels(self, images: Sequence[np.ndarray], augment: bool) -> torch.Tensor:
        """:return: patches of the frames; with small changes of gain and colour when
        ``augment``."""
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
        if augment:
            gain = torch.from_numpy(self.rng.uniform(0.85, 1.15, (len(images), 1, 1, 1))).float()
            tint = torch.from_numpy(self.rng.uniform(0.96, 1.04, (len(images), 3, 1, 1))).float()
            pixels = (pixels * gain * tint).clamp_(0, 255)
        return patchify(pixels, QWEN2_5_VL_PATCHES)

    def draw(self, batch: int, max_targets: int = 99, *, with_text: bool = True) -> Batch:
        """Make one training batch.

        :param with_text: False leaves only the image tokens, for warming up the vision tower.
        """
        frames = self.pick(batch, max_targets)
        mirror = self.rng.random(batch) < 0.5
        truths = [
            mirror_truth(self.bank.truth(i)) if flip else self.bank.truth(i)
            for i, flip in zip(frames, mirror, strict=True)
        ]
        images = [
            self.bank.image(i)[:, ::-1] if flip else self.bank.image(i)
            for i, flip in zip(frames, mirror, strict=True)
        ]
        rows: list[tuple[list[int], list[int]]] = []
        questions: list[bool] = []
        places: list[tuple[int, int]] = []
        numbers: list[tuple[int, ...]] = []
        for truth in truths:
            if not with_text:
                rows.append((self._image_only, []))
                questions.append(False)
                continue
            for _ in range(self.repeats):
                instruction = self._ask(truth)
                questions.append(instruction.task is Task.VQA)
                prompt, wanted = self.prompt_ids(instruction), self.response_ids(instruction, truth)
                named = self._named(instruction, truth)
                at = [i for i, token in enumerate(wanted) if token in self.columns]
                places += [(len(rows), len(prompt) + i) for i in at]
                numbers += [(*o.box, *o.point) for o in named if at]
                rows.append((prompt, wanted))
        ids, mask, labels = self.pad(rows)
        objects = [model_objects(t.targets, t.size, self.size) for t in truths]
        grid = torch.tensor([[1, self.size.height // 14, self.size.width // 14]]).repeat(batch, 1)
        return Batch(
            self.pixels(images, augment=True),
            grid,
            ids,
            mask,
            labels,
            self.weigh(labels, torch.tensor(questions)),
            dense_targets(objects, self.size),
            torch.tensor(places, dtype=torch.long).view(-1, 2),
            torch.tensor(numbers, dtype=torch.long).view(-1, NUMBERS),
        )

    def instruct(self, truth: FrameTruth, slow: float = SLOW_SHARE) -> SimInstruction:
        """Draw an instruction, the slowly learnt ones more often than users would ask them.

        :param slow: how often besides their usual share.
        """
        if self.rng.random() < slow:
            try:
                return generate(truth, self.rng, 'train', str(self.rng.choice(SLOW_TEMPLATES)))
            except NoInstructionError as error:
                log.debug('another one: %s', error)
        return generate(truth, self.rng, 'train')

    def _ask(self, truth: FrameTruth) -> SimInstruction | Check:
        instruction = self.instruct(truth)
        if instruction.task is Task.VQA or self.rng.random() >= self._check_chance:
            return instruction
        return draw_check(instruction, truth, self.size, self.rng) or instruction

    @cached_property
    def _check_chance(self) -> float:
        """Of an instruction that asks for objects: only such become checks."""
        about = sum(weight for name, weight in WEIGHTS.items() if not name.startswith('vqa'))
        return min(1.0, self.checks * sum(WEIGHTS.values()) / about)

    def _named(
        self, instruction: SimInstruction | Check, truth: FrameTruth
    ) -> list[ModelObject]:
        """Objects in the order in which the response names their places: all, then those wanted."""
        if isinstance(instruction, Check):
            return [] if instruction.seen is None else [instruction.seen]
        objects = model_objects(truth.targets, truth.size, self.size)
        return objects + [o for group in matching(instruction, objects) for o in group]

    def weigh(self, labels: torch.Tensor, is_question: torch.Tensor) -> torch.Tensor:
        """Let the few tokens count most that choose (the verdicts, the places that match, and the
        words that answer a question) or that say where.

        :param labels: (N, L).
        :param is_question: (N,) whether the row is a VQA.
        :return: (N, L) float.
        """
        since_match, since_end = (
            (labels == opening).cumsum(1) > 0 for opening in (self.match_opening, self.end)
        )
        choosing = torch.isin(labels, torch.tensor(sorted(self.verdicts)))
        choosing |= since_match & torch.isin(labels, self._matches)
        choosing |= is_question[:, None] & since_end
        weights = torch.where(choosing, CHOICE_WEIGHT, 1.0)
        return weights.masked_fill(torch.isin(labels, self._numbers), NUMBER_WEIGHT)

    @cached_property
    def _image_only(self) -> list[int]:
        text = render_chat(self.card.template(Task.DETECTION), '', self._image_tokens)
        ids = self.tokenizer(text, add_special_tokens=False)['input_ids']
        return ids[: ids.index(self.tokenizer.convert_tokens_to_ids('<|vision_end|>'))]

    def pad(
        self, rows: Sequence[tuple[list[int], list[int]]]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """:return: tokens, mask and labels (N, L) of prompts and responses, right-padded."""
        length = max(len(prompt) + len(wanted) for prompt, wanted in rows)
        ids = torch.full((len(rows), length), self.tokenizer.pad_token_id)
        mask = torch.zeros(len(rows), length, dtype=torch.long)
        labels = torch.full((len(rows), length), IGNORED)
        for i, (prompt, wanted) in enumerate(rows):
            end = len(prompt) + len(wanted)
            ids[i, :end] = torch.tensor(prompt + wanted)
            mask[i, :end] = 1
            labels[i, len(prompt) : end] = torch.tensor(wanted)
        return ids, mask, labels
