"""The label image: each pixel holds the number of the object that it belongs to."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from vr_ros.core.types import Detection, Size
from vr_ros.nodes import qos
from vr_ros.nodes.convert import header_to_msg
from vr_ros.nodes.updates import Answer
from vr_ros.nodes.views.appearance import in_sight, tells_of_objects

# The highest number of a type means "unlabelled" to vision_msgs.
HIGHEST_MONO8 = 254
HIGHEST_MONO16 = 65534


class LabelView:
    """The topic ~/labels. Objects that are hidden, or without a mask, are not in it."""

    def __init__(self, node: Node) -> None:
        self._publisher = qos.create_publisher(node, Image, '~/labels', qos.newest())

    @property
    def is_wanted(self) -> bool:
        """Whether somebody subscribes."""
        return bool(self._publisher.get_subscription_count())

    def messages(self, answer: Answer) -> Iterator[tuple[Publisher, Any]]:
        """Paint an answer; none of an answer that says nothing about objects."""
        if not tells_of_objects(answer.perception):
            return
        found = in_sight(answer.perception.detections)
        labels = paint_labels(found, answer.perception.image_size)
        height, width = labels.shape
        message = Image(
            header=header_to_msg(answer.frame), height=height, width=width,
            encoding='mono8' if labels.itemsize == 1 else 'mono16', is_bigendian=0,
            step=width * labels.itemsize)
        message.data.frombytes(labels.data.cast('B'))
        yield self._publisher, message


def paint_labels(detections: Sequence[Detection], size: Size) -> np.ndarray:
    """Paint masks over each other, smaller ones on top, so that each object stays visible.

    :param size: of the image, as every mask has it.
    :return: (H, W), 0: background, otherwise index + 1 of the object. uint8 if the numbers fit,
        else little-endian uint16; objects beyond number 65534 are left out.
    :raises ValueError: a mask is of another size.
    """
    masked = [found for found in detections
              if found.mask is not None and found.index < HIGHEST_MONO16]
    numbers = [found.index + 1 for found in detections if found.index < HIGHEST_MONO16]
    kind = np.dtype(np.uint8) if max(numbers, default=0) <= HIGHEST_MONO8 else np.dtype('<u2')
    column_by_column = np.zeros(size.width * size.height, kind)
    for found in sorted(masked, key=_area_px, reverse=True):
        if found.mask.size != size:
            raise ValueError(f'mask of {found.mask.size} for an image of {size}')
        borders = np.cumsum(found.mask.counts)
        for start, end in zip(borders[0::2], borders[1::2], strict=False):
            column_by_column[start:end] = found.index + 1
    return np.ascontiguousarray(column_by_column.reshape(size.width, size.height).T)


def _area_px(found: Detection) -> int:
    return sum(found.mask.counts[1::2])
