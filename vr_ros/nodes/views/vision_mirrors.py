"""Results as vision_msgs, for tools that read those; only where vision_msgs is installed.

The only module that imports it. What vision_msgs has no place for, such as masks, the status and
the instruction, is in vr_ros/DetectionArray with the same header.
"""
from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

from geometry_msgs.msg import Point, Pose, PoseWithCovariance, Quaternion, Vector3
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import Header

from vr_ros.core.types import Detection, Position
from vr_ros.nodes import qos
from vr_ros.nodes.convert import header_to_msg
from vr_ros.nodes.updates import Answer
from vr_ros.nodes.views.appearance import in_sight, still_there, tells_of_objects
from vr_ros.nodes.views.labels import HIGHEST_MONO16
from vr_ros.nodes.views.target_frame import Place, Placement, as_seen


def vision_msgs() -> ModuleType | None:
    """Import vision_msgs.msg; None where it is not installed."""
    try:
        return importlib.import_module('vision_msgs.msg')
    except ImportError:
        return None


def make_mirrors(
    node: Node, place: Place = as_seen
) -> list[Mirror2D | Mirror3D | LabelInfoMirror]:
    """Make the topics; none where vision_msgs is not installed.

    :param place: says in which frame ~/detections_3d are.
    """
    kinds = vision_msgs()
    if kinds is None:
        node.get_logger().debug('vision_msgs is not installed: its topics are left out')
        return []
    return [Mirror2D(node, kinds), Mirror3D(node, kinds, place), LabelInfoMirror(node, kinds)]


class Mirror2D:
    """The topic ~/detections_2d.

    :param kinds: the module vision_msgs.msg.
    """

    def __init__(self, node: Node, kinds: ModuleType) -> None:
        self._kinds = kinds
        self._publisher = qos.create_publisher(
            node, kinds.Detection2DArray, '~/detections_2d', qos.newest())

    @property
    def is_wanted(self) -> bool:
        """Whether somebody subscribes."""
        return bool(self._publisher.get_subscription_count())

    def messages(self, answer: Answer) -> Iterator[tuple[Publisher, Any]]:
        """Write an answer; none of an answer that says nothing about objects."""
        if tells_of_objects(answer.perception):
            yield self._publisher, detections_2d(answer, self._kinds)


class Mirror3D:
    """The topic ~/detections_3d: the objects that were located.

    An empty list means that there is nothing. Where there are objects and none could be located,
    there is no message.

    :param kinds: the module vision_msgs.msg.
    :param place: says in which frame they are.
    """

    def __init__(self, node: Node, kinds: ModuleType, place: Place = as_seen) -> None:
        self._kinds, self._place = kinds, place
        self._publisher = qos.create_publisher(
            node, kinds.Detection3DArray, '~/detections_3d', qos.newest())

    @property
    def is_wanted(self) -> bool:
        """Whether somebody subscribes."""
        return bool(self._publisher.get_subscription_count())

    def messages(self, answer: Answer) -> Iterator[tuple[Publisher, Any]]:
        """Write an answer, unless it tells of no object, or of none with a place in the frame."""
        placement = self._place(answer) if tells_of_objects(answer.perception) else None
        if placement is None:
            return
        message = detections_3d(answer, self._kinds, placement)
        if message.detections or not still_there(answer.perception.detections):
            yield self._publisher, message


class LabelInfoMirror:
    """The latched topic ~/label_info: the labels behind the numbers in ~/labels.

    Written whenever they change, whether anybody subscribes or not: those who come late must see
    it too.

    :param kinds: the module vision_msgs.msg.
    """

    is_wanted = True

    def __init__(self, node: Node, kinds: ModuleType) -> None:
        self._kinds = kinds
        self._publisher = qos.create_publisher(
            node, kinds.LabelInfo, '~/label_info', qos.latched())
        self._said: tuple[Any, ...] = ()

    def messages(self, answer: Answer) -> Iterator[tuple[Publisher, Any]]:
        """Write the labels of an answer if they or the camera differ from those written last."""
        if not tells_of_objects(answer.perception):
            return
        labels = [(found.index, found.label) for found in in_sight(answer.perception.detections)]
        if self._said != (answer.job.camera, labels):
            self._said = answer.job.camera, labels
            yield self._publisher, label_info(answer, self._kinds)


def detections_2d(answer: Answer, kinds: ModuleType) -> Any:
    """Write the boxes of what is in sight: centre and size in pixels of the image.

    id is the track's, class_id the label, and the score is NaN when the model gives none.

    :return: a vision_msgs/Detection2DArray.
    """
    header = header_to_msg(answer.frame)
    return kinds.Detection2DArray(header=header, detections=[
        kinds.Detection2D(
            header=header, results=[_hypothesis(found, kinds)], bbox=_box_2d(found, kinds),
            id=_text(found.track_id))
        for found in in_sight(answer.perception.detections)])


def detections_3d(answer: Answer, kinds: ModuleType, placement: Placement | None = None) -> Any:
    """Write the located objects, in metres.

    :param placement: in which frame; None: the camera's optical frame.
    :return: a vision_msgs/Detection3DArray.
    """
    header, transform = placement or as_seen(answer)
    located = [replace(found, position=transform.position(found.position))
               for found in still_there(answer.perception.detections) if found.position is not None]
    return kinds.Detection3DArray(header=header, detections=[
        _detection_3d(found, found.position, header, kinds) for found in located])


def label_info(answer: Answer, kinds: ModuleType) -> Any:
    """Write which label each number of the label image has.

    :return: a vision_msgs/LabelInfo.
    """
    return kinds.LabelInfo(header=header_to_msg(answer.frame), class_map=[
        kinds.VisionClass(class_id=int(found.index) + 1, class_name=_text(found.label))
        for found in in_sight(answer.perception.detections) if found.index < HIGHEST_MONO16])


def _box_2d(found: Detection, kinds: ModuleType) -> Any:
    x_min, y_min, x_max, y_max = map(float, found.box)
    center = kinds.Point2D(x=(x_min + x_max) / 2, y=(y_min + y_max) / 2)
    return kinds.BoundingBox2D(
        center=kinds.Pose2D(position=center, theta=0.0), size_x=x_max - x_min, size_y=y_max - y_min)


def _detection_3d(found: Detection, position: Position, header: Header, kinds: ModuleType) -> Any:
    box = kinds.BoundingBox3D(center=_pose(position), size=Vector3(**_xyz(position.size)))
    return kinds.Detection3D(
        header=header, results=[_hypothesis(found, kinds)], bbox=box, id=_text(found.track_id))


def _hypothesis(found: Detection, kinds: ModuleType) -> Any:
    hypothesis = kinds.ObjectHypothesis(class_id=_text(found.label), score=float(found.score))
    pose = PoseWithCovariance()
    if found.position is not None:
        pose.pose = _pose(found.position)
    return kinds.ObjectHypothesisWithPose(hypothesis=hypothesis, pose=pose)


def _pose(position: Position) -> Pose:
    turn = dict(zip('xyzw', map(float, position.orientation), strict=True))
    return Pose(position=Point(**_xyz(position.center)), orientation=Quaternion(**turn))


def _xyz(values: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip('xyz', map(float, values), strict=True))


def _text(text: str) -> str:
    return text.encode('utf-8', 'replace').decode().replace('\0', '')
