"""``evaluate bag``: the answers in a bag, or those of a model that is asked again."""
from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vr_ros.bags.export import export_images
from vr_ros.bags.files import BagError
from vr_ros.bags.questions import Questions
from vr_ros.bags.truth_options import add_truth_options, questions_of, truths_of
from vr_ros.evaluation.bags.bag_set import NO_RESULT, BagSet, ask_recorded
from vr_ros.evaluation.commands.answering import answered
from vr_ros.evaluation.commands.options import (
    add_model_options,
    add_run_options,
    job_of,
    records_path,
)
from vr_ros.evaluation.commands.reports import conclude
from vr_ros.evaluation.runs.asking import Asks
from vr_ros.evaluation.runs.records import Record
from vr_ros.evaluation.runs.runner import model_identity
from vr_ros.evaluation.runs.summary import LINES_SHOWN
from vr_ros.evaluation.totals import count_endings, median_ms, totals_line

NO_TRUTH = ('The bag does not say what is true: counts, statuses and times are complete; accuracy'
            ' needs --truth, --truth-topic or topics under /truth/.')


def add_command(what: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``bag``."""
    parser = what.add_parser('bag', help='a bag of rosbag2: the answers in it, or new ones')
    parser.add_argument('bag', type=Path, help='its folder, or one of its files')
    parser.add_argument('--reperceive', action='store_true',
                        help='ask --model again, in place of the answers in the bag')
    add_truth_options(parser)
    parser.add_argument('--export-images', type=Path, metavar='DIR',
                        help='write the frames that were asked about, to be annotated, and end')
    add_model_options(parser)
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, make: Callable[[int], Asks] | None = None) -> int:
    """Put the answers of a bag beside what is true, and print totals and figures.

    :param make: what answers with --reperceive; None: the model of the options.
    :return: 0 complete, 1 something could not be read, was skipped or not answered.
    """
    started = time.monotonic()
    questions = questions_of(options.bag, options)
    if not questions.items:
        raise BagError('; '.join([
            f'{options.bag}: no instructions and no results of a perception node in it',
            *questions.problems[:LINES_SHOWN], *questions.bag.notes]))
    if options.export_images:
        return _export(questions, options.export_images)
    data_set = BagSet(questions, truths_of(questions, options))
    how: dict[str, Any] = {
        'answers': 'of the model' if options.reperceive else 'in the bag',
        'images': options.images, 'truth topics': options.truth_topic}
    model = model_identity(options.model) if options.reperceive else data_set.models
    path = records_path(
        options if options.reperceive else argparse.Namespace(**{**vars(options), 'model': model}),
        options.bag.resolve().name, '' if options.reperceive else 'recorded')
    job = job_of(options, partial(_same, data_set))
    summary = answered(
        options, started, replace(job, make=make) if make else job, data_set, model, path,
        ask=None if options.reperceive else lambda _, places: ask_recorded(data_set, places),
        **how)
    details = _details(data_set, summary.run.answered, is_recorded=not options.reperceive)
    _show_totals(details, how['answers'])
    status = conclude(options, summary, data_set, list(_besides(details)), bag=details)
    return 1 if questions.problems else status


def _same(data_set: BagSet) -> BagSet:
    """Open a bag in another process: what was read of it goes along."""
    return data_set


def _export(questions: Questions, out: Path) -> int:
    done = export_images(questions, out)
    console = Console()
    problems = [*questions.problems, *done.problems]
    for problem in problems:
        console.print(f'not exported: {problem}', markup=False)
    console.print(f'{done.frames} frames in {out}', markup=False, soft_wrap=True)
    return 1 if problems else 0


def _details(
    data_set: BagSet, answered: Sequence[Record], is_recorded: bool,
) -> dict[str, Any]:
    """Count how instructions ended, all together and by kind."""
    questions = data_set.questions
    kinds = sorted({record.kind for record in answered})
    return {
        'path': str(questions.bag.path),
        'totals': {**_totals(answered), 'median_ms': median_ms(map(_ending, answered))},
        'kinds': {kind: _totals([r for r in answered if r.kind == kind]) for kind in kinds},
        'unanswered': [r.sample_id for r in answered if is_recorded and r.message == NO_RESULT],
        'left out': dict(questions.left_out), 'problems': list(questions.problems),
        'notes': list(questions.bag.notes)}


def _totals(records: Sequence[Record]) -> dict[str, int]:
    return count_endings(map(_ending, records))


def _ending(record: Record) -> tuple[Any, Any]:
    return record.truth, record.found


def _show_totals(details: dict[str, Any], answers: str) -> None:
    console, totals = Console(), details['totals']
    table = Table(title=f'{totals["instructions"]} instructions, answers {answers}')
    names = [name for name in totals if name != 'median_ms']
    for column in ('kind', *names):
        table.add_column(column, justify='left' if column == 'kind' else 'right')
    for kind, counts in details['kinds'].items():
        table.add_row(kind, *(str(counts[name]) for name in names))
    table.add_section()
    table.add_row('all', *(str(totals[name]) for name in names))
    console.print(table)
    console.print(totals_line(totals))


def _besides(details: dict[str, Any]) -> Iterator[str]:
    """Say what figures do not tell, a line each."""
    if details['unanswered']:
        yield f'{NO_RESULT}, counted as TIMEOUT: {len(details["unanswered"])} instructions'
    yield from (f'left out: {number} × {what}' for what, number in details['left out'].items())
    yield from details['notes']
    yield from (f'problem: {words}' for words in details['problems'])
    if not details['totals']['with known truth']:
        yield NO_TRUTH
