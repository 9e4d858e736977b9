"""Mailboxes and names of cameras."""
from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from dispatching import image_cdr

from vr_ros.core.types import PerceptionError, PositionStatus, Size, Stamp, Status
from vr_ros.nodes.cameras import Camera, Frame, camera_name, make_cameras
from vr_ros.nodes.parameter_spec import ParameterError
from vr_ros.pipeline.frame_sender import FrameData
from vr_ros.pipeline.protocol import FrameKind


@pytest.mark.parametrize(('topic', 'name'), [
    ('image', 'camera'),                              # the default says nothing
    ('/image_raw', 'camera'),                         # nor does the usual name
    ('front/image', 'front'),                         # the usual folder
    ('/robot/wrist/image_raw', 'wrist'),              # the nearest folder
    ('/head/rgb/image_rect_color', 'head'),           # rgb is no camera
    ('/cam_left/color/image_raw/compressed', 'cam_left'),
    ('~/image', 'camera'),                            # private
    ('overview', 'overview'),                         # its own word
])
def test_camera_name(topic: str, name: str) -> None:
    assert camera_name(topic) == name


def test_cameras_are_made_of_topics_and_names() -> None:
    cameras = make_cameras(['front/image', 'back/image/compressed'], ['f', 'b'], 'compressed')
    assert [(camera.name, camera.topic) for camera in cameras.values()] == [
        ('f', 'front/image/compressed'), ('b', 'back/image/compressed')]
    assert list(make_cameras(['front/image', ''], [''], 'raw')) == ['front']


@pytest.mark.parametrize(('topics', 'names', 'words'), [
    ([], [], 'no topic'),                                        # nothing to look at
    ([''], [''], 'no topic'),                                    # nothing, as ROS writes it
    (['a', 'b'], ['one'], '1 names for 2'),                      # one has no name
    (['a', 'a'], [], 'both a'),                                  # the same twice
    (['a', 'b'], ['x', 'x'], 'both x'),                          # two of one name
    (['/r1/cam/image', '/r2/cam/image'], [], 'both cam'),        # two derived to one name
])
def test_topics_and_names_that_do_not_go_together(
        topics: list[str], names: list[str], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        make_cameras(topics, names, 'raw')


def test_the_newest_frame_wins() -> None:
    camera = Camera('c', 'image', FrameKind.IMAGE)
    assert camera.newest is None and camera.received == 0
    camera.put(b'first', 1.0)
    camera.put(b'second', 2.5)
    assert camera.newest == Frame('c', b'second', FrameKind.IMAGE, 2, 2.5)
    camera.clear()
    assert camera.newest is None and camera.received == 2


def test_a_frame_reads_its_own_header() -> None:
    frame = Frame('c', image_cdr(12_000_000_345, 8, 6, 'optical'), FrameKind.IMAGE, 1, 0.0)
    assert frame.header.stamp == Stamp(12, 345) and frame.header.frame_id == 'optical'
    assert frame.size == Size(8, 6)
    assert frame.age_s(13_500_000_345) == 1.5
    frame.check_size(48)
    with pytest.raises(PerceptionError, match='8 x 6') as caught:
        frame.check_size(47)
    assert caught.value.status is Status.IMAGE_TOO_LARGE


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_the_size_of_a_compressed_frame_is_read_without_decoding(suffix: str) -> None:
    picture = cv2.imencode(suffix, np.zeros((5, 9, 3), np.uint8))[1].tobytes()
    header = struct.pack('<iII', 1, 2, 1) + b'\0' * 4 + struct.pack('<I', 4) + b'jpg\0'
    cdr = b'\x00\x01\x00\x00' + header + struct.pack('<I', len(picture)) + picture
    assert Frame('c', cdr, FrameKind.COMPRESSED, 1, 0.0).size == Size(9, 5)
    assert Frame('c', cdr[:-8], FrameKind.COMPRESSED, 1, 0.0).size == Size(0, 0)


def test_a_frame_of_rubbish_has_no_size_and_no_header() -> None:
    frame = Frame('c', b'rubbish', FrameKind.IMAGE, 1, 0.0)
    assert frame.size == Size(0, 0)
    with pytest.raises(PerceptionError) as caught:
        frame.age_s(0)
    assert caught.value.status is Status.BAD_IMAGE


def image(seconds: float) -> bytes:
    return image_cdr(round(seconds * 1e9))


@pytest.fixture
def deep() -> Camera:
    return Camera('front', 'front/image', FrameKind.IMAGE, 'front/depth', lambda: 0.02)


def state(camera: Camera) -> tuple[int, PositionStatus, bytes]:
    frame = camera.newest
    assert frame is not None
    return frame.number, frame.locate, frame.depth


def test_an_image_goes_with_the_depth_of_its_time(deep: Camera) -> None:
    deep.info = b'info'
    deep.put(image(1.0), 0.0)
    assert state(deep) == (1, PositionStatus.NO_DEPTH, b'')
    first = image(1.01)
    deep.put_depth(first)
    assert state(deep) == (1, PositionStatus.OK, first)
    # The next image waits for its depth; meanwhile the one before is the newest of use.
    deep.put(image(1.1), 0.1)
    assert state(deep) == (1, PositionStatus.OK, first)
    second = image(1.1)
    deep.put_depth(second)
    assert state(deep) == (2, PositionStatus.OK, second)
    assert deep.newest is not None and deep.newest.data() == FrameData(
        image(1.1), FrameKind.IMAGE, second, b'info', FrameKind.IMAGE, PositionStatus.OK)


def test_depth_may_come_before_the_image(deep: Camera) -> None:
    for seconds in (1.0, 1.1, 1.2):
        deep.put_depth(image(seconds))
    deep.put(image(1.1), 0.0)
    assert state(deep) == (1, PositionStatus.OK, image(1.1))


def test_images_do_not_wait_for_depth_that_does_not_come(deep: Camera) -> None:
    deep.put(image(1.0), 0.0)
    deep.put_depth(image(1.0))
    for number, seconds in enumerate((1.1, 1.2), 2):
        deep.put(image(seconds), 0.0)
        assert state(deep)[0] == 1, number
    deep.put(image(1.3), 0.0)
    assert state(deep) == (4, PositionStatus.OUT_OF_SYNC, b'')
    deep.put_depth(image(1.33))               # too far from any
    assert state(deep) == (4, PositionStatus.OUT_OF_SYNC, b'')
    deep.put_depth(b'rubbish')
    deep.put(b'rubbish', 0.0)
    assert state(deep)[:2] == (5, PositionStatus.OUT_OF_SYNC)
    deep.clear()
    assert deep.newest is None


def test_without_depth_nothing_is_located() -> None:
    camera = Camera('front', 'front/image', FrameKind.IMAGE)
    camera.put(image(1.0), 0.0)
    assert state(camera) == (1, PositionStatus.NONE, b'')


def test_each_camera_has_its_depth_or_none() -> None:
    cameras = make_cameras(['a/image', 'b/image'], ['a', 'b'], 'raw',
                           ['', 'b/depth/image/compressedDepth'])
    assert [(c.depth_topic, c.depth_kind) for c in cameras.values()] == [
        ('', FrameKind.IMAGE), ('b/depth/image/compressedDepth', FrameKind.COMPRESSED)]
    with pytest.raises(ParameterError, match='depth_topics has 1 topics for 2'):
        make_cameras(['a/image', 'b/image'], ['a', 'b'], 'raw', ['a/depth'])
