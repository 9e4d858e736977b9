"""Prove the training on the simulator: GRPO from the supervised model, one arm per question.

Every arm is trained with the same rows, steps and options, and answers the same held-out
instructions as its start. An interrupted call goes on where it was.
"""
from __future__ import annotations

import argparse
import importlib.util
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from _grpo_arms import ARMS, Arm, ArmError, Recipe, examine, run_name, train
from rich.console import Console
from rich.table import Table

from vr_ros.evaluation.claims import Claim, print_claims, write_claims
from vr_ros.evaluation.metrics.figures import Figure, compare, figures
from vr_ros.evaluation.metrics.measure import Measure
from vr_ros.evaluation.metrics.panel import image_groups, strict_measures
from vr_ros.evaluation.runs.records import Record, Run
from vr_ros.models.card import known_cards
from vr_ros.training.trainers.grpo.files import RowsError, check_folders

SCENES, STEPS = 200, 60
# Whose instructions nobody has looked at before: recipes were chosen on those from 1,000,000 on.
FIRST_SEED = 1_100_000
# On rows that are each seen once: docs/training.md has what else was tried.
OPTIONS = ('--prompts 32 --scale-rewards batch --least-advantage 0.2 --learning-rate 2e-5 --beta 0'
           ' --dtype bfloat16 --eval-steps 30 --held-out-rows 450')
# What needs more than the name of a thing: where it stands, which is the largest, what it is for.
REASONING = ('relation', 'extreme', 'function')
F1 = 'box F1@[.5:.95]'
MORE_F1, LESS_VQA, WANTED_ABSENCE = 0.05, -0.01, 0.95
CURVES = ('reward', 'eval_reward', 'completions/mean_length', 'kl', 'entropy')


def reasons_or_counts(kind: str) -> bool:
    """Whether a template's instructions count, or name things by more than their words."""
    return kind.startswith('count') or any(part in kind for part in REASONING)


# Figure of the report -> its measure, and whose answers it is about.
FIGURES: Mapping[str, tuple[str, Callable[[str], bool]]] = {
    'F1, reasoning and counting': (F1, reasons_or_counts),
    'mask F1, reasoning and counting': ('mask F1@[.5:.95]', reasons_or_counts),
    'F1, all': (F1, lambda kind: True),
    'exact count': ('exact count', lambda kind: kind.startswith('count')),
    'absence': ('no-object recall', lambda kind: True),
    'VQA': ('VQA exact', lambda kind: True),
}
MAIN = next(iter(FIGURES))


def measures_of(run: Run) -> dict[str, tuple[Measure, list[str]]]:
    """:return: figure of the report -> its measure, and the image of each answer; without those
        that no instruction asks about."""
    found = {}
    for name, (measure, belongs) in FIGURES.items():
        records = _sorted(record for record in run.answered if belongs(record.kind))
        truths = [record.truth for record in records]
        for one in strict_measures(truths, [record.found for record in records]):
            if one.name == measure:
                found[name] = one, image_groups(truths)
    return found


def _sorted(records: Iterator[Record]) -> list[Record]:
    return sorted(records, key=lambda record: record.sample_id)


@dataclass(frozen=True)
class Examined:
    """What the answers of one model say.

    :param figures: each figure of the report with its bootstrap interval.
    :param changes: how each changed from the model's start, with its interval, answer by answer;
        none for a start.
    :param start: name of the card it started from; empty for a start.
    """

    figures: Mapping[str, Figure]
    changes: Mapping[str, Mapping[str, float | None]]
    start: str = ''


def examined(run: Run, start: Run | None = None, name: str = '') -> Examined:
    """Compute the figures of a model's answers, and how they changed from its start's.

    :param name: of the start.
    """
    after = measures_of(run)
    told = {figure: figures([measure], groups)[0]
            for figure, (measure, groups) in after.items()}
    changes = {}
    for figure, (measure, groups) in (measures_of(start) if start else {}).items():
        one = compare(measure, after[figure][0], groups)
        changes[figure] = {'change': one.difference, 'low': one.low, 'high': one.high,
                         'p_value': one.p_value}
    return Examined(told, changes, name)


