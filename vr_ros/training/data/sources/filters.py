"""Which samples are not wanted, by name: a recipe lists them as ``name`` or ``name=value``.

Source of the rules: V-Triune, section 5.1.1 (data curation), unless a filter says otherwise.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import ndimage

from vr_ros.core.geometry import box_area
from vr_ros.core.mathematics import same_value
from vr_ros.core.rle import rle_to_mask
from vr_ros.core.spelling import nearest
from vr_ros.datasets.known import require_rules
from vr_ros.datasets.rules import MATHEMATICS
from vr_ros.datasets.sample import DataSetError, Sample
from vr_ros.training.data.source import LeftOut

# Looks at a sample, and raises LeftOut if it is not wanted.
Filter = Callable[[Sample], None]
SYMBOLS = '=[]();'
_LONGEST_ANSWER = 20
_TRUE_OR_FALSE = re.compile(r'(yes|no|true|false)\.?', re.IGNORECASE)
# A choice that the question lists itself, or an answer that is but its letter.
_LETTER = re.compile(r'\(?[A-H]\)?\.?')
# What English texts are written with beside ASCII.
_TYPOGRAPHY = str.maketrans('', '', '‘’“”–—…•°€£×÷²³½¼')


def read_filters(specs: Sequence[str]) -> tuple[Filter, ...]:
    """Make filters.

    :param specs: names of FILTERS, each perhaps with ``=value``.
    :raises DataSetError: with the name or value that is none.
    """
    made = []
    for spec in specs:
        name, _, value = spec.partition('=')
        if name not in FILTERS:
            near = nearest(name, [*FILTERS])
            raise DataSetError(f'no filter "{name}"; ' + (
                f'did you mean "{near}"?' if near else f'there are: {", ".join(FILTERS)}'))
        try:
            made.append(FILTERS[name](value))
        except ValueError as error:
            raise DataSetError(f'filter {spec}: {error}') from error
    return tuple(made)


def _number(value: str, default: float) -> float:
    number = float(value) if value else default
    if not 0 <= number < float('inf'):
        raise ValueError('the value is a number from 0 on')
    return number


def _nothing(value: str) -> None:
    if value:
        raise ValueError('takes no value')


def _most_objects(value: str) -> Filter:
    """At most so many objects, 10: per category, since one is asked for at a time."""
    most = _number(value, 10)

    def look(sample: Sample) -> None:
        count = sample.truth.count
        if count is not None and count > most:
            raise LeftOut('more objects than wanted', str(count))

    return look


def _largest_share(value: str) -> Filter:
    """No box of more than this share of the image, 0.5."""
    most = _number(value, 0.5)

    def look(sample: Sample) -> None:
        boxes = sample.truth.boxes
        if boxes is None or not len(boxes):
            return
        largest = box_area(boxes).max() / (sample.image.shape[0] * sample.image.shape[1])
        if largest > most:
            raise LeftOut('box larger than wanted', f'{largest:.3f} of the image')

    return look


def _plain_answer(value: str) -> Filter:
    """One answer, of at most 20 characters, without the symbols = [ ] ( ) ; in it."""
    longest = _number(value, _LONGEST_ANSWER)

    def look(sample: Sample) -> None:
        for answer in sample.truth.answers:
            if any(symbol in answer for symbol in SYMBOLS):
                raise LeftOut('answer with symbols', answer[:80])
            if len(answer) > longest:
                raise LeftOut('answer too long', answer[:80])

    return look


def _no_choices(value: str) -> Filter:
    """No multiple choice, nor true or false: right by chance too often."""
    _nothing(value)

    def look(sample: Sample) -> None:
        answers = sample.truth.answers
        if sample.truth.choices or any(_LETTER.fullmatch(answer) for answer in answers):
            raise LeftOut('multiple choice')
        if any(_TRUE_OR_FALSE.fullmatch(answer) for answer in answers):
            raise LeftOut('true or false')

    return look


def _english(value: str) -> Filter:
    """Question and answers in the letters of English; which words they form is not looked at."""
    _nothing(value)

    def look(sample: Sample) -> None:
        for text in (sample.instruction, *sample.truth.answers):
            if not text.translate(_TYPOGRAPHY).isascii():
                raise LeftOut('not English', text[:80])

    return look


def _verifiable(value: str) -> Filter:
    """Answers that math-verify finds equal to themselves, so that it can reward them at all."""
    _nothing(value)
    require_rules([MATHEMATICS], 'filter verifiable')

    def look(sample: Sample) -> None:
        for answer in sample.truth.answers:
            if not same_value(answer, answer):
                raise LeftOut('answer not verifiable', answer[:80])

    return look


def _one_part(value: str) -> Filter:
    """Pixels asked for that hang together, where objects are not told apart.

    Of several parts it is not known which belong to one object. Not of V-Triune.
    """
    _nothing(value)

    def look(sample: Sample) -> None:
        region = sample.truth.region
        if region is None or sample.truth.masks is not None:
            return
        parts = ndimage.label(rle_to_mask(region), np.ones((3, 3)))[1]
        if parts > 1:
            raise LeftOut('region in several parts', str(parts))

    return look


def _points_counted(value: str) -> Filter:
    """As many points as the count says, where there are points. Not of V-Triune."""
    _nothing(value)

    def look(sample: Sample) -> None:
        truth = sample.truth
        if truth.points is not None and len(truth.points) != truth.count:
            raise LeftOut('points and count differ', f'{len(truth.points)} and {truth.count}')

    return look


def _kinds(value: str) -> Filter:
    """Only questions of these kinds, as the data set calls them, with | between."""
    wanted = set(filter(None, value.split('|')))
    if not wanted:
        raise ValueError('the value is a list of kinds with | between')

    def look(sample: Sample) -> None:
        if sample.kind not in wanted:
            raise LeftOut('of another kind', sample.kind)

    return look


FILTERS: Mapping[str, Callable[[str], Filter]] = {
    'most_objects': _most_objects, 'largest_share': _largest_share,
    'plain_answer': _plain_answer, 'no_choices': _no_choices, 'english': _english,
    'verifiable': _verifiable, 'one_part': _one_part, 'points_counted': _points_counted,
    'kinds': _kinds,
}
