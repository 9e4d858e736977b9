"""Counts how many buffers as large as the frame Python makes on the way of one frame.

Each copy that Python code or a binding makes needs a new buffer, so the memory that tracemalloc
sees tells how many there are. What happens below, in C, it does not see.
"""
from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from _ros_camera import make_image
from _ros_plain import to_bgr
from _ros_watch import Watch
from sensor_msgs.msg import Image

from vr_ros.core.types import Size
from vr_ros.images.decode import decode_image
from vr_ros.nodes import qos
from vr_ros.nodes.cameras import Camera
from vr_ros.nodes.image_input import ImageInput
from vr_ros.pipeline.frame_ring import FrameRing
from vr_ros.pipeline.protocol import FrameKind

_TOPIC = 'counted'


@dataclass(frozen=True)
class Copies:
    """Buffers made by Python per frame.

    :param taken, converted: by the plain subscriber, before and in its callback.
    :param taken_raw: by the perception node; all that it makes of a frame that nobody asks about.
    :param decoded: by the worker, of a frame in shared memory.
    """

    taken: int
    converted: int
    taken_raw: int
    decoded: int


def count_copies(watch: Watch, size: Size) -> Copies:
    """Take one frame in each way, with the memory watched.

    :raises TimeoutError: no frame arrives.
    """
    image = make_image(size)
    publisher = qos.create_publisher(watch.node, Image, _TOPIC, qos.command())
    messages: list[Image] = []
    camera = Camera('counted', _TOPIC, FrameKind.IMAGE)
    plain = watch.node.create_subscription(Image, _TOPIC, messages.append, qos.newest())
    tracemalloc.start()
    try:
        taken = _made_by_take(watch, lambda: publisher.publish(image), lambda: len(messages), image)
        converted = _made_by(lambda: to_bgr(messages[-1]), image)
        watch.node.destroy_subscription(plain)
        messages.clear()
        raw = ImageInput(watch.node, lambda: None)
        raw.start([camera])
        taken_raw = _made_by_take(
            watch, lambda: publisher.publish(image), lambda: camera.received, image)
        raw.stop()
        assert camera.newest is not None
        decoded = _made_by_decoding(camera.newest.cdr, image)
    finally:
        tracemalloc.stop()
        watch.node.destroy_publisher(publisher)
    return Copies(taken, converted, taken_raw, decoded)


def _made_by_take(watch: Watch, publish: Callable[[], None], received: Callable[[], int],
                  image: Image) -> int:
    """Publish until a frame arrives, and count what its arrival makes."""
    counts: list[int] = []

    def arrives() -> bool:
        publish()
        before = received()
        made = _made_by(lambda: watch.spin_once(0.1), image)
        if received() == before:
            return False
        counts.append(made)
        return True

    watch.until('an image', arrives)
    return counts[-1]


def _made_by_decoding(cdr: bytes, image: Image) -> int:
    ring = FrameRing.create(1, len(cdr))
    try:
        ref = ring.put(cdr)
        assert ref is not None
        view = ring.view(ref)
        assert view is not None
        return _made_by(lambda: decode_image(view), image)
    finally:
        ring.close()


def _made_by(act: Callable[[], Any], image: Image) -> int:
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    act()
    _, peak = tracemalloc.get_traced_memory()
    return round((peak - before) / len(image.data))
