"""Filters of samples at their edges."""
from __future__ import annotations

import numpy as np
import pytest

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Size, Task
from vr_ros.datasets.sample import DataSetError, Sample
from vr_ros.datasets.truth import Truth
from vr_ros.training.data.source import LeftOut
from vr_ros.training.data.sources.filters import FILTERS, read_filters

IMAGE = np.zeros((10, 20, 3), np.uint8)
SIZE = Size(20, 10)


def reason(spec: str, truth: Truth, text: str = 'How many?', kind: str = '') -> str:
    look, = read_filters([spec])
    try:
        look(Sample(IMAGE, text, truth, Task.AUTO, kind))
    except LeftOut as error:
        return error.reason
    return ''


def said(*answers: str, **more: object) -> Truth:
    return Truth(size=SIZE, answers=answers, **more)


def boxes(*values: tuple[float, float, float, float]) -> Truth:
    return Truth(size=SIZE, boxes=np.reshape(values, (-1, 4)))


@pytest.mark.parametrize(('answers', 'expected'), [
    (('x' * 20,), ''), (('x' * 21,), 'answer too long'), (('',), ''),
    (('a=b',), 'answer with symbols'), (('[1',), 'answer with symbols'),
    (('1]',), 'answer with symbols'), (('(1',), 'answer with symbols'),
    (('1)',), 'answer with symbols'), (('1;2',), 'answer with symbols'),
    ((r'\frac{1}{2}',), ''), (('3, 4',), ''), (('12', 'a=b'), 'answer with symbols'), ((), ''),
])
def test_plain_answers(answers, expected):
    assert reason('plain_answer', said(*answers)) == expected


def test_how_long_an_answer_may_be_can_be_said():
    assert reason('plain_answer=3', said('abc')) == ''
    assert reason('plain_answer=3', said('abcd')) == 'answer too long'


@pytest.mark.parametrize(('truth', 'expected'), [
    (said('A', 'cat', choices=('cat', 'dog')), 'multiple choice'), (said('B'), 'multiple choice'),
    (said('(c)'), ''), (said('(C)'), 'multiple choice'), (said('D.'), 'multiple choice'),
    (said('I'), ''), (said('AB'), ''), (said('yes'), 'true or false'),
    (said('No.'), 'true or false'), (said('TRUE'), 'true or false'), (said('nothing'), ''),
    (said('12'), ''), (Truth(size=SIZE, count=3), ''),
])
def test_what_is_right_by_chance(truth, expected):
    assert reason('no_choices', truth) == expected


@pytest.mark.parametrize(('text', 'answer', 'expected'), [
    ('What does it say?', 'STOP', ''), ('What’s “that” – 5 °C?', '5…', ''),
    ('写着什么?', 'STOP', 'not English'), ('What?', '停', 'not English'),
    ('What?', 'Straße', 'not English'),
])
def test_english(text, answer, expected):
    assert reason('english', said(answer), text) == expected


@pytest.mark.parametrize(('answer', 'expected'), [
    ('12', ''), (r'\frac{1}{2}', ''), ('', 'answer not verifiable'),
])
def test_verifiable(answer, expected):
    pytest.importorskip('math_verify')
    assert reason('verifiable', said(answer)) == expected


def test_without_math_verify_it_is_told_at_once(monkeypatch):
    monkeypatch.setattr('vr_ros.datasets.known.find_spec', lambda name: None)
    with pytest.raises(DataSetError, match='filter verifiable: .* pip install'):
        read_filters(['verifiable'])


@pytest.mark.parametrize(('spec', 'truth', 'expected'), [
    # The image has 200 pixels.
    ('largest_share', boxes((0, 0, 10, 10)), ''),
    ('largest_share', boxes((0, 0, 10.1, 10)), 'box larger than wanted'),
    ('largest_share', boxes((0, 0, 1, 1), (0, 0, 20, 10)), 'box larger than wanted'),
    ('largest_share=1', boxes((0, 0, 20, 10)), ''),
    ('largest_share', boxes(), ''), ('largest_share', Truth(size=SIZE, count=3), ''),
    ('most_objects', boxes(*[(0, 0, 1, 1)] * 10), ''),
    ('most_objects', boxes(*[(0, 0, 1, 1)] * 11), 'more objects than wanted'),
    ('most_objects=0', boxes(), ''), ('most_objects=0', boxes((0, 0, 1, 1)),
                                      'more objects than wanted'),
    ('most_objects', said('12'), ''),
    ('points_counted', Truth(size=SIZE, count=1, points=[(1, 2)]), ''),
    ('points_counted', Truth(size=SIZE, count=2, points=[(1, 2)]), 'points and count differ'),
    ('points_counted', Truth(size=SIZE, count=2), ''),
])
def test_objects(spec, truth, expected):
    assert reason(spec, truth) == expected


@pytest.mark.parametrize(('pixels', 'expected'), [
    ([(0, 0), (0, 1)], ''), ([(0, 0), (1, 1)], ''),             # corners touch
    ([(0, 0), (0, 2)], 'region in several parts'), ([], ''),
])
def test_parts_of_a_region(pixels, expected):
    mask = np.zeros((10, 20), bool)
    for row, column in pixels:
        mask[row, column] = True
    assert reason('one_part', Truth(size=SIZE, region=mask_to_rle(mask))) == expected


def test_objects_that_are_told_apart_may_have_parts():
    mask = np.zeros((10, 20), bool)
    mask[0, 0] = mask[5, 5] = True
    truth = Truth(size=SIZE, boxes=[(0, 0, 6, 6)], masks=(mask_to_rle(mask),))
    assert reason('one_part', truth) == ''


@pytest.mark.parametrize(('kind', 'expected'), [
    ('chart', ''), ('(grade) science', ''), ('art', 'of another kind'), ('', 'of another kind')])
def test_kinds(kind, expected):
    assert reason('kinds=chart|(grade) science', said('1'), kind=kind) == expected


@pytest.mark.parametrize(('spec', 'words'), [
    ('most_object', 'no filter "most_object"; did you mean "most_objects"?'),
    ('zzz', 'there are: most_objects'), ('most_objects=many', 'could not convert'),
    ('largest_share=-1', 'from 0 on'), ('largest_share=nan', 'from 0 on'),
    ('english=1', 'takes no value'), ('kinds', 'list of kinds'),
])
def test_what_is_no_filter_is_told(spec, words):
    with pytest.raises(DataSetError, match=words.replace('?', r'\?')):
        read_filters([spec])


def test_every_filter_is_in_the_documentation():
    from pathlib import Path

    text = (Path(__file__).parents[2] / 'docs/training_sets.md').read_text(encoding='utf-8')
    assert all(f'| `{name}' in text for name in FILTERS)
