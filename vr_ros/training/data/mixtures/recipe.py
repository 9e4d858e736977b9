"""Mixtures: which sources, how many rows of each, drawn how; a file of YAML, not code.

::

    name: my_mixture
    seed: 42                       # of the order, and of what parts draw
    storage: {size: 840}           # options of ./run train data about images
    parts:
    - {source: refcocog, rows: 1800}
    - {name: empty, source: grefcoco, rows: 200, only: absent}

A part is what ``./run train data SOURCE`` would make with ``--limit ROWS``; all other keys are
options of that command, by their names without dashes. Without ``rows`` all is taken. ``times``
repeats the rows of a part, as V-Triune does with its puzzles.
"""
from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from vr_ros.core.spelling import nearest
from vr_ros.datasets.sample import DataSetError, digest
from vr_ros.training.data.command import add_options
from vr_ros.training.data.registry import builders

_OWN = ('name', 'source', 'rows', 'times')
_ALL = ('name', 'about', 'seed', 'storage', 'parts')
# What is the mixture's to say, not a part's.
_NOT_OF_PARTS = ('out', 'split', 'limit', 'shard_size', 'processes')


@dataclass(frozen=True)
class Part:
    """Rows of one source.

    :param name: of the part.
    :param rows: how many; None: all.
    :param times: so many copies of each.
    :param options: of ``./run train data SOURCE``.
    """

    name: str
    source: str
    rows: int | None = None
    times: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Mixture:
    """A recipe.

    :param about: where it comes from, and what of it is known.
    :param storage: options about images, for all parts.
    :param file: it was read from.
    :param identity: says all that decides about the rows, but for the data sets themselves.
    """

    name: str
    parts: tuple[Part, ...]
    seed: int = 0
    storage: Mapping[str, Any] = field(default_factory=dict)
    about: str = ''
    identity: str = ''
    file: Path | None = None

    @property
    def rows(self) -> int | None:
        """How many it is to have; None where a part takes all there is."""
        wanted = [None if part.rows is None else part.rows * part.times for part in self.parts]
        return None if None in wanted else sum(filter(None, wanted))


def read_mixture(path: Path) -> Mixture:
    """Read a recipe.

    :raises DataSetError: it is none; the message names the part and the key.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataSetError(f'{path}: {error}') from error
    if not isinstance(content, dict) or not isinstance(content.get('parts'), list):
        raise DataSetError(f'{path}: no recipe of a mixture: it has no list "parts"')
    _require_known(content, _ALL, path)
    parts = tuple(_part(part, path) for part in content['parts'])
    names = [part.name for part in parts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not parts:
        raise DataSetError(f'{path}: ' + (
            f'two parts are called {", ".join(twice)}: give them names' if twice else 'no parts'))
    storage, seed = content.get('storage') or {}, content.get('seed', 0)
    if not isinstance(storage, dict) or not _is_number(seed, 0):
        raise DataSetError(f'{path}: storage is a mapping and seed a number from 0 on')
    facts = json.dumps([seed, storage, content['parts']], sort_keys=True)
    return Mixture(str(content.get('name') or path.stem), parts, seed, storage,
                   str(content.get('about') or ''), digest(facts), path)


def part_options(part: Part, mixture: Mixture, split: str, data: Path) -> argparse.Namespace:
    """Give the options of a part as ``./run train data`` would read them.

    :param data: the folder that the public sets lie in, each by the name of its source.
    :raises DataSetError: an option is not known, or its value is none.
    """
    builder = builders()[part.source]
    where = f'{mixture.file}: part {part.name}' if mixture.file else f'part {part.name}'
    parser = _Parser(prog=where, add_help=False, allow_abbrev=False)
    builder.add_options(parser)
    add_options(parser)
    values = {'seed': mixture.seed, **mixture.storage, **part.options}
    known = {action.dest for action in parser._actions}
    if 'data' in known:
        values['data'] = data / str(values.get('data', part.source))
    own = [name for name in values if name in _NOT_OF_PARTS]
    if own:
        raise DataSetError(f'{where}: {", ".join(own)}: that is for the mixture to say')
    _require_known(values, known, where)
    positional = [str(values.pop(action.dest)) for action in parser._actions
                  if not action.option_strings and action.dest in values]
    arguments = [*positional, f'--split={split}']
    for name, value in values.items():
        arguments += _arguments(f'--{name.replace("_", "-")}', value)
    options = parser.parse_args(arguments)
    options.limit = part.rows
    return options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise DataSetError(f'{self.prog}: {message}')


def _arguments(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag] if value else []
    if isinstance(value, list):
        return [flag, *map(str, value)]
    return [f'{flag}={json.dumps(value) if isinstance(value, dict) else value}']


def _part(content: Any, path: Path) -> Part:
    if not isinstance(content, dict) or not isinstance(content.get('source'), str):
        raise DataSetError(f'{path}: a part names its source, unlike {str(content)[:80]}')
    source = content['source']
    name = str(content.get('name') or source)
    sources = builders()
    if source not in sources:
        near = nearest(source, sources)
        raise DataSetError(f'{path}: part {name}: no source "{source}"' + (
            f'; did you mean "{near}"?' if near else f'; there are: {", ".join(sources)}'))
    for key in ('rows', 'times'):
        value = content.get(key, 1)
        if not _is_number(value, 1):
            raise DataSetError(f'{path}: part {name}: {key} is a number from 1 on, not {value!r}')
    if not name.replace('_', '').replace('-', '').isalnum():
        raise DataSetError(f'{path}: part {name}: a name has letters, digits, - and _ only')
    options = {key: value for key, value in content.items() if key not in _OWN}
    return Part(name, source, content.get('rows'), content.get('times', 1), options)


def _is_number(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _require_known(names: Mapping[str, Any], known: Sequence[str] | set[str], where: Any) -> None:
    for name in names:
        if name not in known:
            near = nearest(str(name), known)
            raise DataSetError(f'{where}: unknown key {name!r}' + (
                f', is it {near!r}?' if near else ''))
