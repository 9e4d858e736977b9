"""What an object looks like to the image encoder: the mean of its features, compared by angle.

A video memory that takes what hides an object for the object itself does not notice, since every
frame looks like the one before. The given mask's own look does not drift.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F

# Source: fitted by eye on simulated scenes; the presence is cut off softly around the threshold.
LOGITS_PER_COSINE = 10.0


def looks(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Average features where objects are, each channel standardised over the image.

    :param features: (1, C, h, w) of one image; :param weights: (N, h, w), 0 to 1.
    :return: (N, C) float32 of length 1; 0 where an object has no weight.
    """
    values = features[0].float()
    values = values - values.mean((1, 2), keepdim=True)
    values = values / values.std((1, 2), keepdim=True).clamp(min=1e-6)
    sums = torch.einsum('chw,nhw->nc', values, weights.float())
    return F.normalize(sums / weights.sum((1, 2)).clamp(min=1e-6)[:, None], dim=1)


def doubt(
    presence: torch.Tensor, features: torch.Tensor, masks: torch.Tensor, given: torch.Tensor,
    threshold: float,
) -> torch.Tensor:
    """Lower the presence of objects whose masks show something else than was given.

    :param presence: (N, 1, 1) logits; :param features: (1, C, h, w) of the frame.
    :param masks: (N, h, w) bool what was found; empty ones keep their presence.
    :param given: (N, C) looks of the objects when they were given.
    :param threshold: cosine below which it is not the same thing.
    :return: (N, 1, 1) logits, none higher than before.
    """
    likeness = (looks(features, masks) * given).sum(1)
    most = (LOGITS_PER_COSINE * (likeness - threshold))[:, None, None]
    return torch.where(masks.flatten(1).any(1)[:, None, None], presence.minimum(most), presence)
