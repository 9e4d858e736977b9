"""Training of the video memory: as transformers' session computes it, batched, with gradients."""
from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from vr_ros.core.types import Size
from vr_ros.models.transformers_sam2 import Sam2Segmenter
from vr_ros.sim.hiding import hiding_seeds
from vr_ros.sim.motion import MovingScene
from vr_ros.training.trainers.sim_memory import (
    MemoryRecipe,
    MemoryTrainer,
    train_memory,
)
from vr_ros.training.trainers.sim_memory_data import (
    ClipBank,
    ClipMaker,
    ClipSpec,
    hardness,
    imperfect,
    label_ids,
    render_clips,
)
from vr_ros.training.trainers.sim_memory_follow import (
    HIDDEN_WEIGHT,
    ClipFollower,
    Seen,
    batch_maps,
    clip_loss,
    mark_loss,
)
from vr_ros.training.trainers.sim_memory_model import (
    MemoryArchitecture,
    build_video_model,
    fit_to_features,
    memory_parts,
    set_video_size,
    still_view,
)
from vr_ros.training.trainers.sim_segmenter import run_model
from vr_ros.training.trainers.sim_segmenter_data import normalise
from vr_ros.training.trainers.sim_segmenter_model import Architecture, build_segmenter

EDGE, LENGTH = 64, 10
TINY = Architecture(
    image_size=EDGE, dims=(16, 32, 48, 64), blocks=(1, 1, 2, 1), heads=(1, 1, 2, 2),
    windows=(4, 4, 4, 2), global_blocks=(3,), hidden=128, decoder_mlp=32, decoder_heads=2,
)
MEMORY = MemoryArchitecture(feed_forward=32, fuser_layers=1, fuser_width=32, memories=4, pointers=5)
QUICK = MemoryRecipe(clips=2, objects=2, warmup_steps=2, seed_steps=1, small_share=0.0, still=1,
                     late_still=3, long=4, autocast=False, stream_share=0.0)


class Discs:
    """Clips of discs that move to the right, the second one behind a bar for some frames."""

    def __init__(self, count: int = 3) -> None:
        rng = np.random.default_rng(4)
        self._images, self._labels = [], []
        for _ in range(count):
            images = np.full((LENGTH, EDGE, EDGE, 3), 90, np.uint8)
            labels = np.zeros((LENGTH, EDGE, EDGE), np.uint8)
            colours = rng.integers(0, 256, (2, 3)).tolist()
            for t in range(LENGTH):
                for number, (x, y) in enumerate(((10 + 4 * t, 16), (8 + 5 * t, 46))):
                    cv2.circle(images[t], (x, y), 7, colours[number], -1)
                    cv2.circle(labels[t], (x, y), 7, number + 1, -1)
                images[t, 30:, 19:44] = 200
                labels[t, 30:, 19:44] = 0
            self._images.append(images)
            self._labels.append(labels)
        areas = [np.stack([np.bincount(f.ravel(), minlength=3)[1:3] for f in clip])
                 for clip in self._labels]
        self.areas = areas

    def __len__(self) -> int:
        return len(self._images)

    def images(self, clip: int) -> np.ndarray:
        return self._images[clip]

    def labels(self, clip: int) -> np.ndarray:
        return self._labels[clip]


class Stills:
    """The clips' frames as single images."""

    def __init__(self, clips: Discs) -> None:
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips)

    def image(self, index: int) -> np.ndarray:
        return self._clips.images(index)[0]

    def labels(self, index: int) -> np.ndarray:
        return self._clips.labels(index)[0]


@pytest.fixture
def model():
    built = build_video_model(build_segmenter(TINY), MEMORY)
    # Frames differ: some objects are seen on some frames and not on others.
    built.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(0.0)
    return built.eval()


def trainer_in(directory: Path, recipe: MemoryRecipe = QUICK, minutes: float = 1e9):
    discs = Discs()
    return MemoryTrainer(build_segmenter(TINY), discs, Stills(discs), directory, minutes, MEMORY,
                         recipe)


def session_outputs(model, frames: np.ndarray, seeds: np.ndarray) -> list[tuple]:
    """What transformers' own session gives, object by object and frame by frame."""
    session = Sam2VideoInferenceSession(dtype=torch.float32)
    for number, seed in enumerate(seeds):
        index = session.obj_id_to_idx(number)
        session.add_mask_inputs(index, 0, torch.from_numpy(seed)[None, None].float())
    session.obj_with_new_inputs = list(range(len(seeds)))
    outputs = []
    with torch.inference_mode():
        for number, pixels in enumerate(normalise(frames)):
            output = model(session, frame_idx=number, frame=pixels)
            outputs.append((output.pred_masks[:, 0], output.object_score_logits.flatten()))
    return outputs


