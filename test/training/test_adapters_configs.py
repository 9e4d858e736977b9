"""Configurations for verl and EasyR1: every key is one of theirs, every value of the recipe."""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from vr_ros.training.adapters import easyr1, verl
from vr_ros.training.adapters.shared import known_parts

RECORDED = Path(__file__).parent / 'recorded'
FOLDER = Path(__file__).parents[2] / 'config' / 'training'
SINCE = {'verl': 'verl_0_9_1', 'easyr1': 'easyr1_2026_07'}
FILES = sorted(path for name in SINCE for path in FOLDER.glob(f'{name}_*.yaml'))
# Of verl, and read by no line of it: setting it would promise what does not happen.
DEAD = 'actor_rollout_ref.actor.freeze_vision_tower'


def recorded(path: Path) -> dict[str, Any]:
    name = SINCE[path.stem.split('_')[0]]
    return json.loads((RECORDED / f'{name}.json').read_text(encoding='utf-8'))


def leaves(content: Mapping[str, Any], free: list[str], prefix: str = '') -> Iterator[tuple]:
    """Give the path and value of everything that is set; sections that are free as one."""
    for key, value in content.items():
        path = f'{prefix}{key}'
        if isinstance(value, dict) and path not in free:
            yield from leaves(value, free, f'{path}.')
        else:
            yield path, value


def own(path: Path) -> dict[str, Any]:
    """Read what one file sets, without Hydra's list of what it goes on from."""
    content = yaml.safe_load(path.read_text(encoding='utf-8'))
    content.pop('defaults', None)
    return dict(leaves(content, recorded(path)['free_sections']))


def complete(path: Path) -> dict[str, Any]:
    """Read what a file sets, with those that it goes on from."""
    content = yaml.safe_load(path.read_text(encoding='utf-8'))
    values: dict[str, Any] = {}
    for name in content.get('defaults', ()):
        if name == '_self_':
            values |= own(path)
        elif name != 'ppo_trainer':
            values |= complete(path.with_name(f'{name}.yaml'))
    return values or own(path)


def test_there_are_four_recipes_for_each() -> None:
    recipes = ('pebr_r1_perception_7b', 'pebr_r1_reasoning_7b', 'v_triune_7b', 'visionreasoner_7b')
    assert [path.stem for path in FILES] == sorted(
        f'{name}_{recipe}' for name in SINCE for recipe in recipes)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_every_key_is_one_of_the_trainers(path) -> None:
    record = recorded(path)
    known = {f'{section}.{key}' for section, keys in record['keys'].items() for key in keys}
    assert not own(path).keys() - known - set(record['free_sections'])
    assert DEAD not in own(path)


def test_what_hydra_goes_on_from_is_there() -> None:
    for path in FOLDER.glob('verl_*.yaml'):
        defaults = yaml.safe_load(path.read_text(encoding='utf-8'))['defaults']
        assert defaults[-1] == '_self_' and len(defaults) == 2
        assert defaults[0] == 'ppo_trainer' or (FOLDER / f'{defaults[0]}.yaml').is_file()


# Name of a value: where verl has it, where EasyR1 has it.
VALUES = {
    'batch': ('data.train_batch_size', 'data.rollout_batch_size'),
    'mini': ('actor_rollout_ref.actor.ppo_mini_batch_size', 'worker.actor.global_batch_size'),
    'group': ('actor_rollout_ref.rollout.n', 'worker.rollout.n'),
    'lr': ('actor_rollout_ref.actor.optim.lr', 'worker.actor.optim.lr'),
    'decay': ('actor_rollout_ref.actor.optim.weight_decay', 'worker.actor.optim.weight_decay'),
    'clip': ('actor_rollout_ref.actor.optim.clip_grad', 'worker.actor.max_grad_norm'),
    'use_kl': ('actor_rollout_ref.actor.use_kl_loss', 'algorithm.use_kl_loss'),
    'low': ('actor_rollout_ref.actor.clip_ratio_low', 'worker.actor.clip_ratio_low'),
    'high': ('actor_rollout_ref.actor.clip_ratio_high', 'worker.actor.clip_ratio_high'),
    'temperature': ('actor_rollout_ref.rollout.temperature', 'worker.rollout.temperature'),
    'top_p': ('actor_rollout_ref.rollout.top_p', 'worker.rollout.top_p'),
    'prompt': ('data.max_prompt_length', 'data.max_prompt_length'),
    'response': ('data.max_response_length', 'data.max_response_length'),
    'epochs': ('trainer.total_epochs', 'trainer.total_epochs'),
    'shuffle': ('data.shuffle', 'data.shuffle'),
    'gpus': ('trainer.n_gpus_per_node', 'trainer.n_gpus_per_node'),
    'model': ('actor_rollout_ref.model.path', 'worker.actor.model.model_path'),
}
BASE = {
    'batch': 16, 'mini': 16, 'group': 8, 'lr': 1e-6, 'decay': 0.01, 'clip': 1.0, 'use_kl': True,
    'low': 0.2, 'high': 0.2, 'temperature': 1.0, 'top_p': 1.0, 'prompt': 1300, 'response': 2000,
    'epochs': 1, 'shuffle': True, 'gpus': 8, 'model': 'Qwen/Qwen2.5-VL-7B-Instruct',
}
PERCEPTION = {'batch': 560, 'mini': 112, 'temperature': 1.2, 'top_p': 0.99, 'prompt': 2048,
              'response': 2048}


