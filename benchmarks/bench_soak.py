"""Run camera, perception node and worker for a long time, and see that nothing grows or gets lost.

A camera publishes at 30 Hz over DDS, an instruction comes every two seconds. With --faults workers
are killed and hang at random, and only survival and exactly one answer per instruction count.
"""
from __future__ import annotations

import argparse
import math
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from scipy import stats

from vr_ros.core.types import Status
from vr_ros.evaluation.claims import Claim, print_claims, write_claims

# The node and the robot are those of the tests.
sys.path.append(str(Path(__file__).parents[1] / 'test' / 'ros'))
FRAME_S = 1 / 30
INSTRUCTION_S = 2.0
SAMPLE_S = 2.0
WARM_UP_SHARE = 0.3
TARGET_MB_PER_H = 1.0
FAULT_SHARE = 0.2
FAULTS = ('die SIGKILL', 'die SIGSEGV', 'exit 3', 'hang', 'raise', 'exhaust', 'speak_garbage')
NO_FAULTS = ('find the cup', 'how many objects are there?', 'segment the red box')


@dataclass
class Record:
    """What happened.

    :param memory: by process name, seconds and resident bytes.
    """

    told: int = 0
    published: int = 0
    wrong: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    memory: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    node_died: bool = False


def soak(rig: Any, seconds: float, faults: bool, dice: random.Random) -> Record:
    """Publish and ask for a time, then wait for what is open."""
    from fault_rig import resident_bytes
    from live import image

    picture = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    record, robot, open_since = Record(), rig.robot, []
    began = time.monotonic()
    frame_at = ask_at = sample_at = began
    while (now := time.monotonic()) < began + seconds:
        if rig.process.poll() is not None:
            record.node_died = True
            return record
        if now >= frame_at:
            robot.images.publish(image(picture, stamp=robot.node.get_clock().now().to_msg()))
            record.published += 1
            frame_at = max(frame_at + FRAME_S, now - FRAME_S)
        if now >= ask_at:
            chosen = FAULTS if faults and dice.random() < FAULT_SHARE else (
                ('echo',) if faults else NO_FAULTS)
            open_since.append((now, robot.tell(dice.choice(chosen), deadline_s=20.0)))
            record.told += 1
            ask_at += INSTRUCTION_S
        if now >= sample_at:
            for name, pid in (('node', rig.process.pid), ('worker', rig.worker)):
                if pid:
                    record.memory.setdefault(name, []).append((now - began, resident_bytes(pid)))
            sample_at += SAMPLE_S
            open_since = settle(robot, record, open_since, now)
        robot.executor.spin_once(timeout_sec=max(0.0, min(frame_at - time.monotonic(), 0.02)))
    robot.spin(25.0)
    settle(robot, record, open_since, math.inf)
    return record


def settle(robot: Any, record: Record, waiting: list[tuple[float, str]],
           now: float) -> list[tuple[float, str]]:
    """Judge instructions whose deadline is well over, and forget their messages.

    :return: those that are too young to be judged.
    """
    due = {name for since, name in waiting if now - since > 30.0}
    for name in due:
        counts = [len(robot.answers(name, topic)) for topic in ('detections', 'count', 'answer')]
        if counts != [1, 1, 1]:
            record.wrong.append(f'{name}: {counts}')
        for result in robot.answers(name)[:1]:
            record.statuses[Status(result.outcome.status).name] += 1
    for messages in robot.received.values():
        messages[:] = [m for m in messages if m.outcome.instruction_id not in due]
    return [(since, name) for since, name in waiting if name not in due]


def least_mb(samples: Sequence[tuple[float, int]]) -> list[float]:
    """:return: the least memory of each minute, megabytes."""
    least: dict[int, int] = {}
    for seconds, size in samples:
        minute = int(seconds // 60)
        least[minute] = min(least.get(minute, size), size)
    return [round(size / 1e6, 2) for size in least.values()]


def slope_bound(minutes: Sequence[float]) -> float | None:
    """Fit a line to what stays after the warm-up.

    What an answer takes while it is computed is no growth, and on a busy machine there are minutes
    without a pause between answers: of every five minutes the least counts.

    :param minutes: megabytes, one per minute.
    :return: upper end of the 95 % interval of the slope in MB/h; None for too few minutes.
    """
    first = math.ceil(WARM_UP_SHARE * len(minutes))
    least = [min(minutes[at:at + 5]) for at in range(first, len(minutes) - 4, 5)]
    if len(least) < 4:
        return None
    fit = stats.linregress(np.arange(len(least)) * 5 / 60, least)
    return float(fit.slope + stats.t.ppf(0.975, len(least) - 2) * fit.stderr)


def make_claims(record: Record, received: int, faults: bool) -> list[Claim]:
    """Say what was promised and what came."""
    claims = [
        Claim('nodes that ended', int(record.node_died), '', 0, 'lower'),
        Claim('instructions given', record.told),
        Claim('instructions without exactly one result', len(record.wrong), '', 0, 'lower')]
    if faults:
        return claims
    return [*claims, *growth({name: least_mb(s) for name, s in record.memory.items()}),
            Claim('frames published', record.published),
            Claim('frames that the node took', received)]


def growth(minutes: Mapping[str, Sequence[float]]) -> list[Claim]:
    """Say how much memory grows.

    :param minutes: by process name, the least megabytes of each minute.
    """
    bounds = {name: slope_bound(minutes.get(name, ())) for name in ('node', 'worker')}
    return [Claim(f'memory of the {name}: 95 % bound of its slope', bound, 'MB/h', TARGET_MB_PER_H,
                  'lower', '' if bound is not None else 'too short')
            for name, bound in bounds.items()]


def main() -> int:
    """Run, print, write; return the exit status: 1 when the node ended or a result is missing."""
    parser = argparse.ArgumentParser(prog='run bench soak', description=__doc__)
    parser.add_argument('--json', metavar='FILE', help='write the claims there')
    parser.add_argument('--minutes', type=float, default=60.0, help='how long (default: 60)')
    parser.add_argument('--faults', action='store_true', help='kill and hang workers at random')
    parser.add_argument('--seed', type=int, default=0, help='of the faults and instructions')
    options = parser.parse_args()
    if not 0 < options.minutes < math.inf:
        parser.error('--minutes is more than 0')
    from fault_rig import Rig
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    real = {} if options.faults else {
        'backend': '', 'model': 'sim_tiny', 'inference_timeout': 60.0, 'diagnostics_period': 1.0}
    started, console = time.perf_counter(), Console()
    with tempfile.TemporaryDirectory() as folder, Rig(
            Path(folder), 'soak', check_fields=False, **real) as rig:
        rig.until_ready(120.0)
        record = soak(rig, 60 * options.minutes, options.faults, random.Random(options.seed))
        received = rig.images()
    claims = make_claims(record, received, options.faults)
    print_claims(claims, 'Soak', console)
    console.print(f'results: {dict(record.statuses)}', *record.wrong[:5], markup=False)
    if options.json:
        write_claims(options.json, claims, seed=options.seed,
                     seconds=time.perf_counter() - started,
                     details={'minutes': options.minutes, 'faults': options.faults,
                              'results': dict(record.statuses),
                              'least_mb_of_each_minute': {
                                  name: least_mb(s) for name, s in record.memory.items()}})
    return 1 if record.node_died or record.wrong else 0


if __name__ == '__main__':
    sys.exit(main())
