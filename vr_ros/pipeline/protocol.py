"""What the node and the worker program say to each other: JSON and run lengths, never pickles."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from vr_ros.core.types import Detection, Perception, PositionStatus, Status, Task
from vr_ros.pipeline.codec import PayloadReader, codec_of
from vr_ros.pipeline.frame_ring import SlotRef
from vr_ros.pipeline.wire import Channel, Packet, ProtocolError

__all__ = [
    'AttachRing', 'Cancel', 'DetachRing', 'Forget', 'FrameKind', 'FrameRef', 'FromWorker',
    'Heartbeat', 'Load', 'LoadFailed', 'Loading', 'Masks', 'Message', 'Objects', 'Perceive',
    'ProtocolError', 'Ready', 'Received', 'Result', 'Shutdown', 'SlotRef', 'Started', 'Text',
    'ToWorker', 'Track', 'Tracked', 'Viewpoint', 'from_packet', 'receive', 'send', 'to_packet',
]


class FrameKind(str, Enum):
    """Which message a frame's bytes are, in CDR."""

    IMAGE = 'image'
    COMPRESSED = 'compressed'


@dataclass(frozen=True)
class Viewpoint:
    """How an image was taken.

    :param rectified, depth_rectified: whether camera_info's P holds instead of K and D, for the
        image and for the depth of another camera.
    :param up: x, y, z of the direction against gravity in the image's optical frame; empty: not
        known.
    :param depth_to_image: 4 x 4 transform, row by row, from the frame of the depth image to the
        image's; empty: they are the same, or it is not known.
    """

    rectified: bool = False
    depth_rectified: bool = False
    up: tuple[float, ...] = ()
    depth_to_image: tuple[float, ...] = ()


@dataclass(frozen=True)
class FrameRef:
    """A camera's image in a ring, with the depth image and the camera_info that belong to it.

    :param slot: where image, depth, camera_info and the depth camera's own camera_info lie, one
        after the other, each in CDR.
    :param depth_bytes, info_bytes, depth_info_bytes: lengths of the latter three; 0: there is none.
    :param locate: OK: give detections their positions; else the status they all get.
    """

    ring_id: int
    slot: SlotRef
    kind: FrameKind
    depth_bytes: int = 0
    info_bytes: int = 0
    depth_kind: FrameKind = FrameKind.IMAGE
    locate: PositionStatus = PositionStatus.NONE
    depth_info_bytes: int = 0
    viewpoint: Viewpoint = Viewpoint()

    @property
    def image_bytes(self) -> int:
        return self.slot.length - self.depth_bytes - self.info_bytes - self.depth_info_bytes


@dataclass(frozen=True)
class Load:
    """Load the models of a card: its path or name. Options go to the back-end's factory."""

    card: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AttachRing:
    """Frames will come through this ring, whose descriptor travels along."""

    ring_id: int


@dataclass(frozen=True)
class DetachRing:
    """No further frame comes through this ring."""

    ring_id: int


@dataclass(frozen=True)
class Perceive:
    """Answer an instruction on a frame, which stays in its slot until the Result has been read.

    :param follow: camera on whose frames the objects are to be followed afterwards; '': none.
    :param max_tracks: of the objects at most so many are followed.
    """

    request_id: int
    text: str
    task: Task
    frame: FrameRef
    want_masks: bool
    follow: str = ''
    max_tracks: int = 0


@dataclass(frozen=True)
class Cancel:
    """Stop working on a request, begun or not. Its Result still comes."""

    request_id: int


@dataclass(frozen=True)
class Track:
    """Find what is followed on a camera's next frame; it stays in its slot until the Tracked."""

    request_id: int
    camera: str
    frame: FrameRef


@dataclass(frozen=True)
class Forget:
    """Follow nothing on a camera any more."""

    camera: str


@dataclass(frozen=True)
class Shutdown:
    """Stop everything, close the models, end the program."""


@dataclass(frozen=True)
class Loading:
    """Loading has reached a stage. progress from 0 to 1, or NaN when not known."""

    stage: str
    progress: float


@dataclass(frozen=True)
class Ready:
    """The models are loaded.

    :param can_track: whether objects can be followed from frame to frame.
    """

    model_id: str
    can_track: bool = False
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadFailed:
    """The models cannot be loaded; the program ends."""

    status: Status
    message: str


