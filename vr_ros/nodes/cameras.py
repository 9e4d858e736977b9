"""The newest frame of each camera, as it came; decoded by nobody until the worker needs one."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from vr_ros.core.cdr import CdrHeader, parse_compressed_image, parse_header, parse_image
from vr_ros.core.types import PerceptionError, Size, Stamp, Status
from vr_ros.nodes.parameter_spec import ParameterError
from vr_ros.pipeline.frame_sender import FrameData
from vr_ros.pipeline.image_header import read_image_header
from vr_ros.pipeline.protocol import FrameKind

_NO_SIZE = Size(0, 0)
# Last parts of topic names that say what is published, not who publishes.
_NOT_A_NAME = ('image', 'color', 'colour', 'rgb', 'compressed', 'rect')


@dataclass(frozen=True)
class Frame:
    """One image in CDR.

    :param camera: its name; '' for a picture that came with a request.
    :param number: how many frames the camera had delivered, this one included.
    :param received_at: seconds of the steady clock.
    """

    camera: str
    cdr: bytes
    kind: FrameKind
    number: int
    received_at: float

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
        return FrameData(self.cdr, self.kind)

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


class Camera:
    """A mailbox with one place: the newest frame wins.

    :param topic: where its images come from.
    """

    def __init__(self, name: str, topic: str, kind: FrameKind) -> None:
        self.name, self.topic, self.kind = name, topic, kind
        self._received = 0
        self._newest: Frame | None = None

    @property
    def received(self) -> int:
        """Frames so far."""
        return self._received

    @property
    def newest(self) -> Frame | None:
        return self._newest

    def put(self, cdr: bytes, now: float) -> None:
        """Take a frame; the one before it is gone unless somebody looks at it.

        :param now: seconds of the steady clock.
        """
        self._received += 1
        self._newest = Frame(self.name, cdr, self.kind, self._received, now)

    def clear(self) -> None:
        """Forget the newest frame; counting goes on."""
        self._newest = None


def make_cameras(topics: Sequence[str], names: Sequence[str], transport: str) -> dict[str, Camera]:
    """Set up a mailbox per topic.

    :param names: in the order of the topics; none, or only empty ones: derived from the topics.
    :param transport: 'raw' or 'compressed'.
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
    kind = FrameKind.COMPRESSED if transport == 'compressed' else FrameKind.IMAGE
    return {name: Camera(name, image_topic(topic, kind), kind)
            for name, topic in zip(names, topics, strict=True)}


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
