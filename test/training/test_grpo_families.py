"""Packing and writing rollouts on both families, against one plain sequence per rollout."""
from __future__ import annotations

import pytest
import torch
from transformers import (
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

pytest.importorskip('trl', reason='./run train grpo installs it')

from vr_ros.training.trainers.grpo.packing import IGNORED, passes  # noqa: E402
from vr_ros.training.trainers.grpo.rollouts import Sampling, write_rollouts  # noqa: E402
from vr_ros.training.trainers.grpo.shared_vision import (  # noqa: E402
    drop_empty_images,
    share_equal_images,
)

pytestmark = pytest.mark.usefixtures('one_thread')
IMAGE, VIDEO, START, END, STOP = 90, 91, 92, 93, 5
TEXT = {'vocab_size': 96, 'hidden_size': 32, 'intermediate_size': 64, 'num_hidden_layers': 3,
        'num_attention_heads': 4, 'num_key_value_heads': 2, 'max_position_embeddings': 512,
        'bos_token_id': None, 'eos_token_id': STOP, 'pad_token_id': 0}
VISION = {'depth': 3, 'hidden_size': 32, 'intermediate_size': 64, 'num_heads': 2,
          'spatial_merge_size': 2, 'temporal_patch_size': 2, 'out_hidden_size': 32}
TOKENS = {'image_token_id': IMAGE, 'video_token_id': VIDEO, 'vision_start_token_id': START,
          'vision_end_token_id': END}


def qwen2_5_vl() -> torch.nn.Module:
    rope = {'rope_type': 'default', 'rope_theta': 1000.0, 'mrope_section': [1, 1, 2]}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(
        text_config=TEXT | {'rope_parameters': rope}, **TOKENS,
        vision_config=VISION | {'patch_size': 14, 'window_size': 56,
                                'fullatt_block_indexes': [2]}))


def qwen3_vl() -> torch.nn.Module:
    rope = {'rope_type': 'default', 'rope_theta': 1000.0, 'mrope_section': [2, 1, 1],
            'mrope_interleaved': True}
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(
        text_config=TEXT | {'rope_parameters': rope, 'head_dim': 8}, **TOKENS,
        vision_config=VISION | {'patch_size': 16, 'num_position_embeddings': 64,
                                'deepstack_visual_indexes': [0, 1]}))


@pytest.fixture(params=[qwen2_5_vl, qwen3_vl], ids=lambda one: one.__name__)
def model(request) -> torch.nn.Module:
    torch.manual_seed(0)
    model = request.param().eval()
    model.config._attn_implementation = 'sdpa'
    with torch.no_grad():   # larger than usual, so that every token counts
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter *= 3
    return model


# Grids of patches, rows x columns; two rollouts each, of different lengths; the last has no image.
GRIDS = ((4, 4), (4, 8), None)
ANSWERS = ((7, 8, 9), (10,), (11, 12), (13, 14, 15, 16), (17, 18), (19,))


def prompt(number: int) -> list[int]:
    grid = GRIDS[number]
    seen = [START, *[IMAGE] * (grid[0] * grid[1] // 4), END] if grid else []
    return [20 + number, *seen, *range(30, 32 + number)]


def patches(model: torch.nn.Module, number: int) -> torch.Tensor:
    vision = model.config.vision_config
    rows, columns = GRIDS[number]
    chance = torch.Generator().manual_seed(number)
    return torch.randn(rows * columns, 3 * 2 * vision.patch_size ** 2, generator=chance)


def images_of(model: torch.nn.Module, numbers: list[int]) -> dict[str, torch.Tensor]:
    shown = [number for number in numbers if GRIDS[number]]
    if not shown:
        return {}
    return {'pixel_values': torch.cat([patches(model, number) for number in shown]),
            'image_grid_thw': torch.tensor([[1, *GRIDS[number]] for number in shown])}


def plain_log_probs(model: torch.nn.Module, number: int, answer: tuple[int, ...]) -> list[float]:
    ids = torch.tensor([[*prompt(number), *answer]])
    with torch.no_grad():
        logits = model(input_ids=ids, mm_token_type_ids=(ids == IMAGE).int(),
                       **images_of(model, [number])).logits[0].log_softmax(-1)
    first = len(prompt(number)) - 1
    return [float(logits[first + place, token]) for place, token in enumerate(answer)]


@pytest.mark.parametrize('groups_per_pass', [1, 2, 8])
def test_packed_log_probabilities(model, groups_per_pass) -> None:
    numbers = [0, 0, 1, 1, 2, 2]
    expected = [plain_log_probs(model, *pair) for pair in zip(numbers, ANSWERS, strict=True)]
    share_equal_images(model.model.visual)
    drop_empty_images(model.model)
    width, length = max(len(prompt(n)) for n in numbers), max(map(len, ANSWERS))
    ids = torch.zeros(len(numbers), width + length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(1)).tolist()
    for row, place in enumerate(order):   # as TRL shuffles them
        head, answer = prompt(numbers[place]), ANSWERS[place]
        ids[row, width - len(head):width] = torch.tensor(head)
        ids[row, width:width + len(answer)] = torch.tensor(answer)
        mask[row, width - len(head):width + len(answer)] = 1
    mixed = [numbers[place] for place in order]
    found: dict[int, list[float]] = {}
    for one in passes(model.model, ids, mask, length, images_of(model, mixed),
                      [GRIDS[number] is not None for number in mixed], groups_per_pass):
        inputs = one.inputs()
        labels = inputs.pop('shift_labels')
        with torch.no_grad():
            log_probs = model(**inputs).logits.log_softmax(-1)
        scored = log_probs.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
        for row, values in zip(one.rows.tolist(),
                               one.unpack(scored.masked_fill(labels == IGNORED, 99),
                                          mask[:, width:]).tolist(), strict=True):
            found[order[row]] = values
    for place, values in enumerate(expected):
        assert found[place][:len(values)] == pytest.approx(values, abs=2e-4)
        assert found[place][len(values):] == [0] * (length - len(values))


def test_greedy_rollouts(model) -> None:
    numbers = [0, 0, 1, 2, 1]
    expected = []
    for number in numbers:
        ids = torch.tensor([prompt(number)])
        written = model.generate(
            input_ids=ids, mm_token_type_ids=(ids == IMAGE).int(), **images_of(model, [number]),
            generation_config=GenerationConfig(
                max_new_tokens=12, eos_token_id=STOP, pad_token_id=0, suppress_tokens=[IMAGE]))
        expected.append(written[0, ids.shape[1]:].tolist())
    share_equal_images(model.model.visual)
    found = write_rollouts(
        model, model.model, [prompt(number) for number in numbers], numbers,
        images_of(model, numbers), [GRIDS[number] is not None for number in numbers],
        Sampling(12, 0.0, [STOP], [IMAGE], 0))
    assert found == expected
