"""The trainer against TRL's own numbers, and its hooks, on the embedded model."""
from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rows_of_data import NOTHING, row, text_row, write_rows
from scipy.stats import binom

from vr_ros.core.palette import colour
from vr_ros.core.types import Size
from vr_ros.models.card import load_card
from vr_ros.training.rewards.advantages import ema_advantages, with_truth

trl = pytest.importorskip('trl', reason='./run train grpo installs it')

from transformers import GenerationConfig, get_scheduler  # noqa: E402

from vr_ros.models.rows import left_padded  # noqa: E402
from vr_ros.training.rewards.stages import CurriculumError  # noqa: E402
from vr_ros.training.trainers.grpo import command, config  # noqa: E402
from vr_ros.training.trainers.grpo.checkpoints import last_checkpoint  # noqa: E402
from vr_ros.training.trainers.grpo.options import build_parser  # noqa: E402
from vr_ros.training.trainers.grpo.pictures import draw  # noqa: E402
from vr_ros.training.trainers.grpo.rollouts import Sampling, write_rollouts  # noqa: E402
from vr_ros.training.trainers.grpo.trainer import Seen, VisionGrpoTrainer  # noqa: E402

pytestmark = pytest.mark.usefixtures('one_thread')
CARD = load_card('sim_tiny').reasoner
SIZE = Size(168, 168)
GROUP = 4


@pytest.fixture(scope='module')
def rows(tmp_path_factory):
    """Six rows: two of text alone, questions of different lengths."""
    problems = ('the red mug', 'how many bowls are there', 'everything left of the small blue cube')
    rows = [row(number, SIZE, problem=problem) for number, problem in enumerate(problems)]
    rows += [row(3, SIZE, problem='all of them', task='counting'), text_row(0), text_row(1)]
    folder = tmp_path_factory.mktemp('rows')
    write_rows(folder, [row(9, SIZE)], 'val')
    return write_rows(folder, rows)


def options_of(rows, out, *more: str):
    return build_parser().parse_args([
        '--data', str(rows), '--out', str(out), '--device', 'cpu', '--prompts', '6', '--group',
        str(GROUP), '--max-completion', '24', '--report-to', 'none', '--steps', '2', '--beta', '0',
        '--temperature', '1.5', *more])


def trainer_of(rows, out, *more: str) -> VisionGrpoTrainer:
    trainer = command.build_trainer(
        options_of(rows, out, *more), CARD, CARD.weights.path, goes_on=False)
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


def step_of(trainer: VisionGrpoTrainer) -> list[dict]:
    """Give the rows of a step as TRL's loader does."""
    places = [place for place in range(len(trainer.train_dataset)) for _ in range(GROUP)]
    columns = trainer.train_dataset[places]
    return [{name: values[n] for name, values in columns.items()} for n in range(len(places))]


@pytest.fixture(scope='module')
def trainer(rows, tmp_path_factory) -> VisionGrpoTrainer:
    return trainer_of(rows, tmp_path_factory.mktemp('out'))


def test_what_is_used_of_trl_is_there() -> None:
    """Its arguments, its hooks, and how it calls a reward."""
    given = inspect.signature(trl.GRPOTrainer.__init__).parameters
    assert {'reward_funcs', 'args', 'train_dataset', 'eval_dataset', 'processing_class',
            'peft_config'} <= set(given)
    for name in ('_generate_and_score_completions', '_generate_single_turn', '_calculate_rewards',
                 '_get_per_token_logps_and_entropies', 'prediction_step', '_save_checkpoint',
                 '_load_optimizer_and_scheduler', '_load_from_checkpoint', 'create_model_card'):
        theirs = inspect.signature(getattr(trl.GRPOTrainer, name)).parameters
        ours = inspect.signature(getattr(VisionGrpoTrainer, name)).parameters
        takes_rest = any(one.kind is one.VAR_KEYWORD for one in ours.values())
        assert takes_rest or set(theirs) <= set(ours), name
    source = inspect.getsource(trl.GRPOTrainer._calculate_rewards)
    for word in ('prompts=prompts', 'completions=completions', 'completion_ids=', 'trainer_state',
                 'log_metric'):
        assert word in source


