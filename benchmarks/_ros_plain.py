"""What the perception node is compared with: a subscriber as it is ordinarily written."""
from __future__ import annotations

import json
import time
from pathlib import Path

import cv2
import numpy as np
from _ros_backend import SENT
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from vr_ros.nodes.spin import run_node

QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1,
                 reliability=ReliabilityPolicy.BEST_EFFORT)


def to_bgr(message: Image) -> np.ndarray:
    """Convert as imgmsg_to_cv2(message, 'bgr8') of cv_bridge does: a view, then one conversion.

    :return: (H, W, 3) uint8 BGR.
    """
    pixels = np.frombuffer(message.data, np.uint8)
    return cv2.cvtColor(pixels.reshape(message.height, message.width, 3), cv2.COLOR_RGB2BGR)


class PlainSubscriber(Node):
    """Converts every frame as it comes, and notes when."""

    def __init__(self) -> None:
        super().__init__('plain')
        self.declare_parameter('output', '')
        self._times: list[tuple[int, int, int]] = []
        self.create_subscription(Image, 'image', self._on_image, QOS)

    def _on_image(self, message: Image) -> None:
        called_ns = time.monotonic_ns()
        self._newest = to_bgr(message)
        converted_ns = time.monotonic_ns()
        sent_ns, = SENT.unpack_from(message.data)
        self._times.append((sent_ns, called_ns, converted_ns))

    def write(self) -> None:
        """Write when each frame was published, handed over and converted, nanoseconds."""
        Path(self.get_parameter('output').value).write_text(
            json.dumps(self._times), encoding='utf-8')


def main() -> int:
    """Run the subscriber as a program; what it noted is written at its end."""
    # Threads of OpenCV that wait for work would count against this side.
    cv2.setNumThreads(1)
    return run_node(PlainSubscriber, PlainSubscriber.write)
