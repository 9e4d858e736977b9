"""Claims about quality and speed, as the programs that measure them report them."""
from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

PACKAGES = (
    'vr_ros', 'numpy', 'scipy', 'opencv-python-headless', 'torch', 'transformers', 'mujoco',
    'rclpy', 'ros-jazzy-rclpy', 'ros-kilted-rclpy',
)


@dataclass(frozen=True)
class Claim:
    """One number that was measured, and the number it is to reach.

    :param value: None if it could not be measured.
    :param target: None if nothing is promised.
    :param better: 'higher' if the value is to reach the target from below, 'lower' from above.
    :param reason: why it was not measured; required without a value.
    :raises ValueError: if the value or the target is not a finite number, or a reason is missing.
    """

    name: str
    value: float | None
    unit: str = ''
    target: float | None = None
    better: str = 'higher'
    reason: str = ''

    def __post_init__(self) -> None:
        if self.better not in ('higher', 'lower'):
            raise ValueError(f'{self.name}: better is higher or lower, not {self.better!r}')
        for number in (self.value, self.target):
            if number is not None and not math.isfinite(number):
                raise ValueError(f'{self.name}: {number} is no measurement')
        if self.value is None and not self.reason:
            raise ValueError(f'{self.name}: say why it was not measured')

    @property
    def holds(self) -> bool | None:
        """Whether the target is reached; None if nothing was measured or promised."""
        if self.value is None or self.target is None:
            return None
        return self.value >= self.target if self.better == 'higher' else self.value <= self.target

    def as_json(self) -> dict[str, Any]:
        """Give the claim as an object of the JSON file."""
        content = {
            'name': self.name, 'value': self.value, 'unit': self.unit, 'target': self.target,
            'better': self.better, 'holds': self.holds,
        }
        return content | ({'reason': self.reason} if self.reason else {})


def write_claims(
    path: Path | str, claims: Iterable[Claim], *, seed: int | None, seconds: float,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write claims as JSON, with where and with what they were measured.

    :param seed: of the random numbers; None if none were drawn.
    :param seconds: how long the whole measurement took.
    :param details: further entries of the file, such as counts of what was skipped.
    :raises OSError: if the file cannot be written.
    :raises ValueError: if a detail takes the name of another entry, or is no finite number.
    """
    content: dict[str, Any] = {
        'claims': [claim.as_json() for claim in claims], 'machine': machine_description(),
        'versions': package_versions(), 'seed': seed, 'seconds': round(seconds, 3),
    }
    taken = sorted(content.keys() & (details or {}).keys())
    if taken:
        raise ValueError(f'details with names that are taken: {", ".join(taken)}')
    content.update(details or {})
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + '\n'
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Half a surrogate pair, as an id from a JSON file may hold it, stays an escape.
    path.write_bytes(text.encode('utf-8', 'backslashreplace'))


def require_writable(path: Path) -> None:
    """Make sure that a file can be written, before the work that it is for; it stays as it is.

    :raises OSError: it cannot.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open('a'):
        pass
    if is_new:
        path.unlink()


def print_claims(claims: Iterable[Claim], title: str = '', console: Console | None = None) -> None:
    """Print claims as a table."""
    table = Table('claim', title=title or None)
    table.add_column('value', justify='right')
    table.add_column('target', justify='right')
    table.add_column('holds')
    for claim in claims:
        sign = '≥' if claim.better == 'higher' else '≤'
        table.add_row(
            claim.name,
            '-' if claim.value is None else f'{claim.value:.4g} {claim.unit}'.strip(),
            '-' if claim.target is None else f'{sign} {claim.target:.4g} {claim.unit}'.strip(),
            {True: 'yes', False: 'no', None: claim.reason or '-'}[claim.holds],
        )
    (console or Console()).print(table)


def machine_description() -> dict[str, Any]:
    """Describe this machine: board, processor, cores that may be used, memory, GPUs, system."""
    return {
        'board': _first_line(Path('/proc/device-tree/model')),
        'cpu': _field(Path('/proc/cpuinfo'), 'model name') or platform.machine(),
        'cores': len(os.sched_getaffinity(0)),
        'memory_gib': round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30, 1),
        'gpus': [
            _field(path, 'Model')
            for path in sorted(Path('/proc/driver/nvidia/gpus').glob('*/information'))
        ],
        'system': platform.platform(),
    }


def package_versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Give the versions of Python and of those packages that are installed."""
    versions = {'python': platform.python_version()}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _first_line(path: Path) -> str:
    try:
        return path.read_text(errors='replace').split('\n', 1)[0].strip('\0 ')
    except OSError:
        return ''


def _field(path: Path, name: str) -> str:
    """Find the value of the first line ``name: value``; empty where there is none."""
    try:
        lines = path.read_text(errors='replace').splitlines()
    except OSError:
        return ''
    fields = (line.partition(':') for line in lines)
    return next((value.strip() for key, _, value in fields if key.strip() == name), '')
