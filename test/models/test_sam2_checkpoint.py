"""Checkpoints in the layout of transformers: those of videos load too; wrong ones are refused."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from test_segmenter import (
    BOXES,
    EDGE,
    HEIGHT,
    WIDTH,
    card_of,
    checkpoint,
    photo,
    randomise,
    tiny_parts,
)
from transformers import Sam2VideoConfig, Sam2VideoModel

from vr_ros.core.types import PerceptionError, Status
from vr_ros.models.transformers_sam2 import Sam2Segmenter

__all__ = ['checkpoint']


def test_video_checkpoints_load(tmp_path):
    # The layout of the published checkpoints: the image model's weights among the video model's.
    config = Sam2VideoConfig(
        **tiny_parts(), image_size=EDGE, memory_attention_hidden_size=32,
        memory_encoder_hidden_size=32, memory_encoder_output_channels=16,
    )
    video = randomise(Sam2VideoModel(config))
    video.save_pretrained(tmp_path)
    segmenter = Sam2Segmenter.load(card_of(tmp_path))
    weight = segmenter.model.mask_decoder.mask_tokens.weight
    torch.testing.assert_close(weight, video.mask_decoder.mask_tokens.weight)
    assert len(segmenter.decode(segmenter.encode(photo(HEIGHT, WIDTH)), BOXES)) == len(BOXES)


def copy_checkpoint(source: Path, target: Path) -> Path:
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def message_of(directory: Path) -> str:
    with pytest.raises(PerceptionError) as caught:
        Sam2Segmenter.load(card_of(directory))
    assert caught.value.status == Status.MODEL_UNAVAILABLE
    assert '\n' not in caught.value.message
    return caught.value.message


def test_truncated_weights_are_named(checkpoint, tmp_path):
    file = copy_checkpoint(checkpoint, tmp_path) / 'model.safetensors'
    file.write_bytes(file.read_bytes()[:-1000])
    assert f'{file} is damaged' in message_of(tmp_path)


def test_weights_of_another_shape_are_refused(checkpoint, tmp_path):
    config = copy_checkpoint(checkpoint, tmp_path) / 'config.json'
    values = json.loads(config.read_text())
    values['mask_decoder_config']['mlp_dim'] = 32
    config.write_text(json.dumps(values))
    assert 'cannot be loaded as SAM 2' in message_of(tmp_path)


def test_other_models_are_refused(checkpoint, tmp_path):
    config = copy_checkpoint(checkpoint, tmp_path) / 'config.json'
    config.write_text('{"model_type": "qwen2_5_vl", "vision_config": {}}')
    assert "config.json says model_type 'qwen2_5_vl'" in message_of(tmp_path)


def test_missing_tensors_are_refused(checkpoint, tmp_path):
    config = copy_checkpoint(checkpoint, tmp_path) / 'config.json'
    values = json.loads(config.read_text())
    values['vision_config']['backbone_config']['blocks_per_stage'] = [1, 2, 2, 2]
    config.write_text(json.dumps(values))
    assert 'tensors, such as vision_encoder.backbone.blocks.6' in message_of(tmp_path)
