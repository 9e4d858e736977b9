"""Results as vision_msgs: with the real interfaces where they are installed, else with stand-ins.

A stand-in has the fields of vision_msgs 4.1.1; where the real ones are installed, a test compares.
"""
from __future__ import annotations

import math
from dataclasses import fields, make_dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from answers import POSITION, answer, located

from vr_ros.core.types import Detection, Status, TrackState
from vr_ros.nodes import qos
from vr_ros.nodes.views import vision_mirrors
from vr_ros.nodes.views.vision_mirrors import (
    LabelInfoMirror,
    Mirror3D,
    detections_2d,
    detections_3d,
    label_info,
    make_mirrors,
    vision_msgs,
)

FIELDS = {
    'Point2D': ('x', 'y'),
    'Pose2D': ('position', 'theta'),
    'BoundingBox2D': ('center', 'size_x', 'size_y'),
    'BoundingBox3D': ('center', 'size'),
    'ObjectHypothesis': ('class_id', 'score'),
    'ObjectHypothesisWithPose': ('hypothesis', 'pose'),
    'Detection2D': ('header', 'results', 'bbox', 'id'),
    'Detection2DArray': ('header', 'detections'),
    'Detection3D': ('header', 'results', 'bbox', 'id'),
    'Detection3DArray': ('header', 'detections'),
    'VisionClass': ('class_id', 'class_name'),
    'LabelInfo': ('header', 'class_map', 'threshold'),
}
STAND_INS: Any = SimpleNamespace(**{
    name: make_dataclass(name, [(field, Any, None) for field in names])
    for name, names in FIELDS.items()})
KINDS = vision_msgs() or STAND_INS


def test_the_stand_ins_are_like_the_real_ones() -> None:
    real = vision_msgs()
    if real is None:
        pytest.skip('NOT TESTED with vision_msgs: it is not installed')
    for name in FIELDS:
        names = [field.name for field in fields(getattr(STAND_INS, name))]
        assert names == list(getattr(real, name).get_fields_and_field_types())


def test_boxes_become_centre_and_size() -> None:
    found = [located(0, track_id='9', score=0.75), Detection(1, (0.0, 1.0, 7.5, 2.0))]
    message = detections_2d(answer(found), KINDS)
    first, second = message.detections
    assert message.header == first.header == second.header
    assert (message.header.frame_id, message.header.stamp.nanosec) == ('optical', 7)
    for shown, source in zip(message.detections, found, strict=True):
        center, box = shown.bbox.center.position, shown.bbox
        corners = (center.x - box.size_x / 2, center.y - box.size_y / 2,
                   center.x + box.size_x / 2, center.y + box.size_y / 2)
        assert corners == source.box and shown.bbox.center.theta == 0
    assert (first.id, second.id) == ('9', '')
    assert first.results[0].hypothesis.class_id == 'cup'
    assert first.results[0].hypothesis.score == 0.75
    assert first.results[0].pose.pose.position.z == 1.0
    assert math.isnan(second.results[0].hypothesis.score)  # none is not the same as 1
    assert second.results[0].hypothesis.class_id == ''
    assert second.results[0].pose.pose.position.z == 0


def test_only_located_objects_are_in_three_dimensions() -> None:
    message = detections_3d(
        answer([Detection(0, (0.0, 0.0, 1.0, 1.0)), located(1, track_id='3')]), KINDS)
    (shown,) = message.detections
    center, turn = shown.bbox.center.position, shown.bbox.center.orientation
    assert (center.x, center.y, center.z) == POSITION.center
    assert (turn.x, turn.y, turn.z, turn.w) == POSITION.orientation
    assert (shown.bbox.size.x, shown.bbox.size.y, shown.bbox.size.z) == POSITION.size
    assert shown.id == '3' and shown.results[0].pose.pose == shown.bbox.center


def test_what_is_hidden_is_not_in_the_image_but_has_a_place() -> None:
    found = [located(0, track_state=TrackState.OCCLUDED, track_id='1'),
             located(1, track_state=TrackState.LOST, track_id='2'),
             located(2, track_state=TrackState.TRACKED, track_id='3')]
    flat, solid = detections_2d(answer(found), KINDS), detections_3d(answer(found), KINDS)
    assert [shown.id for shown in flat.detections] == ['3']
    assert [shown.id for shown in solid.detections] == ['1', '3']


def test_label_info_names_the_numbers_of_the_label_image() -> None:
    found = [located(0), Detection(3, (0.0, 0.0, 1.0, 1.0), label='plate\0')]
    message = label_info(answer(found), KINDS)
    assert [(entry.class_id, entry.class_name) for entry in message.class_map] == [
        (1, 'cup'), (4, 'plate')]


@pytest.fixture
def no_publishers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qos, 'create_publisher', lambda *_: None)


@pytest.mark.usefixtures('no_publishers')
def test_nothing_there_and_nothing_located_differ() -> None:
    mirror = Mirror3D(None, KINDS)
    (_, nothing_there), = mirror.messages(answer())
    assert len(nothing_there.detections) == 0
    assert not list(mirror.messages(answer([Detection(0, (0.0, 0.0, 1.0, 1.0))])))
    assert not list(mirror.messages(answer(status=Status.TIMEOUT)))


@pytest.mark.usefixtures('no_publishers')
def test_label_info_is_written_on_change_only() -> None:
    mirror = LabelInfoMirror(None, KINDS)
    plate = Detection(0, (0.0, 0.0, 1.0, 1.0), label='plate')
    shown = [answer([located(0)]), answer([located(0)]), answer([plate]),
             answer(status=Status.TIMEOUT), answer([plate]), answer([plate], camera='wrist'),
             answer()]
    assert [len(list(mirror.messages(item))) for item in shown] == [1, 0, 1, 0, 0, 1, 1]


def test_without_vision_msgs_there_are_no_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(vision_mirrors.importlib, 'import_module', missing)
    said: list[str] = []
    node: Any = SimpleNamespace(get_logger=lambda: SimpleNamespace(debug=said.append))
    assert make_mirrors(node) == [] and 'vision_msgs' in said[0]
