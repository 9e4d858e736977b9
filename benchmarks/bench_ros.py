"""Measure what images cost the perception node, against a plain rclpy subscriber in the same run.

A camera publishes at 30 Hz over DDS to both, each a process of its own. First nobody asks: CPU.
Then every frame is asked about: how long it takes to the worker, where a clock stands in for the
model. The plain subscriber converts every frame as cv_bridge does.
"""
from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vr_ros.core.types import Size
from vr_ros.evaluation.claims import Claim, print_claims, write_claims

SIZES = (Size(640, 480), Size(1920, 1080))
# Enough for the measured processes to wait for a core now and then.
BUSY_LOAD_PER_CORE = 0.5


@dataclass(frozen=True)
class Metric:
    """One number that is measured per image size.

    :param key: its name among the numbers of the session.
    :param target: to be reached at each of the sizes in `targeted`; none there: at all.
    """

    key: str
    text: str
    unit: str
    better: str = 'lower'
    target: float | None = None
    targeted: tuple[Size, ...] = ()

    def claim(self, size: Size, values: Mapping[str, float], reason: str) -> Claim:
        """Make the claim about one size; without a value, for the reason, if none was measured."""
        target = None if self.targeted and size not in self.targeted else self.target
        return Claim(f'{size_text(size)}: {self.text}', values.get(self.key), self.unit, target,
                     self.better, reason)


METRICS = (
    Metric('node CPU', 'CPU of the node, idle', '%', target=10.0, targeted=(SIZES[0],)),
    Metric('plain CPU', 'CPU of the plain subscriber', '%'),
    Metric('CPU ratio', 'CPU, plain subscriber over node', 'x', 'higher'),
    Metric('worker CPU', 'CPU of the worker, idle', '%'),
    # Lost frames cost nothing: the CPU counts only if they arrive.
    Metric('node rate', 'frames that reach the node, idle', 'Hz', 'higher', target=27.0),
    Metric('plain rate', 'frames that reach the plain subscriber', 'Hz', 'higher'),
    Metric('to node', 'publish to node', 'ms'),
    Metric('to worker', 'publish to worker, as RGB, median', 'ms'),
    Metric('to worker, p95', 'publish to worker, as RGB, 95 %', 'ms'),
    Metric('to plain callback', 'publish to plain callback', 'ms'),
    Metric('to plain array', 'publish to plain array, as BGR, median', 'ms'),
    Metric('to plain array, p95', 'publish to plain array, as BGR, 95 %', 'ms'),
    Metric('node copies', 'copies per frame by Python in the node, idle', '', target=1.0),
    Metric('plain copies', 'copies per frame by Python in the plain subscriber', ''),
)


@dataclass(frozen=True)
class CopyStep:
    """How often one step copies a frame.

    :param known: 'measured', or why it is so.
    """

    text: str
    plain: int
    idle: int
    asked: int
    known: str


def copy_steps(copies: Mapping[str, int]) -> tuple[CopyStep, ...]:
    """List where a frame is copied, from the sample that the middleware holds to pixels.

    :param copies: what was measured: taken, converted, taken_raw, decoded.
    """
    take, raw = copies['taken'], copies['taken_raw']
    return (
        # Plain: into the message's C struct. Raw: into a FastBuffer, and from there to rcl's array.
        CopyStep('middleware to C', 1, 2, 2, 'derived: rmw_take.cpp of rmw_fastrtps'),
        CopyStep('C to Python', take, raw, raw, 'measured'),
        CopyStep('conversion in the callback', copies['converted'], 0, 0, 'measured'),
        CopyStep('into shared memory', 0, 0, 1, 'derived: FrameRing.put'),
        CopyStep('decoding in the worker', 0, 0, copies['decoded'], 'measured'),
    )


