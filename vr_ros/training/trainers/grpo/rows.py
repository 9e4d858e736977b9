"""Rows of the training data as TRL wants them: chats, images at the model's size, and truths in the
model's own coordinates."""
from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets, load_dataset
from datasets import Image as ImageFeature
from PIL import Image

from vr_ros.core.geometry import smart_resize
from vr_ros.core.prompt import clean_question, render_user_text
from vr_ros.core.types import PerceptionError, Size, Task
from vr_ros.models.card import FAMILIES, TASK_KEYS
from vr_ros.models.card_types import ReasonerCard
from vr_ros.models.preprocess import resize_image
from vr_ros.training.rewards.samples import Sample, SampleError, sample_from_json

COLUMNS = ('id', 'data_source', 'image', 'width', 'height', 'problem', 'task', 'reward_spec')
TEST = 'test'
# Of the training rows, where no held-out split is given.
HELD_OUT_SHARE = 0.05
_RELATIVE = Size(1000, 1000)
log = logging.getLogger(__name__)


class RowsError(ValueError):
    """Data that cannot be trained on; the message names the file or the row."""


@dataclass(frozen=True)
class Rows:
    """What a run learns from, and what it is measured on.

    :param sources: names of all data sources, of both.
    """

    train: Dataset
    held_out: Dataset
    sources: tuple[str, ...]


def read_rows(
    folders: Sequence[Path], card: ReasonerCard, prepare: Callable[[Sample], Sample], *,
    train_split: str = 'train', held_out_split: str = 'val', held_out_rows: int = 64,
    limit: int | None = None, seed: int = 0,
) -> Rows:
    """Read data sets and get them ready for a model.

    Where the folders have no held-out split, a twentieth of the training rows are taken out for it.

    :param prepare: gives a sample as the run rewards it, and refuses what cannot be scored.
    :param held_out_rows: at most so many are measured on.
    :param limit: at most so many are learnt from.
    :raises RowsError: a split or a column is missing, or a row cannot be used.
    """
    if held_out_split == TEST:
        raise RowsError('the best checkpoint is never chosen by the test split: name another one')
    train = _read(folders, train_split)
    if train is None:
        raise RowsError(f'no {train_split}-*.parquet in {", ".join(map(str, folders))}')
    held_out = _read(folders, held_out_split)
    if held_out is None:
        if len(train) < 2:
            raise RowsError('a single row cannot be learnt from and measured on')
        parts = train.train_test_split(
            test_size=min(held_out_rows, max(1, round(HELD_OUT_SHARE * len(train)))), seed=seed)
        train, held_out = parts['train'], parts['test']
        log.info('no split "%s": %d of the training rows are held out in its place',
                 held_out_split, len(held_out))
    if len(held_out) > held_out_rows:
        held_out = held_out.shuffle(seed).select(range(held_out_rows))
    if limit is not None and len(train) > limit:
        train = train.shuffle(seed).select(range(limit))
    sources = sorted({*train.unique('data_source'), *held_out.unique('data_source')})
    return Rows(*(_ready(some, card, prepare) for some in (train, held_out)), tuple(sources))


def model_size(card: ReasonerCard, image: Size, task: Task) -> Size:
    """Size at which the model sees an image, as the reasoner resizes it."""
    policy = card.image(task)
    return policy.size or smart_resize(
        image, FAMILIES[card.family], policy.min_pixels, policy.max_pixels)


def task_of(name: str) -> Task:
    """:raises RowsError: there is no such task."""
    if name not in TASK_KEYS:
        raise RowsError(f'no task "{name}"; there are: {", ".join(TASK_KEYS)}')
    return TASK_KEYS[name]


def messages(card: ReasonerCard, problem: str, task: Task) -> list[dict[str, str]]:
    """Put an instruction into the card's template, as the node does."""
    template = card.template(task)
    question = clean_question(problem, card.question_style(task))
    system = [{'role': 'system', 'content': template.system}] if template.system else []
    return [*system, {'role': 'user', 'content': render_user_text(template, question)}]


