"""Records of a run: a file of JSON lines that only grows, and that a run goes on from.

The first line is the header: what was asked of whom. Each further line is one sample, with its
truth, so that figures and comparisons need nothing but the file. A line is on the disk before the
next sample counts as done; of a crash remains at most one line without an end, which is dropped,
and its sample is done again.
"""
from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.runs.sample_json import (
    found_from_json,
    found_to_json,
    truth_from_json,
    truth_to_json,
)

FORMAT = 'vr_ros evaluation records'
VERSION = 1


class RecordsError(Exception):
    """A file of records that cannot be used, with what to do about it."""


@dataclass(frozen=True)
class Header:
    """What a run is about; a run goes on only where all of this is the same.

    :param dataset: what identifies the data set, its files included.
    :param samples: how many it has.
    :param digest: of the ids of its samples, see :func:`digest_ids`.
    :param options: whatever else answers depend on.
    """

    model: str
    dataset: str
    samples: int
    digest: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Give the first line of the file."""
        return {
            'format': FORMAT, 'version': VERSION, 'model': self.model, 'dataset': self.dataset,
            'samples': self.samples, 'digest': self.digest, 'options': dict(self.options),
        }


@dataclass(frozen=True)
class Record:
    """One sample: answered, or skipped with a reason.

    :param truth: None where skipped; so is found.
    :param message: what the status says in words.
    :param skipped: why the data set's sample could not be used; empty where it was answered.
    :param kind: of question, where the data set has kinds.
    :raises ValueError: if it is neither answered nor skipped, or both.
    """

    sample_id: str
    truth: Truth | None = None
    found: Found | None = None
    instruction: str = ''
    task: str = ''
    message: str = ''
    skipped: str = ''
    kind: str = ''

    def __post_init__(self) -> None:
        if bool(self.skipped) == (self.found is not None) or (
                (self.truth is None) != (self.found is None)):
            raise ValueError(f'sample {self.sample_id}: answered or skipped, one of them')

    def as_json(self) -> dict[str, Any]:
        """Give the line of the file."""
        if self.truth is None or self.found is None:
            return {'id': self.sample_id, 'skipped': self.skipped}
        return {
            'id': self.sample_id, 'instruction': self.instruction, 'task': self.task,
            **({'kind': self.kind} if self.kind else {}),
            'message': self.message, 'found': found_to_json(self.found),
            'truth': truth_to_json(self.truth),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Record:
        """Read a line.

        :raises KeyError, TypeError, ValueError: if it is no record.
        """
        if 'skipped' in content:
            return cls(content['id'], skipped=content['skipped'])
        return cls(
            content['id'], truth_from_json(content['truth']), found_from_json(content['found']),
            content['instruction'], content['task'], content['message'],
            kind=content.get('kind', ''))


@dataclass(frozen=True)
class Run:
    """All that a file holds, each sample once, in the order of the file."""

    header: Header
    answered: tuple[Record, ...]
    skipped: tuple[Record, ...]

    @property
    def missing(self) -> int:
        """How many samples of the data set the file does not tell of."""
        return self.header.samples - len(self.answered) - len(self.skipped)


def digest_ids(ids: Sequence[str]) -> str:
    """Give a name to a sequence of ids that another sequence does not have."""
    return hashlib.sha256('\0'.join(ids).encode('utf-8', 'replace')).hexdigest()[:16]


def read_records(path: Path) -> Run:
    """Read a file of records; a last line without an end does not count.

    A skipped sample that was answered later, after a repair, is an answered one.

    :raises RecordsError: if it is none, is damaged, or holds a sample twice.
    :raises OSError: if it cannot be read.
    """
    content = path.read_bytes()
    header, records = _parse(content[:content.rfind(b'\n') + 1], path)
    known = _by_id(records, path)
    answered = tuple(record for record in known.values() if not record.skipped)
    return Run(header, answered, tuple(record for record in known.values() if record.skipped))


class RecordsFile:
    """A file of records that is being written; one process at a time may.

    :param header: of this run. An existing file must have the same.
    :raises RecordsError: if the file is of another run, in use, damaged, or no file of records.
    :raises OSError: if it cannot be written.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without a buffer: what a full disk does not take is not tried again while closing.
        self._file = path.open('a+b', buffering=0)
        try:
            self._lock()
            self._known = self._resume(header)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> RecordsFile:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others write."""
        self._file.close()

    @property
    def done(self) -> frozenset[str]:
        """Ids of the samples that were answered; those skipped are worth another try."""
        return frozenset(i for i, record in self._known.items() if not record.skipped)

    def append(self, records: Iterable[Record]) -> None:
        """Write records and have them on the disk before this returns.

        A sample that is skipped again for the same reason is not written again.

        :raises ValueError: if a sample is answered twice.
        :raises OSError: if the disk does not take them; what was there stays.
        """
        lines = []
        for record in records:
            before = self._known.get(record.sample_id)
            if before is not None and not before.skipped:
                raise ValueError(f'sample {record.sample_id} was answered before')
            if before is None or before.skipped != record.skipped:
                self._known[record.sample_id] = record
                lines.append(_line(record.as_json()))
        self._write(b''.join(lines))

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RecordsError(f'{self.path}: another run is writing there') from None

    def _resume(self, header: Header) -> dict[str, Record]:
        self._file.seek(0)
        content = self._file.read()
        first = _line(header.as_json())
        if first.startswith(content):  # new, or a crash cut the header off
            self._file.truncate(0)
            self._write(first)
            return {}
        whole = content[:content.rfind(b'\n') + 1]
        before, records = _parse(whole, self.path)
        changes = differences(before, header)
        if changes:
            raise RecordsError(
                f'{self.path}: records of another run ({changes}); give it the same options,'
                ' or another file')
        known = _by_id(records, self.path)
        self._file.truncate(len(whole))
        return known

    def _write(self, data: bytes) -> None:
        while data:
            data = data[self._file.write(data):]
        os.fsync(self._file.fileno())


def _line(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(',', ':'))
    return text.encode('ascii') + b'\n'


def _parse(content: bytes, path: Path) -> tuple[Header, list[Record]]:
    """:raises RecordsError: with the number of the line that is none."""
    lines = content.split(b'\n')[:-1]
    try:
        first = json.loads(lines[0]) if lines else None
    except ValueError:
        first = None
    if not isinstance(first, dict) or first.get('format') != FORMAT:
        raise RecordsError(f'{path}: no file of records; it stays as it is')
    if first['version'] != VERSION:
        raise RecordsError(f'{path}: records of version {first["version"]}, not {VERSION}')
    header = Header(first['model'], first['dataset'], first['samples'], first['digest'],
                    first['options'])
    records = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            records.append(Record.from_json(json.loads(line)))
        except (KeyError, TypeError, ValueError) as error:
            raise RecordsError(f'{path}, line {number}: damaged ({error}); delete that line and'
                               ' its sample is done again') from error
    return header, records


def _by_id(records: Iterable[Record], path: Path) -> dict[str, Record]:
    known: dict[str, Record] = {}
    for record in records:
        before = known.get(record.sample_id)
        if before is not None and not before.skipped:
            raise RecordsError(f'{path}: sample {record.sample_id} is there twice')
        known[record.sample_id] = record
    return known


def differences(before: Header, now: Header) -> str:
    """Name what differs, an option by its own name; values as JSON gives them back."""
    old, new = before.as_json(), json.loads(_line(now.as_json()))
    old.update(old.pop('options'))
    new.update(new.pop('options'))
    return ', '.join(
        f'{name}: {old.get(name)!r} then, {new.get(name)!r} now'
        for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name))
