"""Training of the embedded segmenter: prompts, losses, interrupted runs, on drawn shapes."""
from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch

from vr_ros.models.card import DtypeCard, SegmenterCard, WeightsCard
from vr_ros.models.segmenter import preprocess
from vr_ros.models.transformers_sam2 import Sam2Segmenter
from vr_ros.training.trainers.sim_segmenter import (
    SegmenterTrainer,
    export_segmenter,
    held_out_iou,
    run_model,
    train_segmenter,
)
from vr_ros.training.trainers.sim_segmenter_data import PromptMaker, Recipe, normalise, shrunk
from vr_ros.training.trainers.sim_segmenter_model import (
    Architecture,
    build_segmenter,
    dice_loss,
    segmentation_loss,
    set_image_size,
)

TINY = Architecture(
    image_size=64, dims=(8, 16, 32, 48), blocks=(1, 1, 2, 1), heads=(1, 1, 2, 2),
    windows=(4, 4, 4, 2), global_blocks=(3,), hidden=32, decoder_mlp=32, decoder_heads=2,
)
QUICK = Recipe(batch=2, prompts=3, warmup_steps=2, small_share=0.0, autocast=False)


class Shapes:
    """Discs on a plain ground, 64 x 64; the first frame is empty."""

    def __init__(self, count: int = 6) -> None:
        self._images: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        rng = np.random.default_rng(2)
        for frame in range(count):
            image, labels = np.full((64, 64, 3), 90, np.uint8), np.zeros((64, 64), np.uint8)
            for number in range(1, 4) if frame else ():
                center = tuple(rng.integers(10, 54, 2).tolist())
                radius = int(rng.integers(5, 12))
                cv2.circle(image, center, radius, rng.integers(0, 256, 3).tolist(), -1)
                cv2.circle(labels, center, radius, number, -1)
            self._images.append(image)
            self._labels.append(labels)

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> np.ndarray:
        return self._images[index]

    def labels(self, index: int) -> np.ndarray:
        return self._labels[index]


