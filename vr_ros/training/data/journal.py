"""A file of JSON lines that one process at a time appends to, and that survives being killed."""
from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO


class JournalBusyError(OSError):
    """Another process is writing."""


class Journal:
    """Lines that are there whole, or not at all.

    :param path: of the file; it is made when it is opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    @property
    def exists(self) -> bool:
        """Whether anything was begun and not ended."""
        return self._path.exists()

    def open(self) -> None:
        """Open it for this process alone, and cut off what was torn at its end.

        :raises JournalBusyError: another process has it open.
        """
        file = self._path.open('a+b')
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise JournalBusyError(f'{self._path} is being written') from error
        file.truncate(self._path.read_bytes().rfind(b'\n') + 1)
        self._file = file

    def lines(self) -> list[dict[str, Any]]:
        """Read the whole lines; a torn one can only be the last."""
        if not self.exists:
            return []
        return [json.loads(line) for line in self._path.read_bytes().split(b'\n')[:-1]]

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line to the disk; it has to be open."""
        assert self._file is not None
        self._file.write(json.dumps(line).encode() + b'\n')
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let others open it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """End it."""
        self._path.unlink(missing_ok=True)
        self.close()