def test_rewards_and_metrics_reach_the_trainer(trainer) -> None:
    output = trainer._generate_and_score_completions(step_of(trainer))
    assert output['advantages'].shape == (24,)
    assert trainer.seen.rewards == pytest.approx(trainer._rewards[:, 0].tolist())
    logged = trainer._metrics['train']
    assert logged['reward'] == [pytest.approx(np.mean(trainer.seen.rewards))]
    assert logged['rews_final/lvis'] == [pytest.approx(np.mean(trainer.seen.rewards[:16]))]
    assert len(trainer.model.model.visual.state_dict()) and not any(
        parameter.requires_grad for parameter in trainer.model.model.visual.parameters())


def loss_of(trainer, inputs) -> tuple[float, dict[str, torch.Tensor], int]:
    """:return: the loss, the gradients by name, and how many tokens the language model saw."""
    seen = []
    hook = trainer.model.model.language_model.register_forward_pre_hook(
        lambda *given: seen.append(given[2]['inputs_embeds'][..., 0].numel()), with_kwargs=True)
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, inputs)
    hook.remove()
    loss.backward()
    return float(loss.detach()), {
        name: parameter.grad.clone()
        for name, parameter in trainer.model.named_parameters() if parameter.grad is not None
    }, sum(seen)


@pytest.mark.parametrize('without', [[], [0, 3, 8, 9, 10, 11, 21]],
                         ids=['all', 'a group and single ones without advantage'])
def test_packed_groups_give_trls_own_numbers_and_gradients(trainer, without) -> None:
    torch.manual_seed(0)
    inputs = trainer._generate_and_score_completions(step_of(trainer))
    lengths = inputs['completion_mask'].sum(1)
    assert len(set(lengths.tolist())) > 2   # or padding would not be tested
    inputs['advantages'] = torch.linspace(-1, 1, len(lengths))
    *_, tokens_of_all = loss_of(trainer, inputs)
    inputs['advantages'][without] = 0
    ours, our_gradients, our_tokens = loss_of(trainer, inputs)
    trainer._packs = False
    theirs, their_gradients, _ = loss_of(trainer, inputs)
    trainer._packs = True
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert our_gradients.keys() == their_gradients.keys()
    for name, gradient in their_gradients.items():
        assert torch.allclose(
            our_gradients[name], gradient, atol=1e-4 * float(gradient.norm())), name
    # What has no gradient is not computed.
    assert our_tokens < 0.9 * tokens_of_all if without else our_tokens == tokens_of_all


