"""Architecture and loss of the embedded segmenter, a small SAM 2."""
from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import Sam2Config, Sam2Model

from vr_ros.models.segmenter import drop_video_positions


@dataclass(frozen=True)
class Architecture:
    """Sizes of the embedded segmenter.

    :param image_size: edge in pixels of the square that it sees; masks come out at a quarter of it.
    :param dims, blocks, heads, windows: of the encoder's four stages, at 1/4, 1/8, 1/16 and 1/32;
        no two neighbouring stages may have equal dims.
    :param global_blocks: blocks that attend to the whole image; none may be the first of a stage.
    """

    image_size: int = 256
    dims: tuple[int, ...] = (32, 64, 128, 256)
    blocks: tuple[int, ...] = (1, 2, 3, 1)
    heads: tuple[int, ...] = (1, 2, 4, 8)
    windows: tuple[int, ...] = (8, 4, 8, 8)
    global_blocks: tuple[int, ...] = (4,)
    hidden: int = 64
    decoder_mlp: int = 256
    decoder_heads: int = 4
    attention_downsample: int = 2


def build_segmenter(architecture: Architecture, seed: int = 0) -> Sam2Model:
    """Make an untrained model.

    transformers draws linear layers with a deviation of 0.02, too small for layers this narrow:
    they start as torch starts them.
    """
    a, edge = architecture, architecture.image_size
    config = Sam2Config(
        vision_config={
            'backbone_config': {
                'model_type': 'sam2_hiera_det_model', 'hidden_size': a.dims[0],
                'num_attention_heads': a.heads[0], 'image_size': [edge, edge],
                'blocks_per_stage': list(a.blocks), 'embed_dim_per_stage': list(a.dims),
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
            'hidden_size': a.hidden, 'mlp_dim': a.decoder_mlp,
            'num_attention_heads': a.decoder_heads, 'iou_head_hidden_dim': a.hidden,
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
    model.shared_image_embedding.positional_embedding.copy_(
        model.prompt_encoder.shared_embedding.positional_embedding
    )
    drop_video_positions(model)
    return model


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

    The mask with the lowest dice loss at low resolution is the one that learns, at full resolution,
    with SAM's weights (focal 20, dice 1); the IoU estimates of all three learn (squared error).

    :param logits: (N, 3, h, w) low-resolution mask logits.
    :param scores: (N, 3) estimated IoU.
    :param masks: (N, H, W) float truth, H and W multiples of h and w.
    :return: the loss; its parts, and the IoU of the mask that the model itself would pick.
    """
    coarse = F.adaptive_avg_pool2d(masks[:, None], logits.shape[2:])
    with torch.no_grad():
        best = dice_loss(logits, coarse).argmin(1)
        positive, truth = logits > 0, coarse >= 0.5
        overlap = (positive & truth).sum((2, 3)).float()
        true_iou = overlap / (positive | truth).sum((2, 3)).clamp(min=1)
    index = torch.arange(len(logits), device=logits.device)
    fine = F.interpolate(
        logits[index, best][:, None], masks.shape[1:], mode='bilinear', align_corners=False
    )[:, 0]
    losses = {
        'focal': 20 * focal_loss(fine, masks).mean(),
        'dice': dice_loss(fine, masks).mean(),
        'estimate': F.mse_loss(scores, true_iou),
    }
    parts = {name: float(part.detach()) for name, part in losses.items()}
    parts['iou'] = float(true_iou[index, scores.detach().argmax(1)].mean())
    return sum(losses.values()), parts


def dice_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """:return: 1 - dice coefficient over the last two axes, smoothed by one pixel."""
    p = logits.sigmoid()
    return 1 - (2 * (p * target).sum((-1, -2)) + 1) / (p.sum((-1, -2)) + target.sum((-1, -2)) + 1)


def focal_loss(
    logits: torch.Tensor, target: torch.Tensor, alpha: float = 0.25, gamma: float = 2.0
) -> torch.Tensor:
    """:return: mean over the last two axes of the focal loss (Lin et al. 2017, equation 5)."""
    p = logits.sigmoid()
    error = p + target - 2 * p * target
    weight = alpha * target + (1 - alpha) * (1 - target)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
    return (weight * error ** gamma * cross_entropy).mean((-1, -2))
