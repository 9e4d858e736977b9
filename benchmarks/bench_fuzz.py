"""Feed damaged and hostile input to all that reads bytes or texts from outside, for some minutes.

Hypothesis makes the input, and shrinks what is a finding to its smallest form. The targets take
turns, so that each gets an equal share of the time.
"""
from __future__ import annotations

import argparse
import faulthandler
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from _fuzz_targets import TARGETS, Target
from hypothesis import HealthCheck, Phase, given, seed, settings
from rich.console import Console

from vr_ros.evaluation.claims import Claim, print_claims, write_claims

EXAMPLES_PER_ROUND = 200
MAX_FINDINGS = 5
# The explain phase runs slow tracers, and the database would make two runs differ.
SETTINGS = settings(
    max_examples=EXAMPLES_PER_ROUND, deadline=None, database=None, print_blob=False,
    suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink))


@dataclass
class Tally:
    """What happened to one target.

    :param findings: the smallest input that each finding was shrunk to, with its error.
    """

    inputs: int = 0
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)


def fuzz_round(target: Target, tally: Tally, number: int) -> None:
    """Feed a target a few hundred inputs.

    :param number: seeds the generator, so that a round can be had again.
    """
    last: list[object] = []

    @seed(number)
    @SETTINGS
    @given(target.inputs)
    def run(content: object) -> None:
        tally.inputs += 1
        last[:] = [content]
        target.check(content)

    started = time.perf_counter()
    try:
        run()
    except Exception as error:
        line = ' '.join(f'{type(error).__name__}: {error}'.split())
        tally.findings.append(f'round {number}: {line:.300}; input {last[0]!r:.600}')
    tally.seconds += time.perf_counter() - started


def fuzz(minutes: float, first_seed: int, console: Console) -> dict[str, Tally]:
    """Fuzz all targets in turn until the time is over or one has too many findings."""
    tallies = {target.name: Tally() for target in TARGETS}
    end_at, number = time.monotonic() + 60 * minutes, first_seed
    while time.monotonic() < end_at:
        # The target that has had least, since rounds differ in length.
        target = min(TARGETS, key=lambda target: tallies[target.name].seconds)
        tally = tallies[target.name]
        before = len(tally.findings)
        fuzz_round(target, tally, number)
        for finding in tally.findings[before:]:
            console.print(f'{target.name}: {finding}', style='red', markup=False)
        if len(tally.findings) >= MAX_FINDINGS:
            console.print(f'{target.name}: {MAX_FINDINGS} findings are enough', style='red')
            break
        number += 1
    return tallies


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence what C libraries print about each damaged picture; a crash is still told."""
    kept = os.dup(2)
    faulthandler.enable(os.fdopen(os.dup(kept), 'w'))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def make_claims(tallies: dict[str, Tally]) -> list[Claim]:
    """Make two claims per target."""
    claims = []
    for name, tally in tallies.items():
        claims += [
            Claim(f'{name}: findings', len(tally.findings), '', 0, 'lower'),
            Claim(f'{name}: inputs', tally.inputs)]
    return claims


def parse_minutes(text: str) -> float:
    """:raises ValueError: not a finite number above zero."""
    minutes = float(text)
    if not (math.isfinite(minutes) and minutes > 0):
        raise ValueError(text)
    return minutes


def main() -> int:
    """Fuzz, print, write; return the exit status: 1 after a finding."""
    parser = argparse.ArgumentParser(prog='run bench fuzz', description=__doc__)
    parser.add_argument('--json', metavar='FILE', help='write the claims there')
    parser.add_argument('--minutes', type=parse_minutes, default=10.0,
                        help='for all targets together (default: 10)')
    parser.add_argument('--seed', type=int, default=0, help='of the first round (default: 0)')
    options = parser.parse_args()
    started, console = time.perf_counter(), Console()
    with quiet_libraries():
        tallies = fuzz(options.minutes, options.seed, console)
    claims = make_claims(tallies)
    print_claims(claims, 'Hostile input', console)
    if options.json:
        write_claims(options.json, claims, seed=options.seed,
                     seconds=time.perf_counter() - started,
                     details={'findings': {name: t.findings for name, t in tallies.items()}})
    return 1 if any(tally.findings for tally in tallies.values()) else 0


if __name__ == '__main__':
    sys.exit(main())
