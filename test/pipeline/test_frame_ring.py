"""Frames arrive unchanged in shared memory; one that was overwritten is never taken for whole."""
from __future__ import annotations

import fcntl
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vr_ros.core.types import PerceptionError, PositionStatus, Status
from vr_ros.pipeline import frame_ring
from vr_ros.pipeline.frame_ring import FrameRing, SlotRef
from vr_ros.pipeline.frame_sender import FrameData, FrameSender
from vr_ros.pipeline.protocol import AttachRing, DetachRing, FrameKind, Viewpoint


def attached(ring: FrameRing) -> FrameRing:
    return FrameRing.attach(os.dup(ring.fd))


def put(ring: FrameRing, frame: bytes, avoid: tuple[int, ...] = ()) -> SlotRef:
    ref = ring.put(frame, avoid=avoid)
    assert ref is not None
    return ref


@pytest.mark.parametrize('kind', [bytes, bytearray, memoryview])
def test_frames_arrive_unchanged(kind: type) -> None:
    ring = FrameRing.create(3, 10_000)
    reader = attached(ring)
    frames = [np.random.default_rng(seed).bytes(length)
              for seed, length in enumerate([10_000, 1, 0])]
    refs = [put(ring, kind(frame)) for frame in frames]
    assert [bytes(reader.view(ref)) for ref in refs] == frames
    assert len({ref.slot for ref in refs}) == 3


def test_an_array_of_words_is_taken_as_bytes() -> None:
    ring = FrameRing.create(1, 100)
    words = np.arange(5, dtype='<u4')
    assert bytes(attached(ring).view(put(ring, memoryview(words)))) == words.tobytes()


def test_a_reader_cannot_write() -> None:
    ring = FrameRing.create(1, 100)
    reader = attached(ring)
    ref = put(ring, b'frame')
    with pytest.raises(TypeError):
        reader.view(ref)[0] = 0
    with pytest.raises(ValueError):
        reader.put(b'frame')


def test_an_overwritten_frame_is_detected() -> None:
    ring = FrameRing.create(2, 100)
    reader = attached(ring)
    first = put(ring, b'first')
    view = reader.view(first)
    second = put(ring, b'second')
    assert reader.still_valid(first) and bytes(view) == b'first'
    third = put(ring, b'third')
    assert third.slot == first.slot
    assert not reader.still_valid(first) and reader.view(first) is None
    assert bytes(reader.view(second)) == b'second' and bytes(reader.view(third)) == b'third'


def test_a_frame_that_is_being_written_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = FrameRing.create(1, 100)
    reader = attached(ring)
    old = put(ring, b'old frame')
    seen = []

    class Copying:
        """Looks at the slot in the middle of the copy, as a reader in another process may."""

        def __init__(self, memory: memoryview) -> None:
            self._memory = memory

        def __setitem__(self, where: slice, data: memoryview) -> None:
            half = where.start + len(data) // 2
            self._memory[where.start:half] = data[:half - where.start]
            written = SlotRef(0, old.generation + 1, len(data))
            seen.extend([reader.still_valid(old), reader.view(old), reader.view(written)])
            self._memory[where] = data

    monkeypatch.setattr(ring, '_bytes', Copying(ring._bytes))
    new = put(ring, b'new frame')
    assert seen == [False, None, None]
    assert bytes(reader.view(new)) == b'new frame'


def test_slots_to_avoid_are_left_alone() -> None:
    ring = FrameRing.create(3, 100)
    kept = put(ring, b'kept')
    others = [put(ring, b'%d' % number, avoid=(kept.slot,)) for number in range(10)]
    assert bytes(ring.view(kept)) == b'kept'
    assert [ref.slot for ref in others[:4]] == [1, 2, 1, 2]
    assert ring.put(b'none left', avoid=(0, 1, 2)) is None