def in_model_coordinates(sample: Sample, stored: Size | None, card: ReasonerCard, task: Task
                         ) -> Sample:
    """Give a sample with its boxes and points in the numbers that the model writes.

    A truth is in pixels of the stored image. One that the verifier takes in 0..1000 stays; so does
    what holds no objects.

    :param stored: size of the stored image; None without an image.
    """
    if stored is None:
        return sample
    seen = model_size(card, stored, task)
    if sample.parameters.get('det_verifier_normalized'):
        return replace(sample, image_size=seen)
    wanted = _RELATIVE if card.coordinates == 'relative_1000' else seen
    if stored == wanted:
        return replace(sample, image_size=seen)
    return replace(sample, image_size=seen,
                   ground_truth=_scaled(sample.ground_truth, stored, wanted))


def _scaled(truth: str, stored: Size, wanted: Size) -> str:
    try:
        items = json.loads(truth)
    except ValueError:
        return truth
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return truth
    x, y = wanted.width / stored.width, wanted.height / stored.height
    for item in items:
        for key, factors in (('bbox_2d', (x, y, x, y)), ('point_2d', (x, y))):
            if isinstance(item.get(key), list):
                item[key] = [int(value * factor + 0.5)
                             for value, factor in zip(item[key], factors, strict=True)]
    return json.dumps(items)


def _read(folders: Sequence[Path], split: str) -> Dataset | None:
    parts = []
    for folder in folders:
        files = sorted(map(str, folder.glob(f'{split}-*.parquet')))
        if not files:
            continue
        rows = load_dataset('parquet', data_files=files, split='train')
        missing = [name for name in COLUMNS if name not in rows.column_names]
        if missing:
            raise RowsError(f'{folder}: no column {", ".join(missing)}')
        if isinstance(rows.features['image'], ImageFeature):
            rows = rows.cast_column('image', ImageFeature(decode=False))
        parts.append(rows.select_columns(list(COLUMNS)))
    return concatenate_datasets(parts) if parts else None


def _ready(rows: Dataset, card: ReasonerCard, prepare: Callable[[Sample], Sample]) -> Dataset:
    facts = rows.select_columns(['id', 'width', 'height', 'task', 'problem', 'reward_spec'])
    specs = [_spec(row, card, prepare) for row in facts]
    rows = rows.remove_columns('reward_spec').add_column('reward_spec', specs)
    rows.set_transform(_Chats(card))
    return rows


def _spec(row: Mapping[str, Any], card: ReasonerCard, prepare: Callable[[Sample], Sample]) -> str:
    try:
        task = task_of(row['task'])
        messages(card, row['problem'], task)
        stored = Size(row['width'], row['height']) if row['width'] and row['height'] else None
        sample = in_model_coordinates(sample_from_json(row['reward_spec']), stored, card, task)
        return prepare(sample).to_json()
    except (RowsError, SampleError, PerceptionError, ValueError) as error:
        raise RowsError(f'row "{row["id"]}": {error}') from error


@dataclass(frozen=True)
class _Chats:
    """Turns rows into what TRL reads, when they are asked for; for each column a list."""

    card: ReasonerCard

    def __call__(self, rows: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        tasks = [task_of(name) for name in rows['task']]
        # The rows of a group are the same: each image is decoded once.
        shown: dict[tuple[bytes, Task], Image.Image] = {}
        images = []
        for stored, task in zip(rows['image'], tasks, strict=True):
            content = stored and stored['bytes']
            if content and (content, task) not in shown:
                shown[content, task] = self._shown(content, task)
            images.append(shown[content, task] if content else None)
        return {
            'prompt': [messages(self.card, problem, task)
                       for problem, task in zip(rows['problem'], tasks, strict=True)],
            'image': images,
            **{name: rows[name] for name in ('id', 'data_source', 'task', 'problem',
                                             'reward_spec')},
        }

    def _shown(self, content: bytes, task: Task) -> Image.Image:
        pixels = np.array(Image.open(io.BytesIO(content)).convert('RGB'))
        size = model_size(self.card, Size(pixels.shape[1], pixels.shape[0]), task)
        seen = resize_image(pixels, size, mode=self.card.image(task).interpolation)
        return Image.fromarray(seen.byte().permute(1, 2, 0).numpy())
