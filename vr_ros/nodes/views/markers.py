"""Objects as markers in 3-D, for RViz and Foxglove."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from vr_ros.core.transform import Transform
from vr_ros.core.types import Detection, Position
from vr_ros.nodes import qos
from vr_ros.nodes.updates import Answer
from vr_ros.nodes.views.appearance import caption_of, colour_of, still_there, tells_of_objects
from vr_ros.nodes.views.target_frame import Place, Placement, as_seen

BOX_OPACITY = 0.35
POINT_DIAMETER_M = 0.02
TEXT_HEIGHT_M = 0.04
# RViz takes no edge of length 0.
SHORTEST_EDGE_M = 0.001
LIFETIME_FACTOR = 1.5
SHORTEST_LIFETIME_S = 1.0
LONGEST_LIFETIME_S = 60.0


class MarkerView:
    """The topic ~/markers: the newest result of each camera.

    Each located object has a box, a ball at the median point of its visible surface, and a caption,
    in namespaces '<camera>/box', '<camera>/point' and '<camera>/caption'. What has vanished is
    deleted; if results stop coming, all goes when its lifetime ends.

    :param place: says in which frame an answer is drawn.
    :param now: seconds of the steady clock.
    """

    def __init__(self, node: Node, place: Place = as_seen,
                 now: Callable[[], float] = time.monotonic) -> None:
        self._publisher = qos.create_publisher(node, MarkerArray, '~/markers', qos.newest())
        self._place, self._now = place, now
        self._shown: dict[str, set[int]] = {}
        self._before: dict[str, tuple[str, float]] = {}

    @property
    def is_wanted(self) -> bool:
        """Whether somebody subscribes."""
        return bool(self._publisher.get_subscription_count())

    def messages(self, answer: Answer) -> Iterator[tuple[Publisher, Any]]:
        """Draw an answer, unless it says nothing about objects or has no place in the frame."""
        if tells_of_objects(answer.perception):
            placement = self._place(answer)
            if placement is not None:
                yield self._publisher, self._draw(answer, placement)

    def _draw(self, answer: Answer, placement: Placement) -> MarkerArray:
        (header, transform), camera = placement, answer.job.camera
        lifetime = _duration(self._lifetime_s(answer))
        located = {found.index: found for found in still_there(answer.perception.detections)
                   if found.position}
        markers = [marker for found in located.values() for marker in markers_of(found, transform)]
        for index in sorted(self._shown.get(camera, set()) - set(located)):
            markers += [Marker(ns=kind, id=index, action=Marker.DELETE) for kind in KINDS]
        self._shown[camera] = set(located)
        for marker in markers:
            marker.header, marker.lifetime = header, lifetime
            marker.ns = f'{camera}/{marker.ns}'
        return MarkerArray(markers=markers)

    def _lifetime_s(self, answer: Answer) -> float:
        """Return a bit more than results of this instruction are apart, if more are to come."""
        name, now = answer.job.instruction.id, self._now()
        before, then = self._before.get(answer.job.camera, ('', now))
        self._before[answer.job.camera] = name, now
        if not answer.job.is_continuous or before != name:
            return LONGEST_LIFETIME_S
        return min(max(LIFETIME_FACTOR * (now - then), SHORTEST_LIFETIME_S), LONGEST_LIFETIME_S)


KINDS = 'box', 'point', 'caption'


def markers_of(found: Detection, transform: Transform | None = None) -> list[Marker]:
    """Make the markers of one located object, one per kind; header and lifetime are left open.

    :param transform: from the camera's optical frame to that of the markers; None: the same.
    """
    position = found.position
    red, green, blue = (float(value / 255) for value in colour_of(found))
    x, y, z = map(float, position.center)
    box = Marker(
        type=Marker.CUBE,
        pose=Pose(position=Point(x=x, y=y, z=z), orientation=_quaternion(position)),
        scale=Vector3(**_xyz(tuple(max(edge, SHORTEST_EDGE_M) for edge in position.size))))
    point = Marker(
        type=Marker.SPHERE, pose=Pose(position=Point(**_xyz(position.surface_point))),
        scale=Vector3(**_xyz(3 * (POINT_DIAMETER_M,))))
    above = y - half_height_m(position) - TEXT_HEIGHT_M  # y points down in an optical frame
    caption = Marker(
        type=Marker.TEXT_VIEW_FACING, text=caption_of(found),
        pose=Pose(position=Point(x=x, y=above, z=z)), scale=Vector3(z=TEXT_HEIGHT_M))
    markers = [box, point, caption]
    for kind, marker in zip(KINDS, markers, strict=True):
        marker.ns, marker.id, marker.action = kind, int(found.index), Marker.ADD
        opacity = BOX_OPACITY if kind == 'box' else 1.0
        marker.color = ColorRGBA(r=red, g=green, b=blue, a=opacity)
        if transform is not None:
            marker.pose = _moved(marker.pose, transform)
    return markers


def _moved(pose: Pose, transform: Transform) -> Pose:
    place, turn = pose.position, pose.orientation
    turned = transform.orientation((turn.x, turn.y, turn.z, turn.w))
    return Pose(position=Point(**_xyz(transform.point((place.x, place.y, place.z)))),
                orientation=Quaternion(**dict(zip('xyzw', turned, strict=True))))


def half_height_m(position: Position) -> float:
    """Return how far a box reaches from its centre along the optical frame's y axis, in metres."""
    x, y, z, w = map(float, position.orientation)
    row = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    return sum(abs(part) * edge / 2 for part, edge in zip(row, position.size, strict=True))


def _quaternion(position: Position) -> Quaternion:
    return Quaternion(**dict(zip('xyzw', map(float, position.orientation), strict=True)))


def _xyz(values: tuple[float, ...]) -> dict[str, float]:
    return dict(zip('xyz', map(float, values), strict=True))


def _duration(seconds: float) -> Duration:
    whole, nanoseconds = divmod(round(seconds * 1e9), 10**9)
    return Duration(sec=whole, nanosec=nanoseconds)
