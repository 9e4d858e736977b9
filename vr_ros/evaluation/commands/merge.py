"""``evaluate merge``: the parts of a run, made with ``--shard``, as one."""
from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from vr_ros.evaluation.commands.recorded import data_set_of
from vr_ros.evaluation.commands.reports import add_report_options, conclude
from vr_ros.evaluation.runs.records import RecordsError, RecordsFile
from vr_ros.evaluation.runs.shards import merge_runs
from vr_ros.evaluation.runs.summary import Summary


def add_command(what: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``merge``."""
    parser = what.add_parser('merge', help='the records of all parts of a run as one file')
    parser.add_argument('parts', type=Path, nargs='+')
    parser.add_argument('--into', type=Path, required=True,
                        help='a new file, as a run without parts would have written it')
    parser.add_argument('--dataset', help='path or name of the data set, or path of the bag, for'
                        ' the pictures of --html')
    add_report_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Put the parts together, if none is missing, and print the figures of all.

    :return: 0 complete, 1 samples were skipped or not answered.
    """
    started = time.monotonic()
    whole = merge_runs(options.parts)
    if options.into.exists():
        raise RecordsError(f'{options.into} is there already; name a new file')
    data_set, troubles = data_set_of(whole.header, options.dataset)
    with RecordsFile(options.into, whole.header) as file:
        file.append((*whole.answered, *whole.skipped))
    summary = Summary.of(whole, options.into, 0.0, is_of_records=True)
    summary = replace(summary, seconds=time.monotonic() - started)
    return conclude(options, summary, data_set, troubles)
