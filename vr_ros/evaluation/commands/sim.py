"""``evaluate sim``: the held-out examination on the simulator."""
from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from vr_ros.core.types import Status
from vr_ros.evaluation.claims import Claim, write_claims
from vr_ros.evaluation.commands.options import add_model_options
from vr_ros.evaluation.metrics.figures import Figure, figures
from vr_ros.evaluation.sim import Examination, Record, examine
from vr_ros.evaluation.sim_scores import score_measures

# What the embedded model aims at, see docs/evaluation.md.
TARGETS = {
    'hit rate': 0.80,
    'gIoU': 0.70,
    'exact count': 0.80,
    'absence recognised': 0.90,
    'VQA exact': 0.85,
}


def add_command(what: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``sim``."""
    parser = what.add_parser('sim', help='held-out scenes and wordings of the simulator')
    defaults = Examination()
    add_model_options(parser, processes=2)
    parser.add_argument('--scenes', type=int, default=defaults.scenes,
                        help='how many (default: %(default)s)')
    parser.add_argument('--per-scene', type=int, default=defaults.per_scene,
                        help='instructions per scene (default: %(default)s)')
    parser.add_argument('--first-seed', type=int, default=defaults.first_seed,
                        help='of the first scene (default: %(default)s)')
    parser.add_argument('--split', choices=('heldout', 'train'), default=defaults.split,
                        help='wordings, those of the training or others (default: %(default)s)')
    parser.add_argument('--records', type=Path,
                        help='write every question and answer there, as JSON lines')
    parser.add_argument('--json', type=Path, help='write the claims there')
    parser.set_defaults(run=run)


def _table(results: list[Figure], records: list[Record], seconds: float) -> Table:
    table = Table(title=f'{len(records)} instructions in {seconds:.0f} s')
    for column in ('figure', 'value', 'aim', 'of'):
        table.add_column(column, justify='left' if column == 'figure' else 'right')
    for result in results:
        aim = TARGETS.get(result.name)
        value = '-' if result.value is None else f'{result.value:.3f}'
        table.add_row(result.name, value, '' if aim is None else f'{aim:.2f}', str(result.of))
    return table


def run(options: argparse.Namespace) -> int:
    """Examine a model on the simulator and print the table.

    :return: 0 complete, 1 some instructions could not be answered.
    """
    examination = Examination(
        options.scenes,
        options.per_scene,
        options.first_seed,
        options.model,
        options.device,
        options.split,
    )
    started = time.monotonic()
    records: list[Record] = []
    console = Console(stderr=True)
    columns = ('{task.description}', BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task('instructions', total=options.scenes * options.per_scene)
        for record in examine(examination, options.processes):
            records.append(record)
            progress.advance(bar)
    seconds = time.monotonic() - started
    results = figures(score_measures([record.score for record in records]), rounds=0)
    Console().print(_table(results, records, seconds))
    if options.records:
        with options.records.open('w') as lines:
            lines.writelines(json.dumps(dataclasses.asdict(record)) + '\n' for record in records)
    if options.json:
        claims = [
            Claim(
                f'sim: {r.name}',
                r.value,
                'share',
                TARGETS.get(r.name),
                reason='' if r.value is not None else 'no such instruction among them',
            )
            for r in results
        ]
        write_claims(options.json, claims, seed=options.first_seed, seconds=seconds)
    failed = sum(record.score.status.is_error for record in records)
    if failed:
        console.print(f'{failed} instructions got an error status')
    broken = [
        r for r in records if r.score.status.is_error and r.score.status is not Status.PARSE_ERROR
    ]
    return 1 if broken else 0
