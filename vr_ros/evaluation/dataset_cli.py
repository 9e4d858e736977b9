"""``evaluate dataset`` and ``evaluate compare``: a model on a data set, two runs side by side."""
from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from vr_ros.core.types import PerceptionError, Status
from vr_ros.evaluation.claims import Claim, require_writable, write_claims
from vr_ros.evaluation.compare import compare_runs
from vr_ros.evaluation.datasets.registry import open_data_set
from vr_ros.evaluation.datasets.sample import DataSetError
from vr_ros.evaluation.metrics.figures import Figure, figures
from vr_ros.evaluation.metrics.panel import image_groups, published_panel, strict_measures
from vr_ros.evaluation.records import (
    Header,
    Record,
    RecordsError,
    RecordsFile,
    digest_ids,
    read_records,
)
from vr_ros.evaluation.runner import Job, LoadPerceiver, RunError, ask_all, model_identity

# Skipped samples on the screen; the JSON names all.
_SHOWN = 10


def add_commands(what: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``dataset`` and ``compare``."""
    dataset = what.add_parser('dataset', help='a data set: a folder, a file, or a known name')
    dataset.add_argument('dataset', help='path; JSON lines, Parquet, Arrow, COCO JSON or YOLO')
    dataset.add_argument('--split', default='', help='part of the data set, where it has several')
    dataset.add_argument('--limit', type=int, help='only that many samples, the first ones')
    dataset.add_argument('--model', default='sim_tiny', help='model card (default: %(default)s)')
    dataset.add_argument('--device', default='auto',
                         help='auto, cpu or cuda (default: %(default)s)')
    dataset.add_argument('--processes', type=int, default=1,
                         help='that answer, each with a model (default: %(default)s)')
    dataset.add_argument('--records', type=Path, metavar='DIR',
                         help='keep every answer there, and go on from what is there')
    dataset.add_argument('--json', type=Path, help='write the claims there')
    compare = what.add_parser('compare', help='two files of records on the same samples')
    compare.add_argument('first', type=Path)
    compare.add_argument('second', type=Path)
    compare.add_argument('--json', type=Path, help='write the differences there')


def main(options: argparse.Namespace) -> int:
    """Run one of the commands.

    :return: 0 complete, 1 samples were skipped or not answered, 2 bad usage.
    """
    try:
        if options.json:
            require_writable(options.json)
        if options.what == 'compare':
            return _compare(options)
        if options.processes < 1 or options.limit is not None and options.limit < 1:
            raise RecordsError('--processes and --limit are at least 1')
        return evaluate_dataset(options)
    except (DataSetError, RecordsError, OSError) as error:
        message, code = str(error), 2
    except PerceptionError as error:
        message, code = error.message, 2
    except RunError as error:
        message, code = str(error), 1
    except KeyboardInterrupt:
        message, code = 'stopped; with --records the same command goes on', 1
    print(f'evaluate: {message}', file=sys.stderr)
    return code


def evaluate_dataset(options: argparse.Namespace, job: Job | None = None) -> int:
    """Answer what is not yet answered, and print the figures of all.

    :param job: None: that of the options.
    """
    started = time.monotonic()
    threads = 1 if options.processes > 1 else 0
    job = job or Job(LoadPerceiver(options.model, options.device, threads), options.dataset,
                     options.split)
    data_set = open_data_set(options.dataset, options.split)
    ids = data_set.ids[:options.limit]
    header = Header(
        model_identity(options.model), data_set.name, len(ids), digest_ids(ids),
        {'split': options.split, 'limit': options.limit})
    path = _records_path(options)
    with ExitStack() as stack:
        file = stack.enter_context(RecordsFile(path, header)) if path else None
        done = file.done if file else frozenset()
        places = [place for place, sample_id in enumerate(ids) if sample_id not in done]
        progress = stack.enter_context(Progress(
            '{task.description}', BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=Console(stderr=True)))
        bar = progress.add_task('samples', total=len(ids), completed=len(done))
        new: list[Record] = []
        for record in stack.enter_context(closing(ask_all(job, places, options.processes))):
            if file:
                file.append([record])
            new.append(record)
            progress.advance(bar)
    results = _Results.of(read_records(path).answered if path else new, new, ids)
    _report(results, header, path, time.monotonic() - started, options.json)
    return 1 if results.skipped or results.failed else 0


@dataclass(frozen=True)
class _Results:
    """All samples of a run, once each, in the order of the data set."""

    answered: Sequence[Record]
    skipped: Sequence[Record]

    @classmethod
    def of(cls, known: Sequence[Record], new: Sequence[Record], ids: Sequence[str]) -> _Results:
        """Put together what was known before and what is new.

        :raises RunError: if one is missing.
        """
        by_id = {r.sample_id: r for r in (*new, *known)}
        missing = [i for i in ids if i not in by_id]
        if missing:
            raise RunError(f'{len(missing)} samples without a record, such as {missing[0]}')
        records = [by_id[i] for i in ids]
        return cls([r for r in records if not r.skipped], [r for r in records if r.skipped])

    @property
    def statuses(self) -> Counter[str]:
        return Counter(r.found.status.name for r in self.answered)

    @property
    def failed(self) -> int:
        """How many got an error status that is not the model's own wording."""
        return sum(count for name, count in self.statuses.items()
                   if Status[name].is_error and Status[name] is not Status.PARSE_ERROR)

    def figures(self) -> list[Figure]:
        """Compute all figures, strict ones first, with their intervals over images."""
        truths, found = [r.truth for r in self.answered], [r.found for r in self.answered]
        measures = strict_measures(truths, found) + published_panel(truths, found)
        return figures(measures, image_groups(truths))


def _report(
    results: _Results, header: Header, path: Path | None, seconds: float, json: Path | None,
) -> None:
    console, computed = Console(), results.figures() if results.answered else []
    table = Table(title=f'{len(results.answered)} samples of {escape(header.dataset)}')
    for column in ('figure', 'value', '95 % interval', 'of'):
        table.add_column(column, justify='left' if column == 'figure' else 'right')
    for figure in computed:
        unit = '' if figure.unit == 'share' else f' {figure.unit}'
        interval = '' if figure.low is None else f'{figure.low:.4g} to {figure.high:.4g}'
        value = '-' if figure.value is None else f'{figure.value:.4g}{unit}'
        table.add_row(figure.name, value, interval, str(figure.of))
    console.print(table)
    for record in results.skipped[:_SHOWN]:
        console.print(f'skipped {record.sample_id}: {record.skipped}', markup=False)
    if len(results.skipped) > _SHOWN:
        console.print(f'… {len(results.skipped)} samples skipped; --json names all')
    for name, count in results.statuses.items():
        if Status[name].is_error:
            console.print(f'{count} samples ended with {name}')
    if path:
        console.print(f'records: {path}', markup=False)
    if json:
        claims = [Claim(f.name, f.value, f.unit, better=f.better,
                        reason='' if f.value is not None else 'nothing to count') for f in computed]
        write_claims(json, claims, seed=0, seconds=seconds, details={
            'model': header.model, 'dataset': header.dataset, 'options': dict(header.options),
            'samples': header.samples, 'answered': len(results.answered),
            'statuses': dict(results.statuses), 'records': str(path) if path else None,
            'skipped': [{'id': r.sample_id, 'reason': r.skipped} for r in results.skipped],
            'figures': [asdict(figure) for figure in computed]})


def _compare(options: argparse.Namespace) -> int:
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
    for sample_id in result.left_out[:_SHOWN]:
        console.print(f'left out {sample_id}: skipped in one of them', markup=False)
    if options.json:
        details: dict[str, Any] = {
            'first': result.first, 'second': result.second, 'dataset': result.dataset,
            'samples': result.samples, 'left_out': list(result.left_out),
            'comparisons': [asdict(c) for c in result.comparisons]}
        write_claims(options.json, [], seed=0, seconds=time.monotonic() - started, details=details)
    return 1 if result.left_out else 0


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.4g}'


def _records_path(options: argparse.Namespace) -> Path | None:
    """Name the file by what is asked of whom."""
    if options.records is None:
        return None
    words = [Path(options.dataset).resolve().name, options.split, Path(options.model).stem,
             '' if options.limit is None else str(options.limit)]
    name = '-'.join(re.sub(r'[^\w.]+', '_', word) for word in words if word)
    return options.records / f'{name}.jsonl'