@dataclass(frozen=True)
class Started:
    """Work on a request has begun.

    :param task: what is done about it; AUTO where the back-end does not say.
    """

    request_id: int
    task: Task = Task.AUTO


@dataclass(frozen=True)
class Text:
    """New reasoning text since the last Text of this request."""

    request_id: int
    text: str


@dataclass(frozen=True)
class Objects:
    """New detections; masks_pending while Masks with the same indices will follow."""

    request_id: int
    detections: tuple[Detection, ...]
    masks_pending: bool


@dataclass(frozen=True)
class Masks:
    """Detections of earlier Objects again, now with their masks."""

    request_id: int
    detections: tuple[Detection, ...]


@dataclass(frozen=True)
class Result:
    """The end of a request: exactly one."""

    request_id: int
    perception: Perception


@dataclass(frozen=True)
class Tracked:
    """The end of a Track: exactly one.

    :param seed_id: of the Perceive whose objects these are; -1: nothing is followed.
    :param detections: with the indices of that answer; without a mask while they are hidden.
    :param scene_changed: the frame no longer shows the scene that the answer is about.
    :param busy_ms: how long it took, decoding included.
    """

    request_id: int
    seed_id: int = -1
    detections: tuple[Detection, ...] = ()
    scene_changed: bool = False
    busy_ms: float = 0.0


@dataclass(frozen=True)
class Heartbeat:
    """The program is alive; once a second, also while it loads or computes.

    :param gpu_bytes: device memory reserved by this program, 0 without a GPU.
    :param gpu_total_bytes: device memory of that GPU.
    :param busy_request_id: the request that is being computed, or None.
    """

    rss_bytes: int
    gpu_bytes: int = 0
    gpu_total_bytes: int = 0
    busy_request_id: int | None = None


ToWorker = Load | AttachRing | DetachRing | Perceive | Cancel | Track | Forget | Shutdown
FromWorker = (Loading | Ready | LoadFailed | Started | Text | Objects | Masks | Result | Tracked
              | Heartbeat)
Message = ToWorker | FromWorker

_TYPES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (Load, AttachRing, DetachRing, Perceive, Cancel, Track, Forget, Shutdown, Loading,
                 Ready, LoadFailed, Started, Text, Objects, Masks, Result, Tracked, Heartbeat)
}


@dataclass(frozen=True)
class Received:
    """A message, and the descriptor that came with an AttachRing (None with all others)."""

    message: Message
    descriptor: int | None = None


def to_packet(message: Message, descriptor: int | None = None) -> Packet:
    """Encode a message.

    :raises ProtocolError: a field has a value that its annotation does not allow.
    """
    name = type(message).__name__
    if _TYPES.get(name) is not type(message):
        raise ProtocolError(f'{name} is no message')
    payload = bytearray()
    body = codec_of(type(message)).encode(message, payload)
    return Packet({'type': name, 'body': body}, bytes(payload), descriptor)


def from_packet(packet: Packet) -> Message:
    """Decode a message.

    :raises ProtocolError: unknown type, missing, surplus or wrong fields, or a wrong payload.
    """
    if packet.header.keys() != {'type', 'body'}:
        raise ProtocolError('a header has a type and a body')
    kind = _TYPES.get(packet.header['type']) if isinstance(packet.header['type'], str) else None
    if kind is None:
        raise ProtocolError(f'unknown message type {packet.header["type"]!r:.60}')
    payload = PayloadReader(packet.payload)
    message: Message = codec_of(kind).decode(packet.header['body'], payload)
    payload.finish()
    if isinstance(message, AttachRing) != (packet.descriptor is not None):
        raise ProtocolError('a descriptor comes with AttachRing, and only with it')
    return message


def send(channel: Channel, message: Message, descriptor: int | None = None) -> None:
    """Encode and send.

    :raises ProtocolError: the message is not valid or too large; nothing was sent.
    :raises OSError: the other end is gone.
    """
    channel.send(to_packet(message, descriptor))


def receive(channel: Channel) -> Received | None:
    """Wait for the next message; None at the end of the channel.

    :raises ProtocolError: what arrived is no message; the channel is unusable.
    """
    packet = channel.receive()
    if packet is None:
        return None
    try:
        return Received(from_packet(packet), packet.descriptor)
    except ProtocolError:
        if packet.descriptor is not None:
            os.close(packet.descriptor)
        raise
