"""Meta's layout of SAM 2: the configuration of a tiny model, and transformers' weights renamed."""
from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

# What Meta's code builds into every mask decoder, whatever its configuration says.
FIXED_DECODER = {'mlp_dim': 2048, 'num_attention_heads': 8, 'iou_head_hidden_dim': 256}
TOKENS = 32
STEM = 'image_encoder.trunk'

# Part of a name there, part of a name here; all of them, in this order.
RENAMED = [
    (r'^no_memory_embedding$', 'no_mem_embed'),
    (r'^(prompt_encoder|mask_decoder)\.', r'sam_\1.'),
    (r'shared_embedding\.positional_embedding', 'pe_layer.positional_encoding_gaussian_matrix'),
    (r'mask_embed\.conv1', 'mask_downscaling.0'),
    (r'mask_embed\.layer_norm1', 'mask_downscaling.1'),
    (r'mask_embed\.conv2', 'mask_downscaling.3'),
    (r'mask_embed\.layer_norm2', 'mask_downscaling.4'),
    (r'mask_embed\.conv3', 'mask_downscaling.6'),
    (r'^vision_encoder\.backbone', STEM),
    (r'patch_embed\.projection', 'patch_embed.proj'),
    (r'^vision_encoder\.neck\.convs\.(\d)', r'image_encoder.neck.convs.\1.conv'),
    (r'upscale_conv1', 'output_upscaling.0'),
    (r'upscale_layer_norm', 'output_upscaling.1'),
    (r'upscale_conv2', 'output_upscaling.3'),
    (r'layer_norm(\d|_final)', r'norm\1'),
    (r'\bo_proj', 'out_proj'),
    # Perceptrons of two layers, and the decoder's heads, which have three.
    (r'\bmlp\.proj_in', 'mlp.layers.0'),
    (r'\bmlp\.proj_out', 'mlp.layers.1'),
    (r'(mlps\.\d|_head)\.layers\.0', r'\1.layers.1'),
    (r'(mlps\.\d|_head)\.proj_in', r'\1.layers.0'),
    (r'(mlps\.\d|_head)\.proj_out', r'\1.layers.2'),
]


def sam2_package(module: str = 'sam2') -> ModuleType:
    """Import Meta's package, or skip the test, saying so."""
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision of another build
        pytest.skip(f'NOT TESTED with {module}: {error}')


def tiny_config(edge: int) -> Any:
    """The package's configuration of SAM 2.1 tiny, with every size made as small as can be."""
    from omegaconf import OmegaConf

    package = Path(sam2_package().__file__).parent
    config = OmegaConf.load(package / 'configs' / 'sam2.1' / 'sam2.1_hiera_t.yaml')
    neck, memory = 'image_encoder.neck', 'memory_attention'
    for key, value in {
        'image_size': edge,
        'image_encoder.trunk.embed_dim': 8,
        'image_encoder.trunk.stages': [1, 2, 2, 1],
        'image_encoder.trunk.window_spec': [4, 4, 4, 2],
        'image_encoder.trunk.global_att_blocks': [2],
        f'{neck}.d_model': TOKENS,
        f'{neck}.position_encoding.num_pos_feats': TOKENS,
        f'{neck}.backbone_channel_list': [64, 32, 16, 8],
        f'{memory}.d_model': TOKENS,
        f'{memory}.num_layers': 1,
        f'{memory}.layer.d_model': TOKENS,
        f'{memory}.layer.dim_feedforward': TOKENS,
        f'{memory}.layer.self_attention.embedding_dim': TOKENS,
        f'{memory}.layer.cross_attention.embedding_dim': TOKENS,
        'memory_encoder.in_dim': TOKENS,
        'memory_encoder.fuser.num_layers': 1,
        'memory_encoder.fuser.layer.dim': TOKENS,
        'memory_encoder.mask_downsampler.embed_dim': TOKENS,
    }.items():
        OmegaConf.update(config, f'model.{key}', value)
    return config


def rename(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Turn the names of transformers' image model into Meta's."""
    renamed = {}
    for name, tensor in weights.items():
        if name.startswith('shared_image_embedding'):  # twice there, once here
            continue
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        if name == 'sam_prompt_encoder.point_embed.weight':
            for label, row in enumerate(tensor):
                renamed[f'sam_prompt_encoder.point_embeddings.{label}.weight'] = row[None]
        else:
            renamed[name] = tensor
    return renamed


def save_meta_checkpoint(directory: Path, weights: dict[str, torch.Tensor], edge: int) -> None:
    """Write tiny.yaml and tiny.pt; what only the video memory has is random.

    :param weights: of transformers' image model, in its names.
    """
    config = tiny_config(edge)
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    OmegaConf.save(config, directory / 'tiny.yaml')
    model = instantiate(config.model)
    report = model.load_state_dict(rename(weights), strict=False)
    assert not report.unexpected_keys
    assert not [name for name in report.missing_keys if name.startswith(('image', 'sam_'))]
    torch.save({'model': model.state_dict()}, directory / 'tiny.pt')