@pytest.mark.parametrize(('held_out', 'most', 'world', 'each'), [
    (900, 128, 1, 113), (300, 128, 1, 100), (64, 128, 1, 64), (129, 128, 1, 65), (1, 16, 1, 1),
    (256, 16, 8, 16), (260, 16, 8, 11), (3, 16, 8, 1),
])
def test_held_out_rows_are_examined_in_passes_of_like_size(
        monkeypatch, held_out, most, world, each) -> None:
    monkeypatch.setenv('WORLD_SIZE', str(world))
    assert config.examined_together(held_out, most) == each
    passes = -(-held_out // (each * world))
    assert each <= most and passes == -(-held_out // (most * world))


def test_the_last_held_out_rows_count_no_more_than_others(rows, tmp_path) -> None:
    folder = write_rows(tmp_path / 'rows', [row(number, SIZE) for number in range(4)])
    write_rows(folder, [row(number, SIZE) for number in range(10, 19)], 'val')
    trainer = trainer_of(folder, tmp_path / 'out', '--group', '2', '--prompts', '2',
                         '--max-completion', '2')
    # By fours, the ninth row would be a third of the mean.
    batches = [len(batch) for batch in trainer.get_eval_dataloader()]
    assert batches == [3, 3, 3]


def test_what_is_examined_is_rewarded_as_at_the_end_of_the_training(rows, tmp_path) -> None:
    trainer = trainer_of(rows, tmp_path, '--reward', 'dynamic-iou')
    function, asked = trainer.reward_funcs[0], []
    score_all = function._scorer.score_all
    function._scorer.score_all = lambda rollouts: asked.extend(rollouts) or score_all(rollouts)
    trainer.evaluate()
    examined = [rollout.progress for rollout in asked]
    asked.clear()
    trainer.model.train()
    trainer._generate_and_score_completions(step_of(trainer))
    assert examined and {*examined} == {None}
    assert asked and {rollout.progress for rollout in asked} == {0.0}


def test_small_advantages_count_as_none(rows, trainer, tmp_path) -> None:
    strict = trainer_of(rows, tmp_path, '--least-advantage', '0.8')
    found = []
    for one in (trainer, strict):
        torch.manual_seed(0)
        found.append(one._generate_and_score_completions(step_of(one))['advantages'])
    every, large = found
    assert ((every.abs() > 0) & (every.abs() < 0.8)).any()
    assert torch.equal(large, torch.where(every.abs() < 0.8, 0, every))


def test_rollouts_are_what_generate_writes(trainer) -> None:
    """Greedily, prompts of different lengths, with and without image."""
    processor, model = trainer.processing_class, trainer.model
    rows = step_of(trainer)[:4 * GROUP]   # those with an image, which generate can take together
    chats = [trl.data_utils.prepare_multimodal_messages(one['prompt'], [one['image']])
             for one in rows]
    inputs = processor.apply_chat_template(chats, tokenize=True, return_dict=True)
    images = {name: inputs[name] for name in ('pixel_values', 'image_grid_thw')}
    sampling = Sampling(100, 0.0, trainer.eos_token_ids, [model.config.image_token_id],
                        processor.tokenizer.pad_token_id)
    ours = write_rollouts(
        model, model.model, inputs['input_ids'],
        [(tuple(ids), id(one['image'])) for ids, one in zip(inputs['input_ids'], rows,
                                                            strict=True)],
        images, [True] * len(rows), sampling)
    ids, mask = left_padded([torch.tensor(one) for one in inputs['input_ids']], sampling.padding)
    theirs = model.generate(
        input_ids=ids, attention_mask=mask, **images,
        mm_token_type_ids=(ids == model.config.image_token_id).int(),
        generation_config=GenerationConfig(
            max_new_tokens=100, eos_token_id=trainer.eos_token_ids, pad_token_id=sampling.padding,
            suppress_tokens=[model.config.image_token_id]))[:, ids.shape[1]:]
    assert len({len(one) for one in ours}) > 1   # some end before the limit, some at it
    for own, their in zip(ours, theirs.tolist(), strict=True):
        assert own == their[:len(own)]


def test_rollouts_are_drawn_with_the_models_probabilities(trainer) -> None:
    """The first token of 4,000 rollouts: none comes up more rarely or more often than five
    deviations would be of a normal distribution."""
    model, tokenizer = trainer.model, trainer.processing_class.tokenizer
    prompt = tokenizer('the red', add_special_tokens=False)['input_ids']
    sampling = Sampling(1, 1.5, [], [model.config.image_token_id], tokenizer.pad_token_id)
    torch.manual_seed(0)
    number = 4000
    drawn = write_rollouts(model, model.model, [prompt] * number, ['same'] * number, {},
                           [False] * number, sampling)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt])).logits[0, -1] / 1.5
    logits[model.config.image_token_id] = -torch.inf
    probabilities = logits.double().softmax(-1).numpy()
    counts = np.bincount([one[0] for one in drawn], minlength=len(probabilities))
    assert binom.cdf(counts, number, probabilities).min() > 2.8e-7
    assert binom.sf(counts - 1, number, probabilities).min() > 2.8e-7


