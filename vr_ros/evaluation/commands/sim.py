"""``evaluate sim``: the held-out examination on the simulator."""
from __future__ import annotations

import argparse
import time
from functools import partial

from rich.console import Console
from rich.table import Table

from vr_ros.evaluation.claims import Claim, write_claims
from vr_ros.evaluation.commands.options import (
    add_model_options,
    add_run_options,
    asker,
    job_of,
    records_path,
)
from vr_ros.evaluation.commands.reports import write_reports
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.metrics.panel import image_groups
from vr_ros.evaluation.runs.run import complete, header_of
from vr_ros.evaluation.runs.runner import Job, model_identity
from vr_ros.evaluation.runs.summary import Summary
from vr_ros.sim.instructions import HELDOUT_SEED
from vr_ros.sim.templates import SPLITS

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
    parser.add_argument('--scenes', type=int, default=500,
                        help='how many (default: %(default)s)')
    parser.add_argument('--per-scene', type=int, default=3,
                        help='instructions per scene (default: %(default)s)')
    parser.add_argument('--first-seed', type=int, default=HELDOUT_SEED,
                        help='of the first scene (default: %(default)s)')
    parser.add_argument('--split', choices=SPLITS, default='heldout',
                        help='wordings, those of the training or others (default: %(default)s)')
    add_model_options(parser, processes=2)
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, job: Job | None = None) -> int:
    """Examine a model on the simulator and print the table.

    :param job: None: that of the options.
    :return: 0 complete, 1 some instructions could not be answered.
    """
    # Not before: they bring the renderer.
    from vr_ros.datasets.sim_scenes import SimScenes, simulator_digest
    from vr_ros.evaluation.scores.sim import sim_measures

    started = time.monotonic()
    job = job or job_of(options, partial(
        SimScenes, options.scenes, options.per_scene, options.first_seed, options.split))
    data_set = job.open()
    header = header_of(
        data_set, model_identity(options.model), options.limit, options.shard,
        simulator=simulator_digest())
    path = records_path(
        options, 'sim', options.split, f'{options.scenes}x{options.per_scene}',
        str(options.first_seed))
    done = complete(job, data_set, header, path, asker(options))
    groups = image_groups([record.truth for record in done.answered])
    computed = figures(sim_measures(done.answered), groups)
    summary = Summary(done, computed, path, time.monotonic() - started)
    Console().print(_table(summary))
    summary.show_troubles()
    if options.json:
        write_claims(
            options.json, _claims(summary), seed=options.first_seed, seconds=summary.seconds,
            details=summary.details)
    write_reports(options, summary, data_set)
    return 1 if summary.is_incomplete else 0


def _table(summary: Summary) -> Table:
    table = Table(title=f'{len(summary.run.answered)} instructions in {summary.seconds:.0f} s')
    for column in ('figure', 'value', '95 % interval', 'aim', 'of'):
        table.add_column(column, justify='left' if column == 'figure' else 'right')
    for figure in summary.figures:
        aim = TARGETS.get(figure.name)
        value = '-' if figure.value is None else f'{figure.value:.3f}'
        interval = '' if figure.low is None else f'{figure.low:.3f} to {figure.high:.3f}'
        table.add_row(
            figure.name, value, interval, '' if aim is None else f'{aim:.2f}', f'{figure.of:,}')
    return table


def _claims(summary: Summary) -> list[Claim]:
    return [
        Claim(f'sim: {f.name}', f.value, 'share', TARGETS.get(f.name),
              reason='' if f.value is not None else 'no such instruction among them')
        for f in summary.figures]
