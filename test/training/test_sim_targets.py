"""What the embedded model is taught: parsed back, it must say what is true of the frame."""
from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / 'sim'))
from factories import make_frame, make_object  # noqa: E402

from vr_ros.core.answer import ParseOutcome, parse_answer  # noqa: E402
from vr_ros.core.types import Size, Task  # noqa: E402
from vr_ros.models.card import load_card  # noqa: E402
from vr_ros.sim.instructions import answer_key, generate_many  # noqa: E402
from vr_ros.sim.truth import COLOURS, KINDS, SIZES  # noqa: E402
from vr_ros.training.sim_targets import answer_list, model_objects, response  # noqa: E402

SIZE = Size(168, 168)
FRAME = make_frame(
    make_object(1, 'small red cube', 100, 100),
    make_object(2, 'large blue ball', 500, 120, extent=80),
    make_object(3, 'medium red mug', 320, 400, visible_fraction=0.1),  # hidden: no target
    make_object(4, 'medium green cone', 330, 380),
)


def test_boxes_are_mapped_and_rounded_as_the_reference_does():
    first = model_objects(FRAME.targets, FRAME.size, SIZE)[0]
    assert first.box == tuple(int(v * s + 0.5) for v, s in zip(
        (80, 80, 120, 120), (168 / 640, 168 / 480) * 2, strict=True))
    assert first.cell == (1, 0)  # centre 100, 100 lies at 26, 35 of the model's input


def test_objects_come_in_reading_order():
    objects = model_objects(FRAME.targets, FRAME.size, SIZE)
    assert [o.truth.id for o in objects] == [1, 2, 4]
    assert [o.cell for o in objects] == sorted(o.cell for o in objects)


@pytest.mark.parametrize(('text', 'found'), [
    ('find the small red cube', [1]),
    ('segment all balls', [2]),
    ('how many cones are there?', [4]),
    ('where is the green bowl?', []),  # absent
])
def test_the_response_says_what_matches(text, found):
    key = answer_key(text, FRAME)
    assert key is not None
    parsed = parse_answer(response(key, FRAME, SIZE))
    boxes = {o.truth.id: o.box for o in model_objects(FRAME.targets, FRAME.size, SIZE)}
    assert [o.box for o in parsed.objects] == [tuple(map(float, boxes[i])) for i in found]
    assert parsed.outcome is (ParseOutcome.OBJECTS if found else ParseOutcome.EMPTY)
    verdict = {i: 'yes' if i in found else 'no' for i in (1, 2, 4)}
    listed = parsed.reasoning.partition('On the table:')[2]
    assert listed.startswith(
        f' r1c0 small red cube {verdict[1]}; r1c4 large blue ball {verdict[2]}; '
        f'r4c3 medium green cone {verdict[4]}. Matching:'
    )
    assert listed.endswith(' nothing') is (not found)
    assert 'mug' not in parsed.reasoning


def test_the_reasoning_gives_the_numbers_that_the_answer_copies():
    key = answer_key('segment all balls', FRAME)
    text = response(key, FRAME, SIZE)
    ball = next(o for o in model_objects(FRAME.targets, FRAME.size, SIZE) if o.truth.id == 2)
    numbers = (*ball.box, *ball.point)
    assert tuple(map(int, re.findall(r' [xy](\d+)', text))) == numbers


def test_an_answer_to_a_question_is_its_text():
    key = answer_key('what colour is the ball?', FRAME)
    assert key is not None and key.task is Task.VQA
    assert parse_answer(response(key, FRAME, SIZE)).answer_text == 'blue'


def test_a_relation_marks_its_anchor_and_matches_among_those_that_fit():
    key = answer_key('find the object left of the ball', FRAME)
    assert key is None  # the cube and the cone are
    key = answer_key('find all objects left of the ball', FRAME)
    assert key is not None and key.anchor_ids == (2,)
    reasoning = parse_answer(response(key, FRAME, SIZE)).reasoning
    assert 'cube yes; r1c4 large blue ball reference; r4c3 medium green cone yes' in reasoning
    assert re.findall(r'r\dc\d', reasoning.partition('Matching:')[2]) == ['r1c0', 'r4c3']


@pytest.mark.parametrize('text', ['segment all balls', 'what colour is the ball?'])
def test_a_direct_answer_is_the_same_without_reasoning(text):
    key = answer_key(text, FRAME)
    assert key is not None
    reasoned, direct = (response(key, FRAME, SIZE, direct=one) for one in (False, True))
    assert direct.startswith('<think></think><answer>')
    assert direct.partition('</think>')[2] == reasoned.partition('</think>')[2]


@pytest.mark.parametrize(('text', 'ids', 'answer'), [
    ('is the cube left of the ball?', (1, 2), 'yes'),
    ('is the ball left of the cube?', (2, 1), 'no'),
])
def test_a_question_about_two_gives_the_numbers_of_both_before_it_is_answered(text, ids, answer):
    key = answer_key(text, FRAME)
    assert key is not None
    parsed = parse_answer(response(key, FRAME, SIZE))
    objects = {o.truth.id: o for o in model_objects(FRAME.targets, FRAME.size, SIZE)}
    assert parsed.reasoning.partition('. Matching:')[2] == ''.join(
        f'{objects[i].place}{objects[i].coordinates}' for i in ids)
    assert parsed.answer_text == answer


