"""Diagnostics keep coming while a callback of the node holds up all the others."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from live import Graph
from rclpy.executors import SingleThreadedExecutor

from vr_ros.core.types import Status
from vr_ros.nodes import qos
from vr_ros.nodes.diagnostics_thread import place_of

OK, WARN, ERROR, STALE = b'\x00', b'\x01', b'\x02', b'\x03'


class Apart:
    """A node in a thread of its own, and a robot beside it: one may stand still without the other.

    :ivar reports: what the robot hears on /diagnostics.
    """

    def __init__(self, made: Graph) -> None:
        self.node, self.robot, self._executor = made.node, made.robot, made.executor
        self._executor.remove_node(self.robot.node)
        self.robot.executor = SingleThreadedExecutor(context=made.context)
        self.robot.executor.add_node(self.robot.node)
        self.reports: list[DiagnosticArray] = self.robot.listen(
            '/diagnostics', DiagnosticArray, qos.command())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        while not self._ended.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def start(self) -> None:
        """Configure and activate in the node's thread, as a lifecycle manager has it done."""
        def bring_up() -> None:
            self.node.trigger_configure()
            self.node.trigger_activate()

        self._executor.create_task(bring_up)
        self.robot.connect()
        self.robot.wait_for_camera()
        self.robot.until(lambda: self.status('model') == (OK, 'ready'))

    def status(self, name: str) -> tuple[bytes, str]:
        """:return: level and message of the newest status of that name."""
        return next(((found.level, found.message) for report in reversed(self.reports)
                     for found in report.status if found.name == f'/own/perception: {name}'),
                    (b'', ''))

    def close(self) -> None:
        """Leave the node to whoever made it."""
        self._ended.set()
        self._thread.join()
        self.robot.executor.shutdown()


@pytest.fixture
def apart(graph: Callable[..., Graph]) -> Iterator[Apart]:
    made = Apart(graph(diagnostics_period=0.1, max_silence=2.5, max_image_age=0.0))
    yield made
    made.close()


def test_a_callback_that_does_not_return_is_named_while_it_lasts(
        apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    apart.start()
    robot, entered, released = apart.robot, threading.Event(), threading.Event()
    submit = apart.node._dispatcher.submit

    def hold_up(*arguments: object, **options: object) -> int:
        entered.set()
        released.wait()
        return submit(*arguments, **options)

    robot.until(lambda: apart.status('callbacks') == (OK, 'none has failed'))
    monkeypatch.setattr(apart.node._dispatcher, 'submit', hold_up)
    try:
        robot.show()
        name = robot.tell('echo')
        robot.until(entered.is_set)
        robot.until(lambda: apart.status('callbacks')[0] in (WARN, ERROR))
        robot.until(lambda: apart.status('callbacks')[0] == ERROR)
        # They come one after the other all the time, and the worker is known to be well.
        count = len(apart.reports)
        robot.until(lambda: len(apart.reports) > count + 3)
        stamps = [(report.header.stamp.sec, report.header.stamp.nanosec)
                  for report in apart.reports]
        assert stamps == sorted(stamps) and stamps[-1] > stamps[count]
        level, message = apart.status('callbacks')
        assert level == ERROR and 'in _on_instruction (perception_node.py:' in message
        assert apart.status('model') == (OK, 'ready')
        level, message = apart.status('instructions')
        assert level == STALE and message.endswith('s ago: 0 open')
        assert apart.status('camera camera')[0] == STALE
    finally:
        released.set()
    assert robot.answer(name).outcome.status == Status.OK
    robot.until(lambda: apart.status('callbacks') == (OK, 'none has failed'))
    robot.until(lambda: apart.status('instructions')[0] == OK)


def test_a_report_that_fails_is_counted_and_the_rest_goes_on(
        apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    apart.start()

    def break_down(*arguments: object) -> None:
        raise RuntimeError('a bug')

    with monkeypatch.context() as patch:
        patch.setattr(apart.node._diagnostics, '_look', break_down)
        apart.robot.until(lambda: apart.status('callbacks')[0] == WARN)
        assert 'failed' in apart.status('callbacks')[1]
        assert apart.status('model') == (OK, 'ready')
    # What has failed stays counted.
    count = len(apart.reports)
    apart.robot.until(lambda: len(apart.reports) > count + 3)
    assert apart.status('callbacks')[0] == WARN


def test_its_thread_ends_with_the_node(graph: Callable[..., Graph]) -> None:
    def count() -> int:
        return sum(thread.name == 'vr_ros diagnostics' for thread in threading.enumerate())

    before = count()
    made = graph()
    assert count() == before + 1
    made.node.destroy_node()
    assert count() == before


def test_a_place_is_named_by_the_innermost_function_of_this_package() -> None:
    assert place_of(threading.get_ident()).startswith('place_of (diagnostics_thread.py:')
    assert place_of(-1) == ''
