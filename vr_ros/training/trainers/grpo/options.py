"""What ``./run train grpo`` can be told."""
from __future__ import annotations

import argparse
import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vr_ros.training.rewards.advantages import SCALES
from vr_ros.training.trainers.grpo.choice import REWARDS

ADVANTAGES = ('group', 'ema')
DTYPES = ('auto', 'float32', 'bfloat16')
# What may be another one where a run goes on: where it is computed, and how it is looked at. All
# else decides what is learnt, or which checkpoint is the best.
FREE = ('out', 'fresh', 'device', 'dtype', 'gradient_checkpointing', 'packing',
        'micro_batch', 'vllm_memory', 'keep', 'picture_steps', 'report_to', 'name')
# Option: the least value, and the largest one.
_RANGES = {
    **dict.fromkeys(('steps', 'prompts', 'eval_steps', 'held_out_rows', 'keep', 'limit',
                     'micro_batch', 'max_completion', 'lora_alpha'), (1, math.inf)),
    **dict.fromkeys(('warm_up', 'cool_down', 'weight_decay', 'clip_norm', 'beta', 'epsilon',
                     'epsilon_high', 'lora', 'picture_steps', 'least_advantage'), (0, math.inf)),
    'seed': (0, 2 ** 32 - 1), 'vllm_memory': (0, 1)}
_ABOVE_0 = ('learning_rate', 'temperature', 'vllm_memory')


class _Defaults(argparse.ArgumentDefaultsHelpFormatter):
    """Tells defaults, but of none and of flags, which say nothing."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        says_nothing = action.default is None or action.const is not None
        return action.help if says_nothing else super()._get_help_string(action)


def build_parser() -> argparse.ArgumentParser:
    """Declare the options; the defaults are VisionReasoner's recipe."""
    parser = argparse.ArgumentParser(
        prog='run train grpo', description=__doc__, formatter_class=_Defaults)
    _add_files(parser.add_argument_group('files'))
    _add_reward(parser.add_argument_group('reward'))
    _add_learning(parser.add_argument_group('learning'))
    _add_machine(parser.add_argument_group('machine'))
    _add_watching(parser.add_argument_group('watching'))
    return parser


