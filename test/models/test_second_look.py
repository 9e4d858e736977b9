"""Asking on from a prompt that was read already gives what reading it anew gives."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from vr_ros.core.prompt import render_chat
from vr_ros.core.types import Task
from vr_ros.models.card import load_card
from vr_ros.models.qwen_vl import QwenVLReasoner, Reasoning
from vr_ros.models.rows import Asked
from vr_ros.models.second_look import SecondLook
from vr_ros.models.weights import resolve_weights
from vr_ros.sim.renderer import render_scene

WORDS = 'find all objects'


@pytest.fixture(scope='module')
def reasoner() -> QwenVLReasoner:
    card = load_card('sim_tiny').reasoner
    return QwenVLReasoner(card, resolve_weights(card.weights), 'cpu')


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    return render_scene(1_000_003, count=3).rgb


@pytest.fixture(scope='module')
def reasoning(reasoner, image) -> Reasoning:
    return reasoner.reason(image, WORDS, Task.DETECTION, keep_prefix=True)


def prompt(reasoner: QwenVLReasoner, question: str, task: Task = Task.DETECTION) -> str:
    return render_chat(reasoner.card.template(task), question, 36)


def chances_read_anew(reasoner: QwenVLReasoner, image: np.ndarray, text: str) -> torch.Tensor:
    """Say what comes next after a whole chat, image and all, without any cache."""
    inputs = reasoner._inputs([reasoner._prompt(Asked(image, WORDS, Task.DETECTION))])
    ids = reasoner.tokenizer(text, add_special_tokens=False, return_tensors='pt')['input_ids']
    inputs |= {'input_ids': ids, 'attention_mask': torch.ones_like(ids),
               'mm_token_type_ids': (ids == reasoner.model.config.image_token_id).int()}
    with torch.inference_mode():
        return reasoner.model(**inputs).logits[0, -1].float().softmax(-1)


def test_the_best_tokens_of_each_step_are_kept(reasoning):
    top = reasoning.top
    assert top.ids.shape == top.log_probs.shape == (len(reasoning.token_ids), 5)
    assert tuple(top.ids[:, 0]) == reasoning.token_ids         # greedily
    assert (np.diff(top.log_probs, axis=1) <= 0).all()
    assert (np.exp(top.log_probs).sum(axis=1) <= 1 + 1e-5).all()
    assert (reasoning.log_probs == top.log_probs[:, 0]).all()


def test_nothing_is_kept_that_was_not_asked_for(reasoner, image):
    assert reasoner.reason(image, WORDS, Task.DETECTION).prefix is None


def test_it_goes_on_as_if_all_had_been_read_anew(reasoner, image, reasoning):
    start = prompt(reasoner, WORDS)
    texts = [start + '<think>Looking for: object. On the table: r2c3',   # of different lengths
             start + '<think>',
             prompt(reasoner, 'is there a red mug?', Task.VQA),          # another question
             start]
    rows = [reasoner.tokenizer(text, add_special_tokens=False)['input_ids'] for text in texts]
    with torch.inference_mode():
        chances = reasoning.prefix.continued(rows).logits.softmax(-1)
    for text, row in zip(texts, chances, strict=True):
        anew = chances_read_anew(reasoner, image, text)
        assert torch.allclose(row, anew, atol=2e-5)
    assert int(chances[3].argmax()) == reasoning.token_ids[0]


def test_writing_on_gives_what_was_written(reasoner, reasoning):
    own = list(reasoning.prefix.ids)
    with torch.inference_mode():
        continued = reasoning.prefix.continued([own, own + list(reasoning.token_ids[:3])])
        for step in range(6):
            best = continued.logits.log_softmax(-1).max(-1)
            assert best.indices.tolist() == [
                reasoning.token_ids[step], reasoning.token_ids[step + 3]]
            wanted = reasoning.log_probs[[step, step + 3]]
            assert np.allclose(best.values.numpy(), wanted, atol=1e-4)
            continued.write(best.indices)


def test_another_image_is_no_continuation(reasoner, reasoning):
    ids = reasoner.tokenizer(prompt(reasoner, WORDS).replace('<|image_pad|>', '', 1),
                             add_special_tokens=False)['input_ids']
    with pytest.raises(ValueError, match='before the end of the image'):
        reasoning.prefix.continued([ids])


def test_yes_among_yes_and_no(reasoner, image, reasoning):
    start = prompt(reasoner, WORDS) + '<think>Looking for: object. On the table:'
    texts = [start + ' r2c3 small red mug', start + ' r0c0 large blue bowl', start]
    look = SecondLook(reasoner, reasoning.prefix)
    found = look.probability(texts, (' yes',), (' no', ' reference'))
    ids = [reasoner.tokenizer(word, add_special_tokens=False)['input_ids'][0]
           for word in (' yes', ' no', ' reference')]
    for text, value in zip(texts[:2], found, strict=False):
        chances = chances_read_anew(reasoner, image, text)[ids]
        assert float(value) == pytest.approx(float(chances[0] / chances.sum()), abs=1e-4)
    # A place comes next, not a verdict: it says neither unless it may write on.
    assert SecondLook(reasoner, reasoning.prefix).probability(
        texts[2:], (' yes',), (' no',), max_tokens=2).isnan().all()
    assert not look.probability(texts[2:], (' yes',), (' no',), max_tokens=6).isnan().any()
    assert len(look.probability([], (' yes',), (' no',))) == 0


def test_samples_are_answers_drawn_by_chance(reasoner, reasoning):
    look = SecondLook(reasoner, reasoning.prefix)
    first, again, other = look.samples(4, 1.0), look.samples(4, 1.0), look.samples(4, 1.0, seed=1)
    assert first == again and first != other
    assert len(set(first)) > 1
    assert all('</answer>' in text for text in first)
    # Almost without chance they begin as the answer that was given; numbers may be near ties.
    words = reasoning.text.partition('Matching')[0]
    assert words and all(text.startswith(words) for text in look.samples(2, 0.01))


def test_told_to_stop_there_are_none(reasoner, reasoning):
    asked = []
    look = SecondLook(reasoner, reasoning.prefix)
    assert look.samples(3, 1.0, should_stop=lambda: asked.append(1) or len(asked) == 4) == ()
    assert len(asked) == 4


def test_samples_end_at_the_card_s_limit(reasoner, reasoning):
    limited = copy.copy(reasoner)
    limited.card = dataclasses.replace(reasoner.card, max_new_tokens=3)
    texts = SecondLook(limited, reasoning.prefix).samples(2, 1.0)
    assert [len(reasoner.tokenizer(text, add_special_tokens=False)['input_ids'])
            for text in texts] == [3, 3]


def test_tokens_are_written_out_one_by_one(reasoner):
    ids = reasoner.tokenizer(' yes<|im_end|>', add_special_tokens=False)['input_ids']
    assert reasoner.texts_of(ids) == (' yes', '<|im_end|>')


