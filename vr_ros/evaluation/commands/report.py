"""``evaluate report``: what a file of records tells, without asking again."""
from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vr_ros.datasets.registry import open_data_set
from vr_ros.datasets.sample import DataSet
from vr_ros.evaluation.commands.reports import add_report_options, write_reports
from vr_ros.evaluation.runs.records import Header, RecordsError, read_records
from vr_ros.evaluation.runs.summary import Summary


def add_command(what: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``report``."""
    parser = what.add_parser('report', help='a run again from its records, finished or not')
    parser.add_argument('records', type=Path)
    parser.add_argument('--dataset', help='path of the data set, for its pictures')
    add_report_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the figures of what is there, and write the reports.

    :return: 0 complete, 1 samples are missing, were skipped or not answered.
    """
    started = time.monotonic()
    read = read_records(options.records)
    data_set, troubles = _data_set(options, read.header)
    summary = Summary.of(read, options.records, 0.0, is_of_records=True)
    summary = replace(summary, seconds=time.monotonic() - started)
    summary.show()
    if options.json:
        summary.write_json(options.json)
    write_reports(options, summary, data_set, troubles)
    return 1 if summary.is_incomplete else 0


def _data_set(
    options: argparse.Namespace, header: Header
) -> tuple[DataSet | None, Sequence[str]]:
    """Open what the records are about.

    :return: None where it is not at hand; and why, if that has to be said.
    :raises RecordsError: if it is another data set, or is not what it was.
    :raises DataSetError: if there is none.
    """
    if options.dataset is None:
        return _simulated(header)
    data_set = open_data_set(options.dataset, str(header.options.get('split', '')))
    if data_set.name != header.dataset:
        raise RecordsError(f'{options.records}: records of {header.dataset},'
                           f' not of {data_set.name}')
    return data_set, ()


def _simulated(header: Header) -> tuple[DataSet | None, Sequence[str]]:
    if not header.dataset.startswith('sim '):
        return None, ()
    # Not before: they bring the renderer.
    from vr_ros.datasets.sim_scenes import SimScenes, simulator_digest

    if header.options.get('simulator') != simulator_digest():
        return None, ['the simulator has changed since: its pictures are left out']
    return SimScenes.named(header.dataset), ()
