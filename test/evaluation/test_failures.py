"""What became of a sample: small cases worked out by hand, and what holds for all."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Mask, Size, Status, Task
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.failures import (
    MEANINGS,
    Kind,
    Situation,
    Verdict,
    confusion,
    judge,
    situation_of,
)
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.absence import absence
from vr_ros.evaluation.metrics.counting import count_error
from vr_ros.evaluation.metrics.detection import match_boxes

SIZE = Size(60, 40)
A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)
A_MOST, A_LESS = (0, 0, 10, 8), (0, 0, 10, 4)      # IoU 0.8 and 0.4 with A
GROUP = (20, 0, 60, 40)
NOTHING = Found(Status.NO_OBJECT)
DETECTION, SEGMENTATION, COUNTING, VQA = (
    Task.DETECTION, Task.SEGMENTATION, Task.COUNTING, Task.VQA)


def pixels(*boxes: tuple[int, int, int, int]) -> Mask:
    """Fill boxes: all of them in one mask."""
    plane = np.zeros((SIZE.height, SIZE.width), bool)
    for x_min, y_min, x_max, y_max in boxes:
        plane[y_min:y_max, x_min:x_max] = True
    return mask_to_rle(plane)


def true(*boxes, **more) -> Truth:
    return Truth(size=SIZE, boxes=boxes, **more)


def cut(*boxes, **more) -> Truth:
    """True objects with the masks that their boxes are."""
    return true(*boxes, masks=tuple(map(pixels, boxes)), **more)


def found(*boxes, **more) -> Found:
    return Found(boxes=boxes, **more)


def cut_out(*boxes, masks=None) -> Found:
    """:param masks: None: what the boxes hold."""
    return found(*boxes, masks=tuple(map(pixels, boxes if masks is None else masks)))


CASES = [
    # Neither right nor wrong, but nothing.
    ('late', true(A), Found(Status.TIMEOUT), DETECTION, 'error', 0),
    ('unreadable', true(A), Found(Status.PARSE_ERROR), DETECTION, 'parse failure', 0),
    ('unreadable, nothing there', true(), Found(Status.PARSE_ERROR), DETECTION, 'parse failure', 0),
    ('an error comes before an unknown truth', Truth(), Found(Status.TIMEOUT), VQA, 'error', 0),
    ('nobody knows', Truth(), found(A), DETECTION, 'not judged', 0),
    # Nothing there.
    ('rightly nothing', true(), NOTHING, DETECTION, 'right', 1),
    ('hallucinated', true(), found(A), DETECTION, 'extra', 0),
    ('says something else than no object', true(), Found(answer='Sorry?'), DETECTION,
     'wrong answer', 0),
    ('cut off before any object', true(), Found(Status.PARTIAL), DETECTION, 'wrong answer', 0),
    ('a crowd, and nothing found', true(GROUP, crowd=[True]), NOTHING, DETECTION, 'right', 1),
    ('a crowd, and one of it found', true(GROUP, crowd=[True]), found(C), DETECTION, 'right', 1),
    ('a crowd, and one beside it', true(GROUP, crowd=[True]), found(A), DETECTION, 'extra', 0),
    ('no pixels, and none found', Truth(region=pixels()), NOTHING, SEGMENTATION, 'right', 1),
    ('no pixels, and a box found', Truth(region=pixels()), found(A), SEGMENTATION, 'extra', 0),
    ('no pixels but ignored ones, found', Truth(region=pixels(), ignore=pixels(A)), cut_out(A),
     SEGMENTATION, 'right', 1),
    # Boxes.
    ('hit', true(A), found(A_MOST), DETECTION, 'right', 0.8),
    ('half hit', true(A), found((0, 0, 10, 5)), DETECTION, 'right', 0.5),
    ('beside', true(A), found(A_LESS), DETECTION, 'wrong object', 0.4),
    ('elsewhere', true(A), found(B), DETECTION, 'wrong object', 0),
    ('nothing found', true(A), NOTHING, DETECTION, 'missed', 0),
    ('words in place of a box', true(A), Found(answer='on the left'), DETECTION, 'missed', 0),
    ('one of two', true(A, B), found(A), DETECTION, 'missed', 0.5),
    ('one of two, elsewhere', true(A, B), found(C), DETECTION, 'missed', 0),
    ('two of two', true(A, B), found(B, A), DETECTION, 'right', 1),
    ('one of two hit, one elsewhere', true(A, B), found(A, C), DETECTION, 'wrong object', 0.5),
    ('the same twice in place of two', true(A, B), found(A, A), DETECTION, 'wrong object', 0.5),
    ('one too many', true(A), found(A, B), DETECTION, 'extra', 0.5),
    ('the same twice', true(A), found(A, A), DETECTION, 'extra', 0.5),
    ('two, and neither right', true(A), found(B, C), DETECTION, 'wrong object', 0),
    ('one too many, but in a crowd', true(A, GROUP, crowd=[False, True]), found(A, C), DETECTION,
     'right', 1),
    # Masks.
    ('right mask', cut(A), cut_out(A), SEGMENTATION, 'right', 1),
    ('poor mask', cut(A), cut_out(A, masks=[A_LESS]), SEGMENTATION, 'poor mask', 0.4),
    ('no mask', cut(A), found(A), SEGMENTATION, 'poor mask', 0),
    ('no mask, nor asked for', cut(A), found(A_MOST), DETECTION, 'right', 0.8),
    ('a poor mask that nobody asked for', cut(A), cut_out(A, masks=[A_LESS]), DETECTION,
     'poor mask', 0.4),
    ('one mask of two poor', cut(A, B), cut_out(A, B, masks=[A, (20, 0, 24, 10)]), Task.AUTO,
     'poor mask', 0.7),
    ('masks of each other', cut(A, B), cut_out(A, B, masks=[B, A]), SEGMENTATION, 'right', 1),
    ('missed comes before poor mask', cut(A, B), cut_out(A, masks=[A_LESS]), SEGMENTATION,
     'missed', 0.2),
    ('extra comes before poor mask', cut(A), cut_out(A, B, masks=[A_LESS, B]), SEGMENTATION,
     'extra', 0.2),
    ('masks alone', Truth(size=SIZE, masks=(pixels(A),)), cut_out(A, masks=[A_LESS]), SEGMENTATION,
     'wrong object', 0.4),
    # Pixels of objects that are not told apart.
    ('region', Truth(region=pixels(A, B)), cut_out(A, B), SEGMENTATION, 'right', 1),
    ('half a region', Truth(region=pixels(A, B)), cut_out(A), SEGMENTATION, 'right', 0.5),
    ('too little of a region', Truth(region=pixels(A, B)), cut_out(A_MOST, masks=[A_MOST]),
     SEGMENTATION, 'wrong object', 0.4),
    ('a region in the right box', Truth(region=pixels(A, B)),
     cut_out(A, B, masks=[A_LESS, (20, 0, 24, 10)]), SEGMENTATION, 'poor mask', 0.4),
    ('a region missed', Truth(region=pixels(A)), NOTHING, SEGMENTATION, 'missed', 0),
    ('a region without a mask', Truth(region=pixels(A)), found(A), SEGMENTATION, 'poor mask', 0),
    ('a region, all of it ignored', Truth(region=pixels(A), ignore=pixels(A)), NOTHING,
     SEGMENTATION, 'right', 1),
    ('boxes right, region not', true(A, B, region=pixels(A, B)),
     cut_out(A, B, masks=[A_LESS, A_LESS]), SEGMENTATION, 'poor mask', 0.2),
    # Numbers.
    ('right number', Truth(count=3), found(A, B, C), COUNTING, 'right', 1),
    ('another number', Truth(count=4), found(A, B, C), COUNTING, 'wrong count', 0.75),
    ('none of three', Truth(count=3), NOTHING, COUNTING, 'missed', 0),
    ('two of none', Truth(count=0), found(A, B), COUNTING, 'extra', 0),
    ('none of none', Truth(count=0), NOTHING, COUNTING, 'right', 1),
    ('none of none, in words', Truth(count=0), Found(answer='0'), COUNTING, 'right', 1),
    ('only the number is known', Truth(count=2), found(A), Task.AUTO, 'wrong count', 0.5),
    ('counting: places do not count', true(A, B), found(B, C), COUNTING, 'right', 1),
    ('counting: crowds do not count', true(A, GROUP, crowd=[False, True]), found(A), COUNTING,
     'right', 1),
    ('the truth knows the task', true(A, B, task=COUNTING), found(B, C), Task.AUTO, 'right', 1),
    # Texts.
    ('right text', Truth(answers=('red',)), Found(answer='Red.'), VQA, 'right', 1),
    ('another accepted text', Truth(answers=('red', 'crimson')), Found(answer='crimson'), VQA,
     'right', 1),
    ('another text', Truth(answers=('red',)), Found(answer='blue'), VQA, 'wrong answer', 0),
    ('no text', Truth(answers=('red',)), Found(Status.NO_OBJECT), VQA, 'wrong answer', 0),
    ('by ANLS', Truth(answers=('abcdefgh',), rule='ANLS'), Found(answer='abcdefXX'), VQA,
     'right', 0.75),
    ('by votes: one of four', Truth(answers=('a1', 'b', 'c', 'd'), rule='VQA accuracy'),
     Found(answer='b'), VQA, 'wrong answer', 0.25),
    ('right place, wrong text', true(A, answers=('red',)), found(A, answer='blue'), Task.AUTO,
     'wrong answer', 0),
    ('right text, nearly right place', true(A, answers=('red',)), found(A_MOST, answer='red'),
     Task.AUTO, 'right', 0.8),
    ('wrong place, right text', true(A, answers=('red',)), found(B, answer='red'), Task.AUTO,
     'wrong object', 0),
]


@pytest.mark.parametrize(('truth', 'answer', 'task', 'kind', 'quality'),
                         [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_cases(truth, answer, task, kind, quality):
    verdict = judge(truth, answer, task)
    assert verdict.kind.value == kind
    assert verdict.quality == pytest.approx(quality)


def test_every_kind_has_a_case_and_a_meaning():
    assert {case[4] for case in CASES} == {kind.value for kind in Kind}
    assert MEANINGS.keys() == set(Kind)
    assert {kind for kind in Kind if not kind.is_failure} == {Kind.RIGHT, Kind.UNKNOWN}


@pytest.mark.parametrize(('truth', 'situation'), [
    (true(), Situation.ABSENT),
    (true(GROUP, crowd=[True]), Situation.ABSENT),
    (Truth(region=pixels()), Situation.ABSENT),
    (Truth(count=0), Situation.ABSENT),
    (true(A), Situation.ONE),
    (true(A, GROUP, crowd=[False, True]), Situation.ONE),
    (Truth(count=2), Situation.MANY),
    (Truth(masks=(pixels(A), pixels(B))), Situation.MANY),
    (Truth(region=pixels(A, B)), Situation.REGION),
    (Truth(answers=('red',)), Situation.TEXT),
    (true(A, answers=('red',)), Situation.ONE),
    (Truth(), Situation.UNKNOWN),
])
def test_situations(truth, situation):
    assert situation_of(truth) is situation


def test_the_table_holds_every_sample_once():
    verdicts = [judge(truth, answer, task) for _, truth, answer, task, _, _ in CASES]
    cells = confusion(verdicts)
    assert sorted(place for places in cells.values() for place in places) == list(
        range(len(CASES)))
    for (kind, situation), places in cells.items():
        assert places and all(
            (verdicts[place].kind, verdicts[place].situation) == (kind, situation)
            for place in places)
    assert confusion([]) == {}


PLACES = st.integers(0, 3).map(lambda place: 12 * place)
BOXES = st.tuples(PLACES, st.integers(4, 10)).map(lambda b: (b[0], 0, b[0] + 10, b[1]))
FOUND_BOXES = st.lists(st.tuples(BOXES, st.one_of(st.none(), BOXES)), max_size=4)
TASKS = st.sampled_from(Task)
TEXTS = st.sampled_from(['red', 'blue', ''])


@st.composite
def truths(draw) -> Truth:
    boxes = draw(st.none() | st.lists(BOXES, max_size=4))
    masks = draw(st.booleans())
    return Truth(
        size=SIZE, boxes=boxes, masks=tuple(map(pixels, boxes)) if masks and boxes else None,
        region=draw(st.none() | BOXES.map(pixels)),
        ignore=draw(st.none() | BOXES.map(pixels)),
        crowd=None if not boxes else draw(st.lists(
            st.booleans(), min_size=len(boxes), max_size=len(boxes))),
        count=draw(st.none() | st.integers(0, 3)) if boxes is None else None,
        answers=tuple(draw(st.lists(TEXTS, max_size=2))))


@st.composite
def answers(draw) -> Found:
    status = draw(st.sampled_from(
        [Status.OK, Status.NO_OBJECT, Status.PARTIAL, Status.PARSE_ERROR, Status.TIMEOUT]))
    objects = [] if status.is_error or status is Status.NO_OBJECT else draw(FOUND_BOXES)
    return Found(status, [box for box, _ in objects],
                 tuple(mask and pixels(mask) for _, mask in objects), answer=draw(TEXTS))


@settings(max_examples=300, deadline=None)
@given(truths(), answers(), TASKS)
def test_what_holds_for_all(truth, answer, task):
    verdict = judge(truth, answer, task)
    assert isinstance(verdict, Verdict) and 0 <= verdict.quality <= 1 + 1e-9
    assert (verdict.kind in (Kind.ERROR, Kind.PARSE)) == answer.status.is_error
    if verdict.kind is Kind.RIGHT:
        error, matches = count_error(truth, answer), match_boxes(truth, answer)
        if task is Task.COUNTING and error is not None:
            assert error.is_right
        elif matches is not None:
            assert matches.hits[0] == matches.true == matches.found[0]
    if verdict.kind in (Kind.MISSED, Kind.WRONG_OBJECT, Kind.POOR_MASK, Kind.WRONG_COUNT):
        assert verdict.situation in (Situation.ONE, Situation.MANY, Situation.REGION)
    if verdict.kind is Kind.EXTRA and verdict.situation is Situation.ABSENT:
        assert not absence(truth, answer).says_absent
    if verdict.situation is Situation.TEXT and not answer.status.is_error:
        assert verdict.kind in (Kind.RIGHT, Kind.WRONG_ANSWER)


@settings(max_examples=200, deadline=None)
@given(truths(), answers(), TASKS, st.randoms(use_true_random=False))
def test_the_order_of_objects_does_not_matter(truth, answer, task, random):
    order = list(range(len(answer.boxes)))
    random.shuffle(order)
    other = judge(truth, Found(
        answer.status, answer.boxes[order], tuple(answer.masks[place] for place in order),
        answer=answer.answer), task)
    verdict = judge(truth, answer, task)
    assert (other.kind, other.situation) == (verdict.kind, verdict.situation)
    assert other.quality == pytest.approx(verdict.quality)
