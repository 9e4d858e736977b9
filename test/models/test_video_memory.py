"""The streaming video memory against transformers' own inference session, on random weights."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_segmenter import EDGE, HEIGHT, WIDTH, card_of, checkpoint, randomise, tiny_parts
from transformers import Sam2VideoConfig, Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from vr_ros.core.rle import mask_to_rle, rle_to_mask
from vr_ros.core.types import PerceptionError, Size, Status
from vr_ros.models.segmenter import preprocess
from vr_ros.models.transformers_sam2 import Sam2Segmenter
from vr_ros.models.video_memory import MemorySession, VideoMemory

__all__ = ['checkpoint']
FRAMES = 40


@pytest.fixture(scope='module')
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Sam2Segmenter:
    directory = tmp_path_factory.mktemp('sam2_video')
    # transformers writes memories of 64 channels, and pointers that are wider than that.
    parts = tiny_parts()
    parts['vision_config']['fpn_hidden_size'] = 128
    parts['prompt_encoder_config']['hidden_size'] = 128
    parts['mask_decoder_config'] |= {'hidden_size': 128, 'iou_head_hidden_dim': 128}
    config = Sam2VideoConfig(
        **parts, image_size=EDGE, memory_attention_hidden_size=128,
        memory_attention_rope_feat_sizes=[4, 4], memory_attention_num_layers=2,
        memory_attention_feed_forward_hidden_size=32, memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64, memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=32, mask_downsampler_embed_dim=128)
    model = randomise(Sam2VideoModel(config))
    # Random weights would lose every object at once.
    model.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(0.5)
    model.save_pretrained(directory)
    return Sam2Segmenter.load(card_of(directory))


def video(count: int = FRAMES) -> list[np.ndarray]:
    """A texture that moves to the right."""
    rng = np.random.default_rng(3)
    wide = rng.integers(0, 256, (HEIGHT, WIDTH + count, 3), dtype=np.uint8)
    return [np.ascontiguousarray(wide[:, count - i:count - i + WIDTH]) for i in range(count)]


def squares(count: int) -> list[np.ndarray]:
    masks = np.zeros((count, HEIGHT, WIDTH), bool)
    for number, mask in enumerate(masks):
        mask[5 + 12 * number:15 + 12 * number, 10 + 9 * number:40 + 9 * number] = True
    return list(masks)


def theirs(segmenter: Sam2Segmenter, frames: list[np.ndarray],
           masks: list[np.ndarray]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Logits (N, h, w) and presence (N) per frame, from the session that keeps everything."""
    model = segmenter.model
    positions = model.vision_encoder.neck.position_encoding
    model.vision_encoder.neck.position_encoding = segmenter.video_positions
    session = Sam2VideoInferenceSession(dtype=torch.float32)
    for number, mask in enumerate(masks):
        index = session.obj_id_to_idx(number)
        pixels = torch.nn.functional.interpolate(
            torch.from_numpy(mask)[None, None].float(), (EDGE, EDGE), mode='bilinear',
            antialias=True, align_corners=False)
        session.add_mask_inputs(index, 0, (pixels >= 0.5).float())
    session.obj_with_new_inputs = list(range(len(masks)))
    outputs = []
    with torch.inference_mode():
        for number, frame in enumerate(frames):
            output = model(session, frame_idx=number, frame=preprocess(frame, EDGE)[0])
            outputs.append((output.pred_masks[:, 0], output.object_score_logits.flatten()))
    model.vision_encoder.neck.position_encoding = positions
    return outputs


def start(segmenter: Sam2Segmenter, frame: np.ndarray, masks: list[np.ndarray]) -> MemorySession:
    return VideoMemory(segmenter).start(
        segmenter.encode(frame), [mask_to_rle(mask) for mask in masks])


@pytest.mark.parametrize('count', [1, 4])
def test_steps_equal_those_of_transformers(segmenter: Sam2Segmenter, count: int,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    frames, masks = video(), squares(count)
    session = start(segmenter, frames[0], masks)
    seen = []
    decode = MemorySession._decode
    monkeypatch.setattr(MemorySession, '_decode', lambda *given: seen.append(decode(*given))
                        or seen[-1])
    wanted = theirs(segmenter, frames, masks)[1:]
    visible = 0
    for frame, (logits, presence) in zip(frames[1:], wanted, strict=True):
        session.step(segmenter.encode(frame))
        torch.testing.assert_close(seen[-1].presence.flatten(), presence, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(seen[-1].logits, logits, rtol=1e-2, atol=1e-2)
        visible += int((presence > 0).sum())
    assert 0 < visible  # something was followed


def test_alone_masks_are_those_of_transformers_bit_by_bit(segmenter: Sam2Segmenter) -> None:
    frames, masks = video(), squares(1)
    session = start(segmenter, frames[0], masks)
    for frame, (logits, presence) in zip(
            frames[1:], theirs(segmenter, frames, masks)[1:], strict=True):
        (found,) = session.step(segmenter.encode(frame))
        full = torch.nn.functional.interpolate(
            logits[None], (HEIGHT, WIDTH), mode='bilinear', align_corners=False)[0, 0] > 0
        assert (found.result is not None) == bool(presence[0] > 0 and full.any())
        if found.result is not None:
            assert np.array_equal(rle_to_mask(found.result.mask), full.numpy())


def test_what_is_stored_does_not_grow(segmenter: Sam2Segmenter) -> None:
    frames = video(60)
    session = start(segmenter, frames[0], squares(2))
    sizes = []
    for frame in frames[1:]:
        session.step(segmenter.encode(frame))
        sizes.append(session.stored_bytes)
    assert sizes[0] < sizes[5] < sizes[20] == sizes[-1]


def test_objects_do_not_disturb_each_other(segmenter: Sam2Segmenter) -> None:
    frames, masks = video(10), squares(3)
    together = start(segmenter, frames[0], masks)
    alone = [start(segmenter, frames[0], [mask]) for mask in masks]
    for frame in frames[1:]:
        features = segmenter.encode(frame)
        found = together.step(features)
        for one, session in zip(found, alone, strict=True):
            (other,) = session.step(features)
            assert one.presence == pytest.approx(other.presence, abs=1e-2)


def test_what_does_not_look_as_given_is_hidden(segmenter: Sam2Segmenter,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    frames, masks = video(), squares(4)

    def visible(least: float | None) -> list[bool]:
        monkeypatch.setattr(segmenter.model.config, 'least_likeness', least, raising=False)
        session = start(segmenter, frames[0], masks)
        return [one.result is not None
                for frame in frames[1:] for one in session.step(segmenter.encode(frame))]

    always = visible(None)
    assert any(always)
    assert visible(-2.0) == always  # no cosine is as low
    assert not any(visible(3.0))  # nor as high


def test_masks_of_another_size_are_refused(segmenter: Sam2Segmenter) -> None:
    features = segmenter.encode(video(1)[0])
    with pytest.raises(ValueError, match='expected masks of'):
        VideoMemory(segmenter).start(features, [mask_to_rle(np.ones((4, 5), bool))])
    with pytest.raises(ValueError, match='expected masks of'):
        VideoMemory(segmenter).start(features, [])
    assert features.size == Size(WIDTH, HEIGHT)


def test_a_segmenter_without_memory_is_refused(checkpoint: Path) -> None:
    with pytest.raises(PerceptionError, match='no video memory') as caught:
        VideoMemory(Sam2Segmenter.load(card_of(checkpoint)))
    assert caught.value.status is Status.MODEL_UNAVAILABLE
