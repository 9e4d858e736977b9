"""What counts as asked in a bag, and what as answered: nothing twice, nothing silently left out."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bag_maker import Bag
from std_msgs.msg import String

from vr_ros.bags.questions import Question, read_questions
from vr_ros.core.types import Task
from vr_ros.msg import Instruction

ACTIVE = '/perception/active_instruction'


def sent(bag: Bag, name: str, text: str, topic: str = '/instruction', **more: int) -> None:
    bag.add(topic, Instruction(id=name, text=text, **more))


def said(bag: Bag, text: str) -> None:
    bag.add('/instruction_text', String(data=text))


def asked(bag: Bag) -> list[tuple[str, bool]]:
    """:return: what was asked, and whether there is an answer."""
    return [(item.text, item.recorded is not None) for item in questions(bag)]


def questions(bag: Bag) -> tuple[Question, ...]:
    return read_questions(bag.close()).items


CASES: dict[str, tuple[Callable[[Bag], object], list[tuple[str, bool]]]] = {
    'sent and answered': (
        lambda bag: (sent(bag, 'a', 'text of a'), bag.answer('a', 1)), [('text of a', True)]),
    'sent twice is taken once': (
        lambda bag: (sent(bag, 'a', 'x'), sent(bag, 'a', 'x')), [('x', False)]),
    'to stop is no question': (
        lambda bag: (sent(bag, 'a', 'x', mode=2), sent(bag, '', '', mode=2)), []),
    'by the action, without an answer': (
        lambda bag: sent(bag, 'a', 'x', ACTIVE), [('x', False)]),
    'sent, and active': (
        lambda bag: (sent(bag, 'a', 'x'), sent(bag, 'a', 'x', ACTIVE)), [('x', False)]),
    'a text gets its id from the node': (
        lambda bag: (said(bag, 'x'), sent(bag, 'made up', 'x', ACTIVE)), [('x', False)]),
    'a text and its answer': (
        lambda bag: (said(bag, 'text of a'), sent(bag, 'a', 'text of a', ACTIVE),
                     bag.answer('a', 1)), [('text of a', True)]),
    'one of two like texts was answered': (
        lambda bag: (said(bag, 'text of a'), said(bag, 'text of a'), bag.answer('a', 1)),
        [('text of a', True), ('text of a', False)]),
    'one was sent with an id, one as a text': (
        lambda bag: (sent(bag, 'a', 'text of a'), said(bag, 'text of a'), bag.answer('a', 1)),
        [('text of a', True), ('text of a', False)]),
    'only the tracker told of it': (
        lambda bag: (sent(bag, 'a', 'x'), bag.answer('a', 1, source=1)), []),
    'again and again': (
        lambda bag: (sent(bag, 'a', 'text of a', mode=1), bag.answer('a', 1),
                     bag.answer('a', 1, source=1, sequence=1), bag.answer('a', 2, sequence=2)),
        [('text of a', True)] * 2),
    'by two cameras': (
        lambda bag: (bag.answer('a', 1, camera='left'), bag.answer('a', 2, camera='right')),
        [('text of a', True)] * 2),
    'latched for latecomers, and recorded by one': (
        lambda bag: bag.answer('a', 1, '/perception/last_result'), [('text of a', True)]),
    'latched, and heard when it was said': (
        lambda bag: (bag.answer('a', 1, '/perception/last_result'), bag.answer('a', 1)),
        [('text of a', True)]),
    'published once, recorded twice': (
        lambda bag: (bag.answer('a', 1), bag.answer('a', 1)), [('text of a', True)]),
}


@pytest.mark.parametrize('name', CASES)
def test_what_was_asked(tmp_path: Path, name: str) -> None:
    bag = Bag(tmp_path / 'bag')
    bag.show(1)
    bag.show(2)
    fill, expected = CASES[name]
    fill(bag)
    assert sorted(asked(bag), reverse=True) == expected


def test_ids_are_told_apart_and_stay(tmp_path: Path) -> None:
    bag = Bag(tmp_path / 'bag')
    bag.show(1)
    said(bag, 'x')
    said(bag, 'x')
    for camera, sequence in (('left', 0), ('left', 1), ('right', 0)):
        bag.answer('a', 1, camera=camera, sequence=sequence)
    first = [item.id for item in questions(bag)]
    assert first == [item.id for item in read_questions(bag.path).items]
    assert len(first) == len(set(first)) == 5
    assert {'a/left/0', 'a/left/1', 'a/right/0'} < set(first)


def test_the_truth_of_what_nobody_answered_is_that_of_its_frame(tmp_path: Path) -> None:
    """Where no perception node is there the simulated camera tells the truth all the same."""
    bag = Bag(tmp_path / 'bag')
    for stamp in (1, 2, 3):
        bag.show(stamp)
    sent(bag, 'a', 'x', task=int(Task.COUNTING))
    bag.answer('a', 2, '/truth/detections', task=int(Task.COUNTING))
    item, = questions(bag)
    assert (item.picture.stamp.sec, item.task, item.recorded) == (2, Task.COUNTING, None)
    assert item.truth.perception.count == 1
