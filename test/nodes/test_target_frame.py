"""In which frame results are drawn, with a transform that is given here."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from answers import POSITION, answer, located

from vr_ros.core.transform import Transform
from vr_ros.core.types import Stamp
from vr_ros.nodes.views.target_frame import TargetFrame
from vr_ros.nodes.views.transforms import NoTransform
from vr_ros.nodes.views.vision_mirrors import detections_3d

MOVED = Transform((1.0, 2.0, 3.0))


class Rig:
    """A target frame whose transform can be set, and what it warned of."""

    def __init__(self, name: str) -> None:
        self.transform: Transform | NoTransform = MOVED
        self.asked: list[tuple[str, str, Stamp]] = []
        self.warnings: list[str] = []
        node: Any = SimpleNamespace(get_logger=lambda: SimpleNamespace(
            warning=lambda text, **_: self.warnings.append(text)))
        self.frame = TargetFrame(node, self._at, lambda: name)

    def _at(self, *asked: Any) -> Transform | NoTransform:
        self.asked.append(asked)
        return self.transform


def test_without_a_target_all_stays_where_it_was_seen() -> None:
    rig = Rig('')
    header, transform = rig.frame.place(answer([located(0)]))
    assert (header.frame_id, header.stamp.sec, transform) == ('optical', 5, Transform())
    assert rig.asked == []


def test_results_go_to_the_target_at_the_stamp_of_the_image() -> None:
    rig = Rig('map')
    header, transform = rig.frame.place(answer([located(0)]))
    assert rig.asked == [('map', 'optical', Stamp(5, 7))]
    assert (header.frame_id, header.stamp.sec, header.stamp.nanosec) == ('map', 5, 7)
    assert transform is MOVED


def test_without_the_transform_there_is_no_place_and_a_warning() -> None:
    rig = Rig('map')
    rig.transform = NoTransform('nobody knows map')
    assert rig.frame.place(answer([located(0)])) is None
    (warning,) = rig.warnings
    assert 'nobody knows map' in warning and "'map'" in warning and '~/markers' in warning


def test_nothing_there_needs_no_transform() -> None:
    rig = Rig('map')
    rig.transform = NoTransform('nobody knows map')
    placement = rig.frame.place(answer())
    assert placement is not None and placement[0].frame_id == 'map'
    assert rig.asked == rig.warnings == []


def test_mirrors_in_space_are_moved_too() -> None:
    vision = pytest.importorskip('test_vision_mirrors')
    header, transform = Rig('map').frame.place(answer([located(0)]))
    message = detections_3d(answer([located(0)]), vision.KINDS, (header, transform))
    (found,) = message.detections
    center = found.bbox.center.position
    assert (center.x, center.y, center.z) == pytest.approx(
        tuple(a + b for a, b in zip(POSITION.center, (1, 2, 3), strict=True)))
    assert found.header.frame_id == message.header.frame_id == 'map'
    assert found.results[0].pose.pose == found.bbox.center
