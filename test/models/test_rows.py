"""Answers that are written side by side are those that are written one by one."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from vr_ros.core.types import Size, Task
from vr_ros.models.card import load_card
from vr_ros.models.qwen_vl import QwenVLReasoner, Reasoning
from vr_ros.models.rows import Asked, Row, Rows, left_padded
from vr_ros.models.second_look import SecondLook
from vr_ros.models.weights import resolve_weights
from vr_ros.sim.renderer import render_scene

SIZES = [Size(640, 480), Size(200, 100), Size(300, 500)]
QUESTIONS = [
    ('find all objects', Task.DETECTION),
    ('What colour is the thing on the left?', Task.VQA),
    ('count the things', Task.COUNTING),
    ('where is the red cube', Task.DETECTION),
]


pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def asked() -> list[Asked]:
    """Questions of different lengths about images of different shapes."""
    images = [render_scene(1_000_003 + i, size).rgb for i, size in enumerate(SIZES)]
    return [Asked(images[i % 3], *question) for i, question in enumerate(QUESTIONS)]


def any_size(card, **changes: object):
    """Show images as large as they are, more or less, so that they differ in tokens."""
    return dataclasses.replace(card, tasks={
        task: dataclasses.replace(part, image=dataclasses.replace(
            part.image, size=None, min_pixels=28 * 28 * 4, max_pixels=28 * 28 * 36))
        for task, part in card.tasks.items()}, **changes)


@pytest.fixture(scope='module', params=['qwen2_5_vl', 'qwen3_vl'])
def reasoner(request, tmp_path_factory) -> QwenVLReasoner:
    """The embedded model, and an untrained one of the other family with the same tokens."""
    card = load_card('sim_tiny').reasoner
    directory = resolve_weights(card.weights)
    if request.param == 'qwen2_5_vl':
        return QwenVLReasoner(any_size(card), directory, 'cpu')
    own = QwenVLReasoner(card, directory, 'cpu')
    directory = tmp_path_factory.mktemp('qwen3')
    _untrained(own).save_pretrained(directory)
    own.tokenizer.save_pretrained(directory)
    return QwenVLReasoner(
        any_size(card, family='qwen3_vl', max_new_tokens=25), directory, 'cpu')


def _untrained(own: QwenVLReasoner) -> Qwen3VLForConditionalGeneration:
    config = own.model.config
    torch.manual_seed(0)
    text = {'hidden_size': 32, 'num_hidden_layers': 2, 'num_attention_heads': 4,
            'num_key_value_heads': 2, 'head_dim': 8, 'intermediate_size': 48,
            'vocab_size': config.text_config.vocab_size,
            'rope_parameters': {'rope_type': 'default', 'rope_theta': 10000.0,
                                'mrope_section': [2, 1, 1], 'mrope_interleaved': True}}
    vision = {'hidden_size': 32, 'depth': 2, 'num_heads': 4, 'intermediate_size': 48,
              'out_hidden_size': 32, 'deepstack_visual_indexes': [0], 'num_position_embeddings': 64}
    tokens = {name: getattr(config, name) for name in (
        'image_token_id', 'video_token_id', 'vision_start_token_id', 'vision_end_token_id')}
    return Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(text_config=text, vision_config=vision, **tokens))


def same(one: Reasoning, other: Reasoning) -> None:
    assert (one.text, one.token_ids, one.token_spans, one.finish_reason) == (
        other.text, other.token_ids, other.token_spans, other.finish_reason)
    assert (one.prompt_tokens, one.model_size) == (other.prompt_tokens, other.model_size)
    assert np.allclose(one.top.log_probs, other.top.log_probs, atol=1e-3)
    assert one.top.log_probs.shape == other.top.log_probs.shape


def test_side_by_side_is_one_by_one(reasoner, asked):
    alone = [reasoner.reason_batch([one])[0] for one in asked]
    assert len({one.prompt_tokens for one in alone}) == 3
    assert len({one.model_size for one in alone}) == 3
    for one, other in zip(alone, reasoner.reason_batch(asked), strict=True):
        same(one, other)
    if reasoner.card.family == 'qwen2_5_vl':      # trained: some answers are done before others
        assert {one.finish_reason for one in alone} == {'stop'}
        assert len({len(one.token_ids) for one in alone}) > 2


def test_each_row_ends_when_it_is_told_to(reasoner, asked, monkeypatch):
    monkeypatch.setattr(reasoner.model.generation_config, 'max_new_tokens', 30)
    heard: list[list[str]] = [[] for _ in asked]
    after: list[Iterator[bool]] = [iter([False] * 3 + [True]), iter([True])]
    told = [
        dataclasses.replace(one, on_text=pieces.append) for one, pieces in zip(
            asked, heard, strict=True)]
    for place, stops in enumerate(after):
        told[place] = dataclasses.replace(told[place], should_stop=lambda it=stops: next(it))
    rows = reasoner.reason_batch(told)
    assert [len(row.token_ids) for row in rows[:2]] == [4, 1]
    assert [row.finish_reason for row in rows[:2]] == ['cancelled'] * 2
    for one, row in zip(asked[2:], rows[2:], strict=True):
        same(reasoner.reason_batch([one])[0], row)
    assert [''.join(pieces) for pieces in heard] == [row.text for row in rows]


def test_more_can_be_asked_about_each_image(reasoner, asked, monkeypatch):
    monkeypatch.setattr(reasoner.model.generation_config, 'max_new_tokens', 8)
    kept = [dataclasses.replace(one, keep_prefix=True) for one in asked[:3]]
    for one, row in zip(kept, reasoner.reason_batch(kept), strict=True):
        (alone,) = reasoner.reason_batch([one])
        assert row.prefix.ids == alone.prefix.ids and row.prefix.delta == alone.prefix.delta
        prompt = reasoner.tokenizer.decode(alone.prefix.ids) + '<think>'
        chances = [SecondLook(reasoner, answer.prefix).probability([prompt], ['<'], ['the'])
                   for answer in (alone, row)]
        assert torch.allclose(*chances, atol=1e-4)


@pytest.mark.parametrize('limit', [1, 5])
def test_the_limit_of_tokens_is_that_of_each_answer(reasoner, asked, limit, monkeypatch):
    monkeypatch.setattr(reasoner.model.generation_config, 'max_new_tokens', limit)
    rows = reasoner.reason_batch(asked)
    assert [len(row.token_ids) for row in rows] == [limit] * len(asked)
    assert {row.finish_reason for row in rows} == {'length'}


LETTERS = dict(enumerate(' abcdefgh</>'))


def letters(ids) -> str:
    return ''.join(LETTERS[token] for token in ids)


def test_a_stop_string_ends_its_own_row_once_the_answer_is_there():
    image, rows = np.zeros((2, 2, 3), np.uint8), []
    rows += [
        Row(Asked(image, '', Task.VQA), letters, ['</a>'], [8]),
        Row(Asked(image, '', Task.VQA, is_answered=lambda: rows[1].text.count('</a>') == 2),
            letters, ['</a>'], [8]),
        Row(Asked(image, '', Task.VQA), letters, ['</a>'], [8]),
        Row(Asked(image, '', Task.VQA), letters, [], []),
    ]
    criteria = Rows(rows)
    # One column per row. 9 10 1 11 is </a>, 8 is the model's own end, 0 is padding.
    steps = [(9, 9, 2, 9), (10, 10, 8, 10), (1, 1, 0, 1), (11, 11, 0, 11), (0, 9, 0, 8),
             (0, 10, 0, 8), (0, 1, 0, 8), (0, 11, 0, 8)]
    ended = [criteria(torch.tensor(step)[:, None], None).tolist() for step in steps]
    assert [[row[i] for row in ended].index(True) for i in (0, 1, 2)] == [3, 7, 1]
    assert not any(row[3] for row in ended)
    assert [row.text for row in rows] == ['</a>', '</a></a>', 'bh', '</a>hhhh']
    assert [row.finish_reason for row in rows] == ['stop', 'stop', 'stop', 'length']


def test_prompts_end_at_the_same_place():
    ids, mask = left_padded([torch.tensor([1, 2, 3]), torch.tensor([4])], 9)
    assert ids.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
