"""Answers of a model to rows, in a file of JSON lines that only grows and that a run goes on from.

The first line says what was asked of whom; each further one holds all answers to one row. A line
is on the disk before the next row is asked. Of a crash remains at most one line without an end,
which is dropped, and its row is asked again.
"""
from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class AnswersError(ValueError):
    """A file of answers that cannot be used, in one line that says why."""


@dataclass(frozen=True)
class Answers:
    """What a model wrote about one row.

    :param responses: drawn by chance, independently.
    :param tokens: of each response; () where they were not counted.
    :param problem: why there are none; '' where there are.
    """

    id: str
    responses: tuple[str, ...] = ()
    tokens: tuple[int, ...] = ()
    problem: str = ''


class AnswerFile:
    """The file.

    :param settings: all that answers depend on; a file with others is refused.
    :raises AnswersError: it is no such file, or one of another run.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self._path = path
        lines = _whole_lines(path)
        if lines:
            _check_settings(path, lines[0], settings)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [json.dumps({'settings': settings}).encode()]
        # What was torn off is not to stand before the next line.
        _replace(path, b''.join(line + b'\n' for line in lines))
        self.known = {answers.id for answers in self.read()}

    def read(self) -> Iterator[Answers]:
        """Give what is there.

        :raises AnswersError: a line is none of answers.
        """
        for number, line in enumerate(_whole_lines(self._path)[1:], 2):
            yield _answers(self._path, number, line)

    def add(self, answers: Answers) -> None:
        """Append a line and see that it is on the disk."""
        with self._path.open('a', encoding='utf-8') as file:
            file.write(json.dumps(asdict(answers), ensure_ascii=False) + '\n')
            file.flush()
            os.fsync(file.fileno())
        self.known.add(answers.id)


def read_foreign(path: Path, number: int) -> dict[str, Answers]:
    """Read answers that something else drew: lines of {"id": ..., "responses": [...]}.

    :param number: of responses that each row has.
    :return: by id.
    :raises AnswersError: a line is none, or has another number of responses.
    """
    found = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise AnswersError(str(error)) from error
    for place, line in enumerate(lines, 1):
        if line.strip():
            answers = _answers(path, place, line)
            if len(answers.responses) != number:
                raise AnswersError(f'{path}, line {place}: {len(answers.responses)} responses,'
                                   f' not {number}')
            found[answers.id] = answers
    return found


def _answers(path: Path, number: int, line: bytes) -> Answers:
    try:
        content = json.loads(line)
        responses, tokens = tuple(content.get('responses', ())), tuple(content.get('tokens') or ())
        if not isinstance(content['id'], str) or not all(isinstance(r, str) for r in responses):
            raise TypeError('id and responses are texts')
        if tokens and len(tokens) != len(responses):
            raise TypeError('there are not as many tokens as responses')
        return Answers(content['id'], responses, tokens, content.get('problem', ''))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AnswersError(f'{path}, line {number}: no answers: {error}') from error


def _check_settings(path: Path, line: bytes, settings: Mapping[str, Any]) -> None:
    try:
        there = json.loads(line)['settings']
    except (ValueError, TypeError, KeyError) as error:
        raise AnswersError(f'{path} is no file of answers: name another folder') from error
    wanted = json.loads(json.dumps(settings))
    if there != wanted:
        other = sorted(key for key in {*there, *wanted} if there.get(key) != wanted.get(key))
        raise AnswersError(f'{path} holds answers with other {", ".join(other)}: name another '
                           'folder, or the same settings')


def _whole_lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b'\n')[:-1] if path.exists() else []


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f'{path.name}.tmp')
    temporary.write_bytes(content)
    os.replace(temporary, path)
