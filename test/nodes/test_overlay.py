"""What is drawn where."""
from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from dispatching import image_cdr

from vr_ros.core.palette import colour
from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Detection
from vr_ros.nodes.cameras import Frame
from vr_ros.nodes.views.appearance import caption_of
from vr_ros.nodes.views.overlay import MASK_OPACITY, decode, draw, to_jpeg
from vr_ros.pipeline.protocol import FrameKind


def test_a_mask_is_tinted_and_nothing_else_is_touched() -> None:
    image = np.full((60, 80, 3), 100, np.uint8)
    mask = np.zeros((60, 80), np.uint8)
    mask[30:40, 20:50] = 1
    box = (20.0, 30.0, 50.0, 40.0)
    drawn = draw(image, [Detection(0, box, None, mask=mask_to_rle(mask))])
    assert np.all(image == 100)
    expected = np.round(MASK_OPACITY * np.array(colour(0)) + (1 - MASK_OPACITY) * 100)
    assert np.array_equal(drawn[35, 35], expected)
    assert np.array_equal(drawn[30, 20], colour(0))   # corner of the box
    assert np.all(drawn[45:] == 100) and np.all(drawn[:, 55:] == 100)


def test_points_and_several_objects_have_colours_of_their_own() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    objects = [Detection(index, (0.0, 0.0, 0.0, 0.0), (10.0 + 20 * index, 40.0))
               for index in range(3)]
    drawn = draw(image, objects)
    shown = [tuple(drawn[40, 10 + 20 * index]) for index in range(3)]
    assert shown == [colour(index) for index in range(3)]


def test_what_lies_outside_does_no_harm() -> None:
    outside = Detection(0, (-50.0, -5.0, 900.0, 70.0), (-3.0, 99.0), 'x' * 99)
    assert draw(np.zeros((6, 8, 3), np.uint8), [outside]).shape == (6, 8, 3)


def test_a_frame_is_decoded_to_rgb_and_colours_survive_jpeg() -> None:
    assert decode(Frame('c', image_cdr(0, 8, 6), FrameKind.IMAGE, 1, 0.0)).shape == (6, 8, 3)
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    back = cv2.imdecode(to_jpeg(red), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(back.astype(int) - red).max() < 8


def test_the_colour_follows_the_track_and_not_the_place_in_the_list() -> None:
    def drawn_in(index: int, track_id: str) -> tuple[int, ...]:
        found = Detection(index, (0.0, 0.0, 0.0, 0.0), (40.0, 40.0), track_id=track_id)
        return tuple(draw(np.zeros((60, 80, 3), np.uint8), [found])[40, 40])

    assert drawn_in(0, '4') == drawn_in(3, '4') == colour(4)
    assert drawn_in(0, 'f00d-12') == colour(12)
    assert drawn_in(3, '') == colour(3)
    assert drawn_in(0, 'cup-a') == drawn_in(1, 'cup-a') != drawn_in(0, 'cup-b')


def test_the_caption_names_the_track() -> None:
    found = Detection(2, (0.0, 0.0, 1.0, 1.0), label='red cup')
    assert caption_of(found) == '2 red cup'
    assert caption_of(replace(found, track_id='17')) == '#17 red cup'
    assert caption_of(replace(found, track_id='17', label='')) == '#17'
