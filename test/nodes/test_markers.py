"""Markers against geometry that is worked out another way, and their coming and going."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from answers import POSITION, answer, located
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from vr_ros.core.palette import colour
from vr_ros.core.transform import Transform
from vr_ros.core.types import Detection, Mode, Status, TrackState
from vr_ros.nodes import qos
from vr_ros.nodes.views import markers
from vr_ros.nodes.views.markers import LONGEST_LIFETIME_S, MarkerView, half_height_m, markers_of


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> MarkerView:
    monkeypatch.setattr(qos, 'create_publisher', lambda *_: None)
    return MarkerView(None, now=Clock())


def drawn(view: MarkerView, *arguments: object, **fields: object) -> list[Marker]:
    return [marker for _, message in view.messages(answer(*arguments, **fields))
            for marker in message.markers]


def names(found: list[Marker], action: int) -> set[tuple[str, int]]:
    return {(marker.ns, marker.id) for marker in found if marker.action == action}


def test_a_located_object_has_a_box_a_point_and_a_caption() -> None:
    box, point, caption = markers_of(located(2))
    assert [box.type, point.type, caption.type] == [
        Marker.CUBE, Marker.SPHERE, Marker.TEXT_VIEW_FACING]
    assert (box.pose.position.x, box.pose.position.y, box.pose.position.z) == (0.1, 0.2, 1.0)
    assert (box.scale.x, box.scale.y, box.scale.z) == (0.06, 0.12, 0.08)
    assert (point.pose.position.x, point.pose.position.y, point.pose.position.z) == (0.1, 0.2, 0.95)
    assert caption.text == '2 cup' and caption.pose.position.y < 0.2 - 0.06
    assert [round(part * 255) for part in (box.color.r, box.color.g, box.color.b)] == list(
        colour(2))
    assert 0 < box.color.a < point.color.a == 1


def test_colour_and_caption_follow_the_track() -> None:
    first, second = markers_of(located(0, track_id='7'))[2], markers_of(located(5, track_id='7'))[2]
    assert first.color == second.color and first.text == second.text == '#7 cup'
    assert markers_of(located(0, track_id='8'))[2].color != first.color
    assert markers_of(located(0, track_id='a-1'))[2].color == markers_of(
        located(1, track_id='a-1'))[2].color


@pytest.mark.parametrize('seed', range(8))
def test_the_caption_clears_the_box_however_it_is_turned(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn, size = Rotation.random(random_state=seed), rng.uniform(0.01, 0.5, 3)
    corners = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, 8).T * size / 2
    position = replace(POSITION, orientation=tuple(turn.as_quat()), size=tuple(size))
    assert half_height_m(position) == pytest.approx(turn.apply(corners)[:, 1].max())


def test_an_edge_of_no_length_is_drawn_all_the_same() -> None:
    box = markers_of(located(0, replace(POSITION, size=(0.0, 0.1, 0.0))))[0]
    assert (box.scale.x, box.scale.y, box.scale.z) == (0.001, 0.1, 0.001)


def test_what_has_vanished_is_deleted_on_its_own_camera_only(view: MarkerView) -> None:
    shown = drawn(view, [located(0), located(1), Detection(2, (0.0, 0.0, 1.0, 1.0))])
    kinds = 'front/box', 'front/point', 'front/caption'
    assert names(shown, Marker.ADD) == {(kind, index) for kind in kinds for index in (0, 1)}
    assert not names(shown, Marker.DELETE)
    assert not names(drawn(view, [located(0)], camera='wrist'), Marker.DELETE)
    shown = drawn(view, [located(0)])
    assert names(shown, Marker.DELETE) == {(kind, 1) for kind in kinds}
    shown = drawn(view)
    assert names(shown, Marker.DELETE) == {(kind, 0) for kind in kinds} and len(shown) == 3
    assert not drawn(view)


def test_an_error_and_an_answer_in_words_change_nothing(view: MarkerView) -> None:
    drawn(view, [located(0)])
    assert not list(view.messages(answer(status=Status.TIMEOUT)))
    assert not list(view.messages(answer(status=Status.OK)))
    assert len(names(drawn(view), Marker.DELETE)) == 3


def test_a_hidden_object_stays_and_a_lost_one_goes(view: MarkerView) -> None:
    hidden = drawn(view, [located(0, track_id='1', track_state=TrackState.OCCLUDED)])
    assert [marker.text for marker in hidden] == ['', '', '#1 cup (hidden)']
    gone = drawn(view, [located(0, track_id='1', track_state=TrackState.LOST)])
    assert len(gone) == len(names(gone, Marker.DELETE)) == 3


def test_the_header_is_that_of_the_image(view: MarkerView) -> None:
    for marker in drawn(view, [located(0)]):
        assert marker.header.frame_id == 'optical'
        assert (marker.header.stamp.sec, marker.header.stamp.nanosec) == (5, 7)


@pytest.mark.parametrize(('interval_s', 'expected_s'), [
    (0.04, 1.0),                     # never so short that markers flicker
    (4.0, 6.0),
    (300.0, LONGEST_LIFETIME_S),
])
def test_markers_outlive_the_interval_between_results(
        view: MarkerView, interval_s: float, expected_s: float) -> None:
    def lifetime_s(**fields: object) -> float:
        value = drawn(view, [located(0)], **fields)[0].lifetime
        return value.sec + value.nanosec / 1e9

    assert lifetime_s() == LONGEST_LIFETIME_S  # nobody knows yet when the next one comes
    view._now.now += interval_s
    assert lifetime_s() == pytest.approx(expected_s)
    view._now.now += 2.0
    assert lifetime_s(asked='another') == LONGEST_LIFETIME_S
    view._now.now += 2.0
    assert lifetime_s(asked='another', mode=Mode.ONCE) == LONGEST_LIFETIME_S


def test_every_kind_is_deleted() -> None:
    assert [marker.ns for marker in markers_of(located(0))] == list(markers.KINDS)


def test_markers_follow_a_transform() -> None:
    """The camera looks along the robot's x axis, 1.5 m above the ground: its z is forward."""
    optical_to_robot = Transform((0.0, 0.0, 1.5), (-0.5, 0.5, -0.5, 0.5))
    box, point, caption = markers_of(located(2), optical_to_robot)
    x, y, z = POSITION.center
    assert (box.pose.position.x, box.pose.position.y, box.pose.position.z) == pytest.approx(
        (z, -x, 1.5 - y))
    turn = box.pose.orientation
    axes = Rotation.from_quat((turn.x, turn.y, turn.z, turn.w)).as_matrix()
    np.testing.assert_allclose(axes @ (0, 0, 1), (1, 0, 0), atol=1e-12)  # forward stays forward
    assert point.pose.position.x == pytest.approx(POSITION.surface_point[2])
    assert caption.pose.position.z > box.pose.position.z   # above it in the robot's frame


def test_an_answer_without_a_place_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qos, 'create_publisher', lambda *_: None)
    places = [None, (Header(frame_id='map'), Transform())]
    view = MarkerView(None, lambda _: places.pop(0), Clock())
    assert drawn(view, [located(0)]) == []
    assert {marker.header.frame_id for marker in drawn(view, [located(0)])} == {'map'}
