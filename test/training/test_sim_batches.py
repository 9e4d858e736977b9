"""Batches of the embedded reasoner: each number and weight must stand at the token it is about."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / 'sim'))
from factories import make_frame, make_object  # noqa: E402

from vr_ros.core.types import Size  # noqa: E402
from vr_ros.models.card import load_card  # noqa: E402
from vr_ros.training.trainers.sim_batches import (  # noqa: E402
    CHOICE_WEIGHT,
    IGNORED,
    NUMBER_WEIGHT,
    BatchMaker,
)
from vr_ros.training.trainers.sim_tiny import make_tokenizer  # noqa: E402

SIZE = Size(168, 168)
FRAME = make_frame(
    make_object(1, 'small red cube', 100, 100),
    make_object(2, 'large blue ball', 500, 120, extent=80),
    make_object(4, 'medium green cone', 330, 380),
)


class OneFrame:
    """A bank of one frame."""

    def __len__(self) -> int:
        return 1

    def image(self, index: int) -> np.ndarray:
        return np.full((SIZE.height, SIZE.width, 3), 128, np.uint8)

    def truth(self, index: int):
        return FRAME


@pytest.fixture(scope='module')
def maker():
    card = load_card('sim_tiny')
    return BatchMaker(
        OneFrame(), make_tokenizer(card, SIZE), card.reasoner, SIZE, seed=1, checks=0)


@pytest.fixture(scope='module')
def batch(maker):
    return maker.draw(16)


def words(maker, row) -> list[str]:
    return [maker.tokenizer.decode([int(token)]) for token in row]


def check_places(maker, batch):
    assert len(batch.places) == len(batch.numbers)
    for (row, column), numbers in zip(batch.places.tolist(), batch.numbers.tolist(), strict=True):
        place = maker.tokenizer.decode([int(batch.input_ids[row, column])])
        x_min, y_min, x_max, y_max = numbers[:4]
        assert place == f' r{(y_min + y_max) // 2 // 28}c{(x_min + x_max) // 2 // 28}'


def test_every_place_token_has_the_numbers_of_the_object_it_names(maker, batch):
    assert len(batch.places) >= 3 * len(batch.input_ids)
    check_places(maker, batch)


def test_what_is_learnt_is_the_response_alone(maker, batch):
    for ids, labels in zip(batch.input_ids, batch.labels, strict=True):
        learnt = labels != IGNORED
        assert torch.equal(ids[learnt], labels[learnt])
        text = ''.join(words(maker, labels[learnt]))
        assert text.startswith('<think>Looking for:') and text.endswith('</answer><|im_end|>')


def test_choices_and_numbers_count_most(maker, batch):
    heavy: dict[str, set[float]] = {
        'verdict': set(), 'number': set(), 'listing': set(), 'grouping': set()}
    for labels, weights in zip(batch.labels, batch.weights, strict=True):
        is_matching = False
        for word, weight in zip(words(maker, labels.clamp(min=0)), weights.tolist(), strict=True):
            if word in (' yes', ' no', ' reference'):
                heavy['verdict'].add(weight)
            elif word.isdigit() or word.startswith((' x', ' y')) and word[2:].isdigit():
                heavy['number'].add(weight)
            elif word == ';':
                heavy['grouping' if is_matching else 'listing'].add(weight)
            is_matching |= word == '. Matching:'
    assert heavy == {'verdict': {CHOICE_WEIGHT}, 'number': {NUMBER_WEIGHT}, 'listing': {1.0},
                     'grouping': {CHOICE_WEIGHT}}


def test_warming_up_takes_the_image_alone(maker):
    batch = maker.draw(2, with_text=False)
    assert (batch.labels == IGNORED).all() and batch.places.shape == (0, 2)
    assert not batch.places.is_floating_point()      # they index, and a batch may have none
    image = maker.tokenizer.convert_tokens_to_ids('<|image_pad|>')
    assert (batch.input_ids == image).sum(1).tolist() == [36, 36]


def test_some_questions_are_about_a_box(maker):
    mixed = BatchMaker(OneFrame(), maker.tokenizer, maker.card, SIZE, seed=2, checks=0.3)
    batch = mixed.draw(100)
    asked = [''.join(words(mixed, ids[labels == IGNORED]))
             for ids, labels in zip(batch.input_ids, batch.labels, strict=True)]
    checks = [i for i, text in enumerate(asked) if 'Is the object at [' in text]
    assert 0.2 < len(checks) / len(asked) < 0.4
    # Prompt and response take few tokens: the words that never change are one each.
    opening = maker.tokenizer('Is the object at [')['input_ids']
    assert words(maker, opening)[0] == 'Is the object at '
    check_places(mixed, batch)
    for row in checks:
        learnt = batch.labels[row] != IGNORED
        said = words(mixed, batch.labels[row][learnt])
        assert batch.weights[row][learnt][said.index('<answer>') + 1] == CHOICE_WEIGHT
        assert re.search('<answer>(yes|no)</answer><.im_end.>$', ''.join(said))
