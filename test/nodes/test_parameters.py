"""The perception node's table, and its copy in the README."""
from __future__ import annotations

from pathlib import Path

import pytest

from vr_ros.nodes.parameter_spec import specs
from vr_ros.nodes.parameters import PerceptionParameters, with_table

README = Path(__file__).parents[2] / 'README.md'


def test_the_readme_has_the_table_as_it_is() -> None:
    text = README.read_text(encoding='utf-8')
    assert with_table(text) == text, 'run: python -m vr_ros.nodes.parameters --write README.md'
    assert all(f'| `{spec.name}` |' in text for spec in specs(PerceptionParameters))


def test_a_document_without_marks_is_left_alone() -> None:
    with pytest.raises(ValueError, match='no lines'):
        with_table('# Title\n')
