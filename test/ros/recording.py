"""The recorder and the replay as programs, for tests."""
from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXECUTABLES = Path(__file__).parents[2] / 'executables'


@contextmanager
def program(name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run an executable of the package, and end it whatever happens."""
    process = subprocess.Popen(
        [sys.executable, str(EXECUTABLES / name), *arguments], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lost_on_the_way(output: str) -> Counter[str]:
    """Read from the recorder's closing line what the middleware lost, by topic."""
    return Counter({topic: int(count) for topic, count in re.findall(
        r'(/\S+): (\d+) lost on the way', output)})