def weights_of(trainer: SegmenterTrainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def test_prompts_without_jitter_are_the_truth():
    batch = PromptMaker(Shapes(), QUICK, augment=False).draw(np.random.default_rng(0))
    assert batch.pixels.shape == (2, 3, 64, 64)
    assert batch.masks.shape == (2, 3, 64, 64)
    assert batch.points is not None
    prompts = zip(batch.boxes.flatten(0, 1), batch.points.flatten(0, 2), strict=True)
    for mask, (box, point) in zip(batch.masks.flatten(0, 1), prompts, strict=True):
        rows, columns = torch.nonzero(mask, as_tuple=True)
        extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box.tolist() == [int(edge) for edge in extent]
        assert mask[int(point[1]), int(point[0])] == 1


def test_prompts_with_jitter_stay_boxes_near_the_truth():
    exact, loose = PromptMaker(Shapes(), QUICK, augment=False), PromptMaker(Shapes(), QUICK)
    rng = np.random.default_rng(0)
    moved = []
    for _ in range(20):
        batch = loose.draw(rng)
        x_min, y_min, x_max, y_max = batch.boxes.unbind(-1)
        assert (x_min <= x_max).all()
        assert (y_min <= y_max).all()
        assert batch.boxes.min() >= 0
        assert batch.boxes.max() <= 64
        true = torch.tensor(np.stack([
            exact._box(mask.numpy() > 0, rng) for mask in batch.masks.flatten(0, 1)
        ]))
        moved.append((batch.boxes.flatten(0, 1) - true).abs().mean())
    assert 0.2 < float(torch.stack(moved).mean()) < 3.0


def test_some_steps_have_no_points():
    maker = PromptMaker(Shapes(), dataclasses.replace(QUICK, box_only=0.5))
    rng = np.random.default_rng(0)
    drawn = [maker.draw(rng).points is None for _ in range(20)]
    assert 3 < sum(drawn) < 17


def test_empty_frames_are_never_drawn():
    assert 0 not in PromptMaker(Shapes(), QUICK).usable
    with pytest.raises(ValueError, match='no frame holds an object'):
        PromptMaker(Shapes(1), QUICK)


def test_training_sees_what_the_segmenter_sees():
    image = Shapes().image(3)
    torch.testing.assert_close(normalise(image[None]), preprocess(image, 64))


def test_shrunk_is_the_mean_of_squares():
    image = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    half = shrunk(image, 2)
    assert half.shape == (3, 2, 3)
    np.testing.assert_allclose(half[1, 1], image[2:4, 2:4].reshape(4, 3).mean(0))
    assert shrunk(image, 1) is image


def test_dice_by_hand():
    logits = torch.tensor([[[0.0, 2.0], [-1.0, 0.0]]])
    target = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    p = 1 / (1 + np.exp(-logits.numpy()))
    t = target.numpy()
    dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    assert dice_loss(logits, target).item() == pytest.approx(dice)


def test_the_best_mask_learns_most_and_every_estimate():
    truth = torch.zeros(1, 8, 8)
    truth[0, :4] = 1
    right = torch.where(truth[:, ::2, ::2] > 0, 4.0, -4.0)
    logits = torch.stack([-right, right, torch.zeros_like(right)], 1).requires_grad_()
    scores = torch.tensor([[0.9, 0.5, 0.1]], requires_grad=True)
    loss, parts = segmentation_loss(logits, scores, truth)
    loss.backward()
    # By the share of the loss that is its own; one that is right already has little left to learn.
    logits_alone = logits.detach().clone().requires_grad_()
    segmentation_loss(logits_alone[:, 1:2], scores.detach()[:, 1:2], truth)[0].backward()
    expected = (1 + 0.3 / 3) / (1 + 0.3) * logits_alone.grad[0, 1]
    torch.testing.assert_close(logits.grad[0, 1], expected)
    assert logits.grad[0, 0].abs().sum() > 0
    # True IoUs are 0, 1, 0: the first estimate must fall, the second rise, the third fall.
    assert torch.sign(scores.grad).tolist() == [[1, -1, 1]]
    assert parts['iou'] == 0.0  # the mask that it would pick itself is the wrong one


def test_attention_starts_at_its_own_place():
    """A pixel's product with a prompt is largest where the prompt is, before any training."""
    model = build_segmenter(dataclasses.replace(TINY, image_size=64))
    layer = model.mask_decoder.transformer.layers[0].cross_attn_image_to_token
    places = model.get_image_wide_positional_embeddings()[0].flatten(1).T
    product = layer.q_proj(places) @ layer.k_proj(places).T
    assert product.argmax(1).tolist() == list(range(len(places)))


def test_model_takes_half_size_images():
    model = build_segmenter(TINY).eval()
    maker = PromptMaker(Shapes(), QUICK)
    logits, scores = run_model(model, maker.draw(np.random.default_rng(0), shrink=2), model.device)
    assert logits.shape == (6, 3, 8, 8)
    assert scores.shape == (6, 3)
    set_image_size(model, 64)
    logits, _ = run_model(model, maker.draw(np.random.default_rng(0)), model.device)
    assert logits.shape == (6, 3, 16, 16)


def test_same_seed_same_model():
    first, second = (build_segmenter(TINY, seed=4).state_dict() for _ in range(2))
    other = build_segmenter(TINY, seed=5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first['mask_decoder.mask_tokens.weight'],
                           other['mask_decoder.mask_tokens.weight'])


def test_a_step_changes_every_layer_that_masks_need(tmp_path):
    trainer = SegmenterTrainer(Shapes(), tmp_path, 1.0, TINY, QUICK)
    before = weights_of(trainer)
    for _ in range(2):  # hypernetworks of one mask only learn in one step
        parts = trainer.step()
    assert trainer.step_count == 2
    assert {'loss', 'masks', 'estimate', 'iou'} == parts.keys()
    after = trainer.model.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    unused = ('mask_embed', 'pred_obj_score_head', 'positional_embedding', 'hypernetworks')
    assert not [name for name in same if not any(part in name for part in unused)]


def test_learning_lowers_the_loss(tmp_path):
    recipe = dataclasses.replace(QUICK, learning_rate=3e-3, box_only=0.0)
    trainer = SegmenterTrainer(Shapes(), tmp_path, 1e9, TINY, recipe)
    losses = [trainer.step()['loss'] for _ in range(25)]
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5])


