"""``evaluate compare``: two runs side by side."""
from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vr_ros.evaluation.claims import write_claims
from vr_ros.evaluation.metrics.figures import Comparison
from vr_ros.evaluation.pages.markdown import plain, table, write_lines
from vr_ros.evaluation.runs.compare import RunComparison, compare_runs
from vr_ros.evaluation.runs.records import read_records
from vr_ros.evaluation.runs.summary import LINES_SHOWN, figure_text

HEAD = ('figure', 'first', 'second', 'change', '95 % interval', 'p', 'of')


def add_command(what: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``compare``."""
    parser = what.add_parser('compare', help='two files of records on the same samples')
    parser.add_argument('first', type=Path)
    parser.add_argument('second', type=Path)
    parser.add_argument('--json', type=Path, help='write the differences there')
    parser.add_argument('--markdown', type=Path, help='write the table there')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print every figure of both, and write them.

    :return: 0 complete, 1 samples were left out because one of the runs skipped them.
    """
    started = time.monotonic()
    result = compare_runs(read_records(options.first), read_records(options.second))
    console = Console()
    console.print(f'first: {result.first}\nsecond: {result.second}', markup=False)
    console.print(table_of(result))
    for sample_id in result.left_out[:LINES_SHOWN]:
        console.print(f'left out {sample_id}: skipped in one of them', markup=False)
    if len(result.left_out) > LINES_SHOWN:
        console.print(f'… {len(result.left_out)} samples left out; --json names all')
    if options.json:
        write_claims(options.json, [], seed=0, seconds=time.monotonic() - started, details={
            'first': result.first, 'second': result.second, 'dataset': result.dataset,
            'samples': result.samples, 'left_out': list(result.left_out),
            'comparisons': [asdict(c) for c in result.comparisons]})
    if options.markdown:
        write_lines(options.markdown, _markdown(result))
    return 1 if result.left_out else 0


def table_of(result: RunComparison) -> Table:
    """Show every figure of both runs, and how they differ."""
    # As narrow as can be; where 80 columns are too few, names are folded, figures never cut.
    shown = Table(title=_title(result), box=SIMPLE_HEAD, show_edge=False, padding=0)
    for column in HEAD:
        is_name = column == 'figure'
        shown.add_column(column, justify='left' if is_name else 'right', no_wrap=not is_name)
    for comparison in result.comparisons:
        shown.add_row(*_row(comparison))
    return shown


def _title(result: RunComparison) -> str:
    return f'{result.samples} samples of {escape(result.dataset)}'


def _row(one: Comparison) -> tuple[str, ...]:
    """Write a comparison as the columns of HEAD, with the digits that reports have."""
    name = one.name if one.unit == 'share' else f'{one.name}, {one.unit}'
    interval = '' if one.low is None else (
        f'{_signed(one.low, one.unit)} to {_signed(one.high, one.unit)}')
    return (name, figure_text(one.first, one.unit), figure_text(one.second, one.unit),
            _signed(one.difference, one.unit), interval, figure_text(one.p_value, 'share'),
            f'{one.of:,}')


def _signed(value: float | None, unit: str) -> str:
    """Write a difference; what is rounded to nothing has no sign."""
    text = figure_text(value, unit)
    if value is None or not any(digit in text for digit in '123456789'):
        return text.removeprefix('-')
    return text if value < 0 else f'+{text}'


def _markdown(result: RunComparison) -> Iterator[str]:
    yield f'# {plain(result.first)} and {plain(result.second)} on {plain(result.dataset)}\n'
    yield (f'{result.samples:,} samples, {len(result.left_out):,} left out: skipped in one of'
           ' them.\n')
    yield from table((*HEAD, 'better'), [(*_row(one), one.better) for one in result.comparisons])
    if result.left_out:
        yield from table(('left out',), ([sample_id] for sample_id in result.left_out))
