"""What the terminal shows of results."""
from __future__ import annotations

import io

import pytest
from rich.console import Console

from vr_ros.core.types import Detection, Mask, Perception, Size, Status, Task, Timing
from vr_ros.nodes.screen import ReasoningPrinter, print_perception, printable


def shown(perception: Perception) -> list[list[str]]:
    """Print a perception; give the words of each line."""
    console = Console(file=io.StringIO(), width=100)
    print_perception(console, perception)
    return [line.split() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(('text', 'expected'), [
    ('plain ☕ ü\n\tx', 'plain ☕ ü\n\tx'),      # nothing to hide
    ('a\x1b[2Jb', 'a�[2Jb'),                    # clears the screen
    ('a\rb\x07\x00', 'a�b��'),                  # overwrites, rings, ends
    ('\x9b31m', '�31m'),                        # the eight-bit form of an escape
    ('abc\u202edef', 'abc�def'),                # reverses what follows
    ('\ud800', '�'),                            # half a character
])
def test_nothing_controls_the_terminal(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize(('pieces', 'whole', 'expected'), [
    (['I see ', 'a cup'], 'I see a cup', 'I see a cup\n'),          # everything came
    (['I see '], 'I see a cup', 'I see a cup\n'),                   # the end got lost
    ([], 'I see a cup', 'I see a cup\n'),                           # all of it got lost
    (['a cup'], 'I see a cup', 'a cup\nI see a cup\n'),             # the beginning got lost
    (['\nI see '], 'I see a cup', '\nI see a cup\n'),               # the result is stripped
    (['I see '], '', 'I see \n'),                                   # the result has no reasoning
    ([], '', ''),                                                   # there is none at all
    (['[bold]x[/bold] :smile:'], '', '[bold]x[/bold] :smile:\n'),   # no markup of ours
])
def test_reasoning_is_shown_once_and_whole(
        pieces: list[str], whole: str, expected: str) -> None:
    console = Console(file=io.StringIO(), width=40)
    printer = ReasoningPrinter(console)
    for piece in pieces:
        printer.add(piece)
    printer.end(whole)
    printer.end()
    assert console.file.getvalue() == expected


def printed_on_a_terminal(pieces: list[str], width: int) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=True, color_system=None, _environ={})
    printer = ReasoningPrinter(console)
    for piece in pieces:
        printer.add(piece)
    printer.end(''.join(pieces).strip())
    return console.file.getvalue()


@pytest.mark.parametrize(('text', 'expected'), [
    ('the red cube', 'the red \ncube\n'),              # a word that would be cut
    ('the blue cube', 'the blue\ncube\n'),             # fits to the last column
    ('12345678 x', '12345678\nx\n'),                   # no space at the beginning of a line
    ('a\n\nb\tc', 'a\n\nb c\n'),                      # breaks of the text's own
    ('x' * 40, 'x' * 40 + '\n'),                       # no place to break: the terminal does it
    ('x' * 40 + ' the b', 'x' * 40 + '\nthe b\n'),      # it ends at the edge
    ('a ' + 'x' * 10 + ' b', 'a \n' + 'x' * 10 + ' b\n'),  # at least it begins a line
    ('☕☕☕ ☕☕☕', '☕☕☕ \n☕☕☕\n'),                     # two columns each
])
@pytest.mark.parametrize('at_once', [True, False])
def test_on_a_terminal_lines_end_between_words(text: str, expected: str, at_once: bool) -> None:
    assert printed_on_a_terminal([text] if at_once else list(text), 8) == expected


def test_words_are_not_held_back_longer_than_until_the_next_begins() -> None:
    console = Console(
        file=io.StringIO(), width=40, force_terminal=True, color_system=None, _environ={})
    printer = ReasoningPrinter(console)
    printer.add('I see a c')
    assert console.file.getvalue() == 'I see a '
    printer.add('up and')
    assert console.file.getvalue() == 'I see a cup '
    printer.add('字' * 20)    # no spaces will come
    assert console.file.getvalue().endswith('字')


def test_objects_are_rows_and_missing_values_dashes() -> None:
    mask = Mask(Size(4, 4), (2, 3, 11))
    header, first, second, line = shown(Perception(
        Status.OK, Task.COUNTING, (
            Detection(0, (1.0, 2.4, 3.6, 4.0), (2.0, 3.0), 'red cup', 0.875, mask=mask, area_px=3),
            Detection(1, (0.0, 0.0, 1.0, 1.0))),
        timing=Timing(total_ms=1234.0, first_token_ms=250.0)))
    assert header == ['#', 'label', 'box', 'point', 'score', 'area', 'px']
    assert first == ['0', 'red', 'cup', '1', '2', '4', '4', '2', '3', '0.88', '3']
    assert second == ['1', '-', '0', '0', '1', '1', '-', '-', '-']
    assert line == 'OK · 2 objects · 1.23 s (first token 0.25 s)'.split()


@pytest.mark.parametrize(('perception', 'expected'), [
    (Perception(Status.OK, Task.VQA, answer='a red mug'), ['a red mug', 'OK · 0.00 s']),
    (Perception(Status.NO_OBJECT, Task.DETECTION), ['NO_OBJECT · 0 objects · 0.00 s']),
    (Perception(Status.TIMEOUT, status_message='too late'), ['TIMEOUT: too late · 0.00 s']),
    (Perception(Status.PARTIAL, Task.DETECTION, (Detection(0, (0.0, 0.0, 1.0, 1.0)),)),
     ['box', '0 0 1 1', 'PARTIAL · 1 object · 0.00 s']),                     # what it has, no more
])
def test_every_kind_of_result_has_its_lines(perception: Perception, expected: list[str]) -> None:
    assert shown(perception) == [line.split() for line in expected]
