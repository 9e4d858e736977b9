"""``evaluate report``: what a file of records tells, without asking again."""
from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from vr_ros.evaluation.commands.recorded import data_set_of
from vr_ros.evaluation.commands.reports import add_report_options, conclude
from vr_ros.evaluation.runs.records import read_records
from vr_ros.evaluation.runs.summary import Summary


def add_command(what: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``report``."""
    parser = what.add_parser('report', help='a run again from its records, finished or not')
    parser.add_argument('records', type=Path)
    parser.add_argument('--dataset', help='path or name of the data set, or path of the bag, for'
                        ' its pictures')
    add_report_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the figures of what is there, and write the reports.

    :return: 0 complete, 1 samples are missing, were skipped or not answered.
    """
    started = time.monotonic()
    read = read_records(options.records)
    data_set, troubles = data_set_of(read.header, options.dataset)
    summary = Summary.of(read, options.records, 0.0, is_of_records=True)
    summary = replace(summary, seconds=time.monotonic() - started)
    return conclude(options, summary, data_set, troubles)
