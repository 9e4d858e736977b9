"""A folder that can be written by hand: images, and a file of JSON lines beside them."""
from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from vr_ros.core.types import Size, Task
from vr_ros.datasets.choices import ASK, ask_choice, read_choices, right_choice
from vr_ros.datasets.known import require_rules
from vr_ros.datasets.regions import read_region
from vr_ros.datasets.rules import CHOICE, RULES
from vr_ros.datasets.sample import (
    DataSetError,
    Sample,
    SampleError,
    check_boxes,
    digest,
    read_image,
    read_json,
    require_unique,
    size_of,
)
from vr_ros.datasets.truth import Truth

REQUIRED = ('id', 'image', 'instruction')
TRUE = ('boxes', 'masks', 'region', 'count', 'answers', 'absent')
FIELDS = (*REQUIRED, *TRUE, 'task', 'category', 'ignore', 'crowd', 'choices', 'rule')
TASKS = {task.name.lower(): task for task in Task}


class Folder:
    """Samples from a file of JSON lines; paths in it start from its folder.

    A line is an object: ``id``, ``image`` and ``instruction``, then at least one of ``boxes``
    (x_min, y_min, x_max, y_max each), ``masks`` (of the same objects), ``region`` (all pixels asked
    for), ``count``, ``answers`` (texts) and ``absent`` (true: nothing there is what is asked for);
    besides these ``task``, ``category``, ``ignore`` (pixels that count neither way), ``crowd``,
    ``choices`` (texts; the answer is one of them, or its letter) and ``rule`` (by which an answer
    is scored, see rules.py).

    :param path: of the file.
    :raises DataSetError: if it cannot be read, is empty, or has an id twice.
    """

    def __init__(self, path: Path) -> None:
        try:
            content = path.read_bytes()
            # Not splitlines: JSON texts may hold other separators of lines.
            lines = content.decode().split('\n')
        except (OSError, UnicodeDecodeError) as error:
            raise DataSetError(f'{path}: {error}') from error
        self._folder = path.parent
        self._lines = [_parse(i, line) for i, line in enumerate(lines, 1) if line.strip()]
        if not self._lines:
            raise DataSetError(f'{path}: no samples, one JSON object a line')
        self.name = f'{path.parent.resolve().name}/{path.name} {digest(content)}'
        self.ids = tuple(
            str(line['id']) if isinstance(line, dict) else line[0] for line in self._lines)
        require_unique(self.ids, path)
        require_rules([str(line.get('rule')) for line in self._lines if isinstance(line, dict)],
                      path)

    def load(self, place: int) -> Sample:
        """Read one sample.

        :raises SampleError: if its line, its image or what is true of it cannot be used.
        """
        line = self._lines[place]
        if not isinstance(line, dict):
            raise SampleError(line[1])
        _check_fields(line)
        image = read_image(self._folder / str(line['image']))
        instruction, choices = line['instruction'], read_choices(line.get('choices'))
        if choices:
            instruction = f'{ask_choice(instruction, choices)}\n{ASK}'
        try:
            truth = self._truth(line, choices, size_of(image))
        except (TypeError, ValueError) as error:
            raise SampleError(str(error)) from error
        return Sample(image, instruction, truth, TASKS[line.get('task', 'auto')])

    def _truth(self, line: dict[str, Any], choices: tuple[str, ...], size: Size) -> Truth:
        def region(content: Any) -> Any:
            return None if content is None else read_region(content, size, self._folder)

        boxes, masks = line.get('boxes'), line.get('masks')
        if line.get('absent'):
            boxes, masks = boxes or [], masks or []
            if boxes or masks or line.get('region') or line.get('count'):
                raise SampleError('absent, and yet there is something')
        answers = tuple(line.get('answers', ()))
        if choices:
            answers = right_choice(answers[0], choices)
        return Truth(
            str(line['image']), size, line.get('category', ''),
            None if boxes is None else check_boxes(boxes, size),
            None if masks is None else tuple(region(mask) for mask in masks),
            region(line.get('region')), region(line.get('ignore')), line.get('crowd'),
            count=line.get('count'), answers=answers, choices=choices,
            rule=CHOICE if choices else line.get('rule', ''),
        )


def _parse(number: int, line: str) -> dict[str, Any] | tuple[str, str]:
    """:return: the object; or what to call the line, and what is wrong with it."""
    try:
        content = read_json(line)
    except ValueError as error:
        return f'line {number}', f'no JSON: {error}'
    if not isinstance(content, dict) or not isinstance(content.get('id'), str | int):
        return f'line {number}', 'not an object with an id'
    return content


def _check_fields(line: dict[str, Any]) -> None:
    """:raises SampleError: with the field that is missing, unknown or of another type."""
    missing = [name for name in REQUIRED if name not in line]
    if missing:
        raise SampleError(f'lacks {", ".join(missing)}')
    for name in line:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, 1)
            raise SampleError(f'unknown field {name!r}' + (f', is it {near[0]!r}?' if near else ''))
    if not any(name in line for name in TRUE):
        raise SampleError(f'says nothing true: one of {", ".join(TRUE)}')
    if line.get('task', 'auto') not in list(TASKS):
        raise SampleError(f'task {line["task"]!r} is none of {", ".join(TASKS)}')
    types = {'instruction': str, 'category': str, 'absent': bool, 'count': int, 'answers': list,
             'choices': list, 'rule': str}
    for name, type_ in types.items():
        if name in line and type(line[name]) is not type_:
            raise SampleError(f'{name} is a {type_.__name__}, not {line[name]!r}')
    if not all(isinstance(answer, str) for answer in line.get('answers', ())):
        raise SampleError('answers are texts')
    if line.get('choices') and len(line.get('answers', ())) != 1:
        raise SampleError('of choices one is right: answers has to hold it, or its letter')
    if line.get('rule', '') not in ('', *RULES):
        raise SampleError(f'rule {line["rule"]!r} is none of {", ".join(RULES)}')
    if line.get('count', 0) < 0:
        raise SampleError(f'count {line["count"]} is below 0')