def print_copies(title: str, steps: Sequence[CopyStep], console: Console) -> None:
    """Print where a frame is copied."""
    table = Table('copies of a frame', title=title)
    for heading in ('plain', 'node, idle', 'node, asked'):
        table.add_column(heading, justify='right')
    table.add_column('known from')
    for step in steps:
        table.add_row(step.text, str(step.plain), str(step.idle), str(step.asked), step.known)
    table.add_section()
    table.add_row('all', *(str(sum(getattr(step, side) for step in steps))
                           for side in ('plain', 'idle', 'asked')))
    console.print(table)


def size_text(size: Size) -> str:
    return f'{size.width}x{size.height}'


def parse_size(text: str) -> Size:
    """:raises ValueError: it is not a size that an image may have."""
    width, height = map(int, text.split('x'))
    if not (4 <= width <= 8192 and 4 <= height <= 8192):
        raise ValueError(text)
    return Size(width, height)


def parse_seconds(text: str) -> float:
    """:raises ValueError: it is no time in which something can be measured."""
    seconds = float(text)
    if not math.isfinite(seconds) or seconds < 0.5:
        raise ValueError(text)
    return seconds


def measure(size: Size, seconds: float) -> tuple[list[Claim], dict[str, Any]]:
    """Measure one size.

    :return: claims, without values if it did not work; and details for the report.
    """
    values: dict[str, float] = {}
    details: dict[str, Any] = {}
    reason = ''
    try:
        from _ros_session import measure_size
    except ImportError as error:
        reason = f'ROS cannot be imported: {error}'
    else:
        try:
            with tempfile.TemporaryDirectory(prefix='vr_ros_bench_') as folder:
                values, copies = measure_size(size, seconds, Path(folder))
        except (OSError, RuntimeError) as error:
            reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        else:
            values |= {'node copies': copies.taken_raw,
                       'plain copies': copies.taken + copies.converted}
            details = {'copies': [asdict(step) for step in copy_steps(asdict(copies))],
                       'frames on both sides': values['frames on both sides']}
    return [metric.claim(size, values, reason) for metric in METRICS], details


def load_text() -> str:
    """Say that the machine has other things to do; empty if it has not."""
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load <= BUSY_LOAD_PER_CORE * cores:
        return ''
    return (f'the load average was {load:.1f} on {cores} cores before the start: other programs '
            'were running, and the figures are worse than those of a machine at rest')


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='run bench ros', description=__doc__)
    parser.add_argument('--json', metavar='FILE', help='write the claims there')
    parser.add_argument('--seconds', type=parse_seconds, default=8.0,
                        help='how long to measure idle, and again asked (default: 8)')
    parser.add_argument('--sizes', type=parse_size, nargs='+', default=list(SIZES),
                        metavar='WxH', help='of the images (default: 640x480 1920x1080)')
    return parser


def main() -> int:
    """Measure, print, write; return the exit status."""
    options = make_parser().parse_args()
    started, warning, load = time.perf_counter(), load_text(), os.getloadavg()[0]
    console = Console()
    claims: list[Claim] = []
    by_size: dict[str, dict[str, Any]] = {}
    for size in dict.fromkeys(options.sizes):
        found, by_size[size_text(size)] = measure(size, options.seconds)
        claims += found
    print_claims(claims, 'Images at 30 Hz: the node and a plain subscriber', console)
    alike: dict[tuple[CopyStep, ...], list[str]] = {}
    for text, details in by_size.items():
        if details:
            alike.setdefault(
                tuple(CopyStep(**step) for step in details['copies']), []).append(text)
    for steps, texts in alike.items():
        print_copies(', '.join(texts), steps, console)
    if warning:
        console.print(f'Mind: {warning}.', style='yellow')
    if options.json:
        write_claims(options.json, claims, seed=None, seconds=time.perf_counter() - started,
                     details={'load_average': load, 'sizes': by_size})
    return 0 if all(claim.value is not None for claim in claims) else 1


if __name__ == '__main__':
    sys.exit(main())