@pytest.mark.parametrize('ref', [
    SlotRef(0, 0, 0),                # before anything was written
    SlotRef(1, 2, 5),                # a slot that was not written
    SlotRef(2, 2, 5),                # a slot that is not there
    SlotRef(-1, 2, 5),               # nor there
    SlotRef(0, 2, 6),                # not its length
    SlotRef(0, 2, -1),               # not a length
    SlotRef(0, 2, 1 << 40),          # beyond the memory
    SlotRef(0, 1, 5),                # never a finished frame
    SlotRef(0, 4, 5),                # not yet written
    SlotRef(0, -2, 5),               # not a generation
])
def test_a_wrong_reference_gives_nothing(ref: SlotRef) -> None:
    ring = FrameRing.create(2, 100)
    assert ring.view(SlotRef(0, 2, 5)) is None
    assert bytes(ring.view(put(ring, b'frame'))) == b'frame'
    assert ring.view(ref) is None


def test_a_frame_above_the_capacity_is_refused() -> None:
    ring = FrameRing.create(1, 5000)
    ref = put(ring, bytes(ring.capacity_bytes))
    with pytest.raises(ValueError, match='does not fit'):
        ring.put(bytes(ring.capacity_bytes + 1))
    assert ring.still_valid(ref)


def test_the_size_is_sealed() -> None:
    ring = FrameRing.create(2, 5000)
    for size in (0, 1 << 20):
        with pytest.raises(PermissionError):
            os.ftruncate(ring.fd, size)
    assert fcntl.fcntl(ring.fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SEAL
    with pytest.raises(ValueError):
        _ = attached(ring).fd


@pytest.mark.parametrize('content', [
    b'',                                                                       # empty
    b'x' * 8192,                                                               # something else
    frame_ring._HEADER.pack(b'vr_ring1', 0, 0, 4096) + bytes(8192),            # no slots
    frame_ring._HEADER.pack(b'vr_ring1', 65, 0, 4096) + bytes(1 << 20),        # too many slots
    frame_ring._HEADER.pack(b'vr_ring1', 2, 0, 4096) + bytes(4096),            # it is smaller
    frame_ring._HEADER.pack(b'vr_ring1', 1, 0, 1 << 62) + bytes(8192),         # larger than memory
])
def test_what_is_no_ring_is_refused_and_closed(
        content: bytes, open_descriptors: Callable[[], int]) -> None:
    before = open_descriptors()
    fd = os.memfd_create('no ring')
    os.write(fd, content)
    with pytest.raises(ValueError, match='not a frame ring'):
        FrameRing.attach(fd)
    assert open_descriptors() == before


def test_a_pipe_is_no_ring() -> None:
    read_end, write_end = os.pipe()
    with pytest.raises(ValueError, match='not a frame ring'):
        FrameRing.attach(read_end)
    os.close(write_end)


@pytest.mark.parametrize(('slots', 'capacity_bytes'), [(0, 1), (65, 1), (1, 0), (1, 1 << 40)])
def test_impossible_rings_are_refused(slots: int, capacity_bytes: int) -> None:
    with pytest.raises(ValueError):
        FrameRing.create(slots, capacity_bytes)


def test_closing_gives_descriptors_back_and_keeps_views(
        open_descriptors: Callable[[], int]) -> None:
    before = open_descriptors()
    for _ in range(5):
        ring = FrameRing.create(2, 100)
        reader = attached(ring)
        view = reader.view(put(ring, b'frame'))
        reader.close()
        ring.close()
        assert bytes(view) == b'frame'
        del view, ring, reader
    assert open_descriptors() == before


LENGTH = 2_000_000

READER = """
import sys
from vr_ros.pipeline.frame_ring import FrameRing, SlotRef
ring = FrameRing.attach(int(sys.argv[1]))
length = int(sys.argv[2])
whole = overtaken = 0
while whole < 20 or overtaken < 20:
    ref = SlotRef(0, ring._table[0] // 2 * 2, length)
    view = ring.view(ref)
    if view is None:
        continue
    content = bytes(view)
    if not ring.still_valid(ref):
        overtaken += 1
    elif content != bytes([ref.generation % 251]) * length:
        sys.exit('a torn frame was taken for whole')
    else:
        whole += 1
"""


def test_another_process_never_takes_a_torn_frame_for_whole(deadline: None) -> None:
    ring = FrameRing.create(1, LENGTH)
    reader = subprocess.Popen(
        [sys.executable, '-c', READER, str(ring.fd), str(LENGTH)], pass_fds=[ring.fd],
        env={**os.environ, 'PYTHONPATH': str(Path(frame_ring.__file__).parents[2])})
    try:
        generation = 0
        while reader.poll() is None:
            generation += 2
            assert put(ring, bytes([generation % 251]) * LENGTH).generation == generation
            time.sleep(0.001 * (generation % 4))  # time for whole frames, and none for others
    finally:
        reader.kill()
        assert reader.wait() == 0


class Announced:
    """A worker's side of a FrameSender."""

    def __init__(self) -> None:
        self.rings: dict[int, FrameRing] = {}
        self.messages: list[AttachRing | DetachRing] = []

    def __call__(self, message: AttachRing | DetachRing, descriptor: int | None) -> None:
        self.messages.append(message)
        if descriptor is not None:
            self.rings[message.ring_id] = FrameRing.attach(os.dup(descriptor))


def test_a_larger_frame_gets_a_larger_ring() -> None:
    worker = Announced()
    sender = FrameSender(2, worker)
    small, big = b's' * 5000, b'b' * 50_000
    first, second, third = (sender.put(FrameData(data), ()) for data in (small, big, small))
    assert worker.messages == [
        AttachRing(first.ring_id), AttachRing(second.ring_id), DetachRing(first.ring_id)]
    assert third.ring_id == second.ring_id != first.ring_id
    # Still there for who holds it.
    assert bytes(worker.rings[first.ring_id].view(first.slot)) == small
    assert bytes(worker.rings[second.ring_id].view(second.slot)) == big
    assert bytes(worker.rings[second.ring_id].view(third.slot)) == small


def test_depth_and_camera_info_travel_with_the_image() -> None:
    worker = Announced()
    sender = FrameSender(2, worker)
    ref = sender.put(FrameData(
        b'image' * 9, FrameKind.COMPRESSED, b'depth!', b'info', FrameKind.IMAGE,
        PositionStatus.OK, b'of the depth', Viewpoint(up=(0.0, -1.0, 0.0))), ())
    assert bytes(worker.rings[ref.ring_id].view(ref.slot)) == (
        b'image' * 9 + b'depth!' + b'info' + b'of the depth')
    assert (ref.image_bytes, ref.depth_bytes, ref.info_bytes, ref.depth_info_bytes) == (
        45, 6, 4, 12)
    assert ref.viewpoint.up == (0.0, -1.0, 0.0)
    assert (ref.kind, ref.depth_kind) == (FrameKind.COMPRESSED, FrameKind.IMAGE)
    assert ref.locate is PositionStatus.OK


def test_frames_in_use_are_not_overwritten() -> None:
    worker = Announced()
    sender = FrameSender(2, worker)
    busy = []
    for content in (b'one', b'two'):
        ref = sender.put(FrameData(content), busy)
        busy.append((ref.ring_id, ref.slot.slot))
    with pytest.raises(PerceptionError) as caught:
        sender.put(FrameData(b'three'), busy)
    assert caught.value.status is Status.QUEUE_FULL
    assert sender.put(FrameData(b'three'), busy[1:]).slot.slot == busy[0][1]
    busy_elsewhere = [(ref.ring_id + 1, 0), (ref.ring_id + 1, 1)]
    assert sender.put(FrameData(b'four'), busy_elsewhere).ring_id == ref.ring_id


def test_an_enormous_frame_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('vr_ros.pipeline.frame_sender.MAX_FRAME_BYTES', mmap.PAGESIZE)
    sender = FrameSender(1, Announced())
    sender.put(FrameData(bytes(mmap.PAGESIZE)), ())
    with pytest.raises(PerceptionError) as caught:
        sender.put(FrameData(bytes(mmap.PAGESIZE), depth=b'1'), ())
    assert caught.value.status is Status.IMAGE_TOO_LARGE


def test_nothing_lies_in_shared_memory_directories() -> None:
    before = set(os.listdir('/dev/shm'))
    ring = FrameRing.create(4, 1 << 20)
    put(ring, b'frame')
    assert not {name for name in set(os.listdir('/dev/shm')) - before if 'vr_ros' in name}
    assert os.readlink(f'/proc/self/fd/{ring.fd}').startswith('/memfd:vr_ros_frames')