def test_advantages_by_task_use_the_ema_of_this_project(rows, tmp_path) -> None:
    trainer = trainer_of(rows, tmp_path, '--advantages', 'ema')
    inputs = step_of(trainer)
    output = trainer._generate_and_score_completions(inputs)
    rewards = np.array(trainer.seen.rewards).reshape(-1, GROUP)
    tasks = [one['task'] for one in inputs[::GROUP]]
    expected, scales = ema_advantages(rewards, tasks, type(trainer._scales)())
    assert output['advantages'].tolist() == pytest.approx(expected.reshape(-1).tolist(), abs=1e-5)
    # A task whose rewards are all alike has no spread yet.
    assert scales.deviations and scales.deviations.keys() <= {'detection', 'counting', 'vqa'}
    assert trainer._scales.deviations == pytest.approx(scales.deviations, rel=1e-5)


def test_the_truth_is_the_last_rollout_of_each_group(rows, tmp_path) -> None:
    trainer = trainer_of(rows, tmp_path, '--truth-rollout', '--scale-rewards', 'none')
    inputs = step_of(trainer)
    output = trainer._generate_and_score_completions(inputs)
    truths = [text for text in trainer.seen.responses[GROUP - 1::GROUP]]
    assert json.loads(truths[0].removeprefix('<answer>').removesuffix('</answer>')) == json.loads(
        json.loads(inputs[0]['reward_spec'])['ground_truth'])
    assert truths[4] == '<answer>12</answer>'
    rewards = np.array(trainer.seen.rewards).reshape(-1, GROUP)
    mixed = with_truth(rewards[:, :-1], rewards[:, -1])
    expected = mixed - mixed.mean(1, keepdims=True)
    assert output['advantages'].tolist() == pytest.approx(expected.reshape(-1).tolist(), abs=1e-6)


@pytest.mark.parametrize('lora', ['0', '2'])
def test_a_resumed_run_has_the_checkpoints_weights(rows, tmp_path, lora) -> None:
    trainer = trainer_of(rows, tmp_path, '--lora', lora)
    learnt = [one for one in trainer.model.parameters() if one.requires_grad]
    torch.manual_seed(0)
    for parameter in learnt:
        parameter.data += torch.randn_like(parameter)
    wanted = [parameter.detach().clone() for parameter in learnt]
    trainer.save_model(str(tmp_path / 'checkpoint-1'))
    for parameter in learnt:
        parameter.data.zero_()
    trainer._load_from_checkpoint(str(tmp_path / 'checkpoint-1'))
    for parameter, value in zip(learnt, wanted, strict=True):
        assert torch.equal(parameter, value)