def test_learning_rate_rises_then_falls_to_zero(tmp_path):
    trainer = SegmenterTrainer(Shapes(), tmp_path, 10.0, TINY, QUICK)
    rates = []
    for trainer.step_count, trainer.spent_minutes in ((0, 0), (1, 0), (9, 5), (9, 10), (9, 11)):
        rates.append(trainer.learning_rate() / QUICK.learning_rate)
    assert rates == pytest.approx([0.5, 1.0, 0.5, 0.0, 0.0])


def test_resumed_run_goes_on_where_it_stopped(tmp_path):
    frames = Shapes()
    through = SegmenterTrainer(frames, tmp_path / 'a', 1e9, TINY, QUICK)
    for _ in range(3):
        through.step()
    first = SegmenterTrainer(frames, tmp_path / 'b', 1e9, TINY, QUICK)
    assert not first.resume()
    first.step()
    first.save()
    second = SegmenterTrainer(frames, tmp_path / 'b', 1e9, TINY, QUICK)
    assert second.resume()
    assert second.step_count == 1
    assert second.spent_minutes == first.spent_minutes
    for _ in range(2):
        second.step()
    wanted = weights_of(through)
    for name, value in weights_of(second).items():
        torch.testing.assert_close(value, wanted[name], msg=name)


def test_checkpoint_of_another_architecture_is_refused(tmp_path):
    SegmenterTrainer(Shapes(), tmp_path, 1.0, TINY, QUICK).save()
    other = SegmenterTrainer(
        Shapes(), tmp_path, 1.0, dataclasses.replace(TINY, decoder_mlp=64), QUICK
    )
    with pytest.raises(ValueError, match='remove it to start anew'):
        other.resume()


def test_exported_weights_load_and_segment_alike(tmp_path):
    trainer = SegmenterTrainer(Shapes(), tmp_path, 1.0, TINY, QUICK)
    trainer.step()
    export_segmenter(trainer.model, tmp_path / 'weights')
    card = SegmenterCard(WeightsCard(path=tmp_path / 'weights'), 64, DtypeCard('float32'))
    segmenter = Sam2Segmenter.load(card)
    trained = trainer.model.state_dict()
    for name, value in segmenter.model.state_dict().items():
        exact = 'positional_embedding' in name
        wanted = trained[name] if exact else trained[name].bfloat16().float()
        torch.testing.assert_close(value, wanted, rtol=0, atol=0, msg=name)
    maps = segmenter.encode(Shapes().image(2)).maps
    wanted = trainer.model.eval().get_image_embeddings(preprocess(Shapes().image(2), 64))
    for ours, theirs in zip(maps, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.05)


def test_a_whole_run_writes_curve_checkpoint_and_weights(tmp_path):
    recipe = dataclasses.replace(QUICK, log_steps=1)
    weights = train_segmenter(
        Shapes(), tmp_path, minutes=0.01, held_out=Shapes(3), architecture=TINY, recipe=recipe
    )
    assert (weights / 'model.safetensors').is_file()
    lines = [json.loads(line) for line in (tmp_path / 'curve.jsonl').read_text().splitlines()]
    steps = [line['step'] for line in lines if 'loss' in line]
    assert steps == list(range(1, len(steps) + 1))
    assert 0 <= lines[-1]['held_out_iou'] <= 1
    # The run is over: asking again trains no more, and exports the same.
    before = (weights / 'model.safetensors').read_bytes()
    train_segmenter(Shapes(), tmp_path, minutes=0.01, architecture=TINY, recipe=recipe)
    assert (weights / 'model.safetensors').read_bytes() == before


def test_held_out_iou_of_a_perfect_model(monkeypatch):
    # The measure itself, with the truth in place of what a model finds.
    frames, recipe = Shapes(), QUICK

    def truth(_model, batch, _device):
        masks = batch.masks.flatten(0, 1)[:, None] * 2 - 1
        return torch.cat([-masks, masks, -masks], 1), torch.tensor([[0.1, 0.9, 0.2]] * len(masks))

    monkeypatch.setattr('vr_ros.training.trainers.sim_segmenter.run_model', truth)
    model = build_segmenter(TINY)
    assert held_out_iou(model, frames, recipe, torch.device('cpu'), batches=2) == 1.0
