"""The reasoner's loading and generation, on a small untrained checkpoint."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from vr_ros.core.types import PerceptionError, Size, Status, Task
from vr_ros.models.card import ReasonerCard, load_card
from vr_ros.models.qwen_vl import QwenVLReasoner
from vr_ros.training.trainers.sim_model import Architecture, build_model
from vr_ros.training.trainers.sim_tokenizer import build_tokenizer, place_tokens

SMALL = Architecture(
    hidden=32, layers=2, intermediate=48, vision_hidden=32, vision_depth=2, vision_intermediate=48
)
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture(scope='module')
def card() -> ReasonerCard:
    return dataclasses.replace(load_card('sim_tiny').reasoner, max_new_tokens=12)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp('checkpoint')
    tokenizer = build_tokenizer(['find the cube'], [], place_tokens(6, 6), vocab_size=300)
    torch.manual_seed(0)
    build_model(SMALL, tokenizer, Size(168, 168)).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture
def copied(checkpoint, tmp_path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / 'copy'))


def message_of(card: ReasonerCard, directory: Path) -> str:
    with pytest.raises(PerceptionError) as caught:
        QwenVLReasoner(card, directory, 'cpu')
    assert caught.value.status == Status.MODEL_UNAVAILABLE
    assert '\n' not in caught.value.message
    return caught.value.message


def edit_config(directory: Path, **values: object) -> None:
    path = directory / 'config.json'
    config = json.loads(path.read_text())
    config['text_config'].update(values)
    path.write_text(json.dumps(config))


def test_missing_tensors_are_refused(card, copied):
    edit_config(copied, num_hidden_layers=3, layer_types=['full_attention'] * 3)
    assert 'tensors, such as model.language_model.layers.2' in message_of(card, copied)


def test_weights_of_another_shape_are_refused(card, copied):
    edit_config(copied, intermediate_size=64)
    assert 'cannot be loaded as qwen2_5_vl' in message_of(card, copied)


def test_a_checkpoint_without_tokenizer_is_refused(card, copied):
    for name in ('tokenizer.json', 'tokenizer_config.json'):
        (copied / name).unlink()
    assert 'has no tokenizer of this model' in message_of(card, copied)


def test_an_unknown_family_is_refused(card, checkpoint):
    other = dataclasses.replace(card, family='llava')
    assert 'unknown family "llava"; known: qwen2_5_vl, qwen3_vl' in message_of(other, checkpoint)


def test_what_streams_is_what_is_returned(card, checkpoint):
    pieces: list[str] = []
    reasoning = QwenVLReasoner(card, checkpoint, 'cpu').reason(
        IMAGE, 'find the cube', Task.DETECTION, on_text=pieces.append
    )
    assert ''.join(pieces) == reasoning.text
    assert len(reasoning.log_probs) == len(reasoning.token_ids) == len(reasoning.token_spans)
    assert (reasoning.log_probs <= 0).all()
    assert reasoning.model_size == Size(168, 168)


def test_it_ends_at_the_next_token_when_told_to(card, checkpoint):
    asked = iter([False, False, True])
    reasoning = QwenVLReasoner(card, checkpoint, 'cpu').reason(
        IMAGE, 'find the cube', Task.DETECTION, should_stop=lambda: next(asked)
    )
    assert reasoning.finish_reason == 'cancelled'
    assert len(reasoning.token_ids) == 3
