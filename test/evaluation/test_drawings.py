"""Where bars, marks and cells of a plot lie, read back from the drawing."""
from __future__ import annotations

import math
from itertools import pairwise

import pytest

from vr_ros.evaluation.pages.drawings import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    count_table,
    histogram,
    number,
    reliability,
)
from vr_ros.evaluation.pages.plots import Bin, CountTable, Histogram


def height_of(plot, bar) -> float:
    """Read a bar by the labels of its axis."""
    low, high = plot['y_ticks'][0], plot['y_ticks'][-1]
    per_unit = (low['at'] - high['at']) / float(high['label'].replace(',', ''))
    assert bar['y'] + bar['height'] == pytest.approx(low['at'])
    return bar['height'] / per_unit


def inside(plot) -> bool:
    ends = [(bar['x'], bar['x'] + bar['width']) for bar in plot['bars']]
    marks = [(mark['at'], mark['at']) for mark in plot['marks']]
    return all(LEFT <= low <= high <= WIDTH - RIGHT for low, high in ends + marks) and all(
        TOP <= bar['y'] <= HEIGHT - BOTTOM for bar in plot['bars'])


@pytest.mark.parametrize('counts', [
    (0, 3, 1), (1,), (0, 12345, 6789), (1,) * 17, (7, 0, 0, 9)])
def test_bars_are_as_high_as_their_numbers(counts):
    edges = tuple(float(10 * i) for i in range(len(counts) + 1))
    plot = histogram(Histogram('Latency', 'ms', 'samples', edges, counts, (('p50', 5.0),)))
    assert [height_of(plot, bar) for bar in plot['bars']] == pytest.approx(list(counts), abs=0.02 *
                                                                           max(counts))
    assert inside(plot) and plot['of'] == f'{sum(counts):,} samples'
    assert len(plot['x_ticks']) <= 10 and len(plot['y_ticks']) <= 6


@pytest.mark.parametrize(('step', 'bins'), [(500, 7), (1000, 10), (20_000, 16), (2, 11), (50, 8)])
def test_labels_below_the_axis_do_not_touch(step, bins):
    edges = tuple(float(step * i) for i in range(bins + 1))
    plot = histogram(Histogram('Latency', 'ms', 'samples', edges, (1,) * bins))
    # Figures are about 6 units wide; where the frame ends, long labels end, too.
    ends = []
    for tick in plot['x_ticks']:
        wide = 6 * len(tick['label'])
        is_last = tick['at'] > plot['right'] - 20 and len(tick['label']) > 3
        ends.append((tick['at'] - wide / (1 if is_last else 2),
                     tick['at'] + (0 if is_last else wide / 2)))
    assert all(left > right + 2 for (_, right), (left, _) in pairwise(ends))


def test_marks_and_labels_lie_where_the_axis_says():
    edges = (*(float(100 * i) for i in range(17)), math.inf)
    plot = histogram(Histogram('Latency', 'ms', 'samples', edges, (1,) * 17,
                               (('p50', 450.0), ('p99', 60_000.0))))
    at = {tick['label']: tick['at'] for tick in plot['x_ticks']}
    assert '1,600+' in at and 'inf' not in ''.join(at)
    step = (at['600'] - at['300']) / 3
    assert plot['marks'][0]['at'] == pytest.approx(at['300'] + 1.5 * step, abs=0.1)
    assert plot['marks'][1]['at'] == pytest.approx(at['1,600+'], abs=0.1)     # in the open bin
    assert [mark['label'] for mark in plot['marks']] == ['p50 450 ms', 'p99 60,000 ms']
    assert plot['marks'][1]['is_at_end'] and not plot['marks'][0]['is_at_end']
    assert plot['bars'][-1]['title'] == '1,600 and more ms: 1 of 17 samples'
    assert inside(plot)


def test_points_of_the_calibration_are_score_and_share():
    plot = reliability([Bin(0.0, 0.1, 3, 0.05, 1 / 3), Bin(0.9, 1.0, 5, 1.0, 1.0)])
    x = {tick['label']: tick['at'] for tick in plot['x_ticks']}
    y = {tick['label']: tick['at'] for tick in plot['y_ticks']}
    low, high = plot['bars']
    assert low['point'] == pytest.approx(x['0'] + 0.05 * (x['1'] - x['0']))
    assert low['y'] == pytest.approx(y['0'] + (y['1'] - y['0']) / 3, abs=0.01)
    assert (high['point'], high['y']) == (x['1'], y['1'])
    assert plot['diagonal'] == (x['0'], y['0'], x['1'], y['1'])
    assert low['title'] == 'score 0.0 to 0.1: 33% of 3 objects right, mean score 0.05'
    assert inside(plot) and plot['of'] == '8 found objects'


def test_cells_are_shaded_by_their_share_of_the_column():
    table = count_table(CountTable(('0', '1'), ((1, 3), (0, 5), (1, 2))))
    assert [[cell['share'] for cell in row['cells']] for row in table['rows']] == [
        [50, 30], [0, 50], [50, 20]]
    assert [row['name'] for row in table['rows']] == ['0', '1', 'error']
    assert [[cell['is_right'] for cell in row['cells']] for row in table['rows']] == [
        [True, False], [False, True], [False, False]]
    assert table['rows'][0]['cells'][1]['title'] == 'said 0, true 1: 3 of 10 samples'
    without_errors = count_table(CountTable(('0', '1'), ((1, 0), (0, 0), (0, 0))))
    assert [row['name'] for row in without_errors['rows']] == ['0', '1']


@pytest.mark.parametrize(('value', 'text'), [
    (0.0, '0'), (0.25, '0.25'), (0.30000000000000004, '0.3'), (3.0, '3'), (12.34, '12.3'),
    (12500.0, '12,500'), (123.4, '123')])
def test_numbers(value, text):
    assert number(value) == text