@pytest.mark.parametrize(('text', 'ids', 'chosen', 'answer'), [
    ('which is larger, the cone or the ball?', (4, 2), ' r1c4 reference', 'the ball'),
    ('which is smaller, the cone or the ball?', (4, 2), ' r4c3 yes', 'the cone'),
    ('which is farther to the left, the ball or the cube?', (1, 2), ' r1c0 reference', 'the cube'),
    ('which is farther to the right, the ball or the cube?', (1, 2), ' r1c4 yes', 'the ball'),
])
def test_a_comparison_sorts_both_whatever_its_sense_and_then_chooses(text, ids, chosen, answer):
    key = answer_key(text, FRAME)
    assert key is not None
    parsed = parse_answer(response(key, FRAME, SIZE))
    objects = {o.truth.id: o for o in model_objects(FRAME.targets, FRAME.size, SIZE)}
    assert parsed.reasoning.partition('. Matching:')[2] == ''.join(
        f'{objects[i].place}{objects[i].coordinates}' for i in ids) + f':{chosen}'
    assert parsed.answer_text == answer


def test_a_caption_sorts_and_groups_before_it_counts():
    frame = make_frame(
        make_object(1, 'small red cube', 500, 100), make_object(2, 'large blue ball', 300, 110),
        make_object(3, 'large red cube', 100, 400), make_object(4, 'small blue ball', 330, 300))
    key = answer_key('describe the scene', frame)
    assert key is not None
    parsed = parse_answer(response(key, frame, SIZE))
    assert parsed.reasoning.partition('. Matching:')[2] == (
        ' r5c0 red cube r1c4; r1c2 blue ball r3c3')
    assert parsed.answer_text == 'two red cubes and two blue balls'


def test_other_questions_are_answered_from_the_list():
    key = answer_key('what colour is the ball?', FRAME)
    assert key is not None and 'Matching' not in response(key, FRAME, SIZE)


def test_what_fits_the_words_need_not_match():
    key = answer_key('find the cube to the right of the ball', FRAME)
    assert key is not None
    text = response(key, FRAME, SIZE)
    assert 'small red cube yes' in text and 'Matching: nothing</think><answer>[]' in text


@pytest.mark.parametrize(('text', 'aim'), [
    ('find the small red cube', 'small red cube'),
    ('how many cones are there?', 'cone'),
    ('find the cube to the left of the ball', 'cube left of the ball'),
    ('segment the rightmost object', 'rightmost object'),
    ('what can i drink from?', 'mug, since mugs are for drinking'),
    ('what colour is the ball?', 'colour of the ball'),
    ('is there a green bowl?', 'any green bowl'),
])
def test_the_reasoning_starts_with_what_is_looked_for(text, aim):
    key = answer_key(text, FRAME)
    assert key is not None
    assert response(key, FRAME, SIZE).startswith(f'<think>Looking for: {aim}. On the table:')


def test_every_generated_response_parses_to_its_targets():
    rng = np.random.default_rng(5)
    for instruction in generate_many(FRAME, rng, 60, 'train'):
        parsed = parse_answer(response(instruction, FRAME, SIZE))
        if instruction.task is not Task.VQA:
            assert len(parsed.objects) == len(instruction.target_ids)
        else:
            assert parsed.answer_text == instruction.answer


def test_no_space_after_the_commas_inside_a_number_list():
    objects = model_objects(FRAME.targets[:2], FRAME.size, SIZE)
    assert re.fullmatch(
        r'\[\{"bbox_2d": \[\d+,\d+,\d+,\d+\], "point_2d": \[\d+,\d+\]\}, '
        r'\{"bbox_2d": \[\d+,\d+,\d+,\d+\], "point_2d": \[\d+,\d+\]\}\]', answer_list(objects))


@pytest.mark.parametrize(('text', 'aim', 'kind'), [
    ('find the small red cube', 'small red cube', 'small red cube'),
    ('find the cone left of the blue ball', 'cone left of the blue ball', 'cone'),
    ('find the object closest to the ball', 'object closest to the ball', 'object'),
    ('find the leftmost object', 'leftmost object', 'leftmost object'),
    ('which things could roll off the table',
     'ball or cylinder, since balls and cylinders can roll', 'ball or cylinder'),
    ('what has a handle', 'mug, since mugs have a handle', 'mug'),
])
def test_the_card_reads_what_the_model_looks_for(text, aim, kind):
    key = answer_key(text, FRAME)
    assert key is not None
    found = re.search(load_card('sim_tiny').confidence.aim, response(key, FRAME, SIZE))
    assert (found.groups()[0], found.groups()[-1]) == (aim, kind)


def test_the_card_knows_which_words_rule_each_other_out():
    for name in ('sim_tiny', 'sim_tiny_votes'):
        groups = {frozenset(group) for group in load_card(name).confidence.opposites}
        assert groups == {frozenset(COLOURS), frozenset(KINDS), frozenset(SIZES)}