def _add_files(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add('--card', default='sim_tiny', help='model card to start from')
    add('--data', type=Path, nargs='+', metavar='DIR', help='folders with <split>-*.parquet')
    add('--out', type=Path, default=Path('runs/grpo'),
        help='checkpoints, curves, pictures, the trained model; an interrupted run goes on there')
    add('--fresh', action='store_true', help='remove the checkpoints there and begin anew')
    add('--train-split', default='train', help='to learn from')
    add('--held-out-split', default='val',
        help='to choose the best checkpoint by; where it is missing, a twentieth of the rows')
    add('--limit', type=int, help='learn from at most so many rows')
    add('--smoke', action='store_true',
        help='two minutes on the simulator, in runs/grpo_smoke, to see that everything works'
             ' here; makes its own data, and has defaults of its own')


def _add_reward(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add('--reward', choices=REWARDS, default='rows',
        help="of rows with boxes: as they say, the mode of VisionReasoner's reward, or V-Triune's"
             ' with its rising IoU threshold')
    add('--without-non-repetition', dest='non_repetition', action='store_false',
        help="leave that part of VisionReasoner's reward out")
    add('--curriculum', help='name or file of a curriculum; with --stage')
    add('--stage', help="name of a stage of it, whose reward takes the place of the rows'")
    add('--advantages', choices=ADVANTAGES, default='group',
        help='divided by the spread of the group, or by the usual spread of the task (EMA-GRPO)')
    add('--scale-rewards', choices=SCALES, default='group',
        help='whose spread divides the advantages, with --advantages group')
    add('--least-advantage', type=float, default=0.0,
        help='rollouts whose advantage is nearer to 0 teach nothing; with --beta 0 those cost no'
             ' gradient')
    add('--truth-rollout', action='store_true',
        help='the last rollout of each group is the ground truth (ViSurf)')


def _add_learning(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add('--steps', type=int, default=400, help='updates of the weights')
    add('--prompts', type=int, default=16, help='per step, over all processes')
    add('--group', type=int, default=8, help='rollouts per prompt')
    add('--micro-batch', type=int, help='rollouts per forward pass and process (default: all)')
    add('--learning-rate', type=float, default=1e-6, help='of AdamW, after the warm-up')
    add('--warm-up', type=int, default=0, metavar='STEPS', help='until the learning rate is full')
    add('--cool-down', type=int, default=0, metavar='STEPS',
        help='at the end, until the learning rate is nothing: noise of small batches averages out')
    add('--weight-decay', type=float, default=1e-2, help='of AdamW')
    add('--clip-norm', type=float, default=1.0, help='of the gradient; 0: as it is')
    add('--beta', type=float, default=1e-2, help='weight of the KL divergence from the start')
    add('--epsilon', type=float, default=0.2, help='clipping of the ratio, below')
    add('--epsilon-high', type=float, default=0.2,
        help='clipping of the ratio, above; V-Triune takes 0.28')
    add('--temperature', type=float, default=1.0, help='of the rollouts')
    add('--max-completion', type=int, metavar='TOKENS',
        help="of a rollout (default: the card's max_new_tokens)")
    add('--loss', choices=('grpo', 'dapo', 'dr_grpo', 'bnpo'), default='grpo',
        help='how the tokens of the rollouts are averaged')
    add('--lora', type=int, default=0, metavar='RANK', help='adapt instead of all weights; 0: all')
    add('--lora-alpha', type=int, help='(default: twice the rank)')
    add('--train-vision', action='store_true',
        help='let the vision tower learn, too; it ruins detection, see docs/training.md')
    add('--seed', type=int, default=0, help='of everything random')


def _add_machine(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add('--device', choices=('auto', 'cpu'), default='auto', help='cpu: even where there is a GPU')
    add('--dtype', choices=DTYPES, default='auto', help='of the computation; auto: by the device')
    add('--gradient-checkpointing', action=argparse.BooleanOptionalAction,
        help='less memory, a third more time (default: for more than half a billion parameters)')
    add('--packing', action=argparse.BooleanOptionalAction, default=True,
        help='compute the prompt of a group once; the numbers are the same')
    add('--vllm', choices=('off', 'colocate', 'server'), default='off',
        help='vLLM writes the rollouts: in the training processes, or trl vllm-serve does')
    add('--vllm-memory', type=float, default=0.3, metavar='SHARE', help='of a GPU, with colocate')


def _add_watching(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add('--eval-steps', type=int, default=25,
        help='steps between two examinations on the held-out split, each with a checkpoint')
    add('--held-out-rows', type=int, default=64, help='at most so many are asked, greedily')
    add('--keep', type=int, default=2, help='checkpoints, the best and the last among them')
    add('--picture-steps', type=int, default=25, help='between two pictures of rollouts; 0: none')
    add('--report-to', choices=('tensorboard', 'wandb', 'none'), default='tensorboard',
        help='where the curves go')
    add('--name', help='of the model card that is written (default: <card>_grpo)')


def parse(arguments: Sequence[str] | None, smoke: Mapping[str, Any]) -> argparse.Namespace:
    """Read the options.

    :param smoke: defaults with ``--smoke``; what is given beside it counts.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not options.smoke:
        return options
    parser.set_defaults(**smoke)
    return parser.parse_args(arguments)


def settings_of(options: argparse.Namespace, curriculum: Any = None) -> dict[str, Any]:
    """Give what must be the same where a run goes on.

    :param curriculum: what the stage says: a file may change under its name.
    """
    settings = {key: value for key, value in vars(options).items() if key not in FREE}
    if options.smoke:
        del settings['data']   # it makes its own
    # The first that is different is named.
    return {'smoke': options.smoke, **settings, 'curriculum': curriculum}


def check(options: argparse.Namespace) -> None:
    """Refuse what does not go together.

    :raises ValueError: with one line that says what is wrong.
    """
    if bool(options.data) == options.smoke:
        raise ValueError('--smoke makes its own data: leave --data out' if options.smoke else
                         'what is there to learn from? Give --data DIR')
    _check_ranges(options)
    if options.warm_up + options.cool_down > options.steps:
        raise ValueError('--warm-up and --cool-down are longer than --steps together')
    if options.group < 2:
        raise ValueError('--group is at least 2: a rollout is held against the others of its group')
    if bool(options.curriculum) != bool(options.stage):
        raise ValueError('--curriculum and --stage come together')
    if options.truth_rollout and options.vllm != 'off':
        raise ValueError('--truth-rollout needs --vllm off: vLLM corrects for the probabilities'
                         ' with which it wrote a rollout, and it has not written the truth')
    name = options.name
    if name is not None and (not name or name != Path(name).name or not name.isprintable()):
        raise ValueError(f'--name {name!r} is no name of a file')
    if options.report_to != 'none' and importlib.util.find_spec(options.report_to) is None:
        raise ValueError(f'--report-to {options.report_to}: it is not installed: pip install '
                         f'{options.report_to}, or --report-to none')


def _check_ranges(options: argparse.Namespace) -> None:
    for key, value in vars(options).items():
        name = f'--{key.replace("_", "-")}'
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f'{name} {value} is no finite number')
        if key in _ABOVE_0 and not value > 0:
            raise ValueError(f'{name} is above 0')
        least, most = _RANGES.get(key, (-math.inf, math.inf))
        if key in _RANGES and value is not None and not least <= value <= most:
            raise ValueError(f'{name} is at least {least}' if value < least else
                             f'{name} is at most {most}')
