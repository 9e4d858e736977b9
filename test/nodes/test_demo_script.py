"""What the demo asks: of every kind, and with a known answer."""
from __future__ import annotations

import itertools

import pytest

from vr_ros.core.types import Task
from vr_ros.nodes.demo.script import PARTS, QUESTIONS, Question, questions
from vr_ros.sim.instructions import answer_key
from vr_ros.sim.renderer import render_scene
from vr_ros.sim.truth import FrameTruth

SEED = 1_000_005


@pytest.fixture(scope='module')
def truths() -> list[FrameTruth]:
    return [render_scene(SEED + part, count=4).truth for part in range(len(PARTS))]


@pytest.fixture(scope='module')
def asked(truths: list[FrameTruth]) -> list[tuple[Question, FrameTruth]]:
    return [(question, truth) for part, truth in enumerate(truths)
            for question in questions(truth, part, SEED + part)]


def test_one_of_each_kind_and_each_has_an_answer(
        asked: list[tuple[Question, FrameTruth]]) -> None:
    assert [q.kind for q, _ in asked] == [w.kind for w in itertools.chain(*PARTS)]
    assert len(asked) == QUESTIONS >= 8
    keys = {q.kind: answer_key(q.text, truth) for q, truth in asked}
    assert None not in keys.values()
    assert {key.task for key in keys.values()} == set(Task) - {Task.AUTO}
    assert {key.split for key in keys.values()} == {'heldout'}


@pytest.mark.parametrize(('kind', 'task', 'is_there'), [
    ('attribute', Task.DETECTION, True),
    ('count', Task.COUNTING, True),
    ('function', Task.DETECTION, True),
    ('set, masks', Task.SEGMENTATION, True),
    ('relation', Task.DETECTION, True),
    ('absence', Task.DETECTION, False),
    ('count by function', Task.COUNTING, True),
])
def test_each_kind_is_what_it_is_called(
        asked: list[tuple[Question, FrameTruth]], kind: str, task: Task, is_there: bool) -> None:
    question, truth = next((q, truth) for q, truth in asked if q.kind == kind)
    key = answer_key(question.text, truth)
    assert key.task is task
    assert bool(key.target_ids) is is_there


def test_the_same_seed_asks_the_same(truths: list[FrameTruth]) -> None:
    first = list(questions(truths[0], 0, SEED))
    assert first == list(questions(truths[0], 0, SEED))
    assert first != list(questions(truths[0], 0, SEED + 1))


def test_parts_follow_one_another_round_and_round(truths: list[FrameTruth]) -> None:
    for part in range(len(PARTS)):
        again = list(questions(truths[part], part + len(PARTS), SEED))
        assert again == list(questions(truths[part], part, SEED))


def test_another_kind_takes_the_place_of_one_without_occasion() -> None:
    truth = render_scene(SEED, count=1).truth           # nothing to relate the one object to
    found = list(questions(truth, 1, SEED))
    assert len(found) == len(PARTS[1])
    assert len({q.text for q in found}) == len(found)
    assert 'relation' not in [q.kind for q in found]
    assert all(answer_key(q.text, truth) for q in found)


def test_an_empty_scene_can_be_asked_about() -> None:
    truth = render_scene(SEED, count=0).truth
    assert all(answer_key(q.text, truth) for q in questions(truth, 0, SEED))
