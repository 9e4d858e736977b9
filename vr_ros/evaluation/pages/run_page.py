"""A run as one self-contained page: figures, failures, plots, cases, and what was skipped."""
from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vr_ros.evaluation.claims import machine_description, package_versions
from vr_ros.evaluation.failures import MEANINGS, Kind, Situation, confusion
from vr_ros.evaluation.metrics.figures import Figure
from vr_ros.evaluation.pages import drawings, plots
from vr_ros.evaluation.pages.gallery import Pictures, card, clipped, groups, tone
from vr_ros.evaluation.pages.page import write_page
from vr_ros.evaluation.pages.words import said, true_words
from vr_ros.evaluation.runs.summary import (
    Summary,
    figure_text,
    interval_text,
    is_published,
    unit_of,
)

# Of each cell of the table of failures; the records hold all.
ROWS_PER_CELL = 100
_ROW_TEXT = 160


@dataclass(frozen=True)
class Look:
    """How a page shows a run.

    :param pictures: None: images are not at hand.
    :param gallery: how many of the worst cases are shown, and how many of the best.
    :param besides: what else was left out, a line each.
    """

    pictures: Pictures | None = None
    gallery: int = 12
    besides: Sequence[str] = ()


def write_run_page(summary: Summary, path: Path, look: Look) -> None:
    """Write the page as HTML.

    :raises OSError: when the file cannot be written.
    """
    run, header = summary.run, summary.run.header
    shown = groups(summary.verdicts, look.gallery)
    cards = {place for group in shown for place in group.places}
    write_page(path, 'run.html.j2', {
        'title': f'{_first(header.model)} on {_first(header.dataset)}',
        'facts': _facts(summary), 'totals': _totals(summary), 'missing': run.missing,
        'samples': header.samples, 'answered': len(run.answered),
        'layers': ('boxes', 'masks', 'truth'), 'hidden': (),
        'situations': situations(summary), 'failures': _failures(summary),
        'cells': _cells(summary, cards), 'questions': question_rows(summary),
        'figures': [(title, note, _figures(figures))
                    for title, note, figures in figures_apart(summary) if figures],
        'drawn': _plots(summary), 'plot_size': (drawings.WIDTH, drawings.HEIGHT),
        'groups': [{
            'title': group.title, 'criterion': group.criterion, 'cards': [
                {'place': place} | card(run.answered[place], summary.verdicts[place],
                                        look.pictures) for place in group.places],
        } for group in shown],
        'skipped': [(r.sample_id, r.skipped) for r in run.skipped],
        'besides': look.besides, 'circumstances': list(circumstances(summary)),
    })


def circumstances(summary: Summary) -> Iterable[tuple[str, str]]:
    """Say how the run was made, name by name."""
    header, machine = summary.run.header, machine_description()
    whose = ' of this report' if summary.is_of_records else ''
    yield 'model', header.model
    yield 'data set', header.dataset
    yield from ((name, str(value)) for name, value in header.options.items() if value)
    if summary.records:
        yield 'records', str(summary.records)
    yield f'seconds{whose}', f'{summary.seconds:.1f}'
    for name, value in machine.items():
        if value:
            words = ', '.join(map(str, value)) if isinstance(value, list) else str(value)
            yield f'{name}{whose}', words
    yield f'versions{whose}', ', '.join(
        f'{name} {version}' for name, version in package_versions().items())


def figures_apart(summary: Summary) -> list[tuple[str, str, Sequence[Figure]]]:
    """Keep figures to trust and figures to compare apart: each with a title and a note."""
    return [
        ('Strict', 'what to trust', [f for f in summary.figures if not is_published(f)]),
        ('Published', 'as the scripts of VisionReasoner compute them, quirks included: to compare'
         ' with published numbers, and for nothing else',
         [f for f in summary.figures if is_published(f)])]


def situations(summary: Summary) -> list[tuple[Situation, int]]:
    """Say which situations occur, and how many samples each has."""
    numbers = [(s, sum(v.situation is s for v in summary.verdicts)) for s in Situation]
    return [(situation, number) for situation, number in numbers if number]


def question_rows(summary: Summary) -> list[list[str]]:
    """Tell what became of each kind of question: a head, then a row each; empty without kinds."""
    known = summary.questions
    kinds = [kind for kind in Kind if any(counts[kind] for _, counts in known)]
    rows = [[name or 'other', f'{counts.total():,}',
             *(f'{counts[kind]:,}' if counts[kind] else '·' for kind in kinds),
             figure_text(_share_right(counts), 'share')] for name, counts in known]
    return [['question', 'samples', *(kind.value for kind in kinds), 'share right'], *rows
            ] if rows else []


