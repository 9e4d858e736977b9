"""Fixtures for tests on the live graph."""
from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from live import FAULT_BACKEND, Graph


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Graph]]:
    """Make perception nodes with the fault back-end; they and their workers end with the test."""
    def give_up(*_: object) -> None:
        raise TimeoutError('the test hangs')

    monkeypatch.setenv('VR_ROS_WORKER_BACKEND', FAULT_BACKEND)
    monkeypatch.setenv('VR_ROS_PYTHON', sys.executable)
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(110)
    graphs: list[Graph] = []

    def make(**parameters: Any) -> Graph:
        graphs.append(Graph({'model': 'good', **parameters}))
        return graphs[-1]

    yield make
    for item in graphs:
        item.close()
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
