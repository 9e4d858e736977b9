"""Which image belongs to which question in a bag."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_maker import Bag, header
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String

from vr_ros.bags.questions import BagCase, read_cases
from vr_ros.core.types import (
    Detection,
    Perception,
    PerceptionError,
    Source,
    Status,
    Task,
    TrackState,
)
from vr_ros.evaluation.bags.replay import differences, replay
from vr_ros.msg import Answer, Instruction, Outcome


def cases(bag: Bag, **options: Any) -> list[BagCase]:
    return list(read_cases(bag.close(), **options))


@pytest.fixture
def bag(tmp_path: Path) -> Iterator[Bag]:
    yield Bag(tmp_path / 'bag')


def marks(found: list[BagCase]) -> list[tuple[str, int]]:
    assert all((case.image == case.image[0, 0, 0]).all() for case in found)
    assert all(case.image.shape == (4, 6, 3) for case in found)
    return [(case.text, int(case.image[0, 0, 0])) for case in found]


def test_a_result_belongs_to_the_image_with_its_stamp_and_frame(bag: Bag) -> None:
    bag.show(1)
    bag.show(2)
    bag.show(2, '/wrist/image', 'wrist')
    bag.show(3)
    bag.answer('a', 2)
    bag.answer('b', 2)
    bag.answer('a', 1, '/truth/detections')
    bag.answer('a', 2, '/truth/detections', model_id='truth')
    bag.answer('lost', 77)                              # its image is not there
    bag.answer('a', 3, source=Source.TRACKED)
    bag.answer('none', 0, status=105)                   # no image took part
    bag.answer('early', 3, is_final=False)
    found = cases(bag)
    assert marks(found) == [('text of a', 2), ('text of b', 2)]
    first, second = found
    assert (first.frame_id, first.stamp.sec, first.task) == ('front', 2, Task.AUTO)
    assert first.recorded.perception.detections == (
        Detection(0, (1.0, 2.0, 3.0, 4.0), None, 'cup', score=0.0, mask_score=0.0),)
    assert first.truth.perception.model_id == 'truth' and second.truth is None


def test_the_task_and_the_answer_are_found(bag: Bag) -> None:
    bag.show(1)
    bag.add('/instruction', Instruction(id='a', text='text of a', task=Instruction.VQA))
    bag.answer('a', 1, task=4)
    bag.add('/answer', Answer(header=header(1, 'front'), answer='red', outcome=Outcome(
        instruction_id='a', is_final=True)))
    case, = cases(bag)
    assert case.task is Task.VQA and case.recorded.perception.answer == 'red'


def test_a_task_sent_by_the_action_is_known_from_what_is_active(bag: Bag) -> None:
    bag.show(1)
    bag.add('/perception/active_instruction', Instruction(id='a', text='text of a', task=3))
    bag.answer('a', 1, task=3)
    bag.add('/perception/active_instruction', Instruction())
    case, = cases(bag)
    assert case.task is Task.COUNTING


def test_what_nobody_answered_belongs_to_the_newest_image(bag: Bag) -> None:
    bag.add('/instruction', Instruction(id='early', text='early'))
    bag.show(1)
    bag.show(2)
    bag.add('/instruction_text', String(data='between'))
    bag.show(3)
    bag.add('/instruction', Instruction(id='late', text='late', task=3))
    bag.add('/instruction', Instruction(id='late', mode=2))                # STOP
    found = cases(bag)
    assert marks(found) == [('early', 1), ('between', 2), ('late', 3)]
    assert [case.task for case in found] == [Task.AUTO, Task.AUTO, Task.COUNTING]
    assert all(case.recorded is None for case in found)


def test_what_was_sent_as_text_is_asked_once(bag: Bag) -> None:
    bag.show(1)
    bag.add('/instruction_text', String(data='text of x'))
    bag.answer('x', 1)
    assert marks(cases(bag)) == [('text of x', 1)]


@pytest.mark.parametrize('options', [{}, {'image_topics': ['/wrist/image']}])
def test_pictures_that_nodes_made_are_no_cameras(bag: Bag, options: dict[str, Any]) -> None:
    for topic in ('/depth', '/perception/overlay', '/wrist/image'):
        bag.show(1, topic)
    bag.answer('a', 1)
    assert len(cases(bag, **options)) == 1


def test_a_camera_that_was_recorded_twice_is_read_once(bag: Bag) -> None:
    png = cv2.imencode('.png', np.full((4, 6, 3), 9, np.uint8))[1].tobytes()
    bag.add('/image/compressed', CompressedImage(header=header(1, 'front'), format='png', data=png))
    bag.show(1)
    bag.answer('a', 1)
    assert marks(cases(bag)) == [('text of a', 1)]
    assert marks(list(read_cases(bag.path, ['/image/compressed']))) == [('text of a', 9)]


def test_a_bag_without_images_has_no_cases(bag: Bag) -> None:
    bag.answer('a', 1)
    assert cases(bag) == []


class Model:
    """Answers what it is told to."""

    def perceive(self, image: np.ndarray, text: str, task: Task = Task.AUTO) -> Perception:
        if text.endswith('bad'):
            raise PerceptionError(Status.BAD_INSTRUCTION, 'no')
        return Perception(Status.OK, task, (Detection(0, (1.4, 2.0, 3.0, 4.0)),))


def test_a_model_is_asked_again_and_errors_are_answers(bag: Bag) -> None:
    bag.show(1)
    bag.answer('good', 1)
    bag.answer('bad', 1)
    (good, first), (_, second) = replay(Model(), iter(cases(bag)))
    assert differences(good.recorded.perception, first) == []
    assert second.status is Status.BAD_INSTRUCTION and second.status_message == 'no'


BOX = Detection(0, (1.0, 2.0, 30.0, 40.0))
OTHER = Detection(1, (50.0, 2.0, 60.0, 40.0))


@pytest.mark.parametrize(('then', 'now', 'count'), [
    (Perception(Status.OK, detections=(BOX,)), Perception(Status.OK, detections=(BOX,)), 0),
    (Perception(Status.OK, detections=(BOX,)),
     Perception(Status.OK, detections=(Detection(0, (1.9, 2.0, 30.0, 39.1)),)), 0),
    (Perception(Status.OK, detections=(BOX,)),
     Perception(Status.OK, detections=(Detection(0, (2.1, 2.0, 30.0, 40.0)),)), 1),
    (Perception(Status.OK, detections=(BOX,)), Perception(Status.OK, detections=(BOX, BOX)), 1),
    # The first was left out once: what remains is the same object.
    (Perception(Status.OK, detections=(BOX, OTHER)),
     Perception(Status.OK, detections=(OTHER,)), 1),
    (Perception(Status.OK, detections=(BOX,)), Perception(Status.OK, detections=(OTHER,)), 1),
    # What the tracker gave up is no object of the answer.
    (Perception(Status.OK, detections=(BOX, replace(OTHER, track_state=TrackState.LOST))),
     Perception(Status.OK, detections=(BOX,)), 0),
    (Perception(Status.OK), Perception(Status.NO_OBJECT), 1),
    (Perception(Status.OK), Perception(Status.TIMEOUT), 2),          # status and count
    (Perception(Status.OK, answer='red'), Perception(Status.OK, answer='blue'), 1),
    (Perception(Status.OK), Perception(Status.OK, answer='blue'), 0),  # was not recorded
])
def test_differences(then: Perception, now: Perception, count: int) -> None:
    assert len(differences(then, now)) == count