@pytest.mark.parametrize('fitted', [False, True])
def test_training_computes_what_the_inference_session_does(model, fitted):
    """More frames than the memory holds, more than there are pointers for, two objects at once."""
    discs = Discs(1)
    frames, labels = discs.images(0), discs.labels(0)
    seeds = labels[0] == np.array([1, 2])[:, None, None]
    if fitted:
        fit_to_features(model, torch.stack([
            level for level in model.get_image_embeddings(normalise(frames))[-1]]))
    wanted = session_outputs(model, frames, seeds)
    follower = ClipFollower(model)
    maps = follower.encode(normalise(frames))
    both = [[level[t:t + 1].expand(2, -1, -1, -1) for level in maps] for t in range(LENGTH)]
    with torch.no_grad():
        found = follower.follow(both, torch.from_numpy(seeds).float())
    assert len(found) == len(wanted) == LENGTH
    for seen, (masks, presence) in zip(found[1:], wanted[1:], strict=True):
        torch.testing.assert_close(seen.presence, presence, rtol=1e-3, atol=2e-3)
        torch.testing.assert_close(seen.masks, masks, rtol=1e-2, atol=2e-2)
    shown = torch.stack([presence > 0 for _, presence in wanted[1:]])
    assert shown.any()  # or only the masks of absent objects were compared


def test_the_gradient_goes_back_through_the_memories(model):
    discs = Discs(1)
    follower = ClipFollower(model.train())
    model.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(5.0)
    maps = follower.encode(normalise(discs.images(0)[:3]))
    seeds = torch.from_numpy(discs.labels(0)[:1] == 1).float().requires_grad_()
    seen = follower.follow([[level[t:t + 1] for level in maps] for t in range(3)], seeds)
    seen[2].logits.sum().backward()
    assert seeds.grad is not None
    assert seeds.grad.abs().sum() > 0
    silent = [name for name, p in memory_parts(model).named_parameters()
              if p.grad is None or not p.grad.abs().any()]
    # The vectors of absence say nothing of objects that are there, nor does the score of presence.
    assert all('no_object' in name or 'occlusion' in name or name.startswith('6.')
               or name.endswith('k_proj.bias') for name in silent), silent


def test_an_absent_object_has_no_mask():
    logits = torch.tensor([[[[1.0]], [[2.0]], [[3.0]]]] * 2)
    scores = torch.tensor([[0.1, 0.9, 0.2]] * 2)
    seen = Seen(logits, scores, torch.tensor([0.5, -0.5]), torch.zeros(2, 4), torch.zeros(2))
    assert seen.masks.flatten().tolist() == [2.0, -1024.0]


def test_the_still_view_shares_every_weight(model):
    still = still_view(model)
    ours, theirs = dict(still.named_parameters()), dict(model.named_parameters())
    assert all(ours[name] is theirs[name] for name in ours)
    set_video_size(model, 32)
    assert still.prompt_encoder.image_embedding_size == (2, 2)


def test_the_memory_starts_at_the_features_own_scale(model):
    features = torch.randn(4, 128, 4, 4) * torch.linspace(1, 90, 128)[:, None, None] + 7
    fit_to_features(model, features)
    follower = ClipFollower(model)
    maps = [torch.randn(4, 16, 16, 16), torch.randn(4, 32, 8, 8), features]
    seeds = torch.zeros(4, EDGE, EDGE)
    seeds[:, 20:40, 20:40] = 1
    with torch.no_grad():
        image = follower.follow([maps, maps], seeds)[1].image
    error = (image - features).std() / features.std()
    assert 0.02 < error < 1.0  # heard, and not so loud that nothing else is


def test_batches_hold_the_truth_and_seeds_near_it():
    maker = ClipMaker(Discs(), clips=3, objects=2)
    batch = maker.draw(np.random.default_rng(0), 4)
    assert batch.pixels.shape == (4, 3, 3, EDGE, EDGE)
    assert batch.masks.shape == (4, len(batch.owner), EDGE, EDGE)
    assert sorted(set(batch.owner.tolist())) == [0, 1, 2]
    for seed, mask in zip(batch.seeds, batch.masks[0], strict=True):
        assert float((seed * mask).sum() / torch.maximum(seed, mask).sum()) > 0.3
    half = maker.draw(np.random.default_rng(0), 4, shrink=2)
    assert half.pixels.shape[-1] == half.masks.shape[-1] == EDGE // 2


