"""The embedded segmenter with a video memory: its parts, and how they start."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import Sam2Model, Sam2VideoConfig, Sam2VideoModel

from vr_ros.training.trainers.sim_segmenter_model import set_image_size

LOUDER = 3**0.5


@dataclass(frozen=True)
class MemoryArchitecture:
    """Sizes of what is added to the segmenter.

    :param memories: frames that are remembered in full, the seeded one included; :param pointers:
        frames of which one vector is.
    :param rope_theta: base of the rotary frequencies; the usual 10,000 would leave most of them
        standing still on a grid of 16 places.
    """

    layers: int = 2
    heads: int = 2
    feed_forward: int = 256
    fuser_layers: int = 2
    fuser_width: int = 256
    memories: int = 7
    pointers: int = 16
    max_seeds: int = 2
    rope_theta: float = 100.0


def build_video_model(
    segmenter: Sam2Model, architecture: MemoryArchitecture | None = None, seed: int = 0
) -> Sam2VideoModel:
    """Make a video model of a trained segmenter and an untrained memory."""
    a, still = architecture or MemoryArchitecture(), segmenter.config
    width, edge = still.vision_config.fpn_hidden_size, still.prompt_encoder_config.image_size

    def parts(config: object) -> dict:
        return {k: v for k, v in config.to_dict().items() if k != 'model_type'}  # type: ignore

    config = Sam2VideoConfig(
        vision_config=still.vision_config.to_dict(),
        prompt_encoder_config=parts(still.prompt_encoder_config),
        mask_decoder_config=parts(still.mask_decoder_config),
        image_size=edge, num_maskmem=a.memories, max_object_pointers_in_encoder=a.pointers,
        max_cond_frame_num=a.max_seeds, memory_attention_hidden_size=width,
        memory_attention_num_layers=a.layers, memory_attention_num_attention_heads=a.heads,
        memory_attention_feed_forward_hidden_size=a.feed_forward,
        memory_attention_rope_feat_sizes=[edge // 16] * 2, memory_attention_dropout=0.0,
        memory_attention_rope_dropout=0.0, memory_encoder_hidden_size=width,
        memory_encoder_output_channels=64, mask_downsampler_embed_dim=width,
        memory_fuser_num_layers=a.fuser_layers, memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=a.fuser_width, memory_fuser_layer_scale_init_value=0.1,
        rope_parameters={'rope_type': 'axial', 'rope_theta': a.rope_theta},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Sam2VideoModel._from_config(config, attn_implementation='eager')
        _start_memory(model)
    missing, unexpected = model.load_state_dict(segmenter.state_dict(), strict=False)
    if unexpected or any(name.startswith('vision_encoder') for name in missing):
        raise ValueError(f'the segmenter is of another architecture: {missing}, {unexpected}')
    model.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(2.0)
    return model


@torch.no_grad()
def _start_memory(model: Sam2VideoModel) -> None:
    """Draw the memory's weights.

    transformers' deviation of 0.02 is too small for layers this narrow. Queries and keys of the
    cross-attention begin with a constant: turned by their rotary codes, a place then looks at
    itself and its neighbours on earlier frames, where the object most likely was.
    """
    for part in (model.memory_attention, model.memory_encoder, model.object_pointer_proj,
                 model.mask_downsample, model.temporal_positional_encoding_projection_layer,
                 model.prompt_encoder.mask_embed):
        for module in part.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.reset_parameters()
    for layer in model.memory_attention.layers:
        for projection in (layer.cross_attn_image.q_proj, layer.cross_attn_image.k_proj):
            projection.bias.fill_(2.5)
            projection.weight.mul_(0.3)
    for block in model.memory_encoder.memory_fuser.layers:
        block.scale.fill_(model.config.memory_fuser_layer_scale_init_value)
    model.memory_temporal_positional_encoding.normal_(std=0.2)
    for vector in (model.no_object_pointer, model.occlusion_spatial_embedding_parameter):
        vector.normal_(std=0.3)


@torch.no_grad()
def fit_to_features(model: Sam2VideoModel, features: torch.Tensor) -> None:
    """Start the memory at the scale of the features that it reads and adds to.

    The image encoder's coarsest map has a deviation of about 30, a few channels four times that:
    what layers of unit scale add would drown in it, and the loudest channels alone would be
    compared. So every layer reads each channel with mean 0 and deviation 1, writes in proportion to
    its deviation, and what leaves the memory has the features' own scale.

    :param features: (B, C, h, w) of ordinary frames.
    """
    mean, std = features.mean((0, 2, 3)), features.std((0, 2, 3))
    overall = features.std(1).mean()
    for layer in model.memory_attention.layers:
        for norm in (layer.layer_norm1, layer.layer_norm2, layer.layer_norm3):
            norm.weight.copy_(overall / std)
            norm.bias.copy_((features.mean() - mean) / std)
        for writer in (layer.self_attn.o_proj, layer.cross_attn_image.o_proj, layer.linear2):
            writer.weight.mul_(std[:, None])
            writer.bias.zero_()
        # What was remembered must be heard from the start: torch's own sizes halve it per layer.
        layer.cross_attn_image.v_proj.weight.mul_(LOUDER)
        layer.cross_attn_image.o_proj.weight.mul_(LOUDER)
    model.memory_encoder.projection.weight.mul_(LOUDER)
    model.prompt_encoder.mask_embed.conv3.weight.mul_(std[:, None, None, None])
    model.prompt_encoder.mask_embed.conv3.bias.zero_()
    model.memory_attention.layer_norm.weight.fill_(overall)
    model.memory_attention.layer_norm.bias.fill_(features.mean())
    reader = model.memory_encoder.feature_projection
    reader.weight.div_(std[:, None, None])
    reader.bias.sub_(reader.weight[..., 0, 0] @ mean)


def residual_writers(model: Sam2VideoModel) -> list[nn.Parameter]:
    """:return: the weights that :func:`fit_to_features` made large: they take larger steps."""
    writers = [model.prompt_encoder.mask_embed.conv3]
    for layer in model.memory_attention.layers:
        writers += [layer.self_attn.o_proj, layer.cross_attn_image.o_proj, layer.linear2]
    return [writer.weight for writer in writers]


def memory_parts(model: Sam2VideoModel) -> nn.ModuleList:
    """:return: everything that a still segmenter does not have or has never used."""
    vectors = nn.ParameterDict({
        name: getattr(model, name) for name in (
            'memory_temporal_positional_encoding', 'no_object_pointer',
            'occlusion_spatial_embedding_parameter')
    })
    return nn.ModuleList([
        model.memory_attention, model.memory_encoder, model.object_pointer_proj,
        model.mask_downsample, model.temporal_positional_encoding_projection_layer,
        model.prompt_encoder.mask_embed, model.mask_decoder.pred_obj_score_head, vectors,
    ])


def still_view(model: Sam2VideoModel) -> Sam2Model:
    """:return: the segmenter of single images inside, sharing every weight."""
    parts = {
        name: getattr(model.config, name).to_dict()
        for name in ('vision_config', 'prompt_encoder_config', 'mask_decoder_config')
    }
    for name in ('prompt_encoder_config', 'mask_decoder_config'):
        parts[name].pop('model_type')
    config = Sam2Model.config_class(**parts)
    with torch.device('meta'):
        still = Sam2Model._from_config(config, attn_implementation='eager')
    for name in ('vision_encoder', 'prompt_encoder', 'mask_decoder', 'shared_image_embedding',
                 'no_memory_embedding'):
        setattr(still, name, getattr(model, name))
    return still


def set_video_size(model: Sam2VideoModel, edge: int) -> None:
    """Let a model take square frames of another size."""
    set_image_size(model, edge)
    model.image_size = model.config.image_size = edge
    attention = model.memory_attention
    model.config.memory_attention_rope_feat_sizes = [edge // 16] * 2
    attention.position_ids = attention.precompute_positions(model.config).to(model.device)
