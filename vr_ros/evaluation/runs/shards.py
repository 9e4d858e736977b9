"""A run in parts, on several machines perhaps, and how the parts become one run again."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vr_ros.evaluation.runs.records import Header, RecordsError, Run, differences, read_records

# Options of a header that only a part has: which one, and what it is a part of.
SHARD, WHOLE = 'shard', 'whole'


@dataclass(frozen=True)
class Shard:
    """One of several parts of a data set; samples that follow each other stay together.

    :param number: 1 to ``of``.
    """

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read '2/4': the second of four.

        :raises ValueError: if it is no part.
        """
        found = re.fullmatch(r'(\d{1,6})/(\d{1,6})', text, re.ASCII)
        shard = cls(*map(int, found.groups())) if found else cls(0)
        if not 1 <= shard.number <= shard.of:
            raise ValueError(f'{text!r} is no part such as 2/4, the second of four')
        return shard

    def __str__(self) -> str:
        return f'{self.number}/{self.of}'

    def places(self, samples: int) -> range:
        """Say which of so many samples are in this part; sizes differ by one at most."""
        first, end = (samples * number // self.of for number in (self.number - 1, self.number))
        return range(first, end)


def merge_runs(paths: Sequence[Path]) -> Run:
    """Put the parts of a run together, each sample once, the first part first.

    :return: what one run without parts would have made.
    :raises RecordsError: if a part is missing, there twice, not finished, or of another run.
    :raises OSError: if a file cannot be read.
    """
    runs = {path: read_records(path) for path in paths}
    parts = _by_number(runs)
    whole = _whole(parts[min(parts)][1].header)
    for path, run in parts.values():
        other = differences(whole, _whole(run.header))
        if other:
            raise RecordsError(f'{path}: part of another run ({other})')
    of = Shard.parse(parts[min(parts)][1].header.options[SHARD]).of
    missing = [str(Shard(number, of)) for number in range(1, of + 1) if number not in parts]
    if missing:
        raise RecordsError(f'missing: part {", ".join(missing)}')
    for path, run in parts.values():
        if run.missing:
            raise RecordsError(f'{path}: {run.missing} of {run.header.samples} samples are missing;'
                               ' the command that made it goes on')
    ordered = [parts[number][1] for number in sorted(parts)]
    return _joined(whole, ordered)


def _by_number(runs: Mapping[Path, Run]) -> dict[int, tuple[Path, Run]]:
    parts: dict[int, tuple[Path, Run]] = {}
    for path, run in runs.items():
        if SHARD not in run.header.options:
            raise RecordsError(f'{path}: not a part of a run, but a whole one')
        number = Shard.parse(run.header.options[SHARD]).number
        if number in parts:
            raise RecordsError(f'part {run.header.options[SHARD]} is there twice:'
                               f' {parts[number][0]} and {path}')
        parts[number] = path, run
    return parts


def _whole(header: Header) -> Header:
    """Give the header of the run that a part is of; the number of parts is an option of it."""
    options = {**header.options}
    options[SHARD] = f'of {Shard.parse(options[SHARD]).of}'
    samples, digest = options.pop(WHOLE)
    return replace(header, samples=samples, digest=digest, options=options)


def _joined(whole: Header, runs: Sequence[Run]) -> Run:
    """:raises RecordsError: if a sample is in two parts, which no run does by itself."""
    answered = tuple(record for run in runs for record in run.answered)
    skipped = tuple(record for run in runs for record in run.skipped)
    if len({record.sample_id for record in (*answered, *skipped)}) != whole.samples:
        raise RecordsError(f'the parts do not add up to {whole.samples} samples, each once')
    options = {name: value for name, value in whole.options.items() if name != SHARD}
    return Run(replace(whole, options=options), answered, skipped)
