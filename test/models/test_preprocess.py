"""Pre-processing against Pillow and against transformers' own image processor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vr_ros.core.types import Size
from vr_ros.models.preprocess import (
    QWEN2_5_VL_PATCHES,
    QWEN3_VL_PATCHES,
    image_grid,
    patchify,
    resize_image,
)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth structure plus noise: flat areas, edges and single-pixel detail."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((width, height), Image.BICUBIC), np.int16)
    return np.clip(image + rng.integers(-20, 21, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ('source', 'target'),
    [
        ((480, 640), Size(840, 840)),  # the reference's squash of a camera image, enlarging
        ((1080, 1920), Size(840, 840)),  # shrinking: antialiased
        ((480, 640), Size(168, 168)),  # the embedded model
        ((168, 168), Size(168, 168)),  # nothing to do
    ],
)
def test_resize_equals_pillow_within_one_grey_level(source, target):
    image = photo(*source)
    ours = resize_image(image, target).permute(1, 2, 0).numpy()
    pillow = np.asarray(
        Image.fromarray(image).resize((target.width, target.height), Image.BILINEAR)
    )
    assert np.abs(ours - pillow.astype(np.float32)).max() <= 1.0


@pytest.mark.parametrize('size', [Size(840, 840), Size(168, 168), Size(644, 476), Size(28, 56)])
def test_patches_equal_the_processor_of_transformers(size):
    image = photo(size.height, size.width)
    processor = Qwen2VLImageProcessorPil(min_pixels=1, max_pixels=12845056)
    expected = processor(images=Image.fromarray(image), return_tensors='pt')
    ours = patchify(resize_image(image, size)[None], QWEN2_5_VL_PATCHES)
    assert image_grid(size, QWEN2_5_VL_PATCHES).tolist() == expected['image_grid_thw'].tolist()
    # The largest difference is float rounding of the normalisation.
    torch.testing.assert_close(ours, expected['pixel_values'], atol=2e-6, rtol=0)


def test_a_batch_is_its_images_one_after_the_other():
    images = torch.stack([resize_image(photo(64, 64, seed), Size(64, 64)) for seed in range(3)])
    together = patchify(images, QWEN3_VL_PATCHES)
    apart = torch.cat([patchify(image[None], QWEN3_VL_PATCHES) for image in images])
    assert torch.equal(together, apart)
    assert together.shape == (3 * 16, 3 * 2 * 16 * 16)


def test_sides_must_be_whole_tokens():
    with pytest.raises(ValueError, match='no multiple of 28'):
        patchify(torch.zeros(1, 3, 30, 28), QWEN2_5_VL_PATCHES)


def test_image_tokens_of_the_reference():
    assert QWEN2_5_VL_PATCHES.image_tokens(Size(840, 840)) == 900
