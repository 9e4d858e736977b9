"""Public sets whose questions lie deeper than a column, brought into plain columns.

SciVQA, ChartX, TableVQA-Bench and EST-VQA, as their authors give them away; where each form is
documented: docs/training_sets.md.
"""
from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from vr_ros.datasets.columns import Columns, Rows
from vr_ros.datasets.json_rows import JsonRows
from vr_ros.datasets.known import Known
from vr_ros.datasets.parquet import Table, open_table
from vr_ros.datasets.pictures import Pictures
from vr_ros.datasets.rules import ANLS, RELAXED
from vr_ros.datasets.sample import DataSet, DataSetError, SampleError, digest
from vr_ros.datasets.splits import find_tables
from vr_ros.training.data.source import LeftOut

Row = Mapping[str, Any]
UNANSWERABLE = 'unanswerable'
STATEMENTS = 'vtabfact'
_ASK = 'Answer with a word, a number or a short phrase.'
_TRUTHS = {'0': 'false', '1': 'true'}
# Two right choices or more, as SciVQA writes them: 'A,B', 'AB' or "['A', 'B']".
_SEVERAL = re.compile(r"\[?'?[A-D](?:'?,? ?'?[A-D])+'?\]?")
# The unit of these is a sign before a number: without it they are compared as numbers.
_DOLLARS = re.compile(r'\$ ?(\d[\d,]*(?:\.\d+)?)')


class Reshaped:
    """Rows with other columns, see :class:`vr_ros.datasets.columns.Rows`.

    :param rows: as published.
    :param needed: columns that they must have.
    :param reshape: makes a row with ``columns``; what it raises of KeyError, TypeError, ValueError,
        AttributeError and IndexError says that the row is broken.
    :raises DataSetError: with the columns that are missing.
    """

    columns = ('image', 'question', 'answers', 'choices', 'caption', 'kind')

    def __init__(self, rows: Rows, needed: Sequence[str], reshape: Callable[[Row], Row]) -> None:
        missing = [name for name in needed if name not in rows.columns]
        if missing:
            raise DataSetError(f'{rows.name}: lacks the columns {", ".join(missing)};'
                               f' it has {", ".join(rows.columns)}')
        self._rows, self._reshape, self.name = rows, reshape, rows.name
        self.has_groups = getattr(rows, 'has_groups', False)

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, place: int) -> Row:
        """Give one row.

        :raises SampleError: it is broken.
        :raises LeftOut: no verifier can tell whether an answer to it is right.
        """
        row = self._rows.row(place)
        try:
            return self._reshape(row)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise SampleError(f'broken row: {type(error).__name__} {error}') from error


class Unfolded:
    """Rows of a table, one for each entry of a list in them; one without such a list stays.

    :param column: with the list; each row has one entry of it there.
    """

    def __init__(self, rows: Rows, column: str) -> None:
        self._rows, self._column = rows, column
        self.name, self.columns = rows.name, rows.columns
        self._places = list(self._entries())

    def __len__(self) -> int:
        return len(self._places)

    def row(self, place: int) -> Row:
        """Give one row.

        :raises SampleError: it is broken.
        """
        number, entry = self._places[place]
        row = self._rows.row(number)
        return row if entry is None else {**row, self._column: row[self._column][entry]}

    def _entries(self) -> Iterator[tuple[int, int | None]]:
        for number in range(len(self._rows)):
            try:
                entries = self._rows.row(number).get(self._column)
            except SampleError:
                entries = None                      # told when its row is asked for
            if isinstance(entries, list):
                yield from ((number, entry) for entry in range(len(entries)))
            else:
                yield number, None


class Parts:
    """Tables one after another; ``part`` tells of a row which one it is from.

    :param tables: by their names; ``columns`` are those that all of them have.
    """

    has_groups = True

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = list(tables.items())
        self._ends = list(accumulate(len(table) for table in tables.values()))
        self.name = digest(*(table.name for table in tables.values()))
        _, first = self._tables[0]
        self.columns: Sequence[str] = ['part', *(
            name for name in first.columns
            if all(name in table.columns for table in tables.values()))]

    def __len__(self) -> int:
        return self._ends[-1]

    def row(self, place: int) -> Row:
        """Give one row.

        :raises SampleError: its part of the file is damaged.
        """
        number = bisect_right(self._ends, place)
        part, table = self._tables[number]
        return {'part': part, **table.row(place - self._ends[number] + len(table))}


