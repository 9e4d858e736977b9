"""``evaluate dataset``: a model on a data set."""
from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

from vr_ros.datasets.registry import open_data_set
from vr_ros.evaluation.commands.answering import answered
from vr_ros.evaluation.commands.options import (
    add_model_options,
    add_run_options,
    job_of,
    records_path,
)
from vr_ros.evaluation.commands.reports import conclude
from vr_ros.evaluation.runs.runner import Job, model_identity


def add_command(what: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``dataset``."""
    parser = what.add_parser('dataset', help='a data set: a folder, a file, or a known name')
    parser.add_argument('dataset', help='path, a known name, or owner/name of the hub')
    parser.add_argument('--split', default='', help='part of the data set, where it has several')
    add_model_options(parser)
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, job: Job | None = None) -> int:
    """Answer what is not yet answered, and print the figures of all.

    :param job: None: that of the options.
    :return: 0 complete, 1 samples were skipped or not answered.
    """
    started = time.monotonic()
    job = job or job_of(options, partial(open_data_set, options.dataset, options.split))
    data_set = job.open()
    path = records_path(options, Path(options.dataset).resolve().name, options.split)
    summary = answered(options, started, job, data_set, model_identity(options.model), path,
                       split=options.split)
    return conclude(options, summary, data_set)
