"""Parameter tables: what they accept, how they explain themselves."""
from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import pytest

from vr_ros.core.spelling import nearest
from vr_ros.nodes.parameter_spec import (
    Applies,
    coerce,
    markdown_table,
    parameter,
    problem,
    specs,
)
from vr_ros.nodes.parameters import PerceptionParameters


@dataclass(frozen=True)
class Table:
    rate: float = parameter(1.5, 'how often', unit='Hz', low=0.5, high=2.0)
    count: int = parameter(3, 'how many', low=0)
    most: int = parameter(3, 'how many at most', high=9)
    mode: str = parameter('fast', 'which way', choices=('fast', 'slow'))
    names: tuple[str, ...] = parameter(('a', 'b'), 'who', applies=Applies.START)
    quiet: bool = parameter(False, 'no talk')


SPECS = {spec.name: spec for spec in specs(Table)}


@pytest.mark.parametrize(('name', 'value', 'words'), [
    ('rate', 0.5, ''),                                 # the lowest
    ('rate', 2.0, ''),                                 # the highest
    ('rate', 2, ''),                                   # what people write
    ('rate', 2.01, '0.5 to 2'),                        # too high
    ('rate', 0.49, '0.5 to 2'),                        # too low
    ('rate', math.nan, 'finite'),                      # passes every comparison
    ('rate', math.inf, 'finite'),                      # no time ever comes
    ('rate', True, 'double'),                          # Python's bool is an int
    ('rate', '1.0', 'double'),                         # quoted in the file
    ('count', 0, ''),                                  # the lowest, without a highest
    ('count', -1, 'at least 0'),                       # too low
    ('count', 1.0, 'int'),                             # no number of anything
    ('count', True, 'int'),                            # Python's bool is an int
    ('most', 10, 'at most 9'),                         # too high
    ('mode', 'slow', ''),                              # one of the choices
    ('mode', 'Slow', 'one of fast, slow'),             # choices are exact
    ('mode', 1, 'string'),                             # a number
    ('names', ['c'], ''),                              # ROS hands out lists
    ('names', (), ''),                                 # none
    ('names', 'c', 'string[]'),                        # one name is no list
    ('names', [1], 'string[]'),                        # numbers are no names
    ('quiet', 1, 'bool'),                              # nearly true
])
def test_problem(name: str, value: Any, words: str) -> None:
    found = problem(SPECS[name], coerce(SPECS[name], value))
    assert (found == '') == (words == '')
    assert words in found and (not found or name in found)


def test_coercion_gives_the_tables_types() -> None:
    assert coerce(SPECS['names'], ['a']) == ('a',)
    value = coerce(SPECS['rate'], 2)
    assert value == 2.0 and isinstance(value, float)


@pytest.mark.parametrize(('name', 'expected'), [
    ('max_image_aeg', 'max_image_age'),     # two letters swapped
    ('image_topic', 'image_topics'),        # singular
    ('deadline', 'default_deadline'),       # half of it
    ('zzz', ''),                            # like nothing
])
def test_nearest(name: str, expected: str) -> None:
    assert nearest(name, [spec.name for spec in specs(PerceptionParameters)]) == expected


def test_a_field_that_is_no_parameter_is_refused() -> None:
    plain = dataclasses.make_dataclass('Plain', [('a', int, 1)])
    odd = dataclasses.make_dataclass('Odd', [('a', complex, parameter(1j, 'odd'))])
    for table in (plain, odd):
        with pytest.raises(TypeError, match='is no parameter'):
            specs(table)


def test_markdown_has_a_row_for_each_parameter() -> None:
    lines = markdown_table(Table).splitlines()
    assert len(lines) == 2 + len(SPECS)
    assert lines[2] == ('| `rate` | double | `1.5` | 0.5 to 2 | Hz | at once | how often |')
    assert lines[6] == ('| `names` | string[] | `[a, b]` |  |  | when the node is started | who |')
    assert '`false`' in lines[7]


@pytest.mark.parametrize('spec', specs(PerceptionParameters), ids=lambda spec: spec.name)
def test_the_perception_nodes_parameters_are_whole(spec: Any) -> None:
    assert problem(spec, spec.default) == ''
    assert spec.description and not spec.description.endswith('.')
    assert '|' not in spec.description
    if spec.kind in ('int', 'double'):
        assert spec.low is not None
