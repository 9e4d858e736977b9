"""Questions with choices: how sets write them, how they are asked, and which one is right."""
from __future__ import annotations

import ast
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from vr_ros.datasets.sample import SampleError

ASK = 'Answer with the letter of the right choice.'
# A line that is a choice, as questions list them: 'A. four', '(A) four', 'A: four'.
_LINE = re.compile(r'^\s*\(?([A-Z])[.):]\s*(\S.*)$', re.MULTILINE)
_LONGEST = 100_000


def read_choices(content: Any) -> tuple[str, ...]:
    """Read choices: texts, the text of a list of them as MMMU has it, or a dict with texts.

    :return: none where the question has none.
    :raises SampleError: if they are something else.
    """
    if isinstance(content, Mapping):
        content = content.get('text')
    if isinstance(content, str) and content.strip():
        try:
            content = ast.literal_eval(content[:_LONGEST])
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise SampleError(f'choices {content[:80]!r} are no list') from error
    if content is None or not len(content):
        return ()
    if isinstance(content, str) or not all(isinstance(c, str | int | float) for c in content):
        raise SampleError(f'choices {str(content)[:80]!r} are no texts')
    if len(content) > len(string.ascii_uppercase):
        raise SampleError(f'{len(content)} choices, more than there are letters')
    return tuple(map(str, content))


def choices_in(question: str) -> tuple[str, ...]:
    """Find choices that a question lists itself, from A on; none where it lists fewer than two."""
    found: list[str] = []
    for letter, text in _LINE.findall(question):
        if letter == string.ascii_uppercase[len(found) % 26]:
            found.append(text.strip())
    return tuple(found) if len(found) > 1 else ()


def ask_choice(question: str, choices: Sequence[str]) -> str:
    """List choices behind a question by their letters."""
    letters = string.ascii_uppercase
    return '\n'.join([question, *(f'{letter}. {text}' for letter, text in zip(
        letters, choices, strict=False))])


def right_choice(answer: Any, choices: Sequence[str], by: str = '') -> tuple[str, str]:
    """Find out which choice is right.

    :param answer: its letter, its place from 0, or its text.
    :param by: which of these it is: letter, index or text; empty: a number of the type is a place,
        then a text, a letter and a number written out are tried in this order.
    :return: its letter and its text.
    :raises SampleError: if it is none of the choices.
    """
    letters, text = string.ascii_uppercase[:len(choices)], str(answer).strip()
    is_number = isinstance(answer, int | float) and not isinstance(answer, bool)
    place = None
    if by in ('', 'text') and text in choices and not (is_number and not by):
        place = choices.index(text)
    elif by in ('', 'letter') and len(text.strip('().')) == 1 and text.strip('().') in letters:
        place = letters.index(text.strip('().'))
    elif by in ('', 'index') and re.fullmatch(r'\d{1,2}(\.0)?', text):
        place = int(float(text))
    if place is None or place >= len(choices):
        raise SampleError(f'the answer {text[:80]!r} is none of the choices {", ".join(choices)}')
    return letters[place], choices[place]
