"""Fixtures for tests with real worker processes."""
from __future__ import annotations

import gc
import os
import queue
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vr_ros.pipeline.frame_sender import FrameData
from vr_ros.pipeline.protocol import Heartbeat
from vr_ros.pipeline.supervisor import WorkerSupervisor
from vr_ros.pipeline.worker_client import WorkerClient
from vr_ros.pipeline.worker_process import WorkerOptions
from vr_ros.pipeline.worker_state import SupervisionPolicy, WorkerHealth

FAULTS = WorkerOptions(backend=f'{Path(__file__).with_name("fault_backend.py")}:make')
PATIENCE_S = 120.0


@pytest.fixture
def deadline() -> Iterator[None]:
    """Fail a test that hangs, from within, so that its fixtures still clean up."""
    def give_up(*_: object) -> None:
        raise TimeoutError('the test hangs')

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(240)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def image_cdr(image: np.ndarray) -> bytes:
    """Write (H, W, 3) uint8 as a sensor_msgs/Image in CDR, as a camera driver would."""
    def aligned(data: bytes) -> bytes:
        return data + bytes(-len(data) % 4)

    height, width = image.shape[:2]
    body = aligned(struct.pack('<iII', 12, 34, 7) + b'camera\0')
    body += aligned(struct.pack('<III', height, width, 5) + b'rgb8\0' + b'\0')
    body += struct.pack('<II', 3 * width, image.size) + image.tobytes()
    return b'\x00\x01\x00\x00' + body


@pytest.fixture
def picture() -> Callable[..., np.ndarray]:
    """Make random pictures, reproducible from a seed."""
    def make(width: int = 32, height: int = 24, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)

    return make


@pytest.fixture
def frame(picture: Callable[..., np.ndarray]) -> Callable[..., FrameData]:
    """Make the same random pictures as a camera delivers them."""
    return lambda *args, **kwargs: FrameData(image_cdr(picture(*args, **kwargs)))


class Log:
    """Collects the events of one callback thread, except heartbeats."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.threads: set[int] = set()
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, event: Any) -> None:
        self.threads.add(threading.get_ident())
        self._queue.put(event)

    def until(self, condition: Callable[[Any], bool]) -> Any:
        """Wait for an event, and keep all that came before it."""
        while True:
            event = self._queue.get(timeout=PATIENCE_S)
            if not isinstance(event, Heartbeat):
                self.events.append(event)
            if condition(event):
                return event

    def wait(self, kind: type, request_id: int | None = None) -> Any:
        return self.until(lambda event: isinstance(event, kind) and (
            request_id is None or event.request_id == request_id))

    def of(self, request_id: int) -> list[Any]:
        return [event for event in self.events
                if getattr(event, 'request_id', None) == request_id]


class Supervised:
    """A supervisor with the logs of its two callbacks."""

    def __init__(self, card: str, options: WorkerOptions, policy: SupervisionPolicy) -> None:
        self.log, self.states = Log(), Log()
        self.supervisor = WorkerSupervisor(options, card, on_event=self.log, on_state=self.states,
                                           policy=policy)

    def wait_state(self, name: str) -> WorkerHealth:
        health: WorkerHealth = self.states.until(lambda health: health.state.value == name)
        return health


@pytest.fixture
def start_client(deadline: None) -> Iterator[Callable[..., tuple[WorkerClient, Log]]]:
    """Start clients of the fault back-end; they are gone when the test ends."""
    clients: list[WorkerClient] = []

    def start(card: str = 'good', options: WorkerOptions = FAULTS,
              **card_options: Any) -> tuple[WorkerClient, Log]:
        log = Log()
        clients.append(WorkerClient(options, card, card_options, log))
        clients[-1].start()
        return clients[-1], log

    yield start
    for client in clients:
        client.close(0.5)
        assert client.pid is None or not is_alive(client.pid)


@pytest.fixture
def supervise(deadline: None) -> Iterator[Callable[..., Supervised]]:
    """Start supervisors of the fault back-end; their workers are gone when the test ends."""
    started: list[Supervised] = []

    def start(card: str = 'good', options: WorkerOptions = FAULTS,
              **policy: float) -> Supervised:
        policy = {'restart_delay_s': 0.01, **policy}
        started.append(Supervised(card, options, SupervisionPolicy(**policy)))  # type: ignore
        started[-1].supervisor.start()
        return started[-1]

    yield start
    for item in started:
        pid = item.supervisor.health.pid
        item.supervisor.close(0.5)
        assert pid is None or not is_alive(pid)


@pytest.fixture(name='is_alive')
def is_alive_fixture() -> Callable[[int], bool]:
    """Tell whether a process runs; one that has ended but was not collected does not."""
    return is_alive


def is_alive(pid: int) -> bool:
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in ('Z', 'X')


@pytest.fixture
def open_descriptors() -> Callable[[], int]:
    """Count this process's descriptors, without those of garbage that earlier tests left."""
    def count() -> int:
        gc.collect()
        return len(os.listdir('/proc/self/fd'))

    return count