def curve_of(folder: Path) -> list[dict[str, float]]:
    """:return: what the curves of a run's stages say, step by step."""
    from vr_ros.training.trainers.grpo.watching import CURVE, read_curve

    told, before = [], 0
    for stage in sorted(folder.glob('stage_*/')):
        lines = read_curve(stage / CURVE)
        for line in lines:
            kept = {key: round(line[key], 4) for key in CURVES if key in line}
            if kept:
                told.append({'step': before + line['step'], **kept})
        before += max((line['step'] for line in lines), default=0)
    return told


def claims_of(runs: Mapping[str, Mapping[int, Examined]]) -> list[Claim]:
    """Hold the unified reward, mean over its seeds, against its aims."""
    if 'unified' not in runs:
        return [Claim('unified GRPO', None, reason='--arms without unified')]
    seeds = runs['unified'].values()

    def claim(name: str, values: Sequence[float | None], target: float) -> Claim:
        if None in values:
            return Claim(name, None, reason='no instruction asks about it')
        return Claim(name, fmean(values), '', target)

    def changed(name: str) -> list[float | None]:
        return [one.changes.get(name, {}).get('change') for one in seeds]

    absence = [one.figures.get('absence') for one in seeds]
    return [
        claim(f'{MAIN}: unified GRPO over supervised', changed(MAIN), MORE_F1),
        claim('VQA: unified GRPO over supervised', changed('VQA'), LESS_VQA),
        claim('absence recognised, unified GRPO',
              [figure and figure.value for figure in absence], WANTED_ABSENCE)]


def print_runs(
    starts: Mapping[str, Mapping[int, Examined]], runs: Mapping[str, Mapping[int, Examined]],
) -> None:
    """Print the figures of every start point and arm, mean and spread over its seeds."""
    table = Table(title='Held-out instructions')
    for heading in ('arm', 'seeds', *FIGURES):
        table.add_column(heading, overflow='fold')
    rows = {**{f'start: {name}': seeds for name, seeds in starts.items()}, **runs}
    for name, seeds in rows.items():
        table.add_row(name, str(len(seeds)), *_cells([one.figures for one in seeds.values()]))
    Console().print(table)


def _cells(seeds: Sequence[Mapping[str, Figure]]) -> Iterator[str]:
    for name in FIGURES:
        values = [one[name].value for one in seeds if name in one]
        spread = f' ± {stdev(values):.3f}' if len(values) > 1 else ''
        yield f'{fmean(values):.3f}{spread}' if values else '-'


def details(
    recipe: Recipe, starts: Mapping[str, Mapping[int, Examined]],
    runs: Mapping[str, Mapping[int, Examined]],
) -> dict[str, Any]:
    """:return: all figures, changes and curves, for the report."""
    def told(one: Examined) -> dict[str, Any]:
        return {name: {'value': f.value, 'low': f.low, 'high': f.high, 'of': f.of}
                for name, f in one.figures.items()}

    return {
        'steps': recipe.steps, 'scenes': recipe.scenes, 'first_seed': recipe.first_seed,
        'options': list(recipe.options),
        'starts': {name: {recipe.starts[name][number].stem: told(one)
                          for number, one in cards.items()} for name, cards in starts.items()},
        'arms': {name: {'question': ARMS[name].question, 'seeds': {
            str(seed): {'start': one.start, 'figures': told(one), 'changes': one.changes,
                        'curve': curve_of(recipe.out / run_name(ARMS[name], seed))}
            for seed, one in seeds.items()}} for name, seeds in runs.items()}}