def test_a_picture_shows_the_first_group_that_differs(trainer) -> None:
    inputs = tuple(step_of(trainer)[:2 * GROUP])
    box = '<answer>[{"bbox_2d": [20, 20, 60, 60], "point_2d": [40, 40]}]</answer>'
    seen = Seen(inputs, (NOTHING,) * (2 * GROUP - 1) + (box,),
                (0.5,) * (2 * GROUP - 1) + (0.9,), (False,) * 2 * GROUP)
    strips = np.split(np.asarray(draw(seen, GROUP, relative=False)), GROUP)
    for number, strip in enumerate(strips):
        left = strip[:, :240]
        assert (left == 255).all(-1).any()   # the true box is white, the image black
        colours = {tuple(one) for one in left.reshape(-1, 3).tolist()}
        assert (colour(0) in colours) == (number == GROUP - 1)


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--micro-batch', '5'], 'cannot be divided into parts of 5'),
    (['--vllm', 'colocate'], 'vLLM is not installed'),
])
def test_a_machine_that_does_not_fit(rows, tmp_path, arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        config.trainer_arguments(options_of(rows, tmp_path, *arguments), CARD, 1, goes_on=False)


@pytest.mark.parametrize(('more', 'wanted'), [
    ([], [1.0] * 6),
    (['--warm-up', '2', '--cool-down', '3'], [0.0, 0.5, 1.0, 1.0, 2 / 3, 1 / 3]),
])
def test_the_learning_rate_over_the_steps(rows, tmp_path, more, wanted) -> None:
    given = config.trainer_arguments(
        options_of(rows, tmp_path, '--steps', '6', *more), CARD, 1, goes_on=False)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    schedule = get_scheduler(
        given.lr_scheduler_type, optimizer, given.warmup_steps, given.max_steps,
        given.lr_scheduler_kwargs)
    rates = []
    for _ in wanted:
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx(wanted)


@pytest.mark.parametrize(('instead_of', 'message'), [
    (['exact'], None),
    (['exakt'], 'stage "boxes", instead_of: no verifier "exakt".*exact'),
])
def test_a_stage_in_place_of_a_verifier_that_is_not_there(
        rows, tmp_path, instead_of, message) -> None:
    file = tmp_path / 'own.json'
    file.write_text(json.dumps({'name': 'own', 'rollouts': 4, 'stages': [{
        'name': 'boxes', 'kind': 'reward', 'rows': ['medium'], 'instead_of': instead_of,
        'verifier': 'visionreasoner'}]}))
    arguments = '--curriculum', str(file), '--stage', 'boxes'
    if message is None:
        trainer_of(rows, tmp_path, *arguments)
        return
    with pytest.raises(CurriculumError, match=message):
        trainer_of(rows, tmp_path, *arguments)


def test_the_default_is_the_published_recipe(tmp_path) -> None:
    options = build_parser().parse_args(['--data', 'x', '--out', str(tmp_path), '--report-to',
                                         'none', '--device', 'cpu'])
    card = load_card('visionreasoner_7b').reasoner
    given = config.trainer_arguments(options, card, 8_000_000_000, goes_on=True)
    assert (given.num_generations, given.generation_batch_size) == (8, 128)
    assert (given.learning_rate, given.beta, given.weight_decay, given.max_grad_norm) == (
        1e-6, 1e-2, 1e-2, 1.0)
    assert (given.max_completion_length, given.temperature) == (2048, 1.0)
    assert given.gradient_checkpointing and not given.eval_on_start
    assert (given.epsilon, given.epsilon_high) == (0.2, 0.2)
    assert given.metric_for_best_model == 'eval_reward'


@pytest.mark.parametrize(('gpus', 'kind'), [(1, 'NO'), (4, 'DEEPSPEED'), (8, 'DEEPSPEED')])
def test_accelerate_reads_the_configurations(gpus, kind) -> None:
    from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

    path = Path(__file__).parents[2] / 'config' / 'training' / f'accelerate_{gpus}gpu.yaml'
    given = load_config_from_file(str(path))
    assert isinstance(given, ClusterConfig)
    assert (given.num_processes, given.distributed_type.value, given.mixed_precision) == (
        gpus, kind, 'bf16')


def test_the_start_of_the_7b_recipe_is_asked_as_visionreasoner_is() -> None:
    start = load_card(Path(__file__).parents[2] / 'config/training/visionreasoner_7b_start.yaml')
    ours = load_card('visionreasoner_7b')
    assert start.reasoner.tasks == ours.reasoner.tasks
    assert start.reasoner.weights.hub == load_card('qwen2_5_vl_7b').reasoner.weights.hub
    assert (start.segmenter, start.reasoner.stop) == (ours.segmenter, ours.reasoner.stop)


def test_a_checkpoint_that_was_being_written_is_none(tmp_path) -> None:
    assert last_checkpoint(tmp_path) is None
    for step, state in ((3, '{"global_step": 3}'), (12, '{"global_step": 12}'), (15, '{"glob')):
        folder = tmp_path / f'checkpoint-{step}'
        folder.mkdir()
        (folder / 'trainer_state.json').write_text(state)
    (tmp_path / 'checkpoint-18').mkdir()   # nothing in it yet
    (tmp_path / 'checkpoint-x').mkdir()
    assert last_checkpoint(tmp_path) == tmp_path / 'checkpoint-12'
