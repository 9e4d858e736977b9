"""A run as Markdown: the figures, the table of failures, and what was skipped."""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vr_ros.evaluation.failures import Kind, confusion
from vr_ros.evaluation.pages.run_page import circumstances, figures_apart, situations
from vr_ros.evaluation.runs.summary import Summary, figure_text, unit_of

# Whatever could make more of a text than a text, in a cell of a table.
_SPECIAL = re.compile(r'[\\`*\[\]<>&|~]|(?<!\w)_|_(?!\w)')


def write_run_markdown(summary: Summary, path: Path, besides: Sequence[str] = ()) -> None:
    """Write the tables, each text escaped.

    :param besides: what else was left out, a line each.
    :raises OSError: when the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = '\n'.join(_lines(summary, besides)) + '\n'
    path.write_bytes(lines.encode('utf-8', 'replace'))


def _lines(summary: Summary, besides: Sequence[str]) -> Iterator[str]:
    run, header = summary.run, summary.run.header
    yield f'# {_text(header.model)} on {_text(header.dataset)}\n'
    yield (f'{len(run.answered):,} of {header.samples:,} samples answered,'
           f' {len(run.skipped):,} skipped, {run.missing:,} missing.\n')
    for title, note, figures in figures_apart(summary):
        if figures:
            yield f'## {title}: {note}\n'
            yield from _table(('figure', 'value', '95 % interval', 'of', 'better'), [
                (f.name, f'{figure_text(f.value, f.unit)} {unit_of(f)}'.strip(),
                 '' if f.low is None else
                 f'{figure_text(f.low, f.unit)} to {figure_text(f.high, f.unit)}',
                 f'{f.of:,}', f.better) for f in figures])
    if run.answered:
        yield '## What became of the samples\n'
        known, cells = situations(summary), confusion(summary.verdicts)
        yield from _table(('', *(situation.value for situation, _ in known), 'all'), [
            (kind.value, *(f'{len(cells.get((kind, s), ())):,}' for s, _ in known),
             f'{summary.kinds[kind]:,}') for kind in Kind])
    if run.skipped:
        yield '## Skipped samples\n'
        yield from _table(('sample', 'reason'), [(r.sample_id, r.skipped) for r in run.skipped])
    yield from (f'- {_text(line)}' for line in besides)
    yield '\n## How it was run\n'
    yield from _table(('', ''), circumstances(summary))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The first column on the left, the others on the right where they are numbers."""
    right = len(head) > 2
    yield _row(head)
    yield _row(['---', *(['---:' if right else '---'] * (len(head) - 1))], escape=False)
    yield from (_row(row) for row in rows)
    yield ''


def _row(cells: Iterable[str], escape: bool = True) -> str:
    return '| ' + ' | '.join(_text(cell) if escape else cell for cell in cells) + ' |'


def _text(text: str) -> str:
    return _SPECIAL.sub(r'\\\g<0>', ' '.join(text.split()))
