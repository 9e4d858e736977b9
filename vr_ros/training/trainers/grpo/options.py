"""What ``./run train grpo`` can be told."""
from __future__ import annotations

import argparse
from pathlib import Path

from vr_ros.training.rewards.advantages import SCALES
from vr_ros.training.trainers.grpo.choice import REWARDS

ADVANTAGES = ('group', 'ema')
DTYPES = ('auto', 'float32', 'bfloat16')
# What must be the same where a run goes on: what is learnt, and in how many steps.
FIXED = ('card', 'data', 'steps', 'prompts', 'group', 'lora', 'reward', 'non_repetition', 'stage',
         'advantages', 'truth_rollout', 'train_vision')


def build_parser() -> argparse.ArgumentParser:
    """Declare the options; the defaults are VisionReasoner's recipe."""
    parser = argparse.ArgumentParser(
        prog='run train grpo', description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
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
        help='two minutes on the simulator, to see that everything works here')


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
    add('--clip-norm', type=float, default=1.0, help='of the gradient')
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


def check(options: argparse.Namespace) -> None:
    """Refuse what does not go together.

    :raises ValueError: with one line that says what is wrong.
    """
    if not options.data and not options.smoke:
        raise ValueError('what is there to learn from? Give --data DIR')
    for name in ('steps', 'prompts', 'eval_steps', 'held_out_rows', 'keep'):
        if getattr(options, name) < 1:
            raise ValueError(f'--{name.replace("_", "-")} is at least 1')
    if options.warm_up + options.cool_down > options.steps:
        raise ValueError('--warm-up and --cool-down are longer than --steps together')
    if options.group < 2:
        raise ValueError('--group is at least 2: a rollout is held against the others of its group')
    if bool(options.curriculum) != bool(options.stage):
        raise ValueError('--curriculum and --stage come together')
    if options.truth_rollout and options.vllm != 'off':
        raise ValueError('--truth-rollout needs --vllm off: vLLM corrects for the probabilities'
                         ' with which it wrote a rollout, and it has not written the truth')
    if options.lora < 0:
        raise ValueError('--lora is a rank, or 0')
