"""Rows of the training data as TRL wants them: chats, images at the model's size, and truths in the
model's own coordinates."""
from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets, load_dataset
from datasets import Image as ImageFeature
from datasets.exceptions import DatasetGenerationError
from PIL import Image

from vr_ros.core.types import Size, Task
from vr_ros.datasets.sample import SampleError as BrokenImageError
from vr_ros.datasets.sample import decode_image
from vr_ros.models.card_types import ReasonerCard
from vr_ros.models.preprocess import resize_image
from vr_ros.training.adapters.columns import read_row, stored_pixels
from vr_ros.training.adapters.prompts import model_size, render_prompt
from vr_ros.training.data.schema import SCHEMA, TASKS, Row
from vr_ros.training.rewards.samples import Sample, SampleError
from vr_ros.training.trainers.grpo.files import (
    RowsError,
    check_files,
    check_folders,
    files_of,
)

TEST = 'test'
# Of the training rows, where no held-out split is given.
HELD_OUT_SHARE = 0.05
# So many rows take longer to look at than one waits without a word.
MANY = 1000
NAMED = 3
log = logging.getLogger(__name__)


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

    Where no folder has the held-out split, a twentieth of the training rows are taken out for it.

    :param prepare: gives a sample as the run rewards it, and refuses what cannot be scored.
    :param held_out_rows: at most so many are measured on.
    :param limit: at most so many are learnt from.
    :raises RowsError: a split or a column is missing, or a row cannot be used.
    """
    if held_out_split == TEST:
        raise RowsError('the best checkpoint is never chosen by the test split: name another one')
    if held_out_split == train_split:
        raise RowsError(f'learnt from and measured on the same split, {train_split}')
    check_folders(folders, train_split)
    train = _read(folders, train_split)
    held_out = _read(folders, held_out_split)
    if held_out is None:
        train, held_out = _divided(train, held_out_rows, seed)
        log.info('no split "%s": %d of the training rows are held out in its place',
                 held_out_split, len(held_out))
    if len(held_out) > held_out_rows:
        held_out = held_out.shuffle(seed).select(range(held_out_rows))
    if limit is not None and len(train) > limit:
        train = train.shuffle(seed).select(range(limit))
    sources = sorted({*train.unique('data_source'), *held_out.unique('data_source')})
    return Rows(*(_ready(some, card, prepare) for some in (train, held_out)), tuple(sources))


def messages(card: ReasonerCard, problem: str, task: Task) -> list[dict[str, str]]:
    """Put an instruction into the card's template, as a chat.

    :raises SampleError: see :func:`vr_ros.training.adapters.prompts.render_prompt`.
    """
    prompt = render_prompt(card, problem, task)
    system = [{'role': 'system', 'content': prompt.system}] if prompt.system else []
    return [*system, {'role': 'user', 'content': prompt.user}]


def _read(folders: Sequence[Path], split: str) -> Dataset | None:
    """:return: None where no folder has the split."""
    parts, found = [], []
    for folder in folders:
        files = files_of(folder, split)
        found += files
        filled = check_files(files)
        if not filled:
            continue
        try:
            rows = load_dataset('parquet', data_files=list(map(str, filled)), split='train')
        except DatasetGenerationError as error:
            check_files(filled, whole=True)
            raise RowsError(f'{folder}: {error.__cause__ or error}') from error
        if isinstance(rows.features['image'], ImageFeature):
            rows = rows.cast_column('image', ImageFeature(decode=False))
        parts.append(rows.select_columns(SCHEMA.names))
    if found and not parts:
        raise RowsError(f'{", ".join(map(str, found))}: there is no row in it')
    return concatenate_datasets(parts) if parts else None


def _divided(rows: Dataset, most: int, seed: int) -> tuple[Dataset, Dataset]:
    if len(rows) < 2:
        raise RowsError('a single row cannot be both learnt from and measured on')
    wanted = min(most, max(1, round(HELD_OUT_SHARE * len(rows))))
    # By images: what was learnt of one would help with its other rows.
    places: dict[bytes | int, list[int]] = {}
    for place, row in enumerate(rows.select_columns(['image'])):
        image = row['image'] or {}
        content = image.get('bytes') or (image.get('path') or '').encode()
        key = hashlib.sha256(content).digest() if content else place
        places.setdefault(key, []).append(place)
    if len(places) < 2:
        raise RowsError('rows of a single image cannot be both learnt from and measured on')
    groups = list(places.values())
    order = np.random.default_rng(seed).permutation(len(groups))
    taken: list[int] = []
    for group in order[:-1]:
        if len(taken) >= wanted:
            break
        taken += groups[group]
    learnt = sorted(set(range(len(rows))) - set(taken))
    return rows.select(learnt), rows.select(sorted(taken)[:most])


def _ready(rows: Dataset, card: ReasonerCard, prepare: Callable[[Sample], Sample]) -> Dataset:
    """Look at every row before the first is learnt from."""
    if len(rows) > MANY:
        log.info('looks at %d rows and their images', len(rows))
    specs: dict[tuple[str, str], str] = {}
    broken: list[str] = []
    images = _Images()
    for columns in rows:
        key = columns['data_source'], columns['id']
        if key in specs:
            raise RowsError(f'two rows of {key[0]} are called "{key[1]}"')
        try:
            row, sample, _ = read_row(columns, card)
            images.check(row)
            specs[key] = prepare(sample).to_json()
        except SampleError as error:
            # The row's own errors name it already.
            broken.append(f'row "{key[1]}": {str(error).removeprefix(f"row {key[1]!r}: ")}')
    if broken:
        more = [f'and {len(broken) - NAMED} more'] if len(broken) > NAMED else []
        raise RowsError('; '.join([*broken[:NAMED], *more]))
    rows.set_transform(_Chats(card, specs))
    return rows


class _Images:
    """Makes sure that images are whole; of rows about one image, which follow each other, once."""

    def __init__(self) -> None:
        self._last: tuple[bytes, Size] | None = None

    def check(self, row: Row) -> None:
        """:raises SampleError: that of this row is not."""
        if row.image is not None and (row.image, row.size) != self._last:
            stored_pixels(row.image, row.size)
            self._last = row.image, row.size


@dataclass(frozen=True)
class _Chats:
    """Turns rows into what TRL reads, when they are asked for; for each column a list.

    :param specs: what is to be held against, by data source and id.
    """

    card: ReasonerCard
    specs: Mapping[tuple[str, str], str]

    def __call__(self, rows: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        tasks = [TASKS[name] for name in rows['task']]
        # The rows of a group are the same: each image is decoded once, and is one object.
        shown: dict[tuple[bytes, Task], Image.Image] = {}
        images = []
        for name, stored, task in zip(rows['id'], rows['image'], tasks, strict=True):
            content = stored and stored['bytes']
            if content and (content, task) not in shown:
                shown[content, task] = self._shown(name, content, task)
            images.append(shown[content, task] if content else None)
        return {
            'prompt': [messages(self.card, problem, task)
                       for problem, task in zip(rows['problem'], tasks, strict=True)],
            'image': images,
            'reward_spec': [self.specs[key] for key in
                            zip(rows['data_source'], rows['id'], strict=True)],
            **{name: rows[name] for name in ('id', 'data_source', 'task', 'problem')},
        }

    def _shown(self, name: str, content: bytes, task: Task) -> Image.Image:
        try:
            pixels = decode_image(content)
        except BrokenImageError as error:
            raise RowsError(f'row "{name}": {error}') from error
        size = model_size(self.card, Size(pixels.shape[1], pixels.shape[0]), task)
        seen = resize_image(pixels, size, mode=self.card.image(task).interpolation)
        return Image.fromarray(seen.byte().permute(1, 2, 0).numpy())
