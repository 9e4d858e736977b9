"""The label image against pixels that are painted one by one."""
from __future__ import annotations

import numpy as np
import pytest
from answers import SIZE, answer

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Detection, Mask, Size, Status, TrackState
from vr_ros.nodes import qos
from vr_ros.nodes.views.appearance import tells_of_objects
from vr_ros.nodes.views.labels import LabelView, paint_labels

BOX = (0.0, 0.0, 1.0, 1.0)


def painted_one_by_one(masks: list[np.ndarray]) -> np.ndarray:
    """Give each pixel to the smallest mask that has it."""
    height, width = masks[0].shape
    labels = np.zeros((height, width), int)
    for row in range(height):
        for column in range(width):
            owners = [(mask.sum(), -index, index + 1) for index, mask in enumerate(masks)
                      if mask[row, column]]
            labels[row, column] = min(owners)[2] if owners else 0
    return labels


@pytest.mark.parametrize('seed', range(10))
def test_each_pixel_belongs_to_the_smallest_object_there(seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(rng.integers(1, 6)):
        mask = np.zeros((13, 17), bool)
        top, left = rng.integers(0, 10), rng.integers(0, 12)
        mask[top:top + rng.integers(1, 14), left:left + rng.integers(1, 18)] = True
        masks.append(mask & (rng.random(mask.shape) < 0.9))
    found = [Detection(index, BOX, mask=mask_to_rle(mask)) for index, mask in enumerate(masks)]
    labels = paint_labels(found, Size(17, 13))
    assert labels.dtype == np.uint8 and labels.flags.c_contiguous
    assert np.array_equal(labels, painted_one_by_one(masks))


def test_a_small_object_stays_visible_whatever_the_order() -> None:
    large, small = np.ones((6, 8), bool), np.zeros((6, 8), bool)
    small[2:4, 3:5] = True
    for masks in ([large, small], [small, large]):
        found = [Detection(index, BOX, mask=mask_to_rle(mask)) for index, mask in enumerate(masks)]
        values, counts = np.unique(paint_labels(found, Size(8, 6)), return_counts=True)
        number = 2 if masks[1] is small else 1
        assert dict(zip(values, counts, strict=True)) == {number: 4, 3 - number: 44}


@pytest.mark.parametrize(('index', 'bits', 'number'), [
    (253, 8, 254),        # the last that fits: 255 means unlabelled
    (254, 16, 255),
    (65533, 16, 65534),   # the last of all
    (65534, 8, 0),        # left out
])
def test_numbers_beyond_one_byte_take_two(index: int, bits: int, number: int) -> None:
    found = Detection(index, BOX, mask=Mask(Size(3, 2), (0, 6)))
    labels = paint_labels([found], Size(3, 2))
    assert labels.itemsize == bits // 8 and np.all(labels == number)
    assert labels.tobytes() == number.to_bytes(bits // 8, 'little') * 6


def test_an_object_without_a_mask_is_not_painted_and_no_object_is_all_background() -> None:
    assert not paint_labels([Detection(0, BOX)], Size(4, 3)).any()
    assert paint_labels([], Size(4, 3)).shape == (3, 4)


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match='mask of'):
        paint_labels([Detection(0, BOX, mask=Mask(Size(3, 3), (0, 9)))], Size(4, 3))


@pytest.mark.parametrize(('status', 'detections', 'expected'), [
    (Status.OK, [Detection(0, BOX)], True),
    (Status.PARTIAL, [Detection(0, BOX)], True),
    (Status.NO_OBJECT, [], True),
    (Status.OK, [], False),           # an answer in words
    (Status.SUPERSEDED, [], False),
    (Status.TIMEOUT, [], False),
])
def test_only_what_tells_of_objects_is_shown_as_such(
        status: Status, detections: list[Detection], expected: bool) -> None:
    assert tells_of_objects(answer(detections, status).perception) is expected


def test_the_message_shows_what_is_in_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qos, 'create_publisher', lambda *_: None)
    halves = Mask(SIZE, (0, 24, 24)), Mask(SIZE, (24, 24))
    found = [Detection(0, BOX, mask=halves[0], track_state=TrackState.OCCLUDED),
             Detection(1, BOX, mask=halves[1], track_state=TrackState.TRACKED),
             Detection(2, BOX, mask=halves[0], track_state=TrackState.LOST)]
    ((_, message),) = LabelView(None).messages(answer(found))
    assert (message.width, message.height, message.step, message.encoding) == (8, 6, 8, 'mono8')
    assert (message.header.frame_id, message.header.stamp.nanosec) == ('optical', 7)
    assert bytes(message.data) == bytes([0, 0, 0, 0, 2, 2, 2, 2] * 6)
    ((_, message),) = LabelView(None).messages(answer([Detection(300, BOX, mask=halves[1])]))
    assert (message.encoding, message.step, message.is_bigendian) == ('mono16', 16, 0)
    pixels = np.frombuffer(message.data, '<u2').reshape(6, 8)
    assert np.all(pixels[:, 4:] == 301) and not pixels[:, :4].any()
