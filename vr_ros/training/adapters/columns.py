"""Columns of verl, EasyR1 and TRL, from a row of training data.

A row is a mapping with the columns of this project's training data: id, data_source, ability,
split, image {bytes, path}, width, height, problem, task, reward_spec, progress, and others that no
trainer needs. See docs/training.md.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vr_ros.core.types import Size
from vr_ros.models.card_types import ModelCard
from vr_ros.training.adapters.prompts import (
    IMAGE,
    Prompt,
    image_size_for,
    render_prompt,
    template_system,
)
from vr_ros.training.adapters.shared import PROGRESS, SPEC, check, pack, read_row
from vr_ros.training.rewards.samples import Sample, SampleError

if TYPE_CHECKING:
    import pyarrow

NEEDED = ('id', 'data_source', 'ability', 'split', 'image', 'width', 'height', 'problem', 'task',
          SPEC, PROGRESS)
# Of what an image is stored in; `datasets` and all three trainers read it.
ImageCell = dict[str, Any]


@dataclass(frozen=True)
class Checked:
    """A row that can be trained on.

    :param row: as it is stored.
    :param sample: what it is held against.
    :param image: None for a row of text alone.
    :param place: of the row in its split.
    """

    row: Mapping[str, Any]
    sample: Sample
    prompt: Prompt
    image: ImageCell | None
    place: int

    @property
    def extra(self) -> dict[str, Any]:
        """What scores the row, and what tells it from others."""
        return {
            'id': self.row['id'], 'index': self.place, 'split': self.row['split'],
            SPEC: self.row[SPEC], PROGRESS: self.row[PROGRESS]}

    @property
    def user(self) -> str:
        """The user's message, with the mark that stands for the image right before the text."""
        return (IMAGE if self.image else '') + self.prompt.user

    @property
    def messages(self) -> list[dict[str, str]]:
        """System, if there is one, and user."""
        system = [{'role': 'system', 'content': self.prompt.system}] if self.prompt.system else []
        return [*system, {'role': 'user', 'content': self.user}]


@dataclass(frozen=True)
class Target:
    """A trainer's columns.

    :param schema: makes the pyarrow schema, which is imported when it is needed.
    :param columns: of one row.
    :param passes_system: whether it can be given a system message.
    """

    name: str
    schema: Callable[[], pyarrow.Schema]
    columns: Callable[[Checked], dict[str, Any]]
    passes_system: bool = True


def check_row(row: Mapping[str, Any], place: int, card: ModelCard) -> Checked:
    """Render a row's prompt and make sure that its reward can be computed.

    :param place: of the row in its split.
    :raises SampleError: it cannot be used with this card; the message says why.
    """
    sample, _ = read_row(row)
    check(sample)
    prompt = render_prompt(card, row['problem'], row['task'])
    image = row['image'] if row['image'] and row['image'].get('bytes') else None
    if image is not None:
        _require_size(row, sample, card)
    elif row['image'] and row['image'].get('path'):
        raise SampleError('its image is only named, not stored')
    return Checked(row, sample, prompt, image, place)


def require_system(target: Target, card: ModelCard) -> None:
    """Make sure that the trainer's prompts say what the node's say.

    :raises SampleError: the card's system message cannot be given to that trainer.
    """
    for task, prompt in card.reasoner.tasks.items():
        system, default = prompt.template.system, template_system(card)
        if system != default and (not system or not target.passes_system):
            raise SampleError(
                f'{card.name}: the system message for {task.name.lower()} is {system!r}, but '
                f'{target.name} can only give that of the chat template, {default!r}: write it '
                'into the card')


def _require_size(row: Mapping[str, Any], sample: Sample, card: ModelCard) -> None:
    stored = Size(row['width'], row['height'])
    truth = sample.image_size or stored
    wanted = image_size_for(card, row['task'], truth)
    if wanted is not None and not wanted == truth == stored:
        raise SampleError(
            f'its image is stored as {_say(stored)}, its truth speaks of {_say(truth)}, and '
            f'{card.name} sees {_say(wanted)}: all three have to be the same')


def _say(size: Size) -> str:
    return f'{size.width}x{size.height}'


def _verl(one: Checked) -> dict[str, Any]:
    return {
        'data_source': one.row['data_source'], 'prompt': one.messages,
        'images': [one.image] if one.image else [], 'ability': one.row['ability'],
        'reward_model': {'style': 'rule', 'ground_truth': one.sample.ground_truth},
        'extra_info': one.extra,
    }


def _easyr1(one: Checked) -> dict[str, Any]:
    return {
        'problem': one.user, 'answer': pack(one.row[SPEC], one.row[PROGRESS]),
        'images': [one.image] if one.image else [], 'id': one.row['id'],
        'data_source': one.row['data_source'],
    }


def _trl(one: Checked) -> dict[str, Any]:
    # TRL puts the image before the first user message's text by itself.
    messages = [message | {'content': message['content'].removeprefix(IMAGE)}
                for message in one.messages]
    return {
        'prompt': messages, 'image': one.image, 'data_source': one.row['data_source'],
        'id': one.row['id'], SPEC: one.row[SPEC], PROGRESS: one.row[PROGRESS],
    }


def _types() -> dict[str, pyarrow.DataType]:
    import pyarrow as pa

    text = pa.string()
    image = pa.struct([('bytes', pa.binary()), ('path', text)])
    return {
        'text': text, 'image': image, 'images': pa.list_(image), 'progress': pa.float64(),
        'messages': pa.list_(pa.struct([('role', text), ('content', text)])),
        'truth': pa.struct([('style', text), ('ground_truth', text)]),
        'extra': pa.struct([('id', text), ('index', pa.int64()), ('split', text), (SPEC, text),
                            (PROGRESS, pa.float64())]),
    }


def _schema(**names: str) -> Callable[[], pyarrow.Schema]:
    def make() -> pyarrow.Schema:
        import pyarrow as pa

        types = _types()
        return pa.schema([(column, types[kind]) for column, kind in names.items()])

    return make


VERL = Target('verl', _schema(
    data_source='text', prompt='messages', images='images', ability='text', reward_model='truth',
    extra_info='extra'), _verl)
EASYR1 = Target('easyr1', _schema(
    problem='text', answer='text', images='images', id='text', data_source='text'), _easyr1,
    passes_system=False)
TRL = Target('trl', _schema(
    prompt='messages', image='image', data_source='text', id='text', reward_spec='text',
    progress='progress'), _trl)
TARGETS = {target.name: target for target in (VERL, EASYR1, TRL)}
