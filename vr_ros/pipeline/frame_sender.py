"""The writing end of the frames: a ring that gives way to a larger one for a larger frame."""
from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from vr_ros.core.types import PerceptionError, PositionStatus, Status
from vr_ros.pipeline.frame_ring import MAX_FRAME_BYTES, FrameRing
from vr_ros.pipeline.protocol import AttachRing, DetachRing, FrameKind, FrameRef, Viewpoint

Announce = Callable[[AttachRing | DetachRing, int | None], None]


@dataclass(frozen=True)
class FrameData:
    """What a camera delivered at one time, each message in CDR.

    :param image: sensor_msgs/Image or CompressedImage, as kind says.
    :param depth: the depth image of that time, b'' if there is none; its kind is depth_kind.
    :param info: sensor_msgs/CameraInfo, b'' if there is none.
    :param depth_info: camera_info of the depth camera, where that is not the image's.
    :param locate, viewpoint: see FrameRef.
    """

    image: bytes | bytearray | memoryview
    kind: FrameKind = FrameKind.IMAGE
    depth: bytes = b''
    info: bytes = b''
    depth_kind: FrameKind = FrameKind.IMAGE
    locate: PositionStatus = PositionStatus.NONE
    depth_info: bytes = b''
    viewpoint: Viewpoint = Viewpoint()


class FrameSender:
    """Puts frames where the worker can read them. Not locked.

    :param announce: sends a message and a descriptor (or None) to the worker, in order.
    """

    def __init__(self, slots: int, announce: Announce) -> None:
        self._slots = slots
        self._announce = announce
        self._ring: FrameRing | None = None
        self._ring_id = 0

    def put(self, frame: FrameData, busy: Collection[tuple[int, int]]) -> FrameRef:
        """Copy a frame.

        :param busy: ring id and slot of each frame that may still be read.
        :return: where the frame lies.
        :raises PerceptionError: IMAGE_TOO_LARGE, or QUEUE_FULL when all slots are busy.
        """
        parts = (frame.image, frame.depth, frame.info, frame.depth_info)
        length = sum(memoryview(part).nbytes for part in parts)
        if length > MAX_FRAME_BYTES:
            raise PerceptionError(
                Status.IMAGE_TOO_LARGE,
                f'the image has {length} bytes; at most {MAX_FRAME_BYTES} reach the worker')
        ring = self._ring
        if ring is None or length > ring.capacity_bytes:
            ring = self._replace(length)
        slot = ring.put(*parts, avoid={slot for ring_id, slot in busy if ring_id == self._ring_id})
        if slot is None:
            raise PerceptionError(Status.QUEUE_FULL, 'every slot of the frame ring is in use')
        return FrameRef(self._ring_id, slot, frame.kind, len(frame.depth), len(frame.info),
                        frame.depth_kind, frame.locate, len(frame.depth_info), frame.viewpoint)

    def close(self) -> None:
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    def _replace(self, length: int) -> FrameRing:
        # Requests that are under way keep the old ring: the worker takes hold of it as it reads
        # them, and reads the detachment after them.
        old, old_id = self._ring, self._ring_id
        self._ring = FrameRing.create(self._slots, max(length, 1))
        self._ring_id += 1
        self._announce(AttachRing(self._ring_id), self._ring.fd)
        if old is not None:
            self._announce(DetachRing(old_id), None)
            old.close()
        return self._ring
