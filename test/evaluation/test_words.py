"""Answers, truths and their comparison in words."""
from __future__ import annotations

import numpy as np
import pytest

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Status
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.pages.words import comparison, label_words, said, true_words

A, B = (0, 0, 10, 10), (20, 0, 30, 10)
MASK, HALF = (mask_to_rle(np.arange(200).reshape(10, 20) < n) for n in (200, 100))


@pytest.mark.parametrize(('truth', 'words'), [
    (Truth(answers=('red',)), 'red'),
    (Truth(answers=tuple('abcdefg')), 'a / b / c / d / e and 2 more'),
    (Truth(boxes=[A, B]), '2 objects'),
    (Truth(boxes=[A], answers=('red',)), '1 object'),
    (Truth(boxes=[]), 'no objects'),
    (Truth(region=MASK), '200 px'),
    (Truth(region=mask_to_rle(np.zeros((2, 2), bool))), 'no objects'),
    (Truth(), 'not known'),
])
def test_what_is_true(truth, words):
    assert true_words(truth) == words


@pytest.mark.parametrize(('found', 'words'), [
    (Found(Status.TIMEOUT, answer='x'), 'none'),
    (Found(Status.NO_OBJECT), 'no objects'),
    (Found(boxes=[A]), '1 object'),
    (Found(boxes=[A], answer='on the left'), 'on the left'),
])
def test_what_was_said(found, words):
    assert said(found) == words


@pytest.mark.parametrize(('truth', 'found', 'words'), [
    (None, Found(boxes=[A]), ''),
    (Truth(boxes=[A]), Found(Status.TIMEOUT), ''),
    (Truth(answers=('red',)), Found(answer='red'), ''),
    (Truth(count=2), Found(boxes=[A]), ''),
    (Truth(boxes=[A, B]), Found(boxes=[B]), '1 of 2 hit'),
    (Truth(boxes=[A]), Found(boxes=[A, B]), '1 of 1 hit, 1 elsewhere'),
    (Truth(boxes=[A, (0, 0, 90, 90)], crowd=[False, True]), Found(boxes=[A, B]), '1 of 1 hit'),
    (Truth(boxes=[]), Found(boxes=[B]), '1 where nothing is'),
    (Truth(boxes=[]), Found(Status.NO_OBJECT), 'rightly so'),
    (Truth(boxes=[]), Found(answer='sorry?'), ''),
    (Truth(region=MASK), Found(boxes=[A], masks=(HALF,)), 'IoU of masks 0.50'),
    (Truth(boxes=[A], masks=(MASK,)), Found(boxes=[A], masks=(MASK,)),
     '1 of 1 hit, IoU of masks 1.00'),
])
def test_how_they_compare(truth, found, words):
    assert comparison(truth, found) == words


@pytest.mark.parametrize(('truth', 'words'), [
    (Truth(boxes=[A, A, B], labels=('cup', 'mug', 'cup')), ['2 × cup', 'mug']),
    (Truth(boxes=[A], labels=('',)), []),
    (Truth(boxes=[A], category='cup'), ['cup']),
    (Truth(boxes=[A]), []),
])
def test_labels(truth, words):
    assert label_words(truth) == words
