"""Which frame the views in space are drawn in."""
from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from std_msgs.msg import Header

from vr_ros.core.transform import Transform
from vr_ros.nodes.convert import header_to_msg
from vr_ros.nodes.updates import Answer
from vr_ros.nodes.views.transforms import NoTransform, TransformAt

WARNING_PERIOD_S = 5.0

Placement = tuple[Header, Transform]
Place = Callable[[Answer], Placement | None]


def as_seen(answer: Answer) -> Placement:
    """Leave everything in the camera's optical frame."""
    return header_to_msg(answer.frame), Transform()


class TargetFrame:
    """Takes results from the camera's optical frame to another, at the stamp of the image.

    :param name: returns the other frame; '' for none.
    """

    def __init__(self, node: Node, transform_at: TransformAt, name: Callable[[], str]) -> None:
        self._node, self._transform_at, self._name = node, transform_at, name

    def place(self, answer: Answer) -> Placement | None:
        """Say where an answer is to be drawn.

        :return: header, and what takes positions to its frame; None, with a warning now and then,
            where that is not known. Of an answer without positions it always is.
        """
        header, transform = as_seen(answer)
        target = self._name()
        if not target or answer.frame is None:
            return header, transform
        if any(found.position for found in answer.perception.detections):
            moved = self._transform_at(target, header.frame_id, answer.frame.header.stamp)
            if isinstance(moved, NoTransform):
                self._node.get_logger().warning(
                    f'~/markers and ~/detections_3d leave out a result: target_frame is {target!r},'
                    f' {moved.reason}', throttle_duration_sec=WARNING_PERIOD_S)
                return None
            transform = moved
        header.frame_id = target
        return header, transform
