"""What is looked up about an image, with transforms that are given here."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from dispatching import image_cdr

from vr_ros.core.cdr import CdrHeader, parse_header
from vr_ros.core.transform import Transform
from vr_ros.core.types import PositionStatus, Stamp
from vr_ros.nodes.cameras import Camera
from vr_ros.nodes.parameters import PerceptionParameters
from vr_ros.nodes.views.transforms import NoTransform
from vr_ros.nodes.views.viewpoints import Viewpoints, is_rectified
from vr_ros.pipeline.protocol import FrameKind, Viewpoint

HEADER = CdrHeader(Stamp(5, 7), 'optical', 0)
# From a frame with z up to an optical frame that looks along its x axis: up is -y there.
LEVEL = Transform((0.0, 0.0, 0.0), (0.5, -0.5, 0.5, 0.5))
BESIDE = Transform((0.03, 0.0, 0.0))


class Frames:
    """Transforms to the frame 'optical'; those that are not here are not known."""

    def __init__(self, **known: Transform) -> None:
        self.known, self.asked = known, []

    def at(self, target: str, source: str, stamp: Stamp) -> Transform | NoTransform:
        self.asked.append((target, source, stamp))
        if target != 'optical' or source not in self.known:
            return NoTransform(f'no {source}')
        return self.known[source]


def viewpoints(frames: Frames, **values: Any) -> Viewpoints:
    return Viewpoints(frames.at, lambda: replace(PerceptionParameters(), **values))


def test_up_is_the_z_axis_of_the_gravity_frame() -> None:
    frames = Frames(odom=LEVEL)
    found, lacks = viewpoints(frames, gravity_frame='odom').of(
        Camera('c', 'image', FrameKind.IMAGE), HEADER, 'optical')
    np.testing.assert_allclose(found.up, (0, -1, 0), atol=1e-12)
    assert (found.depth_to_image, lacks) == ((), '')
    assert frames.asked == [('optical', 'odom', Stamp(5, 7))]


def test_depth_of_another_frame_comes_with_its_transform() -> None:
    frames = Frames(depth=BESIDE)
    found, lacks = viewpoints(frames).of(
        Camera('c', 'image', FrameKind.IMAGE), HEADER, 'depth')
    np.testing.assert_array_equal(np.reshape(found.depth_to_image, (4, 4)), BESIDE.matrix)
    assert (found.up, lacks) == ((), '')
    assert frames.asked == [('optical', 'depth', Stamp(5, 7))]


def test_nothing_is_looked_up_that_nobody_needs() -> None:
    frames = Frames()
    camera = Camera('c', 'image', FrameKind.IMAGE)
    assert viewpoints(frames).of(camera, HEADER, 'optical') == (Viewpoint(), '')
    assert frames.asked == []


def test_what_is_missing_is_said_in_one_line() -> None:
    camera = Camera('c', 'image', FrameKind.IMAGE)
    found, lacks = viewpoints(Frames(), gravity_frame='odom').of(camera, HEADER, 'depth')
    assert found == Viewpoint()
    assert 'no odom' in lacks and 'no depth' in lacks and 'registered' in lacks


@pytest.mark.parametrize(('topic', 'expected'), [
    ('image', False),
    ('/camera/image_raw', False),
    ('/left/image_rect', True),                      # image_proc
    ('left/image_rect_color/compressed', True),
    ('/zed/rgb/color/rect/image', True),             # its folder says it
    ('/camera/depth/image_rect_raw/compressedDepth', True),
    ('/rectangle/image', False),                     # another word
    ('/rect/front/image', False),                    # not about this image
    ('', False),
])
def test_names_of_rectified_images(topic: str, expected: bool) -> None:
    assert is_rectified(topic) is expected


@pytest.mark.parametrize(('value', 'expected'), [
    ('auto', (True, False)), ('always', (True, False)), ('never', (False, False))])
def test_the_parameter_is_about_the_image(value: str, expected: tuple[bool, bool]) -> None:
    camera = Camera('c', 'image_rect', FrameKind.IMAGE, 'depth')
    found, _ = viewpoints(Frames(), rectified=value).of(camera, HEADER, 'optical')
    assert (found.rectified, found.depth_rectified) == expected


class Late:
    """A viewpoint that is known from a certain time on for images up to a stamp."""

    known_until_s = 0.0

    def of(self, camera: Camera, header: CdrHeader, frame_id: str) -> tuple[Viewpoint, str]:
        if header.stamp.nanoseconds <= self.known_until_s * 1e9:
            return Viewpoint(up=(0.0, -1.0, 0.0)), ''
        return Viewpoint(), 'too early'


def image(seconds: float) -> bytes:
    return image_cdr(round(seconds * 1e9))


def shown(camera: Camera) -> tuple[float, tuple[float, ...], str]:
    frame = camera.newest
    assert frame is not None and frame.locate is PositionStatus.OK
    return parse_header(frame.cdr).stamp.nanoseconds / 1e9, frame.viewpoint.up, frame.lacks


def test_an_image_waits_for_its_transform_as_for_its_depth() -> None:
    late = Late()
    camera = Camera('c', 'image', FrameKind.IMAGE, 'depth', lambda: 0.02, late.of)
    camera.info = b'info'
    for seconds in (1.0, 1.1):
        camera.put(image(seconds), 0.0)
        camera.put_depth(image(seconds))
    assert shown(camera) == (1.1, (), 'too early')   # none is complete: the newest
    late.known_until_s = 1.05
    assert shown(camera) == (1.0, (0.0, -1.0, 0.0), '')   # looked up again, without a new image
    late.known_until_s = 2.0
    camera.put(image(1.2), 0.0)                      # its depth is not there yet
    assert shown(camera) == (1.1, (0.0, -1.0, 0.0), '')
    kept = camera.newest
    assert camera.newest is kept                     # the same again is no news


def test_the_calibration_of_the_depth_camera_goes_along_when_it_is_needed() -> None:
    frames = Frames(optical=Transform())
    camera = Camera('c', 'image', FrameKind.IMAGE, 'depth', lambda: 0.02, viewpoints(frames).of)
    camera.put(image(1.0), 0.0)
    camera.put_depth(image(1.0))
    camera.info, camera.depth_info = b'of the image', b'of the depth'
    assert camera.newest is not None                 # camera_info came last
    assert (camera.newest.info, camera.newest.depth_info) == (b'of the image', b'')
    apart = Camera('c', 'image', FrameKind.IMAGE, 'depth', lambda: 0.02,
                   lambda *_: (Viewpoint(depth_to_image=tuple(BESIDE.matrix.ravel())), ''))
    apart.info = b'of the image'
    apart.put(image(1.0), 0.0)
    apart.put_depth(image(1.0))
    assert apart.newest is not None and apart.newest.depth_info == b''
    apart.depth_info = b'of the depth'                # comes last
    assert apart.newest.data().depth_info == b'of the depth'
    assert apart.newest.data().viewpoint.depth_to_image[3] == 0.03