def test_a_sliver_is_neither_seen_nor_hidden():
    maker, rng = ClipMaker(Discs(), hard=1.0), np.random.default_rng(0)
    seen = {0: 0, 1: 0}
    for _ in range(10):
        batch = maker.draw(rng, 5)
        areas = batch.masks.flatten(2).sum(2)
        assert (batch.known == ((areas == 0) | (areas >= 12))).all()
        seen[0] += int((areas == 0).sum())
        seen[1] += int((areas > 0).sum())
    assert seen[0] and seen[1]


@pytest.mark.parametrize(('areas', 'expected'), [
    ([100, 100, 100], 0.0),   # always there
    ([100, 50, 100], 0.5),    # half hidden
    ([100, 0, 0], 1.0),       # gone
    ([100, 0, 100], 2.0),     # gone and back
    ([10, 100, 100], 0.0),    # no seed
])
def test_hardness(areas, expected):
    assert hardness(np.array(areas)[:, None]).tolist() == [expected]


def test_imperfect_masks_are_near_and_never_empty():
    mask, dot = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    mask[10:30, 12:30] = dot[20, 20] = True
    rng = np.random.default_rng(0)
    areas = [imperfect(mask, rng, 2).sum() / mask.sum() for _ in range(60)]
    assert 0.6 < min(areas) < 0.9
    assert 1.1 < max(areas) < 1.6
    assert all(imperfect(dot, rng, 2).any() for _ in range(60))


def test_absent_objects_cost_no_mask():
    maker = ClipMaker(Discs(1), clips=1, objects=1)
    batch = maker.draw(np.random.default_rng(0), 3)
    gone = dataclasses.replace(batch, masks=torch.zeros_like(batch.masks),
                               known=torch.ones_like(batch.known))

    def seen(presence: float) -> list[Seen]:
        count = len(batch.owner)
        return [Seen(torch.full((count, 3, 16, 16), 9.0), torch.zeros(count, 3),
                     torch.full((count,), presence), torch.zeros(count, 128), torch.zeros(count))
                ] * 3

    right, values = clip_loss(seen(-5.0), gone, QUICK.presence_weight, 0.0)
    wrong, _ = clip_loss(seen(5.0), gone, QUICK.presence_weight, 0.0)
    assert 'masks' not in values
    assert values['presence_right'] == 1.0
    assert float(wrong - right) == pytest.approx(
        QUICK.presence_weight * HIDDEN_WEIGHT * 5.0, rel=0.05)


def test_marks_are_right_where_the_true_mask_puts_them(model):
    batch = ClipMaker(Discs(), clips=1, objects=2).draw(np.random.default_rng(0), 2)
    follower = ClipFollower(model)
    maps = batch_maps(follower, batch, torch.device('cpu'))
    with torch.no_grad():
        seen = follower.follow(maps, batch.seeds)
        perfect = [dataclasses.replace(frame, image=follower.marked(own, masks))
                   for frame, own, masks in zip(seen, maps, batch.masks, strict=True)]
        assert mark_loss(follower, maps, perfect, batch.masks) == 0
        assert mark_loss(follower, maps, seen, batch.masks) > 0.1


def test_steps_learn_the_memory_and_leave_the_encoder(tmp_path):
    trainer = trainer_in(tmp_path)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    values = [trainer.step() for _ in range(3)]
    assert values[0]['frames'] == 1
    assert values[-1]['frames'] > 1
    assert {'marks', 'masks', 'still_loss', 'presence'} <= values[-1].keys()
    changed = {name for name, value in trainer.model.state_dict().items()
               if not torch.equal(value, before[name])}
    assert not [name for name in changed if name.startswith(('vision_encoder', 'shared_image'))]
    assert not [name for name in changed if 'decoder.conv_s' in name]
    for part in ('memory_attention', 'memory_encoder', 'object_pointer_proj', 'mask_downsample',
                 'mask_decoder.transformer', 'prompt_encoder.mask_embed'):
        assert any(name.startswith(part) for name in changed), part


