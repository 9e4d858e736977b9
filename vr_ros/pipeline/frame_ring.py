"""Camera frames in memory that two processes share: the node writes, the worker reads in place.

The memory is a memfd whose descriptor travels over the socket: it has no name, so nothing is left
behind by a killed process, and a container's small /dev/shm does not matter. Its size is sealed: a
reader can never fault on a shrunk file.

Layout: one page with the ring's header and a (generation, length) pair per slot, then the slots,
each on its own pages. A generation is odd while its slot is being written and grows by 2 per frame,
so a reader that was overtaken by the writer can tell.
"""
from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Collection
from dataclasses import dataclass

MAX_FRAME_BYTES = 512 << 20
MAX_SLOTS = 64

_HEADER = struct.Struct('=8sIIQ')
_MAGIC = b'vr_ring1'
_PAGE = 4096
_TABLE_OFFSET = 64
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@dataclass(frozen=True)
class SlotRef:
    """Where a frame lies in a frame ring.

    :param generation: changes with every frame put into the slot.
    :param length: bytes.
    """

    slot: int
    generation: int
    length: int


class FrameRing:
    """A fixed number of slots for frames; the writer uses them in turn.

    Made by create() in the writing process and by attach() in the reading one. Not locked: one
    thread writes. What is read from a slot counts only if still_valid() says so afterwards, unless
    the writer was told to avoid the slot.
    """

    def __init__(self, fd: int, slots: int, capacity_bytes: int, *, writable: bool) -> None:
        self.slots = slots
        self.capacity_bytes = capacity_bytes
        self._fd = fd if writable else None
        self._writable = writable
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self._map = mmap.mmap(fd, _size(slots, capacity_bytes), mmap.MAP_SHARED, access)
        self._bytes = memoryview(self._map)
        table_end = _TABLE_OFFSET + slots * 16
        self._table = self._bytes[_TABLE_OFFSET:table_end].cast('Q')
        self._next = 0

    @classmethod
    def create(cls, slots: int, capacity_bytes: int) -> FrameRing:
        """Make a ring to write to.

        :param capacity_bytes: the largest frame that must fit; rounded up to whole pages.
        :raises ValueError: no slots, too many, or a capacity that no ring may have.
        """
        if not 1 <= slots <= MAX_SLOTS or not 1 <= capacity_bytes <= MAX_FRAME_BYTES:
            raise ValueError(f'no ring of {slots} slots of {capacity_bytes} bytes')
        capacity_bytes = -(-capacity_bytes // _PAGE) * _PAGE
        fd = os.memfd_create('vr_ros_frames', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, _size(slots, capacity_bytes))
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            os.pwrite(fd, _HEADER.pack(_MAGIC, slots, 0, capacity_bytes), 0)
            return cls(fd, slots, capacity_bytes, writable=True)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def attach(cls, fd: int) -> FrameRing:
        """Map a ring that another process made, to read from. The descriptor is taken over.

        :raises ValueError: the descriptor is no ring.
        """
        try:
            header = os.pread(fd, _HEADER.size, 0)
            if len(header) < _HEADER.size:
                raise ValueError('not a frame ring: no header')
            magic, slots, _, capacity_bytes = _HEADER.unpack(header)
            if magic != _MAGIC or not 1 <= slots <= MAX_SLOTS or capacity_bytes > MAX_FRAME_BYTES:
                raise ValueError('not a frame ring: wrong header')
            if os.fstat(fd).st_size != _size(slots, capacity_bytes):
                raise ValueError('not a frame ring: its size does not fit its header')
            return cls(fd, slots, capacity_bytes, writable=False)
        except (OSError, struct.error) as error:
            raise ValueError(f'not a frame ring: {error}') from error
        finally:
            # The mapping stays; whoever fails here must not leak what it was handed.
            os.close(fd)

    @property
    def fd(self) -> int:
        """The descriptor to hand to the reading process.

        :raises ValueError: this end was attached, or is closed.
        """
        if self._fd is None:
            raise ValueError('this end of the ring has no descriptor to hand on')
        return self._fd

    def put(self, *parts: bytes | bytearray | memoryview,
            avoid: Collection[int] = ()) -> SlotRef | None:
        """Copy a frame into the next slot in turn.

        :param parts: of the frame; they lie there one after the other.
        :param avoid: slots that are still being read and must not be overwritten.
        :return: where it lies, or None when every slot is to be avoided.
        :raises ValueError: the frame is larger than a slot, or this end is not the writing one.
        """
        sources = [memoryview(part).cast('B') for part in parts]
        length = sum(map(len, sources))
        if not self._writable or length > self.capacity_bytes:
            raise ValueError(f'frame of {length} bytes does not fit {self.capacity_bytes}')
        slot = next((s for s in self._in_turn() if s not in avoid), None)
        if slot is None:
            return None
        generation = self._table[2 * slot] + 2
        self._table[2 * slot] = generation - 1
        start = self._offset(slot)
        for source in sources:
            self._bytes[start:start + len(source)] = source
            start += len(source)
        self._table[2 * slot + 1] = length
        self._table[2 * slot] = generation
        self._next = (slot + 1) % self.slots
        return SlotRef(slot, generation, length)

    def view(self, ref: SlotRef) -> memoryview | None:
        """Return the frame's bytes in place, read-only, or None when its slot was used again."""
        if not self.still_valid(ref) or self._table[2 * ref.slot + 1] != ref.length:
            return None
        start = self._offset(ref.slot)
        return self._bytes[start:start + ref.length].toreadonly()

    def still_valid(self, ref: SlotRef) -> bool:
        """Tell whether the slot still holds the frame; what was read before is sound if it does."""
        return (0 <= ref.slot < self.slots and 0 <= ref.length <= self.capacity_bytes
                and ref.generation > 0 and ref.generation % 2 == 0
                and self._table[2 * ref.slot] == ref.generation)

    def close(self) -> None:
        """Give the memory back; views that are still in use keep it until they are gone."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None
        self._table.release()
        self._bytes.release()
        try:
            self._map.close()
        except BufferError:
            pass  # a view is in use: the mapping goes with it

    def _in_turn(self) -> list[int]:
        return [(self._next + step) % self.slots for step in range(self.slots)]

    def _offset(self, slot: int) -> int:
        return _PAGE + slot * self.capacity_bytes


def _size(slots: int, capacity_bytes: int) -> int:
    return _PAGE + slots * capacity_bytes
