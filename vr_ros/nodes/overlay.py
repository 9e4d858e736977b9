"""Results drawn into their images, for people; made only while somebody watches."""
from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Sequence

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from vr_ros.core.palette import colour
from vr_ros.core.rle import rle_to_mask
from vr_ros.core.types import Detection
from vr_ros.nodes import qos
from vr_ros.nodes.cameras import Frame
from vr_ros.nodes.convert import header_to_msg
from vr_ros.nodes.safely import safely
from vr_ros.nodes.updates import Answer, Update
from vr_ros.pipeline.protocol import FrameKind

MASK_OPACITY = 0.45
JPEG_QUALITY = 85


class OverlayPublisher:
    """The topics ~/overlay and ~/overlay/compressed.

    Decoding and drawing take milliseconds, so they have a thread of their own; if results come
    faster than it draws, the newest is drawn.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._raw = qos.create_publisher(node, Image, '~/overlay', qos.newest())
        self._compressed = qos.create_publisher(
            node, CompressedImage, '~/overlay/compressed', qos.newest())
        self._waiting: queue.Queue[Answer] = queue.Queue(1)
        self._drawn: deque[Image | CompressedImage] = deque()
        self._guard = node.create_guard_condition(safely(node, self._publish))
        self._thread: threading.Thread | None = None

    def show(self, update: Update) -> None:
        """Have a result drawn if somebody watches and an image took part."""
        if not isinstance(update, Answer) or update.frame is None or update.job.picture is not None:
            return
        if not (self._raw.get_subscription_count() or self._compressed.get_subscription_count()):
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._draw_all, name='overlay', daemon=True)
            self._thread.start()
        try:
            self._waiting.get_nowait()
        except queue.Empty:
            pass  # the thread has taken the one before
        self._waiting.put_nowait(update)

    def _draw_all(self) -> None:
        draw_one = safely(self._node, self._draw_one)
        while True:
            draw_one(self._waiting.get())

    def _draw_one(self, answer: Answer) -> None:
        frame = answer.frame
        if frame is None or answer.perception.status.is_error:
            return
        picture = draw(decode(frame), answer.perception.detections)
        header = header_to_msg(frame)
        if self._raw.get_subscription_count():
            height, width = picture.shape[:2]
            message = Image(
                header=header, height=height, width=width, encoding='rgb8', step=3 * width)
            message.data.frombytes(picture.data)
            self._drawn.append(message)
        if self._compressed.get_subscription_count():
            small = CompressedImage(header=header, format='rgb8; jpeg compressed bgr8')
            small.data.frombytes(to_jpeg(picture).data)
            self._drawn.append(small)
        self._guard.trigger()

    def _publish(self) -> None:
        while self._drawn:
            message = self._drawn.popleft()
            (self._raw if isinstance(message, Image) else self._compressed).publish(message)


def decode(frame: Frame) -> np.ndarray:
    """Decode a frame.

    :return: (H, W, 3) uint8 RGB.
    :raises PerceptionError: as the worker does.
    """
    from vr_ros.pipeline.decode import decode_compressed, decode_image
    decoder = decode_image if frame.kind is FrameKind.IMAGE else decode_compressed
    return decoder(frame.cdr)


def draw(image: np.ndarray, detections: Sequence[Detection]) -> np.ndarray:
    """Draw masks, boxes, points and labels.

    :param image: (H, W, 3) uint8 RGB; left as it is.
    :return: a new image of the same shape.
    """
    import cv2
    picture = np.array(image, order='C')
    width_px = max(1, round(max(picture.shape[:2]) / 400))
    for found in detections:
        tone = colour(found.index)
        if found.mask is not None:
            inside = rle_to_mask(found.mask).astype(bool)
            tint = MASK_OPACITY * np.array(tone) + (1 - MASK_OPACITY) * picture[inside]
            picture[inside] = tint.round().astype(np.uint8)
        x_min, y_min, x_max, y_max = (round(value) for value in found.box)
        cv2.rectangle(picture, (x_min, y_min), (x_max, y_max), tone, width_px)
        if found.point is not None:
            x, y = (round(value) for value in found.point)
            cv2.drawMarker(picture, (x, y), tone, cv2.MARKER_CROSS, 8 * width_px, width_px)
        label = f'{found.index} {found.label}'.strip()
        cv2.putText(picture, label, (x_min, max(y_min - 2 * width_px, 10 * width_px)),
                    cv2.FONT_HERSHEY_SIMPLEX, 0.4 * width_px, tone, width_px, cv2.LINE_AA)
    return picture


def to_jpeg(picture: np.ndarray) -> np.ndarray:
    """Compress (H, W, 3) uint8 RGB; return the file's bytes."""
    import cv2
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    return cv2.imencode('.jpg', cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)[1]
