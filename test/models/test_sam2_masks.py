"""Masks cut to where they are, against masks of the whole frame."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from test_segmenter import full_frame

from vr_ros.core.types import Size
from vr_ros.models.sam2_masks import crop_masks


def blobs(height: int, width: int) -> torch.Tensor:
    """Logits of every awkward kind: see the comments."""
    logits = torch.full((8, height, width), -3.0)
    logits[1] = 2.0                                             # everything
    logits[2, height // 2, width // 2] = 5.0                    # one pixel
    logits[3, 0, 0] = logits[3, -1, -1] = 1.0                   # opposite corners
    logits[4, :, width - 2:] = 4.0                              # along an edge
    logits[5, 2:5, 3:9] = 1e-6                                  # barely
    logits[6] = torch.randn(height, width, generator=torch.Generator().manual_seed(1))  # noise
    logits[7] = 0.0                                             # exactly the threshold: nowhere
    return logits


@pytest.mark.parametrize(('source', 'size'), [
    ((64, 64), Size(640, 480)),     # the embedded segmenter on a camera image
    ((256, 256), Size(1920, 1080)),  # SAM 2 at full HD
    ((256, 256), Size(101, 67)),    # shrinking
    ((16, 16), Size(16, 16)),       # as it is
    ((16, 16), Size(1, 300)),       # a sliver
])
def test_crops_equal_the_full_frame(source, size):
    logits = blobs(*source)
    full = full_frame(logits, size)
    for crop, wanted in zip(crop_masks(logits, size), full, strict=True):
        mask = np.zeros((size.height, size.width), bool)
        height, width = crop.pixels.shape
        mask[crop.y:crop.y + height, crop.x:crop.x + width] = crop.pixels
        differing = mask != (wanted > 0)
        # torch fuses multiplication and addition: signs may differ where a logit rounds to 0.
        assert np.abs(wanted[differing]).max(initial=0) < 1e-7


def test_crop_is_small_where_the_mask_is():
    logits = torch.full((1, 256, 256), -1.0)
    logits[0, 100:110, 50:60] = 1.0
    (crop,) = crop_masks(logits, Size(2560, 2560))
    assert crop.pixels.shape == (110, 110)  # 10 positive ones, half a neighbour on either side
    assert (crop.x, crop.y) == (495, 995)