def measure(recipe: Recipe, wanted: Sequence[tuple[Arm, Sequence[int]]], jobs: int) -> tuple[
        dict[str, dict[int, Examined]], dict[str, dict[int, Examined]]]:
    """Examine the start points, and train and examine what is wanted, some at a time.

    :param wanted: arms and the seeds of each.
    :return: figures of each start point by the number of its card, and of each arm by seed.
    :raises ArmError: one failed; the others are finished first.
    """
    def trained(arm: Arm, seed: int, start: Path) -> Run:
        return examine(train(arm, seed, start, recipe), recipe)

    needed = {'supervised', *(arm.start for arm, _ in wanted)}
    with ThreadPoolExecutor(jobs) as pool:
        asked = {(name, number): pool.submit(examine, card, recipe)
                 for name, cards in recipe.starts.items() if name in needed
                 for number, card in enumerate(cards)}
        answered = []
        for arm, seeds in wanted:
            cards = recipe.starts[arm.start]
            for place, seed in enumerate(seeds):
                number = place % len(cards)
                answered.append((arm, seed, number,
                                 pool.submit(trained, arm, seed, cards[number])))
    starts: dict[str, dict[int, Examined]] = {}
    for (name, number), future in asked.items():
        starts.setdefault(name, {})[number] = examined(future.result())
    runs: dict[str, dict[int, Examined]] = {}
    for arm, seed, number, future in answered:
        start = asked[arm.start, number].result()
        runs.setdefault(arm.name, {})[seed] = examined(
            future.result(), start, recipe.starts[arm.start][number].stem)
    return starts, runs


def main() -> int:
    """Train, examine, print, write; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--card', nargs='+', default=['sim_tiny'],
                        help='supervised models to start from; the seeds take them in turn')
    parser.add_argument('--direct-card', help='the same, taught to answer without reasoning')
    parser.add_argument('--data', type=Path, nargs='+', metavar='DIR',
                        help='rows to learn from, and those of the split val that choose the best '
                        'checkpoint: ./run train data sim --out DIR, and --split val')
    parser.add_argument('--out', type=Path, default=Path('runs/bench_grpo'),
                        help='trainings and records; an interrupted call goes on there')
    parser.add_argument('--arms', nargs='+', choices=ARMS, default=['unified'], help='which')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='of the first arm')
    parser.add_argument('--steps', type=int, default=STEPS, help='updates of an arm')
    parser.add_argument('--options', default=OPTIONS, type=shlex.split,
                        help='of train grpo, for every arm, as one word')
    parser.add_argument('--scenes', type=int, default=SCENES, help='held-out, 3 instructions each')
    parser.add_argument('--first-seed', type=int, default=FIRST_SEED, help='of the first scene')
    parser.add_argument('--jobs', type=int, default=1, help='arms at a time, a core each')
    parser.add_argument('--json', metavar='FILE', help='write figures, changes and curves there')
    options = parser.parse_args()
    if options.data is None:
        parser.error('what is there to learn from? Give --data DIR')
    if importlib.util.find_spec('trl') is None:
        parser.error('TRL is not installed: VR_ROS_TRAINING=1 ./run bench grpo …')
    try:
        check_folders(options.data, 'train')
    except RowsError as error:
        parser.error(' '.join(str(error).split()))
    starts = {'supervised': [_card(name) for name in options.card]}
    if options.direct_card:
        starts['direct'] = [_card(options.direct_card)]
    names = [card.stem for cards in starts.values() for card in cards]
    if len({*names}) < len(names):
        parser.error(f'cards of one name, whose records would be mixed: {", ".join(names)}')
    wanted = [(ARMS[name], options.seeds if place == 0 else options.seeds[:1])
              for place, name in enumerate(dict.fromkeys(options.arms))]
    missing = [arm.name for arm, _ in wanted if arm.start not in starts]
    if missing:
        parser.error(f'{", ".join(missing)}: give --direct-card')
    recipe = Recipe(starts, options.data, options.out, options.options, options.steps,
                    options.scenes, options.first_seed)
    started = time.monotonic()
    try:
        before, runs = measure(recipe, wanted, options.jobs)
    except ArmError as error:
        print(f'bench grpo: {error}', file=sys.stderr)
        return 1
    print_runs(before, runs)
    claims = claims_of(runs)
    print_claims(claims, 'Training by rewards')
    if options.json:
        write_claims(options.json, claims, seed=options.seeds[0],
                     seconds=time.monotonic() - started, details=details(recipe, before, runs))
    return 0


def _card(name: str) -> Path:
    return known_cards().get(name) or Path(name).expanduser().absolute()


if __name__ == '__main__':
    sys.exit(main())
