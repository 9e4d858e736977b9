"""From a checkpoint to a card: what is trained is what is loaded, with LoRA and without."""
from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from vr_ros.models.card import load_card
from vr_ros.models.qwen_vl import QwenVLReasoner

pytest.importorskip('trl', reason='./run train grpo installs it')

from peft import get_peft_model  # noqa: E402

from vr_ros.training.trainers.grpo import command  # noqa: E402
from vr_ros.training.trainers.grpo.export import card_text  # noqa: E402
from vr_ros.training.trainers.grpo.options import build_parser  # noqa: E402
from vr_ros.training.trainers.grpo.policy import load_policy, lora_config  # noqa: E402

pytestmark = pytest.mark.usefixtures('one_thread')
SOURCE = command.card_path('sim_tiny')
CARD = load_card(SOURCE)
DIRECTORY = CARD.reasoner.weights.path


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(300, 330)[None]).logits.float()


@pytest.mark.parametrize('rank', [0, 4])
def test_the_card_holds_the_checkpoint(tmp_path, rank) -> None:
    torch.manual_seed(0)
    policy, processor = load_policy(CARD.reasoner, DIRECTORY, torch.float32, train_vision=False)
    start = logits(policy)
    if rank:
        policy = get_peft_model(policy, lora_config(rank, 2 * rank))
        names = [name for name, parameter in policy.named_parameters() if parameter.requires_grad]
        assert names and all('language_model' in name and 'lora' in name for name in names)
    for parameter in policy.parameters():
        if parameter.requires_grad:
            parameter.data += 0.02 * torch.randn_like(parameter)
    trained = logits(policy)
    checkpoint = tmp_path / 'checkpoint-5'
    policy.save_pretrained(checkpoint)
    processor.save_pretrained(checkpoint)
    options = build_parser().parse_args(['--data', 'x', '--out', str(tmp_path), '--name', 'mine'])
    file = command.export_checkpoint(checkpoint, options, CARD.reasoner, DIRECTORY, SOURCE)
    assert file == tmp_path / 'export' / 'mine.yaml'
    card = load_card(file)
    assert card.name == 'mine' and card.reasoner.tasks == CARD.reasoner.tasks
    assert card.segmenter == CARD.segmenter and card.confidence == CARD.confidence
    loaded = logits(QwenVLReasoner(card.reasoner, card.reasoner.weights.path, 'cpu').model)
    # The committed weights are in bfloat16, and so are these.
    assert (loaded - trained).abs().max() < 0.05 * (trained - start).abs().max()


@pytest.mark.parametrize('name', ['visionreasoner_7b', 'qwen3_vl_4b', 'sim_tiny_votes'])
def test_every_card_can_be_the_start(tmp_path, name) -> None:
    source = command.card_path(name)
    file = tmp_path / 'new.yaml'
    file.write_text(card_text(source, tmp_path, 'new'))
    old, new = load_card(source), load_card(file)
    assert new.reasoner.weights.path == tmp_path / 'reasoner' and not new.reasoner.weights.hub
    assert (new.segmenter, new.router, new.confidence) == (
        old.segmenter, old.router, old.confidence)
    assert new.reasoner.max_new_tokens == old.reasoner.max_new_tokens


def test_parameters_are_counted_without_loading() -> None:
    policy, _ = load_policy(CARD.reasoner, DIRECTORY, torch.float32, train_vision=False)
    stored = sum(math.prod(one.shape) for one in policy.parameters())   # tied ones count once
    assert command._parameters(Path(DIRECTORY)) == stored
