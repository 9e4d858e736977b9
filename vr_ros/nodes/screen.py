"""What a person sees on the terminal: reasoning as it comes, then a table."""
from __future__ import annotations

import math
import re
import unicodedata

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vr_ros.core.types import Detection, Perception, Status, Task

_REASONING_STYLE = 'dim italic'
# A longer word is not waited for: it may be a language that puts no spaces.
_LONGEST_WORD_CELLS = 24
# Control characters, invisible ones that reverse or hide text, halves of characters.
_UNPRINTABLE = ('Cc', 'Cf', 'Cs')


def printable(text: str) -> str:
    """Replace what would control the terminal: models and strangers write these texts."""
    return ''.join(
        character if character in '\n\t' or unicodedata.category(character) not in _UNPRINTABLE
        else '\N{REPLACEMENT CHARACTER}' for character in text)


class ReasoningPrinter:
    """Prints a text in the pieces in which it comes; on a terminal, lines end between words."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = ''
        self._word = ''   # begun, and held back: it may belong on the next line
        self._column = 0
        self._is_inside = False  # a long word of which a part is written

    def add(self, piece: str) -> None:
        """Print a piece."""
        if not piece:
            return
        self._shown += piece
        if not self._console.is_terminal:
            self._write(printable(piece))
            return
        *words, self._word = re.split(r'(?<=\s)', self._word + printable(piece))
        if cell_len(self._word) > _LONGEST_WORD_CELLS:
            words.append(self._word)
            self._word = ''
        self._write(''.join(map(self._placed, words)))

    def end(self, whole: str = '') -> None:
        """End the text, and the line if one was begun.

        :param whole: the text as the result has it. Pieces may get lost on their way, the first
            ones above all: what is missing is printed now.
        """
        shown = self._shown.lstrip()
        if whole and shown and not whole.startswith(shown.rstrip()):
            self._end_line()
            shown = ''
        self.add(whole[len(shown):])
        if self._shown:
            self._end_line()
        self._shown = ''

    def _placed(self, word: str) -> str:
        """Put a line break before a word, or in place of the space after it, where that is due.

        :param word: with the white space that ends it.
        """
        width, bare = self._console.width, word.rstrip()
        may_break = self._column > 0 and not self._is_inside
        lead = '\n' if may_break and self._column + cell_len(bare) > width else ''
        column = (0 if lead else self._column) + cell_len(bare)
        space = word[len(bare):].replace('\t', ' ')
        if column > width:  # the terminal itself breaks what is longer than a line
            column = column % width or width
        if space and column == width:
            space = '\n'
        self._column = 0 if '\n' in space else column + len(space)
        self._is_inside = not space
        return f'{lead}{bare}{space}'

    def _end_line(self) -> None:
        self._write(self._placed(self._word) if self._word else '')
        self._console.print()
        self._word, self._column, self._is_inside = '', 0, False

    def _write(self, text: str) -> None:
        if text:
            self._console.print(Text(text, style=_REASONING_STYLE), end='', soft_wrap=True)


def print_perception(console: Console, perception: Perception) -> None:
    """Print a result: the answer or a table of the objects, and one line about how it went."""
    if perception.answer and perception.task is Task.VQA:
        console.print(Text(printable(perception.answer), style='bold'))
    if perception.detections:
        console.print(detection_table(perception.detections))
    console.print(summary_line(perception), soft_wrap=not console.is_terminal)


def detection_table(detections: tuple[Detection, ...]) -> Table:
    """Lay out objects as a table; pixels are those of the image.

    What no object has gets no column; a single object gets no number.
    """
    columns = {
        '#': [str(found.index) if len(detections) > 1 else '' for found in detections],
        'label': [printable(found.label) for found in detections],
        'box': [_numbers(found.box) for found in detections],
        'point': ['' if d.point is None else _numbers(d.point) for d in detections],
        'score': ['' if math.isnan(d.score) else f'{d.score:.2f}' for d in detections],
        'area px': ['' if d.mask is None else str(d.area_px) for d in detections]}
    columns = {name: values for name, values in columns.items() if any(values)}
    table = Table(box=None, header_style='bold', pad_edge=False)
    for name in columns:
        table.add_column(name, justify='left' if name == 'label' else 'right')
    for row in zip(*columns.values(), strict=True):
        table.add_row(*(Text(value or '-') for value in row))
    return table


def summary_line(perception: Perception) -> Text:
    """Say how an answer ended and how long it took."""
    status, timing = perception.status, perception.timing
    line = Text(status.name, style=status_style(status))
    if perception.status_message:
        line.append(f': {printable(perception.status_message)}', style='default')
    if not status.is_error and perception.task is not Task.VQA:
        noun = 'object' if perception.count == 1 else 'objects'
        line.append(f' · {perception.count} {noun}', style='default')
    line.append(f' · {timing.total_ms / 1e3:.2f} s', style='default')
    if timing.first_token_ms:
        line.append(f' (first token {timing.first_token_ms / 1e3:.2f} s)', style='dim')
    return line


def status_style(status: Status) -> str:
    """Choose a colour: an error, a restriction, or fine."""
    if status.is_error:
        return 'bold red'
    return 'bold green' if status in (Status.OK, Status.NO_OBJECT) else 'bold yellow'


def _numbers(values: tuple[float, ...]) -> str:
    return ' '.join(f'{value:.0f}' for value in values)
