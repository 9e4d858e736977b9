"""Inject every fault into a running perception node, and count what it survives.

The node is a process of its own with a real worker process behind it, and a robot talks to it over
DDS. A fault is survived when its instruction gets the one result it has to get, the next
instruction succeeds, the node is alive and no worker is left over. Then it is measured how soon the
node answers while its worker loads, hangs or is replaced. At the end the node is killed.
"""
from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _fault_times
from rich.console import Console
from rich.table import Table

from vr_ros.evaluation.claims import Claim, print_claims, write_claims

# The faults are those of the tests.
sys.path.append(str(Path(__file__).parents[1] / 'test' / 'ros'))
NAMES = ('faults survived', 'faults tried', 'survived of those tried', 'nodes that ended',
         'processes that outlive a killed node', 'files that it leaves in shared memory')


def not_measured(error: Exception) -> list[Claim]:
    reason = ' '.join(f'{type(error).__name__}: {error}'.split())
    return [Claim(name, None, reason=reason) for name in (*NAMES, *_fault_times.NAMES)]


def inject(words: Sequence[str], rounds: int, folder: Path,
           console: Console) -> tuple[list[Claim], dict[str, Any]]:
    """Try the faults whose names hold one of the words, or all, then take the times.

    :param rounds: how often each time is taken.
    :return: the claims, and what came of each fault and each round.
    """
    from fault_rig import Rig
    from faults import FAULTS, attempt

    chosen = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    trials = []
    # As in the field: there the middleware does not check what is written into messages.
    with Rig(folder, check_fields=False) as rig:
        rig.until_ready()
        for number, fault in enumerate(chosen, 1):
            trial = attempt(rig, fault)
            trials.append(trial)
            outcome = '; '.join(trial.problems) or 'survived'
            console.print(f'{number}/{len(chosen)} {fault.name}: {trial.status}, {outcome}',
                          markup=False, style='red' if trial.problems else '')
            if trial.problems:
                rig.restart()  # what went wrong is not to go on in the next trial
        times = _fault_times.measure(rig, rounds)
        left, files = kill(rig)
    survived = sum(not trial.problems for trial in trials)
    print_trials(trials, console)
    claims = [
        Claim(NAMES[0], survived, ''), Claim(NAMES[1], len(trials), ''),
        Claim(NAMES[2], 100 * survived / len(trials) if trials else None, '%', 100, 'higher',
              '' if trials else 'no such fault'),
        Claim(NAMES[3], sum(trial.node_died for trial in trials), '', 0, 'lower'),
        Claim(NAMES[4], left, '', 0, 'lower'), Claim(NAMES[5], files, '', 0, 'lower'),
        *_fault_times.claims_of(times)]
    return claims, {'trials': [
        {'fault': trial.fault.name, 'expected': trial.fault.status, 'status': trial.status,
         'message': trial.message, 'problems': list(trial.problems),
         'seconds': round(trial.seconds, 2)} for trial in trials],
        'times_ms': {name: [round(taken, 1) for taken in of_one] for name, of_one in times.items()}}


def kill(rig: Any) -> tuple[int, int]:
    """Kill the node while its worker computes.

    :return: how many processes outlive it, and how many files in shared memory are new.
    """
    from fault_rig import descendants, shared_memory_files, until_gone

    before = shared_memory_files()
    rig.show()
    rig.robot.tell('hang with the interpreter lock')
    rig.robot.spin(0.5)
    family = rig.workers | descendants(rig.process.pid)
    rig.kill()
    return len(until_gone(family)), len(shared_memory_files() - before)


def print_trials(trials: Sequence[Any], console: Console) -> None:
    """Print what was survived, by the status that it had to get."""
    table = Table('status', title='Faults')
    table.add_column('survived', justify='right')
    table.add_column('tried', justify='right')
    for status in dict.fromkeys(trial.fault.status for trial in trials):
        of_status = [trial for trial in trials if trial.fault.status == status]
        table.add_row(status, str(sum(not trial.problems for trial in of_status)),
                      str(len(of_status)))
    console.print(table)


def main() -> int:
    """Inject, print, write; return the exit status: 1 when not all were survived."""
    parser = argparse.ArgumentParser(prog='run bench faults', description=__doc__)
    parser.add_argument('faults', nargs='*', metavar='WORD',
                        help='only faults with a word in their name (default: all)')
    parser.add_argument('--rounds', type=int, default=_fault_times.ROUNDS, metavar='N',
                        help='how often each time is taken (default: %(default)s)')
    parser.add_argument('--json', metavar='FILE', help='write the claims there')
    options = parser.parse_args()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    if options.rounds < 1:
        parser.error('--rounds must be at least 1')
    started, console = time.perf_counter(), Console()
    details: dict[str, Any] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            claims, details = inject(options.faults, options.rounds, Path(folder), console)
    except (ImportError, TimeoutError, ChildProcessError, OSError) as error:
        claims = not_measured(error)
    print_claims(claims, 'Faults of a running node', console)
    if options.json:
        write_claims(options.json, claims, seed=None, seconds=time.perf_counter() - started,
                     details=details)
    return 0 if all(claim.holds is not False and claim.value is not None
                    for claim in claims if claim.name in NAMES) else 1


if __name__ == '__main__':
    sys.exit(main())
