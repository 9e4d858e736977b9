"""Data sets as tables, with the columns of VisionReasoner's or of other public sets, see known.py.

One row is one instruction about one image. Besides image and text a row has mask (H rows of W
bool) with or without bbox, bbox alone, count, or answers, with or without choices. A row may name
its category (text, where only bbox is there). Source: the sets under Ricky06662/ on the hub.
"""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from vr_ros.core.types import Size, Task
from vr_ros.datasets.choices import (
    ASK,
    ask_choice,
    choices_in,
    read_choices,
    right_choice,
)
from vr_ros.datasets.known import ALIASES, Known, require_rules
from vr_ros.datasets.pictures import Pictures
from vr_ros.datasets.regions import mask_from_pixels
from vr_ros.datasets.rules import CHOICE
from vr_ros.datasets.sample import (
    DataSetError,
    Sample,
    SampleError,
    check_boxes,
    size_of,
)
from vr_ros.datasets.truth import Truth

TRUE = ('mask', 'bbox', 'count', 'answers')
# Where the image belongs in a text, as sets for training mark it.
PLACE_OF_IMAGE = '<image>'
_NUMBERS = 'zero one two three four five six seven eight nine ten'.split()


class Rows(Protocol):
    """A table: ``name`` identifies it with its contents, ``columns`` are their names."""

    name: str
    columns: Sequence[str]

    def __len__(self) -> int: ...

    def row(self, place: int) -> Mapping[str, Any]:
        """Give one row; an image is a dict with its file's ``bytes``."""


