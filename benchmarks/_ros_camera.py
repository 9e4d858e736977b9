"""A camera for measurements: publishes one picture again and again, each time marked anew."""
from __future__ import annotations

import time
from array import array

import numpy as np
from _ros_backend import SENT
from rclpy.node import Node
from sensor_msgs.msg import Image

from vr_ros.core.types import Size
from vr_ros.nodes import qos
from vr_ros.nodes.spin import run_node


def make_image(size: Size) -> Image:
    """Make an rgb8 message of noise."""
    pixels = np.random.default_rng(0).bytes(size.width * size.height * 3)
    return Image(height=size.height, width=size.width, encoding='rgb8', step=size.width * 3,
                 data=array('B', pixels))


class Camera(Node):
    """Publishes at a fixed rate. The pixels are made once and changed in place."""

    def __init__(self) -> None:
        super().__init__('camera')
        self.declare_parameter('width', 640)
        self.declare_parameter('height', 480)
        self.declare_parameter('rate', 30.0)
        self._image = make_image(Size(
            self.get_parameter('width').value, self.get_parameter('height').value))
        self._publisher = qos.create_publisher(self, Image, 'image', qos.newest())
        self.create_timer(1 / self.get_parameter('rate').value, self._publish)

    def _publish(self) -> None:
        self._image.header.stamp = self.get_clock().now().to_msg()
        SENT.pack_into(self._image.data, 0, time.monotonic_ns())
        self._publisher.publish(self._image)


def main() -> int:
    """Run the camera as a program."""
    return run_node(Camera, lambda node: None)
