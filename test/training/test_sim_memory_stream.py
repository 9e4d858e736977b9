"""Whole clips in the model's own memory: the same as following them, learning step by step."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from test_sim_memory import EDGE, MEMORY, QUICK, TINY, Discs, Stills, trainer_in

from vr_ros.models.sam2_checkpoint import load_sam2
from vr_ros.training.trainers.sim_memory import LEAST_LIKENESS, train_memory
from vr_ros.training.trainers.sim_memory_data import ClipMaker
from vr_ros.training.trainers.sim_memory_follow import ClipFollower, Seen, batch_maps
from vr_ros.training.trainers.sim_memory_model import build_video_model, memory_parts
from vr_ros.training.trainers.sim_memory_stream import (
    Stream,
    StreamRecipe,
    Streams,
    stream_loss,
    telling,
)
from vr_ros.training.trainers.sim_segmenter_model import build_segmenter

LENGTH = 9
SHORT = StreamRecipe(clips=1, objects=2, short=3, long=5)


@pytest.fixture
def model():
    built = build_video_model(build_segmenter(TINY), MEMORY)
    # Frames differ: some objects are seen on some frames and not on others.
    built.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(0.0)
    return built


@pytest.fixture
def batch():
    return ClipMaker(Discs(), clips=2, objects=2).draw(np.random.default_rng(0), LENGTH)


def test_a_stream_sees_what_following_sees(model, batch):
    """Whichever objects learn on a frame, all come out as if none did."""
    follower, rng = ClipFollower(model), np.random.default_rng(1)
    with torch.no_grad():
        wanted = follower.follow(batch_maps(follower, batch, torch.device('cpu')), batch.seeds)
    stream, learned_from = Stream(follower, batch), 0
    while not stream.ended:
        learned = torch.from_numpy(rng.random(len(batch.owner)) < 0.5)
        seen, whole = stream.step(learned), wanted[stream.frame]
        if not learned.any():
            assert seen is None
            continue
        learned_from += int(learned.sum())
        assert seen.presence.requires_grad
        torch.testing.assert_close(seen.presence, whole.presence[learned], rtol=1e-3, atol=2e-3)
        torch.testing.assert_close(seen.masks, whole.masks[learned], rtol=1e-2, atol=2e-2)
    assert stream.frame == LENGTH - 1
    assert learned_from > LENGTH


def test_the_gradient_reaches_what_writes_the_memory(model, batch):
    stream = Stream(ClipFollower(model), batch)
    everyone = torch.ones(len(batch.owner), dtype=torch.bool)
    for _ in range(2):
        seen = stream.step(everyone)
    model.zero_grad()
    (seen.logits.sum() + seen.presence.sum()).backward()
    silent = {name.split('.')[0] for name, p in memory_parts(model).named_parameters()
              if p.grad is None or not p.grad.abs().any()}
    reached = {'0', '1', '6'}  # memory attention, memory encoder, score of presence
    assert reached <= {name.split('.')[0] for name, p in memory_parts(model).named_parameters()
                       if p.grad is not None and p.grad.abs().any()}, silent


def test_frames_that_tell_are_hidden_near_or_just_after():
    areas = torch.tensor([100, 60, 40, 0, 0, 100, 90, 80, 100, 100])[:, None]
    told = telling(areas, torch.ones_like(areas, dtype=torch.bool)).flatten().tolist()
    assert told == [False, False, True, True, True, True, True, True, False, False]


def test_all_that_tells_is_learnt_from_and_a_share_of_the_rest(model, batch):
    stream, rng = Stream(ClipFollower(model), batch), np.random.default_rng(0)
    stream.telling[1] = torch.tensor([True] + [False] * (len(batch.owner) - 1))
    shares = torch.stack([stream.draw(rng, 0.25) for _ in range(400)]).float().mean(0)
    assert shares[0] == 1
    assert all(0.15 < float(share) < 0.35 for share in shares[1:])


def seen(presence: float, logit: float, count: int = 2) -> Seen:
    return Seen(torch.full((count, 3, 16, 16), logit), torch.zeros(count, 3),
                torch.full((count,), presence), torch.zeros(count, 8), torch.zeros(count))


def test_hidden_objects_are_to_be_absent_and_empty():
    masks, known = torch.zeros(2, 64, 64), torch.ones(2, dtype=torch.bool)

    def cost(presence: float, logit: float) -> float:
        return float(stream_loss(seen(presence, logit), masks, known, 1.0, 1.5)[0])

    assert cost(-5, -9) < cost(-5, 9)
    assert cost(5, -9) - cost(-5, -9) == pytest.approx(1.5 * 5, rel=0.01)
    _, values = stream_loss(seen(-5, -9), masks, known, 1.0, 1.5)
    assert values['hidden_right'] == 1
    assert 'iou' not in values
    assert 'visible_right' not in values


def test_of_slivers_the_mask_counts_and_the_presence_does_not():
    masks, known = torch.zeros(2, 64, 64), torch.zeros(2, dtype=torch.bool)
    masks[:, 10, 10:14] = 1
    loss, values = stream_loss(seen(-5, 0.0), masks, known, 1.0, 1.5)
    other, _ = stream_loss(seen(5, 0.0), masks, known, 1.0, 1.5)
    assert float(loss) == float(other) > 0
    assert not {'visible_right', 'hidden_right'} & values.keys()


def test_streams_go_on_with_new_clips_and_leave_gradients(model):
    streams, rng = Streams(ClipFollower(model), Discs(), Discs(), SHORT), np.random.default_rng(0)
    started = set()
    for _ in range(12):
        model.zero_grad()
        values = streams.step(rng)
        started |= {id(stream.batch) for stream in streams._running}
        assert 0 < values['loss'] < 20
        assert any(p.grad is not None for p in model.memory_attention.parameters())
    assert len(started) > SHORT.streams


def test_the_last_part_of_a_run_follows_whole_clips_and_leaves_the_decoder(tmp_path):
    recipe = dataclasses.replace(QUICK, stream_share=0.5, stream=SHORT, warmup_steps=1)
    trainer = trainer_in(tmp_path, recipe, minutes=100.0)
    trainer.spent_minutes = 49.9
    assert not trainer.streaming
    assert trainer.progress == pytest.approx(0.998)
    trainer.spent_minutes = 50.0
    assert trainer.streaming
    assert trainer.progress == 0
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    for _ in range(3):
        trainer.step()
    changed = {name for name, value in trainer.model.state_dict().items()
               if not torch.equal(value, before[name])}
    assert any(name.startswith('memory_attention') for name in changed)
    assert any(name.startswith('mask_decoder.pred_obj_score_head') for name in changed)
    still = ('vision_encoder', 'mask_decoder.transformer', 'mask_decoder.mask_tokens',
             'mask_decoder.output_hyp', 'mask_decoder.upscale', 'mask_decoder.iou')
    assert not [name for name in changed if name.startswith(still)]


def test_exported_weights_have_half_of_what_the_last_part_changed(tmp_path):
    recipe = dataclasses.replace(QUICK, stream_share=1.0, stream=SHORT, warmup_steps=1)
    trainer = trainer_in(tmp_path, recipe, minutes=100.0)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    for _ in range(2):
        trainer.step()
    trainer.save()
    again = trainer_in(tmp_path, recipe, minutes=100.0)
    assert again.resume()
    again.export(tmp_path / 'weights')
    exported = load_sam2(tmp_path / 'weights', EDGE)
    assert exported.config.least_likeness == LEAST_LIKENESS
    changed = 0
    for name, value in exported.state_dict().items():
        after = trainer.model.state_dict()[name]
        if not torch.equal(after, before[name]):
            changed += 1
            torch.testing.assert_close(value, (before[name] + after) / 2, rtol=2e-2, atol=1e-3)
            torch.testing.assert_close(again.model.state_dict()[name], after)
    assert changed > 20


def test_a_run_of_both_parts_ends_with_weights(tmp_path):
    discs = Discs()
    weights = train_memory(
        build_segmenter(TINY), discs, Stills(discs), tmp_path, minutes=0.02, architecture=MEMORY,
        recipe=dataclasses.replace(QUICK, log_steps=1, stream_share=0.5, stream=SHORT),
        hidings=Discs(2))
    assert (weights / 'model.safetensors').is_file()
    lines = (tmp_path / 'curve.jsonl').read_text().splitlines()
    assert any('"learned"' in line for line in lines)
    assert any('"seed_iou"' in line for line in lines)
