"""Columns of verl, EasyR1 and TRL, from a row of training data."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vr_ros.core.types import Size
from vr_ros.datasets.sample import SampleError as BrokenImageError
from vr_ros.datasets.sample import decode_image, size_of
from vr_ros.models.card_types import ReasonerCard
from vr_ros.training.adapters.prompts import (
    Prompt,
    in_model_coordinates,
    model_size,
    render_prompt,
)
from vr_ros.training.adapters.shared import PROGRESS, SPEC, SPLIT, check, pack
from vr_ros.training.data.schema import TASKS, Row, RowError, check_row, row_from_columns
from vr_ros.training.data.storage import Storage
from vr_ros.training.rewards.samples import Sample, SampleError

# Stands for the image in a prompt of verl and EasyR1.
IMAGE = '<image>'


@dataclass(frozen=True)
class Ready:
    """A row that can be trained on, as a model sees it.

    :param sample: what it is held against, in the model's coordinates.
    :param image: contents of an image file of the model's size; None for a row of text alone.
    :param place: of the row in its split.
    :param progress: share of the training at which the row comes, 0 to 1.
    """

    row: Row
    sample: Sample
    prompt: Prompt
    image: bytes | None
    place: int
    progress: float | None

    @property
    def cell(self) -> dict[str, Any] | None:
        """The image as `datasets` keeps it."""
        return None if self.image is None else {'bytes': self.image, 'path': self.row.image_path}

    @property
    def user(self) -> str:
        """The user's message, with the mark that stands for the image right before the text."""
        return ('' if self.image is None else IMAGE) + self.prompt.user

    def messages(self, user: str) -> list[dict[str, str]]:
        """System, if there is one, and user."""
        system = [{'role': 'system', 'content': self.prompt.system}] if self.prompt.system else []
        return [*system, {'role': 'user', 'content': user}]


@dataclass(frozen=True)
class Target:
    """A trainer's columns.

    :param columns: makes them of one row.
    :param passes_system: whether it can be given a system message.
    """

    name: str
    columns: Callable[[Ready], dict[str, Any]]
    schema: pa.Schema
    passes_system: bool = True


def ready_row(columns: Mapping[str, Any], place: int, card: ReasonerCard,
              progress: float | None = None) -> Ready:
    """Get a row ready for a model: prompt, image and truth as the card says.

    :param columns: of the training data.
    :param place: of the row in its split.
    :param progress: takes the place of the row's own.
    :raises SampleError: it cannot be used with this card; the message says why.
    """
    row, sample, prompt = read_row(columns, card)
    image = row.image
    if image is not None:
        task = TASKS[row.task]
        image = _resized(image, row.size, model_size(card, row.size, task),
                         card.image(task).interpolation)
    check(sample)
    return Ready(row, sample, prompt, image, place,
                 row.progress if progress is None else progress)


def read_row(columns: Mapping[str, Any], card: ReasonerCard) -> tuple[Row, Sample, Prompt]:
    """Read a row for a model, and leave its image as it is stored.

    :return: the row, what it is held against in the model's coordinates, and the prompt.
    :raises SampleError: it cannot be used with this card; the message says why.
    """
    try:
        row = row_from_columns(columns)
        sample = check_row(row)
    except RowError as error:
        raise SampleError(str(error)) from error
    task = TASKS[row.task]
    prompt = render_prompt(card, row.problem, task)
    if row.image is not None:
        sample = in_model_coordinates(sample, row.size, model_size(card, row.size, task), card)
    elif row.image_path:
        raise SampleError(f'row {row.id!r}: its image is only named, not stored')
    return row, sample, prompt


def _resized(image: bytes, stored: Size, seen: Size, interpolation: Any) -> bytes:
    """Store an image anew in the size that the model sees: trainers would choose another one.

    What stays as it is is decoded, too: a trainer would come upon a broken one in the midst.
    """
    pixels = stored_pixels(image, stored)
    storage = Storage(seen, interpolation)
    return image if seen == stored else storage.encode(storage.resize(pixels))


def stored_pixels(image: bytes, stored: Size) -> np.ndarray:
    """Decode a row's image.

    :param stored: its size, as the row says.
    :return: (H, W, 3) uint8 RGB.
    :raises SampleError: it is broken, or of another size.
    """
    try:
        pixels = decode_image(image)
    except BrokenImageError as error:
        raise SampleError(str(error)) from error
    if size_of(pixels) != stored:
        raise SampleError(f'its image is of {pixels.shape[1]}x{pixels.shape[0]}, not of'
                          f' {stored.width}x{stored.height}')
    return pixels


def _verl(ready: Ready) -> dict[str, Any]:
    return {
        'data_source': ready.row.data_source, 'prompt': ready.messages(ready.user),
        'images': [ready.cell] if ready.cell else [], 'ability': ready.row.ability,
        'reward_model': {'style': 'rule', 'ground_truth': ready.sample.ground_truth},
        'extra_info': {
            'id': ready.row.id, 'index': ready.place, SPLIT: ready.row.split,
            SPEC: ready.sample.to_json(), PROGRESS: ready.progress},
    }


def _easyr1(ready: Ready) -> dict[str, Any]:
    return {
        'problem': ready.user,
        'answer': pack(ready.sample.to_json(), ready.progress, ready.row.split),
        'images': [ready.cell] if ready.cell else [], 'id': ready.row.id,
        'data_source': ready.row.data_source,
    }


def _trl(ready: Ready) -> dict[str, Any]:
    # TRL puts the image before the first user message by itself.
    return {
        'prompt': ready.messages(ready.prompt.user), 'image': ready.cell,
        'data_source': ready.row.data_source, 'id': ready.row.id,
        SPEC: ready.sample.to_json(), PROGRESS: ready.progress,
    }


_TEXT = pa.string()
_IMAGE = pa.struct([('bytes', pa.binary()), ('path', _TEXT)])
_MESSAGES = pa.list_(pa.struct([('role', _TEXT), ('content', _TEXT)]))

VERL = Target('verl', _verl, pa.schema([
    ('data_source', _TEXT), ('prompt', _MESSAGES), ('images', pa.list_(_IMAGE)),
    ('ability', _TEXT),
    ('reward_model', pa.struct([('style', _TEXT), ('ground_truth', _TEXT)])),
    ('extra_info', pa.struct([
        ('id', _TEXT), ('index', pa.int64()), (SPLIT, _TEXT), (SPEC, _TEXT),
        (PROGRESS, pa.float64())])),
]))
EASYR1 = Target('easyr1', _easyr1, pa.schema([
    ('problem', _TEXT), ('answer', _TEXT), ('images', pa.list_(_IMAGE)), ('id', _TEXT),
    ('data_source', _TEXT),
]), passes_system=False)
TRL = Target('trl', _trl, pa.schema([
    ('prompt', _MESSAGES), ('image', _IMAGE), ('data_source', _TEXT), ('id', _TEXT),
    (SPEC, _TEXT), (PROGRESS, pa.float64()),
]))
TARGETS = {target.name: target for target in (VERL, EASYR1, TRL)}
