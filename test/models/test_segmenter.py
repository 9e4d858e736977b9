"""The segmenters, each with the same weights, against transformers' own forward pass.

One tiny random checkpoint, saved in the layout of each back-end.
"""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from meta_layout import FIXED_DECODER, sam2_package, save_meta_checkpoint
from PIL import Image
from transformers import Sam2Config, Sam2Model

from vr_ros.core.types import Mask, PerceptionError, Size, Status
from vr_ros.models.card import DtypeCard, SegmenterCard, WeightsCard
from vr_ros.models.segmenter import MEAN, STD, ImageFeatures, Segmenter, preprocess
from vr_ros.models.segmenters import load_segmenter
from vr_ros.models.video_memory import VideoMemory

EDGE = 64
WIDTH, HEIGHT = 90, 70
# Ordinary, covering everything, one pixel, no area, partly outside; two at the same place.
BOXES = np.array([
    [10, 12, 50, 44], [0, 0, 90, 70], [33, 20, 34, 21], [40, 30, 40, 30], [-5, 50, 30, 80],
    [10, 12, 50, 44],
], np.float32)
POINTS = np.array([[30, 30], [45, 35], [33, 20], [40, 30], [5, 60], [12, 40]], np.float32)
NO_POINT = np.array([np.nan, np.nan], np.float32)


def tiny_parts() -> dict[str, dict]:
    """Sizes of the smallest SAM 2 that has every part: four stages, windows, one global block."""
    dims = [8, 16, 32, 64]
    return {
        'vision_config': {
            'backbone_config': {
                'model_type': 'sam2_hiera_det_model', 'hidden_size': dims[0],
                'image_size': [EDGE, EDGE], 'blocks_per_stage': [1, 2, 2, 1],
                'embed_dim_per_stage': dims, 'num_attention_heads_per_stage': [1, 2, 4, 8],
                'window_size_per_stage': [4, 4, 4, 2], 'global_attention_blocks': [2],
            },
            'backbone_channel_list': dims[::-1],
            'backbone_feature_sizes': [[16, 16], [8, 8], [4, 4]], 'fpn_hidden_size': 32,
        },
        'prompt_encoder_config': {'hidden_size': 32, 'image_size': EDGE, 'patch_size': 16},
        'mask_decoder_config': {
            'hidden_size': 32, 'mlp_dim': 64, 'num_attention_heads': 4, 'iou_head_hidden_dim': 32,
        },
    }


def randomise(model: torch.nn.Module, seed: int = 23) -> torch.nn.Module:
    """Give weights sizes, and a seed, at which prompts decide clearly which mask is best."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if 'norm' in name and name.endswith('weight'):
            parameter.data = 1 + noise * 0.1
        else:
            parameter.data = noise * (1.5 / parameter[0].numel() ** 0.5 if noise.ndim > 1 else 0.1)
    for encoding in (model.prompt_encoder.shared_embedding, model.shared_image_embedding):
        fixed = torch.Generator().manual_seed(7)
        encoding.positional_embedding.copy_(
            torch.randn(encoding.positional_embedding.shape, generator=fixed)
        )
    return model.eval()


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp('sam2')
    parts = tiny_parts()
    parts['mask_decoder_config'] |= FIXED_DECODER
    randomise(Sam2Model(Sam2Config(**parts)), seed=18).save_pretrained(directory)
    return directory


@pytest.fixture(scope='module')
def reference(checkpoint) -> Sam2Model:
    return Sam2Model.from_pretrained(checkpoint).eval()


@pytest.fixture(scope='module')
def meta_card(reference, tmp_path_factory) -> SegmenterCard:
    """The same checkpoint in Meta's layout."""
    sam2_package()
    directory = tmp_path_factory.mktemp('meta')
    save_meta_checkpoint(directory, reference.state_dict(), EDGE)
    return replace(card_of(directory / 'tiny.pt'), backend='sam2',
                   config=str(directory / 'tiny.yaml'))


@pytest.fixture(scope='module', params=['transformers', 'sam2'])
def card(request, checkpoint) -> SegmenterCard:
    """Each back-end in turn; what holds for one must hold for the other."""
    if request.param == 'sam2':
        return request.getfixturevalue('meta_card')
    return card_of(checkpoint)


