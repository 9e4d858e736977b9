"""Architecture and loss of the embedded segmenter, a small SAM 2."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import Sam2Config, Sam2Model

from vr_ros.models.transformers_sam2 import drop_video_positions

ENTROPY_WEIGHT, OTHERS_WEIGHT = 5.0, 0.3


@dataclass(frozen=True)
class Architecture:
    """Sizes of the embedded segmenter.

    :param image_size: edge in pixels of the square that it sees; masks come out at a quarter of it.
    :param dims, blocks, heads, windows: of the encoder's four stages, at 1/4, 1/8, 1/16 and 1/32;
        no two neighbouring stages may have equal dims.
    :param position_scale: deviation of the frequencies of the position code, in turns over the
        image's half.
    :param global_blocks: blocks that attend to the whole image; none may be the first of a stage.
    """

    image_size: int = 256
    dims: tuple[int, ...] = (32, 64, 128, 256)
    blocks: tuple[int, ...] = (1, 2, 3, 1)
    heads: tuple[int, ...] = (1, 2, 4, 8)
    windows: tuple[int, ...] = (8, 4, 8, 8)
    global_blocks: tuple[int, ...] = (4,)
    hidden: int = 128
    decoder_mlp: int = 256
    decoder_heads: int = 8
    attention_downsample: int = 1
    position_scale: float = 0.5


def build_segmenter(architecture: Architecture, seed: int = 0) -> Sam2Model:
    """Make an untrained model.

    transformers draws linear layers with a deviation of 0.02, too small for layers this narrow:
    they start as torch starts them.
    """
    a, edge = architecture, architecture.image_size
    config = Sam2Config(
        vision_config={
            'backbone_config': {
                'model_type': 'sam2_hiera_det_model',
                'hidden_size': a.dims[0],
                'num_attention_heads': a.heads[0],
                'image_size': [edge, edge],
                'blocks_per_stage': list(a.blocks),
                'embed_dim_per_stage': list(a.dims),
                'num_attention_heads_per_stage': list(a.heads),
                'window_size_per_stage': list(a.windows),
                'global_attention_blocks': list(a.global_blocks),
            },
            'backbone_channel_list': list(a.dims[::-1]),
            'backbone_feature_sizes': [[edge // step] * 2 for step in (4, 8, 16)],
            'fpn_hidden_size': a.hidden,
        },
        prompt_encoder_config={'hidden_size': a.hidden, 'image_size': edge, 'patch_size': 16},
        mask_decoder_config={
            'hidden_size': a.hidden,
            'mlp_dim': a.decoder_mlp,
            'num_attention_heads': a.decoder_heads,
            'iou_head_hidden_dim': a.hidden,
            'attention_downsample_rate': a.attention_downsample,
        },
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # Faster than the fused kernel for windows and heads this small.
        model = Sam2Model._from_config(config, attn_implementation='eager')
        for module in model.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                module.reset_parameters()
    # The image's positions and the prompts' are the same code, as in every published checkpoint.
    code = model.prompt_encoder.shared_embedding.positional_embedding
    code.mul_(a.position_scale)
    model.shared_image_embedding.positional_embedding.copy_(code)
    for layer in model.mask_decoder.transformer.layers:
        _attend_to_own_place(layer.cross_attn_token_to_image)
        _attend_to_own_place(layer.cross_attn_image_to_token)
    drop_video_positions(model)
    return model


@torch.no_grad()
def _attend_to_own_place(attention: torch.nn.Module, sharpness: float = 1.7) -> None:
    """Let an attention begin with what matters most: a prompt looks at its place, a pixel at the
    prompts near it.

    Queries and keys start as the position code itself, sine and cosine of a frequency in the same
    head, so that their product falls with the distance. From random matrices the decoder needs
    thousands of steps to find its prompts (measured: IoU 0.3 after 350 steps, against 0.8 after
    300).
    """
    width, half = attention.internal_dim, attention.hidden_size // 2
    pairs = attention.head_dim // 2
    weight = torch.zeros(width, attention.hidden_size)
    for head in range(attention.num_attention_heads):
        for pair in range(pairs):
            frequency, row = (head * pairs + pair) % half, head * attention.head_dim + pair
            weight[row, frequency] = weight[row + pairs, half + frequency] = sharpness
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight.copy_(weight)
        projection.bias.zero_()


def set_image_size(model: Sam2Model, edge: int) -> None:
    """Let a model take square images of another size: it has no weight that depends on it."""
    prompts, step = model.prompt_encoder, 4
    prompts.input_image_size = edge
    prompts.image_embedding_size = (edge // 16, edge // 16)
    prompts.mask_input_size = (edge // 4, edge // 4)
    model.backbone_feature_sizes = [[edge // (step << level)] * 2 for level in range(3)]


def segmentation_loss(
    logits: torch.Tensor, scores: torch.Tensor, masks: torch.Tensor
) -> tuple[torch.Tensor, dict[str, float]]:
    """Hold three masks per object against the truth.

    The mask with the lowest loss learns most, the others a little, so that none is left behind;
    the IoU estimates of all three learn (squared error). Cross-entropy in place of SAM's focal
    loss: where objects fill a few per cent of the image, that one first teaches to predict nothing.

    :param logits: (N, 3, h, w) low-resolution mask logits.
    :param scores: (N, 3) estimated IoU.
    :param masks: (N, H, W) float truth, H and W multiples of h and w.
    :return: the loss; its parts, and the IoU of the mask that the model itself would pick.
    """
    coarse = F.adaptive_avg_pool2d(masks[:, None], logits.shape[2:]).expand_as(logits)
    dice = dice_loss(logits, coarse)
    entropy = F.binary_cross_entropy_with_logits(logits, coarse, reduction='none').mean((2, 3))
    both = dice + ENTROPY_WEIGHT * entropy
    index, best = torch.arange(len(logits), device=logits.device), both.detach().argmin(1)
    with torch.no_grad():
        positive, truth = logits > 0, coarse >= 0.5
        overlap = (positive & truth).sum((2, 3)).float()
        true_iou = overlap / (positive | truth).sum((2, 3)).clamp(min=1)
    losses = {
        'masks': both[index, best].mean() + OTHERS_WEIGHT * both.mean(),
        'estimate': F.mse_loss(scores, true_iou),
    }
    parts = {name: float(part.detach()) for name, part in losses.items()}
    parts['iou'] = float(true_iou[index, scores.detach().argmax(1)].mean())
    return sum(losses.values()), parts


def dice_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """:return: 1 - dice coefficient over the last two axes, smoothed by one pixel."""
    p = logits.sigmoid()
    return 1 - (2 * (p * target).sum((-1, -2)) + 1) / (p.sum((-1, -2)) + target.sum((-1, -2)) + 1)
