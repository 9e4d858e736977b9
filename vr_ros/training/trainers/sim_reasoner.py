"""Train the embedded reasoner from scratch: the eyes first, then eyes and words together.

Stage ``warm``: image tokens only, dense supervision. Stage ``joint``: next-token loss plus the
dense loss, scenes growing from three targets to all, and as many rows of words alone. Both are
resumable; a checkpoint is written every few minutes.
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from vr_ros.training.trainers.optimizers import MuonAndAdamW
from vr_ros.training.trainers.sim_batches import Batch, BatchMaker
from vr_ros.training.trainers.sim_chunks import forward_chunks
from vr_ros.training.trainers.sim_model import DenseHead, LayerTap, number_loss
from vr_ros.training.trainers.sim_vision import equal_images
from vr_ros.training.trainers.sim_word_head import GROWTH, WordHead, next_level, word_losses
from vr_ros.training.trainers.sim_words import FIRST_COLOURS, WordRows

CHECKPOINT = 'checkpoint.pt'
KINDS_OF_TOKEN = {
    'digits': re.compile(r'\d'),
    'numbers': re.compile(r' [xy]\d+'),
    'places': re.compile(r' r\d+c\d+'),
    'verdicts': re.compile(r' (yes|no|reference)'),
    'words': re.compile(r' ?[a-z]+'),
}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """How long and how hard to train; minutes count computing only, so a resumed run goes on where
    it was.

    :param batch: images of a step, of the joint stage; each is seen for two instructions.
    :param word_rows: rows of words alone beside them.
    :param decay: share of the joint stage over which the learning rate falls to nothing.
    :param grow: share of the joint stage after which scenes of any size take part.
    :param word_weight: of the loss on rows of words alone.
    """

    warm_minutes: float = 10.0
    joint_minutes: float = 90.0
    batch: int = 32
    word_rows: int = 64
    learning_rate: float = 1.5e-3
    dense_weight: float = 0.5
    word_weight: float = 0.5
    decay: float = 0.5
    grow: float = 0.1
    checkpoint_minutes: float = 4.0


@dataclass
class Progress:
    """Where a run stands; saved with every checkpoint.

    :param colours: of how many colours rows of words alone are.
    :param groups: how many of the steps towards grouping are learnt, see :class:`WordRows`.
    """

    warm_minutes: float = 0.0
    joint_minutes: float = 0.0
    warm_images: int = 0
    joint_samples: int = 0
    steps: int = 0
    colours: int = FIRST_COLOURS
    groups: int = 0


class ReasonerTrainer:
    """The two stages, their state and their checkpoints."""

    def __init__(
        self,
        model: Qwen2_5_VLForConditionalGeneration,
        tokenizer: PreTrainedTokenizerFast,
        batches: BatchMaker,
        schedule: Schedule,
        out: Path,
        dense_layer: int = 2,
        word_layer: int = 3,
        place_layer: int = 4,
    ) -> None:
        self.model, self.tokenizer, self.batches, self.schedule = (
            model,
            tokenizer,
            batches,
            schedule,
        )
        self.out = out
        self.head = DenseHead(model.config.text_config.hidden_size, batches.size)
        self.word_head = WordHead(
            model.config.text_config.hidden_size, len(batches.columns))
        self.tap, self.word_tap, self.place_tap = (
            LayerTap(model, layer) for layer in (dense_layer, word_layer, place_layer))
        self.words = WordRows(batches)
        self._shares: dict[str, list[float]] = {name: [] for name in GROWTH}
        self.optimizer = MuonAndAdamW(
            [model, self.head, self.word_head], schedule.learning_rate)
        self.progress = Progress()
        token = tokenizer.convert_tokens_to_ids
        width, height = batches.size.width, batches.size.height
        self._axes = [
            (torch.tensor(token(f' {axis}0')), torch.tensor(token(f' {axis}{last}')))
            for axis, last in (('x', width), ('y', height))
        ]
        self._image_token = tokenizer.convert_tokens_to_ids('<|image_pad|>')
        out.mkdir(parents=True, exist_ok=True)

    def resume(self) -> bool:
        """Take up the last checkpoint, if there is one."""
        path = self.out / CHECKPOINT
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state['model'])
        self.head.load_state_dict(state['head'])
        self.word_head.load_state_dict(state['word_head'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.progress = Progress(**state['progress'])
        return True

    def save(self) -> None:
        """Write a checkpoint to go on from, whole or not at all."""
        temporary = self.out / 'checkpoint.tmp'
        torch.save(
            {
                'model': self.model.state_dict(),
                'head': self.head.state_dict(),
                'word_head': self.word_head.state_dict(),
                'optimizer': self.optimizer.state_dict(),
                'progress': vars(self.progress),
            },
            temporary,
        )
        temporary.replace(self.out / CHECKPOINT)

    def warm_up(self) -> None:
        """Teach the vision tower and the lower decoder layers to see objects."""
        progress = self.progress
        while progress.warm_minutes < self.schedule.warm_minutes:
            rate = self.schedule.learning_rate * min(1.0, (progress.steps + 1) / 100)
            started = time.monotonic()
            batch = self.batches.draw(2 * self.schedule.batch, with_text=False)
            embeddings, positions, is_image = self._embed(batch, repeats=1)
            with torch.autocast('cpu', dtype=torch.bfloat16):
                self.model.model.language_model(
                    inputs_embeds=embeddings, position_ids=positions, use_cache=False
                )
            loss, parts = self.head.loss(self.tap.image_tokens(is_image), batch.dense)
            self.optimizer.step(loss, rate)
            progress.steps += 1
            progress.warm_minutes += (time.monotonic() - started) / 60
            progress.warm_images += len(batch.grid)
            self._report('warm', rate, {'dense': float(loss), **parts})

    def train(self) -> None:
        """Teach it to answer."""
        schedule, progress = self.schedule, self.progress
        first_step = progress.steps
        while progress.joint_minutes < schedule.joint_minutes:
            share = progress.joint_minutes / schedule.joint_minutes
            ramp = min(1.0, (progress.steps - first_step + 1) / 40)
            rate = schedule.learning_rate * ramp * min(1.0, (1 - share) / schedule.decay)
            started = time.monotonic()
            limit = 3 + math.floor(8 * min(1.0, share / schedule.grow))
            batch = self.batches.draw(schedule.batch, limit)
            text_loss, dense_loss, parts = self.losses(batch)
            word_loss, word_parts = (torch.zeros(()), {}) if self.batches.direct else (
                self.learn_words(schedule.word_rows))
            self.optimizer.step(
                text_loss + schedule.dense_weight * dense_loss + schedule.word_weight * word_loss,
                rate)
            progress.steps += 1
            progress.joint_minutes += (time.monotonic() - started) / 60
            progress.joint_samples += len(batch.input_ids)
            self._report(
                'joint', rate,
                {'text': float(text_loss.detach()), 'dense': float(dense_loss.detach()),
                 **parts, **word_parts})

    def learn_words(self, rows: int) -> tuple[torch.Tensor, dict[str, float]]:
        """:return: loss on rows of words alone, and shares right; colours, and what there is to
            group, grow as they are learnt."""
        progress = self.progress
        self.words.colours, self.words.groups = progress.colours, progress.groups
        text, fit, parts = word_losses(
            self.model, self.word_tap, self.word_head, self.words.draw(rows),
            self.batches.verdicts)
        for name, (top, share, wanted) in GROWTH.items():
            self._shares[name].append(parts[share])
            level = getattr(progress, name)
            new = next_level(level, top, self._shares[name], wanted)
            if new > level:
                log.info('%s: %d of %d', name, new, top)
                setattr(progress, name, new)
                self._shares[name].clear()
        return text + fit, {'words_alone': float(text.detach()), **parts}

    def losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
        """:return: next-token loss, dense loss, and token accuracy by kind of token."""
        repeats = len(batch.input_ids) // len(batch.grid)
        embeddings, positions, is_image = self._embed(batch, repeats)
        logits, wanted, weights, order, seen, states, numbers = [], [], [], [], [], [], []
        for chunk in forward_chunks(self.model, embeddings, positions, batch):
            logits.append(chunk.logits)
            wanted.append(chunk.of_labels(batch.labels))
            weights.append(chunk.of_labels(batch.weights))
            order.append(chunk.rows)
            seen.append(self.tap.image_tokens(is_image[chunk.rows, :chunk.end]))
            state, here = chunk.states(self.place_tap, batch.places)
            states.append(state)
            numbers.append(batch.numbers[here])
        logits, wanted, weights = map(torch.cat, (logits, wanted, weights))
        each = F.cross_entropy(logits, wanted, reduction='none')
        for first_token, last_token in self._axes:
            rows = ((wanted >= first_token) & (wanted <= last_token)).nonzero().flatten()
            each = each.index_copy(
                0, rows, number_loss(logits[rows], first_token, last_token, wanted[rows])
            )
        text_loss = (each * weights).sum() / weights.sum()
        first = torch.cat(seen)[torch.cat(order).argsort()[::repeats]]
        dense_loss, parts = self.head.loss(first, batch.dense)
        if len(batch.numbers):
            place_loss = self.head.place_loss(torch.cat(states), torch.cat(numbers))
            dense_loss, parts['place'] = dense_loss + place_loss, float(place_loss.detach())
        right = logits.argmax(-1) == wanted
        parts = {f'see_{name}': value for name, value in parts.items()}
        for kind, members in self._token_kinds().items():
            of_kind = torch.isin(wanted, members)
            parts[kind] = float(right[of_kind].float().mean()) if of_kind.any() else math.nan
        return text_loss, dense_loss, parts

    def _embed(self, batch: Batch, repeats: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See each image once, whatever the number of its instructions."""
        with torch.autocast('cpu', dtype=torch.bfloat16), equal_images():
            seen = self.model.model.visual(batch.pixel_values, batch.grid).pooler_output
        is_image = batch.input_ids == self._image_token
        embeddings = self.model.get_input_embeddings()(batch.input_ids)
        seen = seen.view(len(batch.grid), -1, seen.shape[-1]).repeat_interleave(repeats, 0)
        embeddings = embeddings.masked_scatter(is_image[..., None], seen.to(embeddings.dtype))
        positions, _ = self.model.model.get_rope_index(
            batch.input_ids,
            mm_token_type_ids=is_image.int(),
            image_grid_thw=batch.grid.repeat_interleave(repeats, 0),
            attention_mask=batch.attention_mask,
        )
        return embeddings, positions, is_image

    def _token_kinds(self) -> dict[str, torch.Tensor]:
        if not hasattr(self, '_kinds'):
            groups: dict[str, list[int]] = {name: [] for name in (*KINDS_OF_TOKEN, 'marks')}
            for index in range(len(self.tokenizer)):
                text = self.tokenizer.decode([index])
                kind = next(
                    (name for name, pattern in KINDS_OF_TOKEN.items() if pattern.fullmatch(text)),
                    'marks',
                )
                groups[kind].append(index)
            self._kinds = {kind: torch.tensor(members) for kind, members in groups.items()}
        return self._kinds

    def _report(self, stage: str, rate: float, values: dict[str, float]) -> None:
        sums = self.__dict__.setdefault('_sums', {})
        for name, value in values.items():
            if not math.isnan(value):
                total, count = sums.get(name, (0.0, 0))
                sums[name] = (total + value, count + 1)
        if self.progress.steps % 50 == 0:
            means = {name: round(total / count, 4) for name, (total, count) in sums.items()}
            sums.clear()
            line = {'stage': stage, 'rate': round(rate, 6), **vars(self.progress), **means}
            with (self.out / 'curve.jsonl').open('a') as curve:
                curve.write(json.dumps(line) + '\n')
            log.info('%s', line)
        minutes = self.progress.warm_minutes + self.progress.joint_minutes
        if (
            minutes - self.__dict__.setdefault('_saved_at', minutes)
            >= self.schedule.checkpoint_minutes
        ):
            self._saved_at = minutes
            self.save()
            self.batches.bank.refresh()
