"""Brings what the worker's threads say to the executor's thread."""
from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from rclpy.node import Node

from vr_ros.nodes.parameters import PerceptionParameters
from vr_ros.nodes.safely import safely
from vr_ros.pipeline.protocol import FromWorker, Heartbeat, Text
from vr_ros.pipeline.supervisor import WorkerSupervisor
from vr_ros.pipeline.worker_process import WorkerOptions
from vr_ros.pipeline.worker_state import SupervisionPolicy, WorkerHealth, WorkerState

CLOSE_GRACE_S = 1.0


class WorkerBridge:
    """A supervised worker whose events arrive in the thread that spins the node.

    :param on_event, on_health: called by the executor only, in the order in which things happened.
    :param after: called after each batch of them.
    """

    def __init__(self, node: Node, on_event: Callable[[FromWorker], None],
                 on_health: Callable[[WorkerHealth], None],
                 after: Callable[[], None]) -> None:
        self._on_event, self._on_health, self._after = on_event, on_health, after
        self._arrived: deque[FromWorker | WorkerHealth] = deque()
        self._guard = node.create_guard_condition(safely(node, self._drain))
        self._supervisor: WorkerSupervisor | None = None

    @property
    def health(self) -> WorkerHealth:
        """How the worker is; CLOSED while there is none. May be asked from any thread."""
        supervisor = self._supervisor
        return WorkerHealth(WorkerState.CLOSED) if supervisor is None else supervisor.health

    def open(self, values: PerceptionParameters) -> WorkerSupervisor:
        """Start a worker, and return while it loads."""
        self._supervisor = WorkerSupervisor(
            WorkerOptions(python=values.worker_python or default_worker_python()), values.model,
            _options(values), on_event=self._put, on_state=self._put,
            policy=SupervisionPolicy(
                inference_timeout_s=values.inference_timeout, cancel_grace_s=values.cancel_grace,
                load_timeout_s=values.load_timeout))
        self._supervisor.start()
        return self._supervisor

    def _drain(self) -> None:
        items = [self._arrived.popleft() for _ in range(len(self._arrived))]
        for item in join_texts(items):
            if isinstance(item, WorkerHealth):
                self._on_health(item)
            else:
                self._on_event(item)
        self._after()

    def close(self) -> None:
        """End the worker; what it has still to say is not handed over."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.close(CLOSE_GRACE_S)
        self._arrived.clear()

    def _put(self, item: FromWorker | WorkerHealth) -> None:
        if not isinstance(item, Heartbeat):
            self._arrived.append(item)
            self._guard.trigger()


def join_texts(items: Iterable[FromWorker | WorkerHealth]) -> list[FromWorker | WorkerHealth]:
    """Make one Text of those that follow each other: after a pause it is one message, not fifty."""
    joined: list[FromWorker | WorkerHealth] = []
    for item in items:
        last = joined[-1] if joined else None
        if (isinstance(item, Text) and isinstance(last, Text)
                and item.request_id == last.request_id):
            joined[-1] = Text(item.request_id, last.text + item.text)
        else:
            joined.append(item)
    return joined


def default_worker_python() -> str:
    """Find the interpreter that has torch: the environment's, else the workspace's.

    :return: its path; '' for the one that runs the node.
    """
    named = os.environ.get('VR_ROS_PYTHON', '')
    if named:
        return named
    for folder in Path(__file__).resolve().parents:
        python = folder / '.venv' / 'bin' / 'python'
        if python.is_file():
            return str(python)
    return ''


def _options(values: PerceptionParameters) -> dict[str, str]:
    """:return: what the back-end's factory is called with; what is as it is anyway is not said."""
    options = {'device': values.device}
    if values.score_source != 'card':
        options['score_source'] = values.score_source
    return options
