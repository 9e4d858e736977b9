"""Loads SAM 2 checkpoints in the layout of transformers, with video memory where they have one."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import Sam2Config, Sam2Model, Sam2VideoConfig, Sam2VideoModel

from vr_ros.core.types import PerceptionError, Status
from vr_ros.models.weights import check_loaded

# Pixels per image token in the coarsest feature map, which is what the memory attends to.
TOKEN_PX = 16
_ERRORS = (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError)


def load_sam2(directory: Path, image_size: int) -> Sam2Model | Sam2VideoModel:
    """Load in float32: the position encoding's frequencies must not be rounded.

    :param directory: with config.json and safetensors.
    :param image_size: edge in pixels of the square that the model is to see.
    :return: the video model, which holds the image model, when the checkpoint is of one.
    :raises PerceptionError: MODEL_UNAVAILABLE with one line that says what is wrong.
    """
    try:
        config = _read_config(directory / 'config.json', image_size)
        kind = Sam2VideoModel if isinstance(config, Sam2VideoConfig) else Sam2Model
        model, report = kind.from_pretrained(
            directory, config=config, dtype=torch.float32, local_files_only=True,
            use_safetensors=True, output_loading_info=True,
        )
    except _ERRORS as error:
        reason = ' '.join(str(error).split())
        raise PerceptionError(
            Status.MODEL_UNAVAILABLE, f'{directory} cannot be loaded as SAM 2: {reason}'
        ) from error
    check_loaded(report, directory)
    return model


def _read_config(path: Path, image_size: int) -> Sam2Config | Sam2VideoConfig:
    values = json.loads(path.read_text(encoding='utf-8'))
    if values.get('model_type') == 'sam2_video':
        config: Any = Sam2VideoConfig.from_dict(values)
    elif values.get('model_type') == 'sam2':
        config = Sam2Config.from_dict(values)
    else:
        raise ValueError(f'config.json says model_type {values.get("model_type")!r}')
    own = config.prompt_encoder_config.image_size
    vision = config.vision_config
    window = vision.backbone_config.window_size_per_stage[0]
    step = vision.backbone_config.patch_stride[0] * window
    if image_size % step or image_size % config.prompt_encoder_config.patch_size:
        raise ValueError(f'image_size {image_size} is no multiple of {step}')
    vision.backbone_feature_sizes = [
        [edge * image_size // own for edge in sizes] for sizes in vision.backbone_feature_sizes
    ]
    vision.backbone_config.image_size = [image_size, image_size]
    config.prompt_encoder_config.image_size = image_size
    if isinstance(config, Sam2VideoConfig):
        config.image_size = image_size
        config.memory_attention_rope_feat_sizes = [image_size // TOKEN_PX] * 2
    return config
