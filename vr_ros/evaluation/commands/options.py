"""Options that several commands have, and what follows from them."""
from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from vr_ros.datasets.sample import DataSet
from vr_ros.evaluation.claims import require_writable
from vr_ros.evaluation.commands.reports import FILES, add_report_options
from vr_ros.evaluation.runs.ray_runner import ask_with_ray, has_ray
from vr_ros.evaluation.runs.records import RecordsError
from vr_ros.evaluation.runs.run import Asker
from vr_ros.evaluation.runs.runner import Job, LoadPerceiver, ask_all
from vr_ros.evaluation.runs.shards import Shard


def add_model_options(parser: argparse.ArgumentParser, processes: int = 1) -> None:
    """Declare which model answers, in how many processes, and how many samples at once."""
    parser.add_argument('--model', default='sim_tiny',
                        help='name or path of the model card (default: %(default)s)')
    parser.add_argument('--device', default='auto',
                        help='auto, cpu, cuda (each process takes the next GPU) or one such as'
                             ' cuda:1 (default: %(default)s)')
    parser.add_argument('--processes', type=int, default=processes,
                        help='that answer, each with a model (default: %(default)s)')
    parser.add_argument('--ray', nargs='?', const='local', metavar='ADDRESS',
                        help='the processes are workers of Ray Data, on this machine, or on the'
                             ' cluster of that address; "auto": the one of this machine')
    parser.add_argument('--batch', type=int, default=1,
                        help='samples that a model answers together (default: %(default)s)')


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Declare how much of a data set is asked, and what is kept of it."""
    parser.add_argument('--limit', type=int, help='only that many samples, the first ones')
    parser.add_argument('--shard', type=_shard, metavar='I/N',
                        help='only the Ith of N parts; evaluate merge puts their records together')
    parser.add_argument('--records', type=Path, metavar='DIR',
                        help='keep every answer there, and go on from what is there')
    add_report_options(parser)


def check_options(options: argparse.Namespace) -> None:
    """Refuse numbers that are too low, files that cannot be written and a missing Ray, before
    anything long begins.

    :raises RecordsError, OSError: with what is wrong.
    """
    for name in ('processes', 'batch', 'limit', 'scenes', 'per_scene', 'gallery'):
        value = getattr(options, name, None)
        if value is not None and value < 1:
            raise RecordsError(f'--{name.replace("_", "-")} is at least 1')
    if getattr(options, 'first_seed', 0) < 0:
        raise RecordsError('--first-seed is at least 0')
    if getattr(options, 'ray', None) and not has_ray():
        raise RecordsError("--ray needs Ray, which is not installed: pip install 'vr_ros[ray]'")
    for name in FILES:
        if getattr(options, name, None):
            require_writable(getattr(options, name))


def job_of(options: argparse.Namespace, open_: Callable[[], DataSet]) -> Job:
    """Say what each process needs to know.

    :param open_: opens the data set; can be pickled.
    """
    threads = 1 if options.processes > 1 else 0
    return Job(LoadPerceiver(options.model, options.device, threads), open_, options.batch)


def asker(options: argparse.Namespace) -> Asker:
    """Choose what puts the samples to models."""
    if options.ray:
        return partial(ask_with_ray, processes=options.processes, address=options.ray,
                       wants_gpus=options.device != 'cpu')
    return partial(ask_all, processes=options.processes)


def records_path(options: argparse.Namespace, *words: str) -> Path | None:
    """Name the file of records by what is asked of whom; None without ``--records``."""
    if options.records is None:
        return None
    words = (*words, Path(options.model).stem,
             '' if options.limit is None else str(options.limit),
             f'{options.shard.number}of{options.shard.of}' if options.shard else '')
    name = '-'.join(re.sub(r'[^\w.]+', '_', word) for word in words if word)
    return options.records / f'{name}.jsonl'


def _shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
