"""The views on the live graph: made while somebody watches, with the header of the image."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from live import Graph
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from vr_ros.nodes import qos
from vr_ros.nodes.views.vision_mirrors import vision_msgs

MakeGraph = Callable[..., Graph]


def test_the_label_image_shows_the_mask_of_the_result(graph: MakeGraph) -> None:
    robot = graph().start()
    labels = robot.listen('perception/labels', Image, qos.newest())
    robot.until(lambda: robot.node.count_publishers('perception/labels'))

    def ask() -> bool:
        robot.show()
        robot.ask('echo')
        robot.spin(0.1)
        return bool(labels)

    robot.until(ask)
    message = labels[0]
    assert (message.width, message.height, message.encoding, message.step) == (32, 24, 'mono8', 32)
    assert message.header.frame_id == 'camera_optical' and message.header.stamp.sec > 0
    pixels = np.frombuffer(message.data, np.uint8).reshape(24, 32)
    expected = np.zeros(24 * 32, np.uint8)
    expected[7:12] = 1  # the run of the echoed mask, column by column
    assert np.array_equal(pixels, expected.reshape(32, 24).T)


def test_nothing_is_made_while_nobody_watches(graph: MakeGraph) -> None:
    made = graph()
    robot = made.start()
    robot.show()
    robot.ask('echo')
    robot.spin(0.1)
    assert made.node._views._studio._thread is None
    assert {info.qos_profile.reliability.name
            for topic in ('overlay', 'overlay/compressed', 'labels', 'markers')
            for info in robot.node.get_publishers_info_by_topic(f'/own/perception/{topic}')
            } == {'BEST_EFFORT'}


def test_markers_come_with_every_result_even_of_objects_without_a_position(
        graph: MakeGraph) -> None:
    robot = graph().start()
    markers = robot.listen('perception/markers', MarkerArray, qos.newest())
    robot.until(lambda: robot.node.count_publishers('perception/markers'))

    def ask() -> bool:
        robot.show()
        robot.ask('echo')
        robot.spin(0.1)
        return bool(markers)

    robot.until(ask)
    assert list(markers[0].markers) == []


@pytest.mark.skipif(vision_msgs() is None, reason='NOT TESTED with vision_msgs: not installed')
def test_vision_msgs_mirror_the_result_where_they_are_installed(graph: MakeGraph) -> None:
    kinds = vision_msgs()
    assert kinds is not None
    robot = graph().start()
    boxes = robot.listen('perception/detections_2d', kinds.Detection2DArray, qos.newest())

    def ask() -> bool:
        robot.show()
        robot.ask('echo')
        robot.spin(0.1)
        return bool(boxes)

    robot.until(ask)
    (cup,) = boxes[0].detections
    assert cup.results[0].hypothesis.class_id == 'cup'
    assert (cup.bbox.center.position.x, cup.bbox.size_x) == (2.25, 2.5)
    assert boxes[0].header.frame_id == 'camera_optical'
    late = robot.listen('perception/label_info', kinds.LabelInfo, qos.latched())
    info = robot.until(lambda: late)[0]
    assert [(entry.class_id, entry.class_name) for entry in info.class_map] == [(1, 'cup')]


def test_without_vision_msgs_its_topics_are_left_out(
        graph: MakeGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('vr_ros.nodes.views.vision_mirrors.vision_msgs', lambda: None)
    made = graph()
    # Not from the graph: it remembers nodes of the same name for a while.
    topics = {publisher.topic_name for publisher in made.node.publishers}
    assert {'/own/perception/markers', '/own/perception/labels'} <= topics
    assert not topics & {f'/own/perception/{name}' for name in (
        'detections_2d', 'detections_3d', 'label_info')}
