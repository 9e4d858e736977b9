"""The embedded reasoner: its shortcuts in training must not change what it computes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / 'sim'))
from factories import make_frame, make_object  # noqa: E402

from vr_ros.core.types import Size  # noqa: E402
from vr_ros.sim.truth import COLOURS, KINDS, SIZES  # noqa: E402
from vr_ros.training.sim_targets import model_objects  # noqa: E402
from vr_ros.training.trainers.compiled import compile_layers  # noqa: E402
from vr_ros.training.trainers.sim_model import (  # noqa: E402
    Architecture,
    DenseHead,
    LayerTap,
    build_model,
    dense_targets,
    number_loss,
)
from vr_ros.training.trainers.sim_tokenizer import build_tokenizer, place_tokens  # noqa: E402
from vr_ros.training.trainers.sim_vision import equal_images  # noqa: E402

SIZE = Size(84, 84)
SMALL = Architecture(
    hidden=32, layers=3, intermediate=48, vision_hidden=32, vision_depth=2, vision_intermediate=48
)


@pytest.fixture(scope='module')
def tokenizer():
    return build_tokenizer(['find the cube'], [], place_tokens(3, 3), vocab_size=300)


@pytest.fixture(scope='module')
def model(tokenizer):
    torch.manual_seed(0)
    return build_model(SMALL, tokenizer, SIZE).eval()


def test_images_attended_together_are_as_if_apart(model):
    patches = torch.randn(4 * 36, 1176)
    grid = torch.tensor([[1, 6, 6]]).repeat(4, 1)
    with torch.inference_mode():
        apart = model.model.visual(patches, grid).pooler_output
        with equal_images():
            together = model.model.visual(patches, grid).pooler_output
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-4)


def test_the_patch_is_undone_after_an_error(model):
    from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen

    before = qwen.Qwen2_5_VLVisionAttention.forward
    with pytest.raises(RuntimeError), equal_images():
        raise RuntimeError
    assert qwen.Qwen2_5_VLVisionAttention.forward is before


@pytest.mark.timeout(300)
def test_compiled_layers_compute_and_learn_the_same(tokenizer, model):
    compiled = build_model(SMALL, tokenizer, SIZE)
    compiled.load_state_dict(model.state_dict())
    compile_layers([*compiled.model.language_model.layers, *compiled.model.visual.blocks])
    patches = torch.randn(2 * 36, 1176)
    grid = torch.tensor([[1, 6, 6]]).repeat(2, 1)
    ids = torch.randint(20, 40, (2, 30))
    told = []
    for one in (model, compiled):
        one.zero_grad()
        with equal_images():
            seen = one.model.visual(patches, grid).pooler_output
        logits = one(input_ids=ids).logits
        (seen.square().mean() + logits.square().mean()).backward()
        told.append((seen.detach(), logits.detach(), [p.grad for p in one.parameters()]))
    torch.testing.assert_close(told[1], told[0], atol=1e-4, rtol=1e-3)
    assert compiled.state_dict().keys() == model.state_dict().keys()


@pytest.fixture(scope='module')
def rotary():
    """The real sizes: what the frequencies do depends on the width of a head."""
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRotaryEmbedding

    tokenizer = build_tokenizer(['find the cube'], [], place_tokens(3, 3), vocab_size=300)
    config = build_model(Architecture(), tokenizer, SIZE).config.text_config
    sections = config.rope_parameters['mrope_section']
    rotary = Qwen2_5_VLRotaryEmbedding(config)

    def angles(time: int, row: int, column: int) -> torch.Tensor:
        positions = torch.tensor([time, row, column])
        axis = torch.repeat_interleave(torch.arange(3), torch.tensor(sections))
        return rotary.inv_freq * positions[axis]

    return angles


def test_neighbouring_rows_and_columns_turn_a_key_visibly(rotary):
    for step in (rotary(0, 1, 0), rotary(0, 0, 1)):
        assert step.max() > 0.3


def test_some_frequencies_stand_nearly_still_over_a_whole_answer(rotary):
    """By these a word is found again wherever it was read."""
    assert (rotary(60, 60, 60) < 0.6).sum() >= 8


FRAME = make_frame(
    make_object(1, 'small red cube', 100, 100),
    make_object(2, 'large blue ball', 500, 120, extent=80, distance_m=1.2),
    make_object(3, 'medium black mug', 510, 110, distance_m=0.8),  # same cell, nearer
)


def test_dense_targets_hold_the_nearer_object_of_a_cell():
    objects = model_objects(FRAME.targets, FRAME.size, SIZE)
    targets = dense_targets([objects], SIZE)
    assert targets.present[0].tolist() == [1, 0, 1, 0, 0, 0, 0, 0, 0]
    kind, colour, size = targets.classes[0, 2].tolist()
    assert (SIZES[size], COLOURS[colour], KINDS[kind]) == ('medium', 'black', 'mug')
    mug = next(o for o in objects if o.truth.id == 3)
    assert targets.numbers[0, 2].tolist() == [*mug.box, *mug.point]


def test_the_dense_head_learns_one_frame():
    torch.manual_seed(0)
    targets = dense_targets([model_objects(FRAME.targets, FRAME.size, SIZE)], SIZE)
    tokens, head = torch.randn(1, 9, 16), DenseHead(16, SIZE)
    optimizer = torch.optim.Adam(head.parameters(), 0.05)
    first = None
    for _ in range(60):
        loss, parts = head.loss(tokens, targets)
        first = first if first is not None else loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # What is left is the entropy of the softened numbers, 1.39 nats each.
    assert loss.item() - 1.39 < 0.1 * first
    assert set(parts) == {'present', 'geometry', 'kind', 'colour', 'size', 'numbers'}


def test_a_number_loss_is_least_at_the_wanted_number_and_small_beside_it():
    first, last, wanted = torch.tensor(2), torch.tensor(12), torch.tensor([7])
    losses = [
        number_loss(20 * torch.eye(15)[c : c + 1], first, last, wanted).item() for c in range(15)
    ]
    assert min(range(15), key=losses.__getitem__) == 7
    assert losses[6] < losses[5] < losses[4] == pytest.approx(losses[0])


def test_a_number_at_the_edge_keeps_its_whole_share_inside():
    logits = torch.full((1, 5), -9.0)
    logits[0, 1:4] = 9.0
    loss = number_loss(logits, torch.tensor(1), torch.tensor(3), torch.tensor([1]))
    assert loss.item() < 1.2  # nothing is wanted of class 0 and 4, which belong to others


def test_the_tap_gives_the_image_tokens_of_its_layer(model):
    tap = LayerTap(model, 2)
    embeddings = torch.randn(2, 5, 32)
    is_image = torch.tensor([[0, 1, 1, 0, 0], [0, 0, 1, 1, 0]], dtype=torch.bool)
    with torch.inference_mode():
        states = model.model.language_model(
            inputs_embeds=embeddings, output_hidden_states=True
        ).hidden_states
    torch.testing.assert_close(
        tap.image_tokens(is_image), torch.stack([states[2][0, 1:3], states[2][1, 2:4]])
    )
    tap.close()
