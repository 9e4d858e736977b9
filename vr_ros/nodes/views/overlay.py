"""Results drawn into their images, for people."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CompressedImage, Image

from vr_ros.core.rle import rle_to_mask
from vr_ros.core.types import Detection
from vr_ros.nodes import qos
from vr_ros.nodes.cameras import Frame
from vr_ros.nodes.convert import header_to_msg
from vr_ros.nodes.updates import Answer
from vr_ros.nodes.views.appearance import caption_of, colour_of, still_there
from vr_ros.pipeline.protocol import FrameKind

MASK_OPACITY = 0.45
JPEG_QUALITY = 85


class OverlayView:
    """The topics ~/overlay and ~/overlay/compressed."""

    def __init__(self, node: Node) -> None:
        self._raw = qos.create_publisher(node, Image, '~/overlay', qos.newest())
        self._compressed = qos.create_publisher(
            node, CompressedImage, '~/overlay/compressed', qos.newest())

    @property
    def is_wanted(self) -> bool:
        """Whether somebody subscribes to one of them."""
        return any(topic.get_subscription_count() for topic in (self._raw, self._compressed))

    def messages(self, answer: Answer) -> Iterator[tuple[Publisher, Any]]:
        """Draw an answer into its image, for those topics that have subscribers."""
        if answer.frame is None:
            return
        picture = draw(decode(answer.frame), still_there(answer.perception.detections))
        header = header_to_msg(answer.frame)
        if self._raw.get_subscription_count():
            height, width = picture.shape[:2]
            message = Image(
                header=header, height=height, width=width, encoding='rgb8', step=3 * width)
            message.data.frombytes(picture.data)
            yield self._raw, message
        if self._compressed.get_subscription_count():
            small = CompressedImage(header=header, format='rgb8; jpeg compressed bgr8')
            small.data.frombytes(to_jpeg(picture).data)
            yield self._compressed, small


def decode(frame: Frame) -> np.ndarray:
    """Decode a frame.

    :return: (H, W, 3) uint8 RGB.
    :raises PerceptionError: as the worker does.
    """
    from vr_ros.images.decode import decode_compressed, decode_image
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
        tone = colour_of(found)
        if found.mask is not None:
            inside = rle_to_mask(found.mask).astype(bool)
            tint = MASK_OPACITY * np.array(tone) + (1 - MASK_OPACITY) * picture[inside]
            picture[inside] = tint.round().astype(np.uint8)
        x_min, y_min, x_max, y_max = (round(value) for value in found.box)
        cv2.rectangle(picture, (x_min, y_min), (x_max, y_max), tone, width_px)
        if found.point is not None:
            x, y = (round(value) for value in found.point)
            cv2.drawMarker(picture, (x, y), tone, cv2.MARKER_CROSS, 8 * width_px, width_px)
        cv2.putText(picture, caption_of(found), (x_min, max(y_min - 2 * width_px, 10 * width_px)),
                    cv2.FONT_HERSHEY_SIMPLEX, 0.4 * width_px, tone, width_px, cv2.LINE_AA)
    return picture


def to_jpeg(picture: np.ndarray) -> np.ndarray:
    """Compress (H, W, 3) uint8 RGB; return the file's bytes."""
    import cv2
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    return cv2.imencode('.jpg', cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)[1]