@pytest.fixture(scope='module')
def segmenter(card) -> Segmenter:
    return load_segmenter(card)


@pytest.fixture(scope='module')
def features(segmenter) -> ImageFeatures:
    return segmenter.encode(photo(HEIGHT, WIDTH))


def card_of(directory: Path, image_size: int = EDGE, dtype: str = 'float32') -> SegmenterCard:
    return SegmenterCard(WeightsCard(path=directory), image_size, DtypeCard(dtype))


def photo(height: int, width: int) -> np.ndarray:
    """Smooth structure plus noise."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((width, height), Image.BICUBIC), np.int16)
    return np.clip(image + rng.integers(-20, 21, image.shape), 0, 255).astype(np.uint8)


def decode_runs(mask: Mask) -> np.ndarray:
    """Column-major runs to (H, W) bool, the plain way."""
    flat = np.repeat(np.arange(len(mask.counts)) % 2 == 1, mask.counts)
    return flat.reshape(mask.size.width, mask.size.height).T


def reference_masks(
    model: Sam2Model, box: np.ndarray, point: np.ndarray | None
) -> tuple[torch.Tensor, np.ndarray]:
    """One object through transformers' own forward pass.

    :return: (3, h, w) logits and (3,) estimated IoU.
    """
    scale = np.array([EDGE / WIDTH, EDGE / HEIGHT])
    prompt = {'input_boxes': torch.tensor(box.reshape(2, 2) * scale).float().view(1, 1, 4)}
    if point is not None:
        prompt['input_points'] = torch.tensor(point * scale).float().view(1, 1, 1, 2)
    with torch.inference_mode():
        output = model(pixel_values=preprocess(photo(HEIGHT, WIDTH), EDGE), **prompt)
    return output.pred_masks[0, 0], output.iou_scores[0, 0].numpy()


def full_frame(logits: torch.Tensor, size: Size) -> np.ndarray:
    """Upsample (N, h, w) logits over the whole frame. :return: (N, H, W) logits."""
    return F.interpolate(
        logits[None], (size.height, size.width), mode='bilinear', align_corners=False
    )[0].numpy()


@pytest.mark.parametrize('with_points', [True, False])
def test_best_of_three_equals_transformers(segmenter, reference, features, with_points):
    results = segmenter.decode(features, BOXES, POINTS if with_points else None)
    assert len(results) == len(BOXES)
    chosen = set()
    for box, point, result in zip(BOXES, POINTS, results, strict=True):
        logits, scores = reference_masks(reference, box, point if with_points else None)
        best = int(scores.argmax())
        chosen.add(best)
        assert result.score == pytest.approx(scores[best], abs=1e-5)
        wanted = full_frame(logits[None, best], features.size)[0]
        clear = np.abs(wanted) > 1e-4  # batched and single arithmetic differ in the last digits
        assert clear.mean() > 0.99
        np.testing.assert_array_equal(decode_runs(result.mask)[clear], wanted[clear] > 0)
    assert len(chosen) > 1  # the choice is a choice


def test_points_matter(segmenter, features):
    with_points = segmenter.decode(features, BOXES, POINTS)
    without = segmenter.decode(features, BOXES)
    assert all(a.mask != b.mask for a, b in zip(with_points, without, strict=True))


def test_batch_equals_one_by_one(segmenter, features):
    points = POINTS.copy()
    points[[1, 4]] = NO_POINT
    batched = segmenter.decode(features, BOXES, points)
    chunked = segmenter.decode(features, BOXES, points, max_batch=2)
    for i, result in enumerate(batched):
        (alone,) = segmenter.decode(features, BOXES[i:i + 1], points[i:i + 1])
        for other in (alone, chunked[i]):
            assert other.score == pytest.approx(result.score, abs=1e-5)
            differing = decode_runs(other.mask) != decode_runs(result.mask)
            assert differing.sum() <= 2  # a logit next to 0 may fall on either side


def test_no_boxes(segmenter, features):
    assert segmenter.decode(features, np.zeros((0, 4))) == ()
    assert segmenter.decode(features, [], np.zeros((0, 2))) == ()


@pytest.mark.parametrize(('boxes', 'points'), [
    ([[0, 0, np.nan, 4]], None),              # a coordinate that is none
    ([[0, 0, 4, 4]], [[1, 1], [2, 2]]),       # more points than boxes
])
def test_unusable_prompts_are_refused(segmenter, features, boxes, points):
    with pytest.raises(ValueError, match='expected finite boxes'):
        segmenter.decode(features, boxes, points)


def test_area_and_box_are_those_of_the_mask(segmenter, features):
    for result in segmenter.decode(features, BOXES, POINTS):
        mask = decode_runs(result.mask)
        assert mask.shape == (HEIGHT, WIDTH)
        assert result.area_px == mask.sum()
        rows, columns = np.nonzero(mask)
        extent = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert result.box == extent


@pytest.mark.parametrize(('height', 'width', 'edge'), [
    (480, 640, 256),    # shrinking: antialiased
    (1080, 1920, 1024),  # SAM 2 at full HD
    (40, 30, 64),       # enlarging
    (64, 64, 64),       # as it is
])
def test_preprocessing_equals_pillow(height, width, edge):
    image = photo(height, width)
    # Pillow resizes float images without rounding to grey levels.
    planes = [
        Image.fromarray(image[..., channel].astype(np.float32)).resize((edge, edge), Image.BILINEAR)
        for channel in range(3)
    ]
    wanted = (np.stack(planes) / 255 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    assert np.abs(preprocess(image, edge)[0].numpy() - wanted).max() < 2e-5


def test_preprocessing_equals_opencv_when_enlarging():
    image = photo(40, 30)
    resized = cv2.resize(image.astype(np.float32), (EDGE, EDGE), interpolation=cv2.INTER_LINEAR)
    wanted = (resized / 255 - MEAN) / STD
    ours = preprocess(image, EDGE)[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - wanted).max() < 2e-5


@pytest.mark.parametrize('image', [
    np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32),
    np.zeros((0, 8, 3), np.uint8),
])
def test_other_arrays_are_no_images(segmenter, image):
    with pytest.raises(ValueError, match=r'expected \(H, W, 3\) uint8'):
        segmenter.encode(image)


def test_features_equal_transformers(segmenter, reference, features):
    wanted = reference.get_image_embeddings(preprocess(photo(HEIGHT, WIDTH), EDGE))
    for ours, theirs in zip(features.maps[:-1], wanted[:-1], strict=True):
        torch.testing.assert_close(ours, theirs)
    no_memory = reference.no_memory_embedding.view(1, -1, 1, 1)
    torch.testing.assert_close(features.maps[-1] + no_memory, wanted[-1])


def test_bfloat16_keeps_prompts_exact(card, segmenter):
    half = load_segmenter(replace(card, dtype=DtypeCard('bfloat16')))
    image = photo(HEIGHT, WIDTH)
    assert {seen.dtype for seen in half.encode(image).maps} == {torch.bfloat16}
    full = segmenter.model.state_dict()
    prompts = [name for name in full if 'prompt_encoder' in name]
    assert len(prompts) > 10
    for name, tensor in half.model.state_dict().items():
        if name in prompts:
            torch.testing.assert_close(tensor, full[name], rtol=0, atol=0)
    results = half.decode(half.encode(image), BOXES, POINTS)
    wanted = segmenter.decode(segmenter.encode(image), BOXES, POINTS)
    for ours, theirs in zip(results, wanted, strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=0.1)


def test_other_image_size(card):
    larger = load_segmenter(replace(card, image_size=128))
    features = larger.encode(photo(HEIGHT, WIDTH))
    assert [tuple(m.shape[2:]) for m in features.maps] == [(32, 32), (16, 16), (8, 8)]
    assert len(larger.decode(features, BOXES, POINTS)) == len(BOXES)
    with pytest.raises(PerceptionError, match='image_size 72 is no multiple of') as caught:
        load_segmenter(replace(card, image_size=72))
    assert caught.value.status == Status.MODEL_UNAVAILABLE


def test_image_models_follow_nothing(segmenter):
    assert not segmenter.has_memory
    with pytest.raises(PerceptionError, match='no video memory') as caught:
        VideoMemory(segmenter)
    assert caught.value.status == Status.MODEL_UNAVAILABLE