class Columns:
    """Samples from the rows of a table; the ids are the numbers of the rows, from 0.

    ``figure`` is the main one of the set, empty where it is not known. ``has_groups``: rows are
    read many at a time, so that those far apart cost more than neighbours.

    :param known: what is known of the set: names of columns, and how it is scored.
    :param pictures: where images lie that rows only link.
    :raises DataSetError: with the columns that are missing, or if there is no row.
    """

    def __init__(
        self, rows: Rows, known: Known | None = None, pictures: Pictures | None = None,
    ) -> None:
        self._known = known = known or Known()
        self._pictures = pictures or Pictures()
        self._names = {
            ours: next((name for name in (known.names.get(ours), *names) if name in rows.columns),
                       None)
            for ours, names in ALIASES.items()}
        missing = [name for name in known.columns if name not in rows.columns]
        if not self._names['image']:
            missing.insert(0, 'image')
        if known.turns and known.turns not in rows.columns:
            missing.append(known.turns)
        for choice in () if known.turns else (('text',), TRUE):
            if not any(self._names[name] or name in missing for name in choice) and not (
                    choice == ('text',) and known.question):
                missing.append(' or '.join(ALIASES['text'] if choice == ('text',) else choice))
        if missing:
            raise DataSetError(f'{rows.name}: lacks the columns {", ".join(missing)};'
                               f' it has {", ".join(rows.columns)}')
        if not len(rows):
            raise DataSetError(f'{rows.name}: no rows')
        require_rules([known.rule], rows.name)
        if str(self._names['image']).endswith('url'):
            self._pictures.require(rows.name)
        self._rows, self.has_groups = rows, getattr(rows, 'has_groups', False)
        self.name, self.figure = rows.name, known.figure
        self.ids = tuple(map(str, range(len(rows))))

    def load(self, place: int) -> Sample:
        """Read one sample.

        :raises SampleError: if its image or what is true of it cannot be used.
        """
        row = self._rows.row(place)
        ours = {name: row.get(theirs) for name, theirs in self._names.items() if theirs}
        try:
            _take_out(ours, row, self._known)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise SampleError(f'broken row: {type(error).__name__} {error}') from error
        several = [name for name in row if re.fullmatch(r'image_[2-9]', name) and row[name]]
        if several:
            raise SampleError(f'{len(several) + 1} images, of which one can be asked about')
        image, image_digest = self._pictures.read(ours['image'], row)
        size = size_of(image)
        stated = Size(row.get('img_width') or size.width, row.get('img_height') or size.height)
        if stated != size:
            raise SampleError(f'an image of {size.width}x{size.height}, stated to be'
                              f' {stated.width}x{stated.height}')
        known = {name for name in TRUE if _says(ours.get(name), name)}
        if not known:
            raise SampleError('says nothing true: all of mask, bbox, count, answer are empty')
        image_id = ours.get('image_id')
        name = image_digest if image_id is None else str(image_id)
        try:
            text = self._text(row, ours)
            if known == {'answers'}:
                instruction, truth = self._answered(text, ours, name, size)
            else:
                instruction, truth = text, _truth(row, ours, known, name, size)
        except (TypeError, ValueError) as error:
            raise SampleError(str(error)) from error
        kind = row.get(self._known.kind) if self._known.kind else ''
        return Sample(image, instruction, truth, _task(known), str(kind or ''))

    def _text(self, row: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
        asks_nothing = self._names['text'] or self._known.turns
        text = ours.get('text') or (None if asks_nothing else self._known.question)
        if not isinstance(text, str):
            raise SampleError(f'the text is {text!r}')
        text = text.replace(PLACE_OF_IMAGE, '').strip()
        if self._known.hides_count:
            text = hide_number(text, ours.get('count'))
        context = row.get(self._known.context)
        return f'{context}\n{text}' if context else text

    def _answered(
        self, text: str, ours: Mapping[str, Any], image: str, size: Size,
    ) -> tuple[str, Truth]:
        """Ask for a text: one of the choices, if there are any, else any text."""
        known, answers = self._known, _answers(ours['answers'])
        choices = () if known.is_open else read_choices(ours.get('choices'))
        is_told = not choices and known.answers_by == 'letter'
        if is_told and answers[0].strip('().') in tuple('ABCDEFGHIJ'):
            choices = choices_in(text)
        if not choices:
            asked = f'{text}\n{known.ask}' if known.ask else text
            return asked, Truth(image, size, answers=answers, rule=known.rule)
        content = ours['answers']
        right = right_choice(
            content if isinstance(content, int | float) else answers[0], choices, known.answers_by)
        # Where a picture holds the question it holds the choices, too.
        asked = ask_choice(text, choices) if self._names['text'] and not is_told else text
        return f'{asked}\n{ASK}', Truth(
            image, size, answers=right, choices=choices, rule=CHOICE)


def _take_out(ours: dict[str, Any], row: Mapping[str, Any], known: Known) -> None:
    """Take question, answer and count out of what a set wraps them in.

    :raises KeyError, TypeError, ValueError, IndexError: if they are not there.
    """
    if known.turns:
        turns = row[known.turns]
        said = {turn['from']: turn['value'] for turn in reversed(turns)}
        ours['text'], ours['answers'] = said['human'], said['gpt']
    text = ours.get('text')
    if isinstance(text, list):
        # Questions that build on each other have no answer of their own.
        if len(text) != 1:
            raise ValueError(f'{len(text)} questions, of which one can be asked')
        ours['text'] = text[0]
    for name in ('count', 'answers') if known.inside else ():
        if isinstance(ours.get(name), str):
            found = re.findall(known.inside, ours[name], re.DOTALL)
            if not found:
                raise ValueError(f'no answer in {ours[name][-80:]!r}')
            ours[name] = float(found[-1]) if name == 'count' else found[-1].strip()


def _points(content: Any) -> list[tuple[float, float]] | None:
    """Read points, given as their x and their y or one by one; none where there are none."""
    if not content:
        return None
    if isinstance(content, Mapping):
        return list(zip(content['x'], content['y'], strict=True))
    return [(point['x'], point['y']) for point in content]


def hide_number(text: str, number: Any) -> str:
    """Take a number out of a text, be it written in digits or as a word."""
    if not isinstance(number, int | float) or number % 1:
        return text
    words = [str(int(number)), *_NUMBERS[int(number):int(number) + 1]]
    return ' '.join(re.sub(rf'\b({"|".join(words)})\b', '', text, flags=re.IGNORECASE).split())


def _says(content: Any, name: str) -> bool:
    """Say whether a column says something; an empty list of boxes does, no answer does not."""
    if name == 'answers' and isinstance(content, str | Sequence):
        return bool(len(content))
    return content is not None


def _task(known: set[str]) -> Task:
    for name, task in (
            ('count', Task.COUNTING), ('mask', Task.SEGMENTATION), ('bbox', Task.DETECTION)):
        if name in known:
            return task
    return Task.VQA


def _truth(
    row: Mapping[str, Any], ours: Mapping[str, Any], known: set[str], image: str, size: Size,
) -> Truth:
    """One box with a mask is one object; a mask with none or many is all pixels asked for."""
    answers = _answers(ours['answers']) if 'answers' in known else ()
    if 'count' in known:
        count = ours['count']
        if not isinstance(count, int | float) or count < 0 or count % 1 != 0:
            raise SampleError(f'count {count} is no number of objects')
        return Truth(image, size, count=int(count), answers=answers,
                     points=_points(ours.get('points')))
    boxes = check_boxes(ours['bbox'], size) if 'bbox' in known else None
    if 'mask' not in known:
        category = '' if boxes is None else str(row.get('category') or ours.get('text') or '')
        return Truth(image, size, category, boxes, answers=answers)
    region = mask_from_pixels(ours['mask'], size)
    if not any(region.counts[1::2]):
        return Truth(image, size, boxes=[], masks=(), answers=answers)
    if boxes is not None and len(boxes) == 1:
        return Truth(image, size, boxes=boxes, masks=(region,), answers=answers)
    return Truth(image, size, boxes=boxes, region=region, answers=answers)


def _answers(content: Any) -> tuple[str, ...]:
    """Read one accepted answer or several; a number alone is its text."""
    if isinstance(content, int | float) and not isinstance(content, bool):
        content = str(int(content)) if content % 1 == 0 else str(content)
    answers = (content,) if isinstance(content, str) else tuple(content)
    if not answers or isinstance(content, Mapping) or not all(
            isinstance(answer, str) for answer in answers):
        raise SampleError(f'answers {content!r} are no texts')
    return answers
