"""The newest frame of each camera, as it came; decoded by nobody until the worker needs one."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from vr_ros.core.cdr import CdrHeader, parse_compressed_image, parse_header, parse_image
from vr_ros.core.types import PerceptionError, PositionStatus, Size, Stamp, Status
from vr_ros.images.image_header import read_image_header
from vr_ros.nodes.parameter_spec import ParameterError
from vr_ros.pipeline.frame_sender import FrameData
from vr_ros.pipeline.protocol import FrameKind, Viewpoint

# An image waits for its depth for as long as two newer ones have not come either.
RECENT_FRAMES, RECENT_DEPTHS = 3, 8
_NO_SIZE = Size(0, 0)
# Last parts of topic names that say what is published, not who publishes.
_NOT_A_NAME = ('image', 'color', 'colour', 'rgb', 'compressed', 'rect')


@dataclass(frozen=True)
class Frame:
    """One image in CDR.

    :param camera: its name; '' for a picture that came with a request.
    :param number: how many frames the camera had delivered, this one included.
    :param received_at: seconds of the steady clock.
    :param depth, info: depth image of the same time, and camera_info, in CDR; b'' for none.
    :param locate: OK: objects can be located; else why they cannot.
    :param depth_info: camera_info of the depth camera, where the depth is not in the image's frame.
    :param lacks: what is not known about the viewpoint and should be, in one line.
    """

    camera: str
    cdr: bytes
    kind: FrameKind
    number: int
    received_at: float
    depth: bytes = b''
    info: bytes = b''
    depth_kind: FrameKind = FrameKind.IMAGE
    locate: PositionStatus = PositionStatus.NONE
    depth_info: bytes = b''
    viewpoint: Viewpoint = Viewpoint()
    lacks: str = ''

    @cached_property
    def header(self) -> CdrHeader:
        """Stamp and frame_id, untouched.

        :raises PerceptionError: BAD_IMAGE, the bytes are no message.
        """
        return parse_header(self.cdr)

    @cached_property
    def size(self) -> Size:
        """Size that the image says it has, read without decoding; 0 x 0 if it is not readable."""
        try:
            if self.kind is FrameKind.IMAGE:
                image = parse_image(self.cdr)
                return Size(image.width, image.height)
            picture = read_image_header(bytes(parse_compressed_image(self.cdr).data))
        except PerceptionError:
            return _NO_SIZE
        return _NO_SIZE if picture is None else picture.size

    def data(self) -> FrameData:
        """Return what of it goes to the worker."""
        return FrameData(
            self.cdr, self.kind, self.depth, self.info, self.depth_kind, self.locate,
            self.depth_info, self.viewpoint)

    @property
    def is_incomplete(self) -> bool:
        """Whether objects could be located, or better, if what else was sent had arrived."""
        is_calibrated = self.info and (self.depth_info or not self.viewpoint.depth_to_image)
        return bool(self.lacks) or (self.locate is PositionStatus.OK and not is_calibrated)

    def check_size(self, max_pixels: int) -> None:
        """:raises PerceptionError: IMAGE_TOO_LARGE, it has more pixels than that."""
        width, height = self.size.width, self.size.height
        if width * height > max_pixels:
            raise PerceptionError(
                Status.IMAGE_TOO_LARGE,
                f'the image has {width} x {height} pixels; max_image_pixels is {max_pixels}')

    def age_s(self, now_ns: int) -> float:
        """Return the age by the node's clock; negative when the stamp lies ahead of it.

        :raises PerceptionError: BAD_IMAGE.
        """
        stamp: Stamp = self.header.stamp
        return (now_ns - stamp.nanoseconds) / 1e9


# Gives the viewpoint of an image with that header and of depth of that frame_id, and what it lacks.
ViewpointOf = Callable[['Camera', CdrHeader, str], tuple[Viewpoint, str]]


def _plain_viewpoint(*_: Any) -> tuple[Viewpoint, str]:
    return Viewpoint(), ''


class Camera:
    """A mailbox with one place: the newest frame wins.

    With depth, the newest frame whose depth image is there as well, and whose viewpoint lacks
    nothing: they arrive one after the other. When the last few all lack one, the newest of the best
    goes without.

    :param topic: where its images come from.
    :param depth_topic: where its depth images come from; '' for none.
    :param depth_tolerance_s: returns how far apart the stamps of the two may be.
    :ivar info, depth_info: camera_info of the images and of the depth images; b'' until there is
        one.
    """

    def __init__(self, name: str, topic: str, kind: FrameKind, depth_topic: str = '',
                 depth_tolerance_s: Callable[[], float] = lambda: 0.0,
                 viewpoint_of: ViewpointOf = _plain_viewpoint) -> None:
        self.name, self.topic, self.kind, self.depth_topic = name, topic, kind, depth_topic
        self.depth_kind = (
            FrameKind.COMPRESSED if depth_topic.endswith('/compressedDepth') else FrameKind.IMAGE)
        self._tolerance_s, self._viewpoint_of = depth_tolerance_s, viewpoint_of
        self._received = 0
        self._newest: Frame | None = None
        self._recent: deque[Frame] = deque(maxlen=RECENT_FRAMES)
        self._depths: deque[_Depth] = deque(maxlen=RECENT_DEPTHS)
        self.info = self.depth_info = b''

    @property
    def received(self) -> int:
        """Frames so far."""
        return self._received

    @property
    def newest(self) -> Frame | None:
        # What was missing may be there by now.
        if self._newest is not None and self._newest.is_incomplete:
            self._choose()
        return self._newest

    def put(self, cdr: bytes, now: float) -> None:
        """Take a frame; the one before it is gone unless somebody looks at it.

        :param now: seconds of the steady clock.
        """
        self._received += 1
        frame = Frame(self.name, cdr, self.kind, self._received, now, info=self.info)
        if self.depth_topic:
            self._recent.append(frame)
            self._choose()
        else:
            self._newest = frame

    def put_depth(self, cdr: bytes) -> None:
        """Take a depth image; one that is no message is left out."""
        try:
            header = parse_header(cdr)
        except PerceptionError:
            return
        self._depths.append(_Depth(header.stamp.nanoseconds, header.frame_id, cdr))
        if self._recent:
            self._choose()

    def clear(self) -> None:
        """Forget what has come; counting goes on."""
        self._newest, self.info, self.depth_info = None, b'', b''
        self._recent.clear()
        self._depths.clear()

    def _choose(self) -> None:
        status = PositionStatus.OUT_OF_SYNC if self._depths else PositionStatus.NO_DEPTH
        chosen = None
        for frame in reversed(self._recent):
            depth = self._depth_of(frame)
            if depth is None:
                continue
            located = self._located(frame, depth)
            if chosen is None or not located.lacks:
                chosen = located
            if not located.lacks:
                break
        if chosen is None:
            chosen = replace(self._recent[-1], locate=status, info=self.info)
        # The same again is no news, and who looks at it holds on to it.
        if self._newest is None or _state(chosen) != _state(self._newest):
            self._newest = chosen

    def _located(self, frame: Frame, depth: _Depth) -> Frame:
        viewpoint, lacks = self._viewpoint_of(self, frame.header, depth.frame_id)
        return replace(
            frame, depth=depth.cdr, info=self.info, depth_kind=self.depth_kind,
            locate=PositionStatus.OK, viewpoint=viewpoint, lacks=lacks,
            depth_info=self.depth_info if viewpoint.depth_to_image else b'')

    def _depth_of(self, frame: Frame) -> _Depth | None:
        try:
            stamp_ns = frame.header.stamp.nanoseconds
        except PerceptionError:
            return None
        nearest = min(self._depths, key=lambda depth: abs(depth.stamp_ns - stamp_ns), default=None)
        if nearest is None or abs(nearest.stamp_ns - stamp_ns) > self._tolerance_s() * 1e9:
            return None
        return nearest


@dataclass(frozen=True)
class _Depth:
    """A depth image."""

    stamp_ns: int
    frame_id: str
    cdr: bytes


def _state(frame: Frame) -> tuple[object, ...]:
    return frame.number, frame.locate, frame.viewpoint, frame.is_incomplete


def make_cameras(
    topics: Sequence[str], names: Sequence[str], transport: str, depth_topics: Sequence[str] = (),
    depth_tolerance_s: Callable[[], float] = lambda: 0.0,
    viewpoint_of: ViewpointOf = _plain_viewpoint,
) -> dict[str, Camera]:
    """Set up a mailbox per topic.

    :param names: in the order of the topics; none, or only empty ones: derived from the topics.
    :param transport: 'raw' or 'compressed'.
    :param depth_topics: in the order of the topics, '' for a camera without; none: all without.
    :param depth_tolerance_s, viewpoint_of: see Camera.
    :return: cameras by name.
    :raises ParameterError: topics and names that do not go together.
    """
    topics = [topic for topic in topics if topic]
    names = [name for name in names if name] or [camera_name(topic) for topic in topics]
    if not topics:
        raise ParameterError('parameter image_topics names no topic')
    if len(names) != len(topics):
        raise ParameterError(f'parameter cameras has {len(names)} names for {len(topics)} '
                             'image_topics')
    doubled = first_double(topics) or first_double(names)
    if doubled:
        raise ParameterError(f'two cameras are both {doubled}: give each a topic and a name of its '
                             'own with the parameters image_topics and cameras')
    depths = list(depth_topics) if any(depth_topics) else [''] * len(topics)
    if len(depths) != len(topics):
        raise ParameterError(f'parameter depth_topics has {len(depths)} topics for {len(topics)} '
                             "image_topics; '' is a camera without depth")
    kind = FrameKind.COMPRESSED if transport == 'compressed' else FrameKind.IMAGE
    return {name: Camera(name, image_topic(topic, kind), kind, depth, depth_tolerance_s,
                         viewpoint_of)
            for name, topic, depth in zip(names, topics, depths, strict=True)}


def camera_name(topic: str) -> str:
    """Derive a camera's name: the last part of its topic that says more than `image`."""
    for part in reversed(topic.strip('~/').split('/')):
        if part and not part.lower().startswith(_NOT_A_NAME):
            return part
    return 'camera'


def image_topic(topic: str, kind: FrameKind) -> str:
    """Name the topic of a transport as image_transport does."""
    if kind is FrameKind.COMPRESSED and not topic.endswith('/compressed'):
        return f'{topic}/compressed'
    return topic


def first_double(items: Iterable[str]) -> str:
    """Return the first item that was there before, '' when all differ."""
    seen: set[str] = set()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return ''
