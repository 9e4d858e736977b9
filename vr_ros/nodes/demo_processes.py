"""Programs that belong to a demo: started together, ended for sure."""
from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# What each signal is given before the next, stronger one.
_PATIENCE_S = ((signal.SIGINT, 8.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0))


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Processes:
    """Child processes, each in a group of its own and with a log of its own.

    :param logs: directory for the logs.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *unused: object) -> None:
        self.stop()

    def start_node(self, name: str, module: str, arguments: Sequence[str] = ()) -> None:
        """Start a module's ``main`` with this interpreter.

        :param name: of the log.
        :param arguments: of the command line, ROS arguments among them.
        """
        code = f'import sys; from {module} import main; sys.exit(main())'
        with (self._logs / f'{name}.log').open('wb') as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, '-c', code, *arguments], stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_end_with_parent)

    def ended(self) -> dict[str, int]:
        """:return: exit status by name of those that are no longer running."""
        return {name: status for name, process in self._running.items()
                if (status := process.poll()) is not None}

    def last_words(self, name: str) -> str:
        """:return: the last line of a log."""
        text = (self._logs / f'{name}.log').read_text(errors='replace').strip()
        return text.rsplit('\n', 1)[-1]

    def stop(self) -> None:
        """End all, the last started first, by ever stronger signals."""
        for number, patience_s in _PATIENCE_S:
            left = [p for p in reversed(self._running.values()) if p.poll() is None]
            for process in left:
                _signal_group(process, number)
            end_at = time.monotonic() + patience_s
            for process in left:
                try:
                    process.wait(max(0.0, end_at - time.monotonic()))
                except subprocess.TimeoutExpired:
                    continue  # the next signal is stronger
        for process in self._running.values():
            _signal_group(process, signal.SIGKILL)  # whatever a dead leader left behind
        self._running.clear()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # all of the group have ended
