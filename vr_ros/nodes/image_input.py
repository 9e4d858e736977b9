"""Subscribes to images, depth and camera_info of the cameras, undecoded, while active."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from vr_ros.core.types import Size
from vr_ros.nodes import qos
from vr_ros.nodes.cameras import Camera
from vr_ros.nodes.safely import safely
from vr_ros.pipeline.protocol import FrameKind


class ImageInput:
    """The subscriptions of all cameras.

    :param on_frame: called after a frame was put into its camera's mailbox.
    """

    def __init__(self, node: Node, on_frame: Callable[[], None]) -> None:
        self._node, self._on_frame = node, on_frame
        self._subscriptions: list[Subscription] = []

    def start(self, cameras: Iterable[Camera]) -> None:
        """Subscribe."""
        for camera in cameras:
            kind = Image if camera.kind is FrameKind.IMAGE else CompressedImage
            self._subscribe(kind, camera.topic, self._image_taker(camera))
            info = info_topic(camera.topic)
            self._subscribe(CameraInfo, info, self._info_taker(camera))
            if camera.depth_topic:
                kind = Image if camera.depth_kind is FrameKind.IMAGE else CompressedImage
                self._subscribe(kind, camera.depth_topic, self._depth_taker(camera))
                if info_topic(camera.depth_topic) != info:
                    self._subscribe(CameraInfo, info_topic(camera.depth_topic),
                                    self._depth_info_taker(camera))

    def stop(self) -> None:
        """End the subscriptions."""
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())

    def calibrated_size(self, camera: Camera) -> Size | None:
        """Return the image size that camera_info speaks of; None when there is none."""
        if not camera.info:
            return None
        info = deserialize_message(camera.info, CameraInfo)
        return Size(info.width, info.height)

    def _subscribe(self, kind: type, topic: str, callback: Callable[[bytes], None]) -> None:
        self._subscriptions.append(qos.create_subscription(
            self._node, kind, topic, safely(self._node, callback), qos.newest(), raw=True))

    def _image_taker(self, camera: Camera) -> Callable[[bytes], None]:
        def take_image(serialized: bytes) -> None:
            camera.put(serialized, time.monotonic())
            self._on_frame()

        return take_image

    def _info_taker(self, camera: Camera) -> Callable[[bytes], None]:
        def take_info(serialized: bytes) -> None:
            camera.info = serialized

        return take_info

    def _depth_info_taker(self, camera: Camera) -> Callable[[bytes], None]:
        def take_depth_info(serialized: bytes) -> None:
            camera.depth_info = serialized

        return take_depth_info

    def _depth_taker(self, camera: Camera) -> Callable[[bytes], None]:
        def take_depth(serialized: bytes) -> None:
            camera.put_depth(serialized)
            self._on_frame()

        return take_depth


def info_topic(image_topic: str) -> str:
    """Name the camera_info that goes with an image topic: its sibling, as drivers publish it."""
    base = image_topic.removesuffix('/compressed').removesuffix('/compressedDepth')
    folder, separator, _ = base.rpartition('/')
    return f'{folder}{separator}camera_info'