def test_single_images_count_more_towards_the_end(tmp_path, monkeypatch):
    trainer, counts = trainer_in(tmp_path, minutes=100.0), []
    monkeypatch.setattr('vr_ros.training.trainers.sim_memory.run_model',
                        lambda model, batch, device: counts.append(len(batch.pixels)) or run_model(
                            model, batch, device))
    for trainer.spent_minutes in (0.0, 90.0):
        trainer._still_step(1)
    assert counts == [1, 3]


def test_learning_lowers_the_loss(tmp_path):
    recipe = dataclasses.replace(QUICK, seed_steps=0, short=2, long=2, still=0, mark_weight=0.0)
    trainer = trainer_in(tmp_path, recipe)
    losses = [trainer.step()['loss'] for _ in range(20)]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])


def test_a_resumed_run_goes_on_where_it_stopped(tmp_path):
    through = trainer_in(tmp_path / 'a')
    for _ in range(3):
        through.step()
    first = trainer_in(tmp_path / 'b')
    assert not first.resume()
    first.step()
    first.save()
    second = trainer_in(tmp_path / 'b')
    assert second.resume()
    second.step()
    second.step()
    wanted = through.model.state_dict()
    for name, value in second.model.state_dict().items():
        torch.testing.assert_close(value, wanted[name], msg=name)


def test_a_whole_run_writes_weights_that_the_segmenter_loads(tmp_path):
    discs = Discs()
    weights = train_memory(
        build_segmenter(TINY), discs, Stills(discs), tmp_path, minutes=0.01,
        held_out=Stills(discs), architecture=MEMORY,
        recipe=dataclasses.replace(QUICK, log_steps=1, small_share=0.5))
    lines = [json.loads(line) for line in (tmp_path / 'curve.jsonl').read_text().splitlines()]
    assert 0 <= lines[-1]['held_out_iou'] <= 1
    steps = [line['step'] for line in lines if 'loss' in line]
    assert steps == list(range(1, lines[-1]['step'] + 1))
    segmenter = Sam2Segmenter(weights, EDGE)
    assert segmenter.has_memory
    assert segmenter.model.config.memory_attention_rope_feat_sizes == [4, 4]
    assert json.loads((weights / 'config.json').read_text())['image_size'] == EDGE


def test_rendered_clips_are_the_scenes(tmp_path):
    spec = ClipSpec(2, 1_000_100, frames=3, edge=32, camera=Size(64, 48), rate_hz=10.0,
                    clips_per_shard=1)
    assert len(list(render_clips(spec, tmp_path, processes=1))) == 2
    assert not list(render_clips(spec, tmp_path, processes=1))  # all there
    bank = ClipBank(tmp_path)
    assert len(bank) == 2
    frame = MovingScene(1_000_101, 3, 10.0, Size(64, 48)).frame(2)
    assert np.array_equal(bank.labels(1)[2], label_ids(frame.truth, 32))
    counts = np.bincount(bank.labels(1)[2].ravel(), minlength=17)[1:]
    assert bank.areas[1][2].tolist() == counts.tolist()
    with pytest.raises(ValueError, match='render them first'):
        ClipBank(tmp_path / 'nowhere')


def test_clips_in_which_something_hides_have_later_seeds(tmp_path):
    spec = ClipSpec(3, 55, frames=24, edge=32, camera=Size(64, 48), rate_hz=10.0,
                    clips_per_shard=2, hiding=True)
    assert list(spec.first_seeds) == [55, 75]
    assert spec.seeds(0)[0] == next(hiding_seeds(55, 24, 10.0)) > 55
    assert len(spec.seeds(1)) == 1
    list(render_clips(dataclasses.replace(spec, clips=1), tmp_path, processes=1))
    areas = ClipBank(tmp_path).areas[0]
    assert (areas[:, areas[0] > 3].min(0) == 0).any()


def test_each_object_gets_the_maps_of_its_own_clip(model):
    batch = ClipMaker(Discs(), clips=2, objects=2).draw(np.random.default_rng(0), 3)
    follower = ClipFollower(model)
    maps = batch_maps(follower, batch, torch.device('cpu'))
    alone = follower.encode(batch.pixels[2, 1:2])
    for index in torch.nonzero(batch.owner == 1).flatten():
        for level, wanted in zip(maps[2], alone, strict=True):
            torch.testing.assert_close(level[index], wanted[0], rtol=1e-3, atol=1e-3)
