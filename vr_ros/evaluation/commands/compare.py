"""``evaluate compare``: two runs side by side."""
from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vr_ros.evaluation.claims import write_claims
from vr_ros.evaluation.runs.compare import compare_runs
from vr_ros.evaluation.runs.records import read_records
from vr_ros.evaluation.runs.summary import LINES_SHOWN


def add_command(what: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``compare``."""
    parser = what.add_parser('compare', help='two files of records on the same samples')
    parser.add_argument('first', type=Path)
    parser.add_argument('second', type=Path)
    parser.add_argument('--json', type=Path, help='write the differences there')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print every figure of both, and write them.

    :return: 0 complete, 1 samples were left out because one of the runs skipped them.
    """
    started = time.monotonic()
    result = compare_runs(read_records(options.first), read_records(options.second))
    table = Table(title=f'{result.samples} samples of {escape(result.dataset)}')
    for column in ('figure', 'first', 'second', 'difference', '95 % interval', 'p', 'of'):
        table.add_column(column, justify='left' if column == 'figure' else 'right')
    for c in result.comparisons:
        interval = '' if c.low is None else f'{c.low:+.4g} to {c.high:+.4g}'
        table.add_row(c.name, *(_number(v) for v in (c.first, c.second, c.difference)), interval,
                      _number(c.p_value), str(c.of))
    console = Console()
    console.print(table)
    for sample_id in result.left_out[:LINES_SHOWN]:
        console.print(f'left out {sample_id}: skipped in one of them', markup=False)
    if options.json:
        write_claims(options.json, [], seed=0, seconds=time.monotonic() - started, details={
            'first': result.first, 'second': result.second, 'dataset': result.dataset,
            'samples': result.samples, 'left_out': list(result.left_out),
            'comparisons': [asdict(c) for c in result.comparisons]})
    return 1 if result.left_out else 0


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.4g}'
