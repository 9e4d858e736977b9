"""Where the lines and bars of a plot lie, for the macros of templates/_plots.html.j2."""
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from vr_ros.evaluation.pages.plots import Bin, CountTable, Histogram, round_step

# Of the drawing, in its own units, with room for labels on the left, above and below.
WIDTH, HEIGHT = 380, 210
LEFT, RIGHT, TOP, BOTTOM = 42, 12, 26, 36
_FRAME = {'left': LEFT, 'right': WIDTH - RIGHT, 'bottom': HEIGHT - BOTTOM}
_X_LABELS, _Y_LABELS = 8, 4
# Characters from which labels below the axis need more room.
_LONG_LABEL = 5


def number(value: float) -> str:
    """Write a number as people read it: 0.25, 3, 12,500."""
    return f'{value:,.0f}' if abs(value) >= 100 or value == round(value) else f'{value:.3g}'


def histogram(plot: Histogram) -> dict[str, Any]:
    """Draw a bar per bin, its height by its number."""
    bins = len(plot.counts)
    step_y = round_step(max(plot.counts) / _Y_LABELS)
    top = step_y * max(1, math.ceil(max(plot.counts) / step_y))
    width = (WIDTH - LEFT - RIGHT) / bins
    unit = f' {plot.unit}' if plot.unit else ''
    bars = [
        {'x': LEFT + i * width + 0.5, 'width': max(width - 1, 0.5), 'y': _y(count / top),
         'height': _y(0) - _y(count / top),
         'title': f'{_range(plot.edges, i)}{unit}: {count:,} of {plot.of:,} {plot.about}'}
        for i, count in enumerate(plot.counts)]
    is_long = any(len(number(e)) >= _LONG_LABEL for e in plot.edges if math.isfinite(e))
    every = math.ceil((bins + 1) / (_X_LABELS - 2 * is_long))
    is_open = math.isinf(plot.edges[-1])
    ticks = [{'at': LEFT + i * width, 'label': number(edge)}
             for i, edge in enumerate(plot.edges)
             if i % every == 0 and not (is_open and i > bins - every)]
    if is_open:
        ticks.append({'at': LEFT + (bins - 0.5) * width, 'label': f'{number(plot.edges[-2])}+'})
    return _FRAME | {
        'title': plot.title, 'x_label': plot.unit or 'IoU', 'y_label': '',
        'of': f'{plot.of:,} {plot.about}', 'bars': bars, 'x_ticks': ticks,
        'y_ticks': [{'at': _y(n * step_y / top), 'label': number(n * step_y)}
                    for n in range(round(top / step_y) + 1)],
        'marks': list(_marks(plot, width)), 'diagonal': None,
    }


def reliability(bins: Sequence[Bin]) -> dict[str, Any]:
    """Draw the share of right objects over their score; the diagonal is what it ought to be."""
    span = WIDTH - LEFT - RIGHT
    ticks = [n / 5 for n in range(6)]
    total = sum(b.number for b in bins)
    return _FRAME | {
        'title': 'Calibration', 'x_label': 'score', 'y_label': 'share of right objects',
        'of': f'{total:,} found objects',
        'bars': [
            {'x': LEFT + b.low * span + 0.5, 'width': (b.high - b.low) * span - 1,
             'y': _y(b.right), 'height': _y(0) - _y(b.right),
             'point': LEFT + b.score * span,
             'title': f'score {b.low:.1f} to {b.high:.1f}: {b.right:.0%} of {b.number:,} objects'
                      f' right, mean score {b.score:.2f}'} for b in bins],
        'x_ticks': [{'at': LEFT + tick * span, 'label': number(tick)} for tick in ticks],
        'y_ticks': [{'at': _y(tick), 'label': number(tick)} for tick in ticks],
        'marks': [], 'diagonal': (LEFT, _y(0), LEFT + span, _y(1)),
    }


def count_table(table: CountTable) -> dict[str, Any]:
    """Shade the cells by their share of the samples with the same true number."""
    totals = [sum(column) for column in zip(*table.rows, strict=True)]
    rows = [
        {'name': name, 'cells': [
            {'number': n, 'share': round(100 * n / total) if total else 0,
             'is_right': name == table.names[column],
             'title': f'said {name}, true {table.names[column]}: {n:,} of {total:,} samples'}
            for column, (n, total) in enumerate(zip(row, totals, strict=True))]}
        for name, row in zip((*table.names, 'error'), table.rows, strict=True)]
    if not any(table.rows[-1]):
        rows.pop()
    return {'title': 'Numbers', 'of': f'{table.of:,} samples', 'names': table.names, 'rows': rows}


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 2)


def _range(edges: Sequence[float], place: int) -> str:
    low, high = edges[place], edges[place + 1]
    return f'{number(low)} and more' if math.isinf(high) else f'{number(low)} to {number(high)}'


def _marks(plot: Histogram, width: float) -> Iterator[dict[str, Any]]:
    """Place quantiles; one that lies in the open bin stands at its middle."""
    step = plot.edges[1] - plot.edges[0]
    for name, value in plot.marks:
        bins = min(value / step, len(plot.counts) - 0.5)
        at = round(LEFT + bins * width, 2)
        yield {'at': at, 'name': name, 'is_at_end': at > WIDTH - RIGHT - 25,
               'label': f'{name} {number(value)}{f" {plot.unit}" if plot.unit else ""}'}
