"""Programs that belong to a demo: started together, ended for sure."""
from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Loaded before the fork: after it, little may be done.
_LIBC = ctypes.CDLL(None)
# What each signal is given before the next, stronger one.
PATIENCE_S = ((signal.SIGINT, 8.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0))


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Processes:
    """Child processes, each in a group of its own and with a log of its own.

    :param logs: directory for the logs.
    :param patience_s: what each signal is given, in seconds, before the next, stronger one.
    """

    def __init__(self, logs: Path,
                 patience_s: Sequence[tuple[signal.Signals, float]] = PATIENCE_S) -> None:
        self._logs, self._patience_s = logs, patience_s
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
        self.start(name, [sys.executable, '-c', code, *arguments])

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a program.

        :param name: of the log.
        :raises OSError: it cannot be started.
        """
        with (self._logs / f'{name}.log').open('wb') as log:
            self._running[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, preexec_fn=_end_with_parent)

    def pid(self, name: str) -> int:
        """:return: process id of one that was started, be it running or not."""
        return self._running[name].pid

    def ended(self) -> dict[str, int]:
        """:return: exit status by name of those that are no longer running."""
        return {name: status for name, process in self._running.items()
                if (status := process.poll()) is not None}

    def last_words(self, name: str) -> str:
        """:return: the last line of a log."""
        text = (self._logs / f'{name}.log').read_text(errors='replace').strip()
        return text.rsplit('\n', 1)[-1]

    def stop(self) -> None:
        """End all by ever stronger signals; Ctrl-C has to wait until that is done."""
        with _signals_held():
            for number, patience_s in self._patience_s:
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


@contextmanager
def _signals_held() -> Iterator[None]:
    """Put off SIGINT and SIGTERM. Blocking them would not do: another thread would get them."""
    come: list[int] = []
    before = {number: signal.signal(number, lambda number, _: come.append(number))
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in come[:1]:
        signal.raise_signal(number)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # all of the group have ended
