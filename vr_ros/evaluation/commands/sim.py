"""``evaluate sim``: the held-out examination on the simulator."""
from __future__ import annotations

import argparse
import time
from functools import partial

from vr_ros.evaluation.commands.answering import answered
from vr_ros.evaluation.commands.options import (
    add_model_options,
    add_run_options,
    job_of,
    records_path,
)
from vr_ros.evaluation.commands.reports import conclude
from vr_ros.evaluation.runs.runner import Job, model_identity
from vr_ros.sim.instructions import HELDOUT_SEED
from vr_ros.sim.templates import SPLITS


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
    from vr_ros.evaluation.scores.sim import sim_examination

    started = time.monotonic()
    job = job or job_of(options, partial(
        SimScenes, options.scenes, options.per_scene, options.first_seed, options.split))
    data_set = job.open()
    path = records_path(
        options, 'sim', options.split, f'{options.scenes}x{options.per_scene}',
        str(options.first_seed))
    summary = answered(
        options, started, job, data_set, model_identity(options.model), path,
        examination=sim_examination(options.first_seed), simulator=simulator_digest())
    return conclude(options, summary, data_set)
