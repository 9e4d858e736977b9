"""What a person sees on the terminal: reasoning as it comes, then a table."""
from __future__ import annotations

import math
import unicodedata

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vr_ros.core.types import Detection, Perception, Status, Task

_REASONING_STYLE = 'dim italic'
# Control characters, invisible ones that reverse or hide text, halves of characters.
_UNPRINTABLE = ('Cc', 'Cf', 'Cs')


def printable(text: str) -> str:
    """Replace what would control the terminal: models and strangers write these texts."""
    return ''.join(
        character if character in '\n\t' or unicodedata.category(character) not in _UNPRINTABLE
        else '\N{REPLACEMENT CHARACTER}' for character in text)


class ReasoningPrinter:
    """Prints a text in the pieces in which it comes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = ''

    def add(self, piece: str) -> None:
        """Print a piece."""
        if piece:
            self._console.print(Text(printable(piece), style=_REASONING_STYLE), end='',
                                soft_wrap=True)
            self._shown += piece

    def end(self, whole: str = '') -> None:
        """End the text, and the line if one was begun.

        :param whole: the text as the result has it. Pieces may get lost on their way, the first
            ones above all: what is missing is printed now.
        """
        shown = self._shown.lstrip()
        if whole and shown and not whole.startswith(shown.rstrip()):
            self._console.print()
            shown = ''
        self.add(whole[len(shown):])
        if self._shown:
            self._console.print()
        self._shown = ''


def print_perception(console: Console, perception: Perception) -> None:
    """Print a result: the answer or a table of the objects, and one line about how it went."""
    if perception.answer and perception.task is Task.VQA:
        console.print(Text(printable(perception.answer), style='bold'))
    if perception.detections:
        console.print(detection_table(perception.detections))
    console.print(summary_line(perception), soft_wrap=True)


def detection_table(detections: tuple[Detection, ...]) -> Table:
    """Lay out objects as a table; pixels are those of the image."""
    table = Table(box=None, header_style='bold', pad_edge=False)
    for name in ('#', 'label', 'box', 'point', 'score', 'area px'):
        table.add_column(name, justify='left' if name == 'label' else 'right')
    for found in detections:
        table.add_row(
            str(found.index), Text(printable(found.label) or '-'), _numbers(found.box),
            '-' if found.point is None else _numbers(found.point),
            '-' if math.isnan(found.score) else f'{found.score:.2f}',
            '-' if found.mask is None else str(found.area_px))
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
