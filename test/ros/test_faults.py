"""Every fault on a running node: its status, its message, one result, and the next one succeeds."""
from __future__ import annotations

from collections.abc import Iterator

import pytest
from fault_rig import Rig, shared_memory_files, until_gone
from faults import FAULTS, Fault, attempt

from vr_ros.core.types import Status


@pytest.fixture(scope='module')
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Give a node that all faults befall, one after the other."""
    with Rig(tmp_path_factory.mktemp('faults')) as made:
        made.until_ready()
        yield made


@pytest.mark.parametrize('fault', FAULTS, ids=lambda fault: fault.name)
def test_fault(rig: Rig, fault: Fault) -> None:
    if rig.process.poll() is not None:
        rig.restart()  # one failure is not to be those of all that come after it
    trial = attempt(rig, fault)
    assert not trial.problems, f'{trial}\n{rig.log.read_text(errors="replace")[-3000:]}'


def test_every_status_is_tried() -> None:
    tried = {fault.status for fault in FAULTS}
    assert sorted(status.name for status in Status if status.name not in tried) == []


@pytest.mark.parametrize('text', ['words 100000', 'hang with the interpreter lock'])
def test_a_node_that_is_killed_leaves_nothing_behind(
        tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    before = shared_memory_files()
    with Rig(tmp_path_factory.mktemp('killed'), 'killed') as made:
        made.until_ready()
        made.show()
        made.robot.tell(text)
        made.robot.spin(0.5)
        workers = made.workers | {made.worker}
        assert workers - {0}
        made.kill()
        assert until_gone(workers) == set()
    assert shared_memory_files() <= before
