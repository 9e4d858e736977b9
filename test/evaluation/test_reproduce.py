"""The page on published figures: every command is one, and every figure is there."""
from __future__ import annotations

import re
import shlex
from pathlib import Path

import mini_sets
import numpy as np
import pytest

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Size
from vr_ros.datasets.known import KNOWN, find_known
from vr_ros.datasets.registry import open_data_set
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation import cli
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.panel import published_panel, strict_measures
from vr_ros.models.card import load_card

PAGE = (Path(__file__).parents[2] / 'docs/reproduce.md').read_text(encoding='utf-8')
# Formats that a file has by its name; its contents are not at hand.
FILES = ('annotations/instances_val2017.json',)


def rows() -> list[list[str]]:
    """Read the rows of tables that have a command in them."""
    lines = [line.strip('| ').split('|') for line in PAGE.splitlines() if line.startswith('| ')]
    cells = [[cell.strip() for cell in line] for line in lines]
    return [row for row in cells if row[1].startswith('`evaluate')]


def commands() -> list[str]:
    """Find every command on the page, those in examples, too."""
    shown = re.findall(r'\./run (evaluate [^#\n]+)', PAGE)
    return [row[1].strip('`') for row in rows()] + [text.strip() for text in shown]


def figure_names(rule: str = '') -> set[str]:
    """Name all figures of answers to whatever a set may ask."""
    mask = mask_to_rle(np.array([[True, False]]))
    truths = [Truth('', Size(2, 1), 'a', [[0, 0, 1, 1]], (mask,)), Truth(count=0),
              Truth(answers=('A', 'a'), choices=('a', 'b'), rule=rule)]
    found = [Found(boxes=[[0, 0, 1, 1]], masks=(mask,)), Found(), Found(answer='a')]
    return {measure.name for measures in (strict_measures, published_panel)
            for measure in measures(truths, found)}


@pytest.mark.parametrize('command', sorted(set(commands())))
def test_a_command_is_one_of_ours(command):
    options = cli.parser().parse_args(shlex.split(command)[1:])
    assert load_card(options.model).name == options.model
    assert options.dataset in (*KNOWN, *FILES, 'photos')


@pytest.mark.parametrize('row', rows(), ids=lambda row: row[0])
def test_a_figure_is_there_for_the_set(row):
    options = cli.parser().parse_args(shlex.split(row[1].strip('`'))[1:])
    known = find_known(options.dataset)
    rule = known.rule or ('choice accuracy' if 'choice' in row[2] else 'VQA exact')
    assert row[2] in figure_names(rule)
    if len(row) == 5:                    # without a published script: the set's own figure
        assert row[2] == known.figure
    else:
        assert row[2].startswith('published ')
        needs = {'hit': 'mask', 'gIoU': 'mask', 'count': 'count'}
        column = next((needs[word] for word in needs if word in row[2]), None)
        assert column is None or column in known.columns
    assert 0.3 < float(row[3]) < 1


def test_the_rows_are_all_that_is_published():
    """Seven of detection, five of segmentation, three of counting, six of every expression, and
    six without a script."""
    by_figure = [row[2] for row in rows()]
    assert by_figure.count('published box hit') == 6 + 6
    assert by_figure.count('published gIoU') == 5
    assert by_figure.count('published exact count') == 3
    assert by_figure.count('published COCO AP@[.5:.95]') == 1
    assert len(by_figure) == 7 + 5 + 3 + 6 + 6
    names = {find_known(cli.parser().parse_args(shlex.split(row[1].strip('`'))[1:]).dataset).hub_id
             for row in rows()}
    asked = {known.hub_id for known in KNOWN.values() if known.hub_id.startswith('Ricky')}
    # Of VisionReasoner's sets these are of other work, or stand for COCO's own file.
    assert asked - names == {'Ricky06662/grefcoco_val_all', 'Ricky06662/coco_val'}


@pytest.mark.parametrize('row', [row for row in rows() if len(row) == 6 and row[4]],
                         ids=lambda row: row[0])
def test_the_tolerance_is_that_of_its_rule(row):
    number = int(row[4].replace(',', ''))
    if 'COCO val, AP' not in row[0]:
        assert float(row[5]) == pytest.approx(2 * (0.05 / number) ** 0.5, abs=0.0005)


def test_coco_is_found_as_it_comes_out_of_its_archives(tmp_path, monkeypatch):
    mini_sets.write_coco(tmp_path)
    (tmp_path / 'images').rename(tmp_path / 'val2017')
    (tmp_path / 'annotations/instances_val.json').rename(tmp_path / FILES[0])
    monkeypatch.chdir(tmp_path)
    command = next(text for text in commands() if FILES[0] in text)
    options = cli.parser().parse_args(shlex.split(command)[1:])
    data_set = open_data_set(options.dataset, options.split)
    assert all(data_set.load(place).truth.boxes.any() for place in range(len(data_set.ids)))


def test_both_halves_of_the_page_agree_with_the_documentation_of_figures():
    text = (Path(__file__).parents[2] / 'docs/evaluation.md').read_text(encoding='utf-8')
    assert all(row[2].split('@')[0] in text for row in rows())
    assert '(reproduce.md)' in text
