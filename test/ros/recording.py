"""The recorder and the replay as programs, for tests."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PROGRAM = 'import sys; from vr_ros.nodes.{0} import main; sys.exit(main())'


@contextmanager
def program(name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run an executable of the package, and end it whatever happens."""
    process = subprocess.Popen(
        [sys.executable, '-c', PROGRAM.format(name), *arguments], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