def _share_right(counts: Counter[Kind]) -> float | None:
    judged = counts.total() - counts[Kind.UNKNOWN]
    return counts[Kind.RIGHT] / judged if judged else None


def _facts(summary: Summary) -> dict[str, str]:
    header = summary.run.header
    return {'model': header.model, 'data set': header.dataset}


def _totals(summary: Summary) -> list[tuple[str, str]]:
    run, kinds = summary.run, summary.kinds
    judged = sum(kinds.values()) - kinds[Kind.UNKNOWN]
    latency = [r.found.latency_ms for r in run.answered if r.found.latency_ms >= 0]
    totals = [('answered', f'{len(run.answered):,} of {run.header.samples:,}')]
    if judged:
        totals.append(('right', f'{kinds[Kind.RIGHT]:,} of {judged:,}'))
    totals += [(name, f'{number:,}') for name, number in (
        ('parse failures', kinds[Kind.PARSE]), ('errors', kinds[Kind.ERROR]),
        ('skipped', len(run.skipped)), ('missing', run.missing)) if number]
    if latency:
        totals.append(('median time', f'{statistics.median(latency) / 1e3:.2f} s'))
    return totals


def _figures(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    rows = []
    for figure in figures:
        has_range = figure.unit == 'share' and figure.low is not None
        rows.append({
            'name': figure.name, 'value': figure_text(figure.value, figure.unit),
            'unit': unit_of(figure), 'of': f'{figure.of:,}',
            'is_lower_better': figure.better == 'lower',
            'interval': interval_text(figure),
            'range': [round(100 * end, 2) for end in (figure.low, figure.value, figure.high)]
            if has_range else None,
        })
    return rows


def _failures(summary: Summary) -> list[dict[str, Any]]:
    cells = confusion(summary.verdicts)
    rows = []
    for kind in Kind:
        numbers = [(situation, total, len(cells.get((kind, situation), ())))
                   for situation, total in situations(summary)]
        if kind is Kind.UNKNOWN and not any(number for _, _, number in numbers):
            continue
        of_kind = sum(number for _, _, number in numbers)
        rows.append({
            'name': kind.value, 'meaning': MEANINGS[kind], 'total': of_kind,
            'tone': tone(kind) if of_kind else 'plain',
            'cells': [{
                'number': number, 'share': round(100 * number / total),
                'id': _cell_id(kind, situation),
            } for situation, total, number in numbers],
        })
    return rows


def _cells(summary: Summary, cards: set[int]) -> list[dict[str, Any]]:
    """List the cases of each cell, those first that are shown."""
    answered, verdicts = summary.run.answered, summary.verdicts
    shown = []
    for (kind, situation), places in sorted(
            confusion(verdicts).items(), key=lambda cell: (_order(cell[0][0]), _order(cell[0][1]))):
        first = sorted(places, key=lambda place: (place not in cards, verdicts[place].quality))
        shown.append({
            'id': _cell_id(kind, situation), 'kind': kind.value, 'tone': tone(kind),
            'situation': situation.value, 'number': len(places),
            'more': max(0, len(places) - ROWS_PER_CELL),
            'rows': [{
                'id': clipped(answered[place].sample_id, _ROW_TEXT),
                'card': place if place in cards else None,
                'text': clipped(answered[place].instruction, _ROW_TEXT),
                'answer': clipped(said(answered[place].found), _ROW_TEXT),
                'truth': clipped(true_words(answered[place].truth), _ROW_TEXT),
                'quality': f'{verdicts[place].quality:.2f}',
            } for place in first[:ROWS_PER_CELL]],
        })
    return shown


def _plots(summary: Summary) -> list[tuple[str, dict[str, Any]]]:
    """:return: each with the macro that draws it; those without anything to show are left out."""
    pairs = [(record.truth, record.found) for record in summary.run.answered]
    histograms = [plot(pairs) for plot in (
        plots.mask_iou, plots.box_iou, plots.latency, plots.reasoning)]
    drawn = [('bars', drawings.histogram(plot)) for plot in histograms if plot]
    table, bins = plots.counts(pairs), plots.reliability(pairs) if pairs else ()
    if table:
        drawn.append(('numbers', drawings.count_table(table)))
    if bins:
        drawn.append(('bars', drawings.reliability(bins)))
    return drawn


def _first(text: str) -> str:
    """Give the name in front of a digest."""
    return next(iter(text.split()), '?')


def _cell_id(kind: Kind, situation: Situation) -> str:
    return f'{kind.name}-{situation.name}'.lower()


def _order(sort: Kind | Situation) -> int:
    return list(type(sort)).index(sort)
