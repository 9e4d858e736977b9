"""What the bridge does to events on their way; the rest is tested on the live graph."""
from __future__ import annotations

from pathlib import Path

import pytest

from vr_ros.nodes import worker_bridge
from vr_ros.nodes.parameters import PerceptionParameters
from vr_ros.nodes.worker_bridge import default_worker_python, join_texts
from vr_ros.pipeline.protocol import Started, Text


def test_texts_that_follow_each_other_become_one() -> None:
    items = [Started(1), Text(1, 'a'), Text(1, 'b'), Started(2), Text(2, 'c'), Text(1, 'd'),
             Text(1, 'e')]
    assert join_texts(items) == [
        Started(1), Text(1, 'ab'), Started(2), Text(2, 'c'), Text(1, 'de')]
    assert join_texts([]) == []


def test_the_environment_names_the_workers_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('VR_ROS_PYTHON', '/some/python')
    assert default_worker_python() == '/some/python'


def test_else_it_is_the_workspaces_and_else_the_nodes_own(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv('VR_ROS_PYTHON', raising=False)
    module = tmp_path / 'install' / 'lib' / 'vr_ros' / 'nodes' / 'worker_bridge.py'
    monkeypatch.setattr(worker_bridge, '__file__', str(module))
    assert default_worker_python() == ''
    python = tmp_path / '.venv' / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    python.touch()
    assert default_worker_python() == str(python)


@pytest.mark.parametrize(('parameters', 'options'), [
    ({}, {'device': 'auto'}),
    ({'device': 'cpu', 'score_source': 'card'}, {'device': 'cpu'}),
    ({'score_source': 'none'}, {'device': 'auto', 'score_source': 'none'}),
])
def test_what_the_back_end_is_told(parameters: dict, options: dict) -> None:
    assert worker_bridge._options(PerceptionParameters(**parameters)) == options
