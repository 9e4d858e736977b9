"""Fixtures for tests on the live graph. pytest-timeout ends a test that hangs, from within."""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from live import FAULT_BACKEND, Graph, Robot


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Graph]]:
    """Make perception nodes with the fault back-end; they and their workers end with the test."""
    use_fault_backend(monkeypatch)
    graphs: list[Graph] = []

    def make(**parameters: Any) -> Graph:
        graphs.append(Graph('own', {'model': 'good', **parameters}))
        return graphs[-1]

    yield make
    for item in graphs:
        item.close()


@pytest.fixture(scope='module')
def shared_robot() -> Iterator[Robot]:
    """Give a robot with a node that is active and ready, the same to all tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        use_fault_backend(patch)
        made = Graph('shared', {'model': 'good'})
        yield made.start()
        made.close()


def use_fault_backend(patch: pytest.MonkeyPatch) -> None:
    patch.setenv('VR_ROS_WORKER_BACKEND', FAULT_BACKEND)
    patch.setenv('VR_ROS_PYTHON', sys.executable)
