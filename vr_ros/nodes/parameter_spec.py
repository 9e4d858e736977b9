"""Parameter tables: frozen dataclasses whose fields declare, check and document parameters."""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_type_hints

_METADATA = 'parameter'
_KINDS = {bool: 'bool', int: 'int', float: 'double', str: 'string', tuple[str, ...]: 'string[]'}


class Applies(Enum):
    """When a new value takes effect, and so when it may be set."""

    NOW = 'at once'
    CONFIGURE = 'when the node is configured'
    START = 'when the node is started'


@dataclass(frozen=True)
class Spec:
    """One row of the table.

    :param kind: 'bool', 'int', 'double', 'string' or 'string[]'.
    :param low, high: range of a number, both included; None: no limit.
    :param choices: the only values that a string may have; empty: any.
    """

    name: str
    kind: str
    default: Any
    description: str
    unit: str = ''
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    applies: Applies = Applies.NOW


class ParameterError(Exception):
    """A parameter that cannot be used; one line that names it and says what is allowed."""


def parameter(default: Any, description: str, *, unit: str = '', low: float | None = None,
              high: float | None = None, choices: Sequence[str] = (),
              applies: Applies = Applies.NOW) -> Any:
    """Make a field of a parameter table; see Spec for the arguments."""
    return dataclasses.field(default=default, metadata={_METADATA: {
        'description': description, 'unit': unit, 'low': low, 'high': high,
        'choices': tuple(choices), 'applies': applies}})


def specs(table: type[Any]) -> tuple[Spec, ...]:
    """List the rows of a table, in the order of its fields.

    :raises TypeError: a field is not made by `parameter`, or of a type that ROS parameters lack.
    """
    hints = get_type_hints(table)
    rows = []
    for entry in dataclasses.fields(table):
        kind = _KINDS.get(hints[entry.name])
        if kind is None or _METADATA not in entry.metadata:
            raise TypeError(f'{table.__name__}.{entry.name} is no parameter')
        rows.append(Spec(entry.name, kind, entry.default, **entry.metadata[_METADATA]))
    return tuple(rows)


def coerce(spec: Spec, value: Any) -> Any:
    """Bring a value that a person wrote into the parameter's type: 2 is a fine 2.0.

    :return: the value, converted where that loses nothing; else as it was.
    """
    if spec.kind == 'double' and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if spec.kind == 'string[]' and isinstance(value, list):
        return tuple(value)
    return value


def problem(spec: Spec, value: Any) -> str:
    """Say in one line why a parameter cannot have a value; '' when it can."""
    if not _has_kind(spec.kind, value):
        return f'{spec.name} is of type {spec.kind}, not {value!r:.80}'
    if isinstance(value, float) and not math.isfinite(value):
        return f'{spec.name} must be finite, not {value}'
    if spec.low is not None and value < spec.low or spec.high is not None and value > spec.high:
        return f'{spec.name} must be {range_text(spec)}, not {value}'
    if spec.choices and value not in spec.choices:
        return f'{spec.name} must be one of {", ".join(spec.choices)}, not {value!r:.80}'
    return ''


def _has_kind(kind: str, value: Any) -> bool:
    if kind == 'string[]':
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if kind == 'int':
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, {'bool': bool, 'double': float, 'string': str}[kind])


def range_text(spec: Spec) -> str:
    """Write a parameter's range or choices for a person; '' when anything goes."""
    if spec.choices:
        return ', '.join(spec.choices)
    low, high = spec.low, spec.high
    if low is not None and high is not None:
        return f'{low:g} to {high:g}'
    if low is not None:
        return f'at least {low:g}'
    return '' if high is None else f'at most {high:g}'


def markdown_table(table: type[Any]) -> str:
    """Write the table as the README shows it."""
    lines = ['| parameter | type | default | range | unit | takes effect | meaning |',
             '|---|---|---|---|---|---|---|']
    for spec in specs(table):
        cells = (f'`{spec.name}`', spec.kind, f'`{default_text(spec.default)}`', range_text(spec),
                 spec.unit, spec.applies.value, spec.description)
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def default_text(value: Any) -> str:
    """Write a default as YAML does."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f'[{", ".join(default_text(item) for item in value)}]'
    return repr(value) if value == '' or not isinstance(value, str) else value
