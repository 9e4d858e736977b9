"""A run as Markdown: the figures, the table of failures, and what was skipped."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vr_ros.evaluation.failures import Kind, confusion
from vr_ros.evaluation.pages.markdown import plain, table, write_lines
from vr_ros.evaluation.pages.run_page import (
    circumstances,
    figures_apart,
    question_rows,
    situations,
)
from vr_ros.evaluation.runs.summary import Summary, interval_text, value_text


def write_run_markdown(summary: Summary, path: Path, besides: Sequence[str] = ()) -> None:
    """Write the tables, each text escaped.

    :param besides: what else was left out, a line each.
    :raises OSError: when the file cannot be written.
    """
    write_lines(path, _lines(summary, besides))


def _lines(summary: Summary, besides: Sequence[str]) -> Iterator[str]:
    run, header = summary.run, summary.run.header
    yield f'# {plain(header.model)} on {plain(header.dataset)}\n'
    yield (f'{len(run.answered):,} of {header.samples:,} samples answered,'
           f' {len(run.skipped):,} skipped, {run.missing:,} missing.\n')
    for title, note, figures in figures_apart(summary):
        if figures:
            yield f'## {title}: {note}\n'
            yield from table(('figure', 'value', '95 % interval', 'of', 'better'), [
                (f.name, value_text(f), interval_text(f), f'{f.of:,}', f.better) for f in figures])
    if run.answered:
        yield '## What became of the samples\n'
        known, cells = situations(summary), confusion(summary.verdicts)
        yield from table(('', *(situation.value for situation, _ in known), 'all'), [
            (kind.value, *(f'{len(cells.get((kind, s), ())):,}' for s, _ in known),
             f'{summary.kinds[kind]:,}') for kind in Kind])
    if by_kind := question_rows(summary):
        yield '## By kind of question\n'
        yield from table(by_kind[0], by_kind[1:])
    if run.skipped:
        yield '## Skipped samples\n'
        yield from table(('sample', 'reason'), [(r.sample_id, r.skipped) for r in run.skipped])
    yield from (f'- {plain(line)}' for line in besides)
    yield '\n## How it was run\n'
    yield from table(('', ''), circumstances(summary))