def open_scivqa(path: Path, part: str) -> DataSet:
    """Open SciVQA: a JSON list named by its part and date, ``images_PART/`` beside it.

    Left out: what has several right choices, and what has no answer in the figure, since the
    sentence for it is told nowhere in the question.

    :raises DataSetError: a file or its columns are not there.
    """
    file = _sole(path, f'{part}*.json')
    known = Known(ask=_ASK, answers_by='letter', context='caption', kind='kind')
    rows = Reshaped(JsonRows(file), (
        'image_file', 'caption', 'qa_pair_type', 'question', 'answer', 'answer_options'), _scivqa)
    return Columns(rows, known, _pictures(file.parent, f'images_{part}', f'images/{part}'))


def open_chartx(path: Path, part: str) -> DataSet:
    """Open ChartX's questions: one a chart; pictures in ``ChartX_png/`` or beside the file.

    :raises DataSetError: a file or its columns are not there.
    """
    file = _sole(path, f'ChartX_annotation_{part}.json')
    rows = Reshaped(JsonRows(file), ('img', 'chart_type', 'QA'), _chartx)
    return Columns(rows, Known(rule=RELAXED, ask=_ASK, kind='kind'),
                   _pictures(file.parent, 'ChartX_png', '.'))


def open_tablevqa(path: Path, part: str) -> DataSet:
    """Open TableVQA-Bench: four tables, or one of them by its name.

    Left out: what has several values as its one answer, in any order.

    :raises DataSetError: a file or its columns are not there.
    """
    files = [path] if path.is_file() else find_tables(path, part)
    tables = {file.name.partition('-')[0]: open_table([file], file.stem) for file in files}
    rows = Reshaped(Parts(tables), ('qa_id', 'image', 'question', 'gt'), _tablevqa)
    return Columns(rows, Known(ask=_ASK, kind='kind'))


def open_estvqa(path: Path, part: str) -> DataSet:
    """Open EST-VQA: ``annotations/PART.json`` with several questions an image, ``images/PART/``.

    :raises DataSetError: a file or its columns are not there.
    """
    file = _sole(path, f'annotations/{part}.json')
    folder = file.parents[1]
    rows = Reshaped(Unfolded(JsonRows(file), 'annotation'), ('image', 'annotation'), _estvqa)
    return Columns(rows, Known(rule=ANLS, ask=_ASK), _pictures(folder, f'images/{part}'))


def _scivqa(row: Row) -> Row:
    kind, answer = str(row['qa_pair_type']), row['answer']
    if kind == UNANSWERABLE:
        raise LeftOut('not answerable')
    # One mapping for each letter, with the text of that letter alone.
    texts = [(letter, text) for option in row['answer_options'] or ()
             for letter, text in option.items() if text is not None]
    if texts and isinstance(answer, str) and _SEVERAL.fullmatch(answer.strip()):
        raise LeftOut('several choices are right', answer)
    return _row(row['image_file'], row['question'], answer, kind,
                [text for _, text in sorted(texts)], row['caption'])


def _chartx(row: Row) -> Row:
    asked = row['QA']
    return _row(row['img'], asked['input'], _number_alone(asked['output']), row['chart_type'])


def _tablevqa(row: Row) -> Row:
    question, answer, part = row['question'], row['gt'], row['part']
    if part == STATEMENTS:
        question = f'Is this true or false of the table? {question}'
        answer = _TRUTHS[str(answer)]
    elif '|' in str(answer):
        raise LeftOut('several values at once', answer)
    return _row(row['image'], question, _number_alone(answer), part)


def _estvqa(row: Row) -> Row:
    asked = row['annotation']
    return _row(row['image'], asked['question'], asked['answer'])


def _row(image: Any, question: str, answer: Any, kind: str = '', choices: Sequence[str] = (),
         caption: str = '') -> Row:
    return dict(zip(Reshaped.columns, (
        image, question, answer.strip() if isinstance(answer, str) else answer, choices, caption,
        kind), strict=True))


def _number_alone(answer: Any) -> Any:
    """Take the dollar sign off a number: it is compared as one, and with or without the sign."""
    found = _DOLLARS.fullmatch(answer.strip()) if isinstance(answer, str) else None
    return found[1] if found else answer


def _sole(path: Path, pattern: str) -> Path:
    """Find the only file of a pattern, or take the path if it is a file."""
    if path.is_file():
        return path
    found = sorted(path.glob(pattern))
    if len(found) != 1:
        raise DataSetError(f'{path}: {len(found)} files {pattern}, not one')
    return found[0]


def _pictures(folder: Path, *inner: str) -> Pictures:
    """Read pictures below the first of these folders that is there."""
    for name in inner:
        if (folder / name).is_dir():
            return Pictures(folder, name)
    raise DataSetError(f'{folder}: no folder {" nor ".join(inner)} with its pictures')
