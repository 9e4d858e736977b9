"""What is done again and again leaves nothing behind; what fails is counted and survived."""
from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from fault_rig import (
    Rig,
    descendants,
    descriptors,
    resident_bytes,
    shared_memory_files,
    threads,
    until_gone,
)
from lifecycle_msgs.msg import Transition
from live import Graph, Robot

from vr_ros.core.types import Status
from vr_ros.nodes import qos

CYCLE_UP = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
CYCLE_DOWN = (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
# Of the allocator's whims; a frame or a worker's ring that stays would be more in ten cycles.
GROWTH_BYTES = 8 << 20


@pytest.fixture
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp('cycles'), 'cycles') as made:
        made.until_ready()
        yield made


def test_ten_life_cycles_leave_no_process_thread_descriptor_or_memory(rig: Rig) -> None:
    pid, before_files = rig.process.pid, shared_memory_files()
    measured, workers = [], set()
    rig.transition(*CYCLE_DOWN)
    for _ in range(12):
        # What was heard of the images of the cycle before must not be compared with.
        rig.until(lambda: 'camera camera' not in rig.health)
        rig.transition(*CYCLE_UP)
        rig.until_ready()
        workers.add(rig.worker)
        rig.show()
        assert rig.answer_on_film(rig.tell('echo')).outcome.status == Status.OK
        rig.wrong_counts()
        rig.transition(*CYCLE_DOWN)
        assert until_gone(workers) == set() == descendants(pid)
        measured.append((descriptors(pid), threads(pid), resident_bytes(pid)))
    assert len(workers) == 12
    warm, last = measured[1], measured[-1]  # the first cycles fill caches
    assert last[:2] == warm[:2], measured
    assert last[2] - warm[2] < GROWTH_BYTES, measured
    assert shared_memory_files() <= before_files


def test_shutdown_leaves_no_worker_and_the_program_ends(rig: Rig) -> None:
    worker, pid = rig.worker, rig.process.pid
    rig.transition(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert until_gone({worker}) == set() == descendants(pid)
    rig.process.terminate()
    assert rig.process.wait(30) == 0


def test_a_callback_that_fails_is_counted_and_the_node_goes_on(
        graph: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str]) -> None:
    made = graph(diagnostics_period=0.1)
    robot: Robot = made.start()
    reports = robot.listen('/diagnostics', DiagnosticArray, qos.command())

    def callbacks() -> dict[str, str]:
        return {pair.key: pair.value for report in reports[-1:] for status in report.status
                if status.name.endswith(': callbacks') for pair in status.values}

    robot.until(lambda: callbacks() == {'failed': '0'})
    with monkeypatch.context() as patch:
        def break_down(*arguments: object, **options: object) -> None:
            raise RuntimeError('a bug')

        patch.setattr(made.node._dispatcher, 'submit', break_down)
        robot.tell('echo')
        robot.tell('echo')
        robot.until(lambda: callbacks().get('failed') == '2')
    assert callbacks()['_on_instruction'] == '2'
    errors = capfd.readouterr().err
    assert errors.count('RuntimeError: a bug') == 2 and 'Traceback' in errors
    robot.show()
    assert robot.ask('echo').outcome.status == Status.OK
