"""Reads MCAP files in place and as far as they go: whole ones, and such as were cut off or damaged.

A file that was cut off has no index; a message is found again by where its chunk begins.
"""
from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import zstandard
from mcap.exceptions import McapError
from mcap.records import Chunk, McapRecord
from mcap.stream_reader import CRCValidationError, StreamReader, breakup_chunk

# What the reader raises depends on where in a record a file ends, and on what stands there.
DAMAGE = (McapError, CRCValidationError, zstandard.ZstdError, struct.error, ValueError,
          MemoryError, KeyError, IndexError, OverflowError)
# No chunk is as long as that: a length beyond it is no length.
_LONGEST_RECORD = 1 << 30
_MAGIC_BYTES = 8


@dataclass
class Damage:
    """What could not be read.

    :param ended_at: by file name, bytes up to which a file can be read that was cut off, and its
        size.
    :param damaged_chunks: that were left out in between.
    """

    ended_at: dict[str, tuple[int, int]] = field(default_factory=dict)
    damaged_chunks: int = 0

    def __bool__(self) -> bool:
        return bool(self.ended_at or self.damaged_chunks)

    @property
    def words(self) -> list[str]:
        """Say what is missing, one line each."""
        words = [f'{name} was cut off' + (
                     f': of its {size} bytes the last {size - end} are lost' if end < size else
                     ' between two records: what came behind is lost')
                 for name, (end, size) in self.ended_at.items()]
        if self.damaged_chunks:
            words.append(f'{self.damaged_chunks} damaged chunks are left out')
        return words


def mcap_files(bag: Path) -> list[Path]:
    """Find the files of a bag in the order in which they were written: the tenth after the second.
    """
    return sorted(bag.glob('*.mcap'), key=_number)


def read_parts(path: Path, damage: Damage) -> Iterator[tuple[int, Sequence[McapRecord]]]:
    """Read one file as far as it goes; each chunk is taken whole, by its checksum, or left out.

    :param damage: where what is missing is noted.
    :return: byte at which a chunk or another record begins, and the records in it.
    :raises OSError: if the file cannot be opened.
    """
    with path.open('rb') as stream:
        reader = StreamReader(stream, emit_chunks=True, record_size_limit=_LONGEST_RECORD).records
        end = 0
        while True:
            try:
                record = next(reader)
            except StopIteration:
                return
            except DAMAGE:
                damage.ended_at[path.name] = end, path.stat().st_size
                return
            # The magic bytes stand before the first record.
            begin, end = end or _MAGIC_BYTES, stream.tell()
            try:
                parts = _parts(record)
            except DAMAGE:
                damage.damaged_chunks += 1
                continue
            yield begin, parts


def read_part(stream: BinaryIO, begin: int) -> Sequence[McapRecord]:
    """Read again what :func:`read_parts` found at a byte."""
    stream.seek(begin)
    reader = StreamReader(stream, skip_magic=True, emit_chunks=True)
    return _parts(next(iter(reader.records)))


def _parts(record: McapRecord) -> Sequence[McapRecord]:
    return breakup_chunk(record, validate_crc=True) if isinstance(record, Chunk) else (record,)


def _number(path: Path) -> tuple[int, str]:
    found = re.search(r'_(\d+)$', path.stem)
    return (int(found[1]) if found else 0), path.name
