"""The worker as an operating-system process: how it is started, and how it surely ends."""
from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vr_ros.core.types import PerceptionError, Status

# A worker that does not read for this long while its socket is full is not going to.
_SEND_TIMEOUT_S = 2.0
_KILL_WAIT_S = 10.0


@dataclass(frozen=True)
class WorkerOptions:
    """How to start a worker.

    :param python: interpreter that has torch: a path, or a name on PATH; empty means this one.
    :param backend: `module:factory` in place of the Perceiver, for tests.
    :param environment: variables added to the worker's environment.
    """

    python: str = ''
    backend: str = ''
    environment: Mapping[str, str] = field(default_factory=dict)


def find_python(name: str) -> str:
    """Return the path of the worker's interpreter.

    :raises PerceptionError: MODEL_UNAVAILABLE, there is no such program.
    """
    path = shutil.which(os.path.expanduser(name)) if name else sys.executable
    if not path:
        raise PerceptionError(
            Status.MODEL_UNAVAILABLE,
            f'worker_python {name!r} is no program; set it to the Python that has torch')
    # Not resolved: a virtual environment is known by the path of its link.
    return os.path.abspath(path)


def worker_environment(python: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which this package, and the worker's own packages, are found."""
    environment = dict(os.environ)
    search_path = [str(Path(__file__).parents[2])]
    if python == os.path.abspath(sys.executable) and environment.get('PYTHONPATH'):
        # Of another interpreter these would shadow what the worker needs with what it cannot load.
        search_path.append(environment['PYTHONPATH'])
    for name in ('PYTHONHOME', 'PYTHONSTARTUP'):
        environment.pop(name, None)
    environment['PYTHONPATH'] = os.pathsep.join(search_path)
    environment['PYTHONSAFEPATH'] = '1'
    environment['PYTHONUNBUFFERED'] = '1'
    environment.update(extra)
    return environment


class WorkerProcess:
    """A running worker program, its process group and the node's end of the socket pair.

    The kernel kills the worker when the thread that made this object ends, so that must be a thread
    that lives as long as the worker should.
    """

    def __init__(self, options: WorkerOptions) -> None:
        """Start the program.

        :raises PerceptionError: MODEL_UNAVAILABLE, the interpreter is missing or cannot be run.
        """
        python = find_python(options.python)
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(_SEND_TIMEOUT_S))
        command = [python, '-m', 'vr_ros.pipeline.worker', '--fd', str(theirs.fileno())]
        if options.backend:
            command += ['--backend', options.backend]
        try:
            # A group of its own: Ctrl-C reaches the node only, and a kill reaches all helpers.
            # Its directory is the root, where nothing can shadow an import.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=2, cwd='/', start_new_session=True,
                env=worker_environment(python, options.environment), pass_fds=[theirs.fileno()])
        except OSError as error:
            self.socket.close()
            raise PerceptionError(Status.MODEL_UNAVAILABLE,
                                  f'cannot run worker_python {python}: {error}') from error
        finally:
            theirs.close()
        self._reap_lock = threading.Lock()

    @property
    def pid(self) -> int:
        return self._process.pid

    def has_ended(self) -> bool:
        """Tell whether the program has ended; it is not reaped by asking."""
        with self._reap_lock:
            if self._process.returncode is not None:
                return True
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            try:
                return os.waitid(os.P_PID, self._process.pid, flags) is not None
            except ChildProcessError:
                return True  # somebody else in this process collects children

    def signal(self, number: int) -> None:
        """Send a signal to the program's group unless it was reaped."""
        with self._reap_lock:
            # Until the leader is reaped its id cannot belong to a stranger's group.
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the program has ended; False when it has not by then."""
        deadline = time.monotonic() + timeout_s
        while not self.has_ended():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        return True

    def reap(self, grace_s: float) -> int | None:
        """Let the program end within a grace, then kill what is left of its group and collect it.

        :return: exit status, -N for signal N; None when a driver keeps it from ending.
        """
        self.wait(grace_s)
        self.signal(signal.SIGKILL)
        if not self.wait(_KILL_WAIT_S):
            return None
        with self._reap_lock:
            return self._process.wait()


def describe_exit(status: int | None) -> str:
    """Say in words how a program ended."""
    if status is None:
        return 'cannot be killed: a driver holds it; the machine may need a restart'
    if status >= 0:
        return f'ended with exit status {status}'
    name = signal.Signals(-status).name
    return f'was killed by {name}' + (' (out of memory?)' if name == 'SIGKILL' else '')


def _timeval(seconds: float) -> bytes:
    return struct.pack('@ll', int(seconds), int(seconds % 1 * 1e6))
