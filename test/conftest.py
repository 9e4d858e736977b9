"""What holds for every test: its own ROS domain, this machine only, nothing left running."""
from __future__ import annotations

import fcntl
import os
import signal
import tempfile
import uuid
from pathlib import Path
from typing import IO

import pytest

RUN_VARIABLE = 'VR_ROS_TEST_RUN'
RUN_TOKEN = uuid.uuid4().hex


def take_domain() -> tuple[int, IO[str]]:
    """Take a ROS domain that no other test run and no other ./run on this machine uses.

    :return: the domain, 1 to 100 since above that Linux hands the ports out to other programs, and
        the file whose lock holds it until the file is closed.
    :raises RuntimeError: if all are taken.
    """
    for attempt in range(100):
        domain = (os.getpid() + attempt) % 100 + 1
        path = Path(tempfile.gettempdir()) / f'vr_ros_domain_{domain}.lock'
        try:
            lock = path.open('w', encoding='ascii')
        except PermissionError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return domain, lock
    raise RuntimeError('all 100 ROS domains of this machine are taken by other runs')


def left_processes() -> dict[int, str]:
    """Find the processes that descend from this test run, by the mark in their environment.

    :return: command lines by process id, without this process.
    """
    mark = f'{RUN_VARIABLE}={RUN_TOKEN}'.encode()
    found = {}
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            marked = mark in (folder / 'environ').read_bytes().split(b'\0')
            command = (folder / 'cmdline').read_bytes().decode(errors='replace').replace('\0', ' ')
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
        # multiprocessing's helper ends with its parent, and is there in every run that used the
        # module.
        if marked and int(folder.name) != os.getpid() and 'resource_tracker' not in command:
            found[int(folder.name)] = command.strip()
    return found


def pytest_configure(config: pytest.Config) -> None:
    """Isolate the run before any test module is imported."""
    domain, lock = take_domain()
    config.add_cleanup(lock.close)
    for name in ('ROS_LOCALHOST_ONLY', 'ROS_STATIC_PEERS', 'ROS_DISCOVERY_SERVER'):
        os.environ.pop(name, None)
    os.environ.update({
        'ROS_DOMAIN_ID': str(domain),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'ROS_PYTHON_CHECK_FIELDS': '1',
        'HF_HUB_OFFLINE': '1',
        'MUJOCO_GL': 'egl',
        RUN_VARIABLE: RUN_TOKEN,
    })


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """End what tests left running, and say what it was."""
    for pid, command in left_processes().items():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        terminalreporter.write_line(f'killed what a test left running: {pid} {command}', red=True)


@pytest.fixture
def one_thread():
    """Wait for no other: threads of a busy machine wait for each other at every operation."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
