"""The generator and its answer key agree with each other and with the frame."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from factories import frames, make_frame, make_object
from hypothesis import given, settings
from hypothesis import strategies as st

from vr_ros.core.types import Task
from vr_ros.sim.instructions import (
    ABSENT_SHARE,
    HELDOUT_SEED,
    WEIGHTS,
    NoInstructionError,
    answer_key,
    corpus,
    generate,
    generate_many,
    is_heldout,
)
from vr_ros.sim.phrasings import understand
from vr_ros.sim.queries import Form
from vr_ros.sim.templates import SPLITS, TEMPLATES
from vr_ros.sim.truth import COLOURS, KINDS, SIZES

splits = st.sampled_from(SPLITS)
seeds = st.integers(0, 2**32)


def random_frames(n: int, seed: int = 0) -> list:
    rng = np.random.default_rng(seed)
    return [
        make_frame(
            *[
                make_object(
                    i,
                    f'{rng.choice(SIZES)} {rng.choice(COLOURS)} {rng.choice(KINDS)}',
                    x=float(rng.uniform(20, 620)),
                    distance_m=float(rng.uniform(0.6, 1.4)),
                )
                for i in range(rng.integers(2, 11))
            ]
        )
        for _ in range(n)
    ]


FRAMES = random_frames(120)


@pytest.fixture(scope='module')
def drawn() -> list:
    """Sixty instructions about each of many frames: (instruction, frame)."""
    rng = np.random.default_rng(1)
    return [(generate(frame, rng, 'train'), frame) for frame in FRAMES for _ in range(60)]


@settings(max_examples=200)
@given(frames(), seeds, splits)
def test_the_answer_key_reads_its_own_texts(frame, seed: int, split: str) -> None:
    instruction = generate(frame, np.random.default_rng(seed), split)
    assert instruction.split == split
    assert understand(instruction.text) == instruction.query
    assert answer_key(instruction.text, frame) == instruction


@settings(max_examples=200)
@given(frames(), seeds, splits)
def test_truth_is_about_targets_only(frame, seed: int, split: str) -> None:
    instruction = generate(frame, np.random.default_rng(seed), split)
    visible = {o.id for o in frame.objects if o.is_target}
    assert set(instruction.target_ids) <= visible
    assert set(instruction.anchor_ids) <= visible
    if instruction.task is Task.VQA:
        assert instruction.target_ids == () and instruction.answer
    elif instruction.task is Task.COUNTING:
        assert instruction.answer == str(len(instruction.target_ids))
    else:
        assert instruction.answer == ''


@settings(max_examples=50)
@given(frames(), seeds, splits)
def test_the_same_seed_gives_the_same_instructions(frame, seed: int, split: str) -> None:
    first, second = (generate_many(frame, np.random.default_rng(seed), 8, split) for _ in range(2))
    assert first == second


def test_a_singular_request_has_at_most_one_target(drawn) -> None:
    singular = (Form.ONE, Form.RELATION, Form.EXTREME)
    assert all(len(i.target_ids) <= 1 for i, _ in drawn if i.query.form in singular)


def test_the_share_of_absent_objects(drawn) -> None:
    location = [i for i, _ in drawn if i.task in (Task.DETECTION, Task.SEGMENTATION)]
    counting = [i for i, _ in drawn if i.task is Task.COUNTING]
    for instructions in (location, counting):
        share = sum(not i.target_ids for i in instructions) / len(instructions)
        assert abs(share - ABSENT_SHARE) < 0.03
    assert {int(i.answer) for i in counting} >= {0, 1, 2, 3, 4, 5}


def test_most_absent_objects_are_near_misses(drawn) -> None:
    near = Counter()
    for instruction, frame in drawn:
        if instruction.query.form is Form.ONE and not instruction.target_ids:
            noun = instruction.query.noun
            seen = [
                {getattr(o, field) for o in frame.targets}
                for field in ('size_name', 'colour', 'kind')
            ]
            near[
                all(not word or word in there for word, there in zip(noun, seen, strict=True))
            ] += 1
    assert near[True] > 2 * near[False] > 0


def test_templates_come_up_as_their_weights_say(drawn) -> None:
    assert set(WEIGHTS) == set(TEMPLATES)
    assert sum(WEIGHTS.values()) == 100
    counts = Counter(i.template for i, _ in drawn)
    for name, weight in WEIGHTS.items():
        assert counts[name] * 100 / len(drawn) == pytest.approx(weight, abs=2.0), name


def test_yes_and_no_are_balanced(drawn) -> None:
    for form in (Form.EXISTS, Form.RELATED):
        answers = Counter(i.answer for i, _ in drawn if i.query.form is form)
        assert set(answers) == {'yes', 'no'}
        assert 0.4 < answers['yes'] / answers.total() < 0.6


def test_names_are_said_in_all_combinations(drawn) -> None:
    said = {tuple(map(bool, i.query.noun)) for i, _ in drawn if i.query.form is Form.ONE}
    assert len(said) == 7
    assert {i.query.function for i, _ in drawn if i.query.form is Form.FUNCTION} == {
        'roll',
        'drink',
        'hold',
        'handle',
        'tip',
        'flat',
        'eat',
        'bounce',
        'long',
    }


@pytest.mark.parametrize('template', sorted(WEIGHTS))
@pytest.mark.parametrize('split', SPLITS)
def test_a_template_can_be_asked_for(template: str, split: str) -> None:
    rng = np.random.default_rng(2)
    frame = make_frame(
        make_object(1, 'small red cube', x=100, distance_m=0.8),
        make_object(2, 'large blue mug', x=300, distance_m=1.0),
        make_object(3, 'medium green ball', x=500, distance_m=1.2),
    )
    texts = set()
    for _ in range(20):
        instruction = generate(frame, rng, split, template)
        assert (instruction.template, instruction.split) == (template, split)
        assert instruction.task is TEMPLATES[template].task
        texts.add(instruction.text)
    assert len(texts) > 3


def test_a_template_without_occasion_is_refused() -> None:
    alone = make_frame(make_object(1, 'small red cube'))
    with pytest.raises(NoInstructionError, match='vqa_compare'):
        generate(alone, np.random.default_rng(0), 'train', 'vqa_compare')


def test_an_empty_table_still_gets_instructions() -> None:
    rng = np.random.default_rng(0)
    hidden = make_frame(make_object(1, 'small red cube', visible_fraction=0.1))
    for frame in (make_frame(), hidden):
        instructions = generate_many(frame, rng, 30, 'train')
        assert len(instructions) == 30
        assert all(i.target_ids == () and i.anchor_ids == () for i in instructions)
        assert {i.answer for i in instructions if i.task is Task.COUNTING} == {'0'}
        assert {i.answer for i in instructions if i.task is Task.VQA} <= {'no', 'an empty table'}


def test_many_instructions_have_different_texts() -> None:
    for frame in FRAMES[:20]:
        instructions = generate_many(frame, np.random.default_rng(3), 40, 'train')
        assert len({re.sub(r'[?.]$', '', i.text.lower()) for i in instructions}) == 40


@pytest.mark.parametrize(
    ('text', 'ids', 'answer'),
    [
        ('Find the red cube.', (1,), ''),
        ('how many objects are there?', (1, 2), '2'),
        ('what colour is the ball?', (), 'blue'),
        ('the green bowl', (), ''),
    ],
)
def test_answer_key(text: str, ids: tuple[int, ...], answer: str) -> None:
    frame = make_frame(
        make_object(1, 'small red cube', x=100), make_object(2, 'small blue ball', x=300)
    )
    key = answer_key(text, frame)
    assert (key.text, key.target_ids, key.answer, key.split) == (text, ids, answer, 'train')


@pytest.mark.parametrize(
    'text',
    [
        'sing a song',  # no wording of ours
        'find the small object',  # two of them
        'what colour is the mug?',  # there is none
    ],
)
def test_no_answer_key_without_a_clear_answer(text: str) -> None:
    frame = make_frame(
        make_object(1, 'small red cube', x=100), make_object(2, 'small blue ball', x=300)
    )
    assert answer_key(text, frame) is None


@pytest.mark.parametrize(
    ('seed', 'heldout'), [(0, False), (999_999, False), (1_000_000, True), (2**40, True)]
)
def test_heldout_seeds(seed: int, heldout: bool) -> None:
    assert is_heldout(seed) is heldout
    assert HELDOUT_SEED == 1_000_000


def test_the_corpus_shows_every_word(drawn) -> None:
    shown = {word for text in corpus('train') for word in re.findall(r'\w+', text.lower())}
    rng = np.random.default_rng(4)
    drawn = [i for i, _ in drawn] + [generate(f, rng, 'heldout') for f in FRAMES for _ in range(20)]
    needed = {
        word
        for i in drawn
        for text in (i.text, i.reason, i.answer)
        for word in re.findall(r'\w+', text.lower())
    }
    assert needed <= shown
    assert len(shown) <= 250