@pytest.mark.parametrize('trainer', [0, 1], ids=list(SINCE))
@pytest.mark.parametrize(('recipe', 'different'), [
    ('visionreasoner_7b', {}),
    ('v_triune_7b', {'batch': 1024, 'mini': 1024, 'use_kl': False, 'high': 0.28, 'prompt': 8192,
                     'response': 2048, 'shuffle': False}),
    ('pebr_r1_perception_7b', PERCEPTION),
    ('pebr_r1_reasoning_7b', PERCEPTION | {
        'batch': 512, 'mini': 128, 'epochs': 2, 'model': '???'}),
])
def test_both_trainers_have_the_published_values(trainer, recipe, different) -> None:
    values = complete(FOLDER / f'{list(SINCE)[trainer]}_{recipe}.yaml')
    assert {name: values[keys[trainer]] for name, keys in VALUES.items()} == BASE | different


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_numbers_fit_each_other(path) -> None:
    values = complete(path)
    which = list(SINCE).index(path.stem.split('_')[0])
    value = {name: values[keys[which]] for name, keys in VALUES.items()}
    assert value['batch'] % value['mini'] == 0
    assert value['mini'] * value['group'] % value['gpus'] == 0
    if which == 0:
        sequence = value['prompt'] + value['response']
        assert values['actor_rollout_ref.actor.ppo_max_token_len_per_gpu'] >= sequence
    else:
        micro = values['worker.actor.micro_batch_size_per_device_for_update']
        assert value['mini'] * value['group'] // value['gpus'] % micro == 0
        # EasyR1: CPU offload of FSDP and gradient accumulation exclude each other.
        assert values['worker.actor.fsdp.enable_cpu_offload'] is False


@pytest.mark.parametrize('path', sorted(FOLDER.glob('easyr1_*.yaml')), ids=lambda path: path.stem)
def test_the_options_of_the_reward_are_its_own(path) -> None:
    options = own(path)['worker.reward.reward_function_kwargs']
    assert options['max_response_length'] == own(path)['data.max_response_length']
    known_parts(options.get('parts', ()))
    assert easyr1.compute_score([], **{
        key: value for key, value in options.items() if key != 'source_metrics'}) == []


@pytest.mark.parametrize('path', sorted(FOLDER.glob('verl_*.yaml')), ids=lambda path: path.stem)
def test_the_options_of_the_reward_of_verl_are_its_own(path) -> None:
    options = complete(path).get('reward.custom_reward_function.reward_kwargs', {})
    assert options.keys() <= set(verl.OPTIONS)
    # PeBR-R1 rewards the length, which verl does not tell.
    assert ('tokenizer' in options) == ('pebr_r1' in path.stem)


def test_verl_finds_the_entry_point_in_the_package() -> None:
    values = own(FOLDER / 'verl_visionreasoner_7b.yaml')
    prefix, _, module = values['reward.custom_reward_function.path'].partition('://')
    assert prefix == 'pkg' and module == verl.__name__
    assert callable(getattr(verl, values['reward.custom_reward_function.name']))
    managers = json.loads((RECORDED / 'verl_0_9_1.json').read_text(encoding='utf-8'))['managers']
    assert values['reward.reward_manager.name'] in managers
