"""The perceiver with the embedded models on rendered scenes, and how answers become statuses."""

from __future__ import annotations

import numpy as np
import pytest

from vr_ros.core.answer import parse_answer
from vr_ros.core.events import MasksEvent, ObjectsEvent, TextEvent
from vr_ros.core.rle import rle_box, rle_to_mask
from vr_ros.core.router import route
from vr_ros.core.types import PerceptionError, Status, Task
from vr_ros.pipeline.outcome import outcome_status, points_inside
from vr_ros.pipeline.perceiver import Perceiver
from vr_ros.sim.renderer import render_scene

OBJECT = '{"bbox_2d": [1,2,30,40], "point_2d": [5,6]}'


@pytest.mark.parametrize(
    ('text', 'finish', 'task', 'status'),
    [
        (f'<think>x</think><answer>[{OBJECT}]</answer>', 'stop', Task.DETECTION, Status.OK),
        ('<think>x</think><answer>[]</answer>', 'stop', Task.COUNTING, Status.NO_OBJECT),
        (f'<think>x</think><answer>[{OBJECT}, {{"bbox', 'length', Task.DETECTION, Status.PARTIAL),
        ('<think>x', 'length', Task.DETECTION, Status.PARSE_ERROR),  # cut off while thinking
        ('<answer>[{"box": "none"}]</answer>', 'stop', Task.DETECTION, Status.PARSE_ERROR),
        (
            '<answer>I see no list</answer>',
            'stop',
            Task.DETECTION,
            Status.OK,
        ),  # a plain answer all the same
        ('It is red.', 'stop', Task.VQA, Status.OK),
        ('[EXIT]', 'stop', Task.VQA, Status.OK),  # brackets in a plain answer
        ('The sign says', 'length', Task.VQA, Status.PARTIAL),
        ('', 'stop', Task.VQA, Status.PARSE_ERROR),
        (f'<answer>[{OBJECT}]</answer>', 'cancelled', Task.DETECTION, Status.CANCELLED),
    ],
)
def test_outcome_status(text, finish, task, status):
    assert outcome_status(parse_answer(text), finish, task)[0] is status


@pytest.mark.parametrize(('point', 'is_one'), [
    ('[5,6]', True),        # inside
    ('[1,2]', True),        # on the corner
    ('[30,40]', True),      # on the other
    ('[31,20]', False),     # beside the box
    ('[5,1]', False),       # above it
    ('"none"', False),      # no point at all
])
def test_a_point_beside_its_own_box_is_none(point, is_one):
    (found,) = parse_answer(
        f'<answer>[{{"bbox_2d": [1,2,30,40], "point_2d": {point}}}]</answer>').objects
    assert points_inside(found) is is_one


@pytest.fixture(scope='module')
def perceiver():
    perceiver = Perceiver.from_card('sim_tiny', device='cpu')
    yield perceiver
    perceiver.close()


@pytest.fixture(scope='module')
def frame():
    return render_scene(1_000_003, count=3)


def test_objects_come_with_masks_that_fill_their_boxes(perceiver, frame):
    events = []
    result = perceiver.perceive(frame.rgb, 'find all objects', on_event=events.append)
    assert result.status is Status.OK and result.task is Task.DETECTION
    assert result.count == len(result.detections) > 0
    for detection in result.detections:
        assert rle_to_mask(detection.mask).sum() == detection.area_px > 0
        x_min, y_min, x_max, y_max = rle_box(detection.mask)
        assert x_min < detection.box[2] and x_max > detection.box[0]
        assert y_min < detection.box[3] and y_max > detection.box[1]
    kinds = [type(event) for event in events]
    assert kinds.index(TextEvent) < kinds.index(ObjectsEvent) < kinds.index(MasksEvent)
    streamed = ''.join(event.text for event in events if isinstance(event, TextEvent))
    assert streamed == result.reasoning != ''
    announced = [d.index for e in events if isinstance(e, ObjectsEvent) for d in e.detections]
    assert announced == list(range(result.count))


def test_the_same_question_gets_the_same_answer(perceiver, frame):
    first, second = (perceiver.perceive(frame.rgb, 'how many things are there?') for _ in range(2))
    assert first.task is Task.COUNTING
    assert first.raw_text == second.raw_text and first.detections == second.detections


def test_a_question_gets_a_text(perceiver, frame):
    result = perceiver.perceive(frame.rgb, 'What is on the table?')
    assert result.task is Task.VQA and result.status is Status.OK
    assert result.answer and not result.detections


def test_masks_are_left_out_on_request(perceiver, frame):
    result = perceiver.perceive(frame.rgb, 'find all objects', want_masks=False)
    assert result.detections and all(d.mask is None for d in result.detections)


def test_told_to_stop_it_stops_at_the_next_token(perceiver, frame):
    texts = []
    result = perceiver.perceive(
        frame.rgb, 'find all objects', on_event=texts.append, should_stop=lambda: len(texts) >= 2
    )
    assert result.status is Status.CANCELLED and result.count == -1
    assert result.finish_reason == 'cancelled'
    whole = perceiver.perceive(frame.rgb, 'find all objects')
    assert result.timing.completion_tokens < whole.timing.completion_tokens


@pytest.mark.parametrize(
    ('image', 'text', 'status'),
    [
        (np.zeros((0, 10, 3), np.uint8), 'find the cup', Status.BAD_IMAGE),  # empty
        (np.zeros((10, 10), np.uint8), 'find the cup', Status.BAD_IMAGE),  # grey
        (np.zeros((10, 10, 3), np.float32), 'find the cup', Status.BAD_IMAGE),
        (np.zeros((10, 10, 3), np.uint8), '  ', Status.BAD_INSTRUCTION),
        (np.zeros((10, 10, 3), np.uint8), 'x' * 5000, Status.BAD_INSTRUCTION),
    ],
)
def test_bad_input_is_named(perceiver, image, text, status):
    with pytest.raises(PerceptionError) as caught:
        perceiver.perceive(image, text)
    assert caught.value.status is status


@pytest.mark.parametrize('size', [(1, 1), (3, 500), (480, 640)])
def test_any_size_of_image_gets_an_answer(perceiver, size):
    image = np.full((*size, 3), 127, np.uint8)
    assert perceiver.perceive(image, 'find the cup').status.value < 102


def test_the_cards_router_picks_the_task(perceiver, frame):
    """Not the rules: they would look for an object to make."""
    text = 'Make the car in the photo blue.'
    assert route(text).task is Task.DETECTION
    assert perceiver.task_of(text) is Task.VQA
    assert perceiver.perceive(frame.rgb, text).task is Task.VQA
    assert perceiver.perceive_batch([(frame.rgb, text, Task.AUTO)])[0].task is Task.VQA
