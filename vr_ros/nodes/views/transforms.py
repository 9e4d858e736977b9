"""Transforms between frames at the time of an image; where tf2 is installed.

The only module that imports tf2. Of it, the buffer is used; the two subscriptions are our own, so
that qos_overrides apply to them and that nothing they bring can end the node.
"""
from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from rclpy.clock import JumpHandle, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.subscription import Subscription
from rclpy.time import Time

from vr_ros.core.transform import Transform
from vr_ros.core.types import Stamp
from vr_ros.nodes import qos
from vr_ros.nodes.safely import safely

NOT_INSTALLED = 'tf2 is not installed (the packages tf2_py and tf2_msgs)'


@dataclass(frozen=True)
class NoTransform:
    """There is none.

    :param reason: why, in one line.
    """

    reason: str


TransformAt = Callable[[str, str, Stamp], Transform | NoTransform]


def tf2() -> SimpleNamespace | None:
    """Import BufferCore, TransformException and TFMessage; None where tf2 is not installed."""
    try:
        core, messages = map(importlib.import_module, ('tf2_py', 'tf2_msgs.msg'))
    except ImportError:
        return None
    return SimpleNamespace(BufferCore=core.BufferCore, TFMessage=messages.TFMessage,
                           TransformException=core.TransformException)


class Transforms:
    """What /tf and /tf_static said lately. It listens from open() or the first question on."""

    def __init__(self, node: Node) -> None:
        self._node, self._tf2 = node, tf2()
        self._buffer: Any = None
        self._subscriptions: list[Subscription] = []
        self._jump_handle: JumpHandle | None = None

    @property
    def is_available(self) -> bool:
        """Whether tf2 is installed."""
        return self._tf2 is not None

    def open(self) -> None:
        """Listen, if that can be done and is not done already."""
        if self._tf2 is None or self._buffer is not None:
            return
        self._buffer = self._tf2.BufferCore()
        self._listen('/tf', self._take, qos.transforms())
        self._listen('/tf_static', self._take_static, qos.static_transforms())
        # When a bag starts again, what comes next is older than what is known, and would be left
        # out. Forward jumps do no harm: what is too old is never asked for.
        self._jump_handle = self._node.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1)),
            post_callback=safely(self._node, self._forget))

    def close(self) -> None:
        """Listen no more, and forget what was said."""
        if self._jump_handle is not None:
            self._jump_handle.unregister()
            self._jump_handle = None
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())
        self._buffer = None

    def at(self, target: str, source: str, stamp: Stamp) -> Transform | NoTransform:
        """Look up what takes points of the frame `source` to the frame `target`; never waits.

        :param stamp: the time at which; there is no 'latest'.
        """
        if not target or not source:
            return NoTransform('the image, or its depth, has no frame_id')
        if target == source:
            return Transform()
        if stamp.nanoseconds <= 0:
            return NoTransform(f'the image has no stamp at which {source!r:.80} could be looked up')
        if self._tf2 is None:
            return NoTransform(NOT_INSTALLED)
        self.open()
        time = Time(seconds=stamp.sec, nanoseconds=stamp.nanosec)
        try:
            found = self._buffer.lookup_transform_core(target, source, time).transform
            place, turn = found.translation, found.rotation
            return Transform((place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w))
        except (self._tf2.TransformException, ValueError) as error:
            return NoTransform(f'{" ".join(str(error).split()):.300}')

    def _listen(self, topic: str, callback: Callable[[Any], None], profile: Any) -> None:
        assert self._tf2 is not None
        self._subscriptions.append(qos.create_subscription(
            self._node, self._tf2.TFMessage, topic, safely(self._node, callback), profile))

    def _take(self, message: Any) -> None:
        for transform in message.transforms:
            self._buffer.set_transform(transform, 'tf')

    def _take_static(self, message: Any) -> None:
        for transform in message.transforms:
            self._buffer.set_transform_static(transform, 'tf_static')

    def _forget(self, jump: TimeJump) -> None:
        self._buffer.clear()
