"""Queries against hand-made frames, and against a second, naive way to answer them."""

from __future__ import annotations

import pytest
from factories import frames, make_frame, make_object
from hypothesis import given, settings
from hypothesis import strategies as st

from vr_ros.core.types import Task
from vr_ros.sim.queries import (
    COUNT_FORMS,
    LOCATION_FORMS,
    VQA_FORMS,
    Form,
    Query,
    is_well_posed,
    resolve,
)
from vr_ros.sim.vocabulary import ANY, FUNCTIONS, SIDES, Noun

# From left to right: 4, 2, 7, 1, 3, 9; 5 is nearly hidden and 6 is tiny.
TABLE = make_frame(
    make_object(1, 'small red cube', x=300, distance_m=0.8),
    make_object(2, 'large red cube', x=150, distance_m=1.0),
    make_object(3, 'medium blue ball', x=400, distance_m=0.9),
    make_object(4, 'small blue ball', x=50, distance_m=1.2),
    make_object(5, 'small green cube', x=500, visible_fraction=0.2),
    make_object(6, 'large yellow mug', x=20, extent=8),
    make_object(7, 'medium green mug', x=220, distance_m=0.6),
    make_object(9, 'medium orange cone', x=560, distance_m=1.5),
)
FIND, COUNT, ASK = Task.DETECTION, Task.COUNTING, Task.VQA


def named(words: str) -> Noun:
    """Read 'small red cube', with '-' for what is not said."""
    return Noun(*('' if word == '-' else word for word in words.split()))


def find(form: Form, words: str = '- - -', relation: str = '', anchor: str = '- - -') -> Query:
    return Query(form, FIND, named(words), relation, named(anchor))


def ask(form: Form, words: str = '- - -', relation: str = '', anchor: str = '- - -') -> Query:
    return Query(form, ASK, named(words), relation, named(anchor))


@pytest.mark.parametrize(
    ('query', 'ids', 'reason', 'anchors'),
    [
        # names and attributes
        (find(Form.ONE, 'small red cube'), (1,), '', ()),
        (find(Form.ONE, '- - mug'), (7,), '', ()),  # the other mug is too tiny
        (find(Form.ONE, '- green cube'), (), 'there is no green cube', ()),  # hidden
        (find(Form.ONE, '- - bowl'), (), 'there is no bowl', ()),
        # sets, from left to right whatever the ids
        (find(Form.ALL, '- - cube'), (2, 1), '', ()),
        (find(Form.ALL, '- blue -'), (4, 3), '', ()),
        (find(Form.ALL), (4, 2, 7, 1, 3, 9), '', ()),
        (find(Form.ALL, 'large - ball'), (), 'there are no large balls', ()),
        # relations
        (find(Form.RELATION, '- - cone', 'right', '- - mug'), (9,), 'is right of the mug', (7,)),
        (find(Form.RELATION, '- - ball', 'left', '- - mug'), (4,), 'is left of the mug', (7,)),
        (
            find(Form.RELATION, '- - cone', 'left', '- - mug'),
            (),
            'no cone is left of the mug',
            (7,),
        ),
        (find(Form.RELATION, '- - cone', 'left', '- - bowl'), (), 'there is no bowl', ()),
        (find(Form.RELATION, '- - bowl', 'left', '- - mug'), (), 'there is no bowl', (7,)),
        (find(Form.RELATION, '- - mug', 'left', '- - mug'), (), 'there is no other mug', (7,)),
        (
            find(Form.RELATION, '- - cube', 'front', '- - mug'),
            (),
            'no cube is in front of the mug',
            (7,),
        ),
        (
            find(Form.RELATION, '- - -', 'behind', 'small blue ball'),
            (9,),
            'is behind the small blue ball',
            (4,),
        ),
        (
            find(Form.RELATION, '- - ball', 'next_to', 'small - cube'),
            (3,),
            'is closest to the small cube',
            (1,),
        ),
        (
            find(Form.RELATION_ALL, '- - -', 'left', 'small red cube'),
            (4, 2, 7),
            'is left of the small red cube',
            (1,),
        ),
        (
            find(Form.RELATION_ALL, '- - -', 'front', 'small blue ball'),
            (2, 7, 1, 3),
            'is in front of the small blue ball',
            (4,),
        ),
        # extremes
        (find(Form.EXTREME, '- - -', 'nearest'), (7,), 'is nearest to the camera', ()),
        (find(Form.EXTREME, '- - -', 'farthest'), (9,), 'is farthest from the camera', ()),
        (find(Form.EXTREME, '- - cube', 'leftmost'), (2,), 'is farthest to the left', ()),
        (find(Form.EXTREME, '- - -', 'rightmost'), (9,), 'is farthest to the right', ()),
        (find(Form.EXTREME, '- - -', 'largest'), (2,), 'is the largest', ()),
        (find(Form.EXTREME, '- - cube', 'smallest'), (1,), 'is the smallest', ()),
        (find(Form.EXTREME, '- - bar', 'nearest'), (), 'there is no bar', ()),
        # functions
        (Query(Form.FUNCTION, FIND, function='roll'), (4, 3), 'balls and cylinders can roll', ()),
        (Query(Form.FUNCTION, FIND, function='drink'), (7,), 'mugs are for drinking', ()),
        (Query(Form.FUNCTION, FIND, function='eat'), (), 'there are no bowls', ()),
        (Query(Form.FUNCTION, FIND, function='flat'), (2, 1), 'cubes and bars have flat sides', ()),
    ],
)
def test_locations(
    query: Query, ids: tuple[int, ...], reason: str, anchors: tuple[int, ...]
) -> None:
    found = resolve(query, TABLE)
    assert (found.target_ids, found.reason, found.anchor_ids) == (ids, reason, anchors)
    assert (found.problem, found.answer, found.task) == ('', '', FIND)


@pytest.mark.parametrize(
    ('query', 'answer', 'ids'),
    [
        (Query(Form.ALL, COUNT, named('- - cube')), '2', (2, 1)),
        (Query(Form.ALL, COUNT), '6', (4, 2, 7, 1, 3, 9)),
        (Query(Form.ALL, COUNT, named('- yellow -')), '0', ()),
        (Query(Form.RELATION_ALL, COUNT, ANY, 'right', named('- - mug')), '3', (1, 3, 9)),
        (Query(Form.FUNCTION, COUNT, function='tip'), '1', (9,)),
    ],
)
def test_counts(query: Query, answer: str, ids: tuple[int, ...]) -> None:
    found = resolve(query, TABLE)
    assert (found.answer, found.target_ids, found.problem) == (answer, ids, '')


@pytest.mark.parametrize(
    ('query', 'answer', 'reason', 'anchors'),
    [
        (ask(Form.COLOUR, '- - mug'), 'green', 'the mug is green', (7,)),
        (ask(Form.SHAPE, 'medium blue -'), 'ball', 'the medium blue object is a ball', (3,)),
        (ask(Form.SIZE, '- orange cone'), 'medium', 'the orange cone is medium', (9,)),
        (ask(Form.EXISTS, '- blue ball'), 'yes', 'there is a blue ball', (4, 3)),
        (ask(Form.EXISTS, '- orange -'), 'yes', 'there is an orange object', (9,)),
        (ask(Form.EXISTS, '- green cube'), 'no', 'there is no green cube', ()),
        (
            ask(Form.RELATED, '- - cone', 'right', '- - mug'),
            'yes',
            'the cone is right of the mug',
            (9, 7),
        ),
        (
            ask(Form.RELATED, '- - cone', 'left', '- - mug'),
            'no',
            'the cone is not left of the mug',
            (9, 7),
        ),
        (
            ask(Form.COMPARE, 'large red cube', 'larger', '- - mug'),
            'the large red cube',
            'the large red cube is larger than the mug',
            (2, 7),
        ),
        (
            ask(Form.COMPARE, '- - cone', 'nearer', '- - mug'),
            'the mug',
            'the mug is closer to the camera than the cone',
            (9, 7),
        ),
        (ask(Form.CAPTION), 'a blue ball, a red cube and a green mug', '', (4, 2, 7)),
    ],
)
def test_answers(query: Query, answer: str, reason: str, anchors: tuple[int, ...]) -> None:
    frame = (
        TABLE
        if query.form is not Form.CAPTION
        else make_frame(*TABLE.targets[1:2], *TABLE.targets[3:5])
    )
    found = resolve(query, frame)
    assert (found.answer, found.reason, found.anchor_ids) == (answer, reason, anchors)
    assert (found.target_ids, found.problem) == ((), '')


@pytest.mark.parametrize(
    ('words', 'caption'),
    [
        ((), 'an empty table'),
        (('small red cube',), 'a red cube'),
        (
            ('small orange cube', 'large orange cube'),
            'two orange cubes',
        ),  # sizes are not told apart
        (('small red cube', 'small blue ball'), 'a red cube and a blue ball'),
        (
            (
                'small red cube',
                'small blue ball',
                'large red cube',
                'small green mug',
                'large blue ball',
            ),
            'two red cubes, two blue balls and a green mug',
        ),  # by their leftmost
        (('small red cube',) * 10, 'ten red cubes'),
        (('small red cube',) * 11, '11 red cubes'),
    ],
)
def test_captions(words: tuple[str, ...], caption: str) -> None:
    frame = make_frame(*[make_object(i, w, x=50 + 45 * i) for i, w in enumerate(words)])
    assert resolve(ask(Form.CAPTION), frame).answer == caption


@pytest.mark.parametrize(
    'query',
    [
        find(Form.ONE, '- red cube'),  # two of them
        find(Form.RELATION, '- - -', 'left', '- - cube'),  # which cube
        find(Form.RELATION, '- - -', 'left', 'small red cube'),  # three are left of it
        find(Form.EXTREME, '- - ball', 'largest', '- - -'),  # fine below, here for contrast
        ask(Form.COLOUR, '- - bowl'),  # there is none
        ask(Form.COLOUR, '- - ball'),  # two
        ask(Form.RELATED, '- - mug', 'left', '- green mug'),  # the same one twice
        ask(Form.COMPARE, '- - mug', 'larger', '- - cone'),  # equal sizes
    ],
)
def test_unclear_queries_are_no_instructions(query: Query) -> None:
    clear = query == find(Form.EXTREME, '- - ball', 'largest', '- - -')
    assert is_well_posed(query, TABLE) is clear
    assert clear or resolve(query, TABLE).target_ids == ()


@pytest.mark.parametrize(
    ('relation', 'change', 'clear'),
    [
        ('left', {'x': 325.0}, False),  # 25 px beside: less than 4 % of 640
        ('left', {'x': 326.0}, True),
        ('right', {'x': 275.0}, False),
        ('right', {'x': 274.0}, True),
        ('front', {'distance_m': 1.03}, False),  # 3 cm behind
        ('front', {'distance_m': 1.05}, True),
        ('behind', {'distance_m': 0.97}, False),
        ('behind', {'distance_m': 0.95}, True),
    ],
)
def test_relations_need_a_margin(relation: str, change: dict[str, float], clear: bool) -> None:
    frame = make_frame(
        make_object(1, 'small red cube', x=300, distance_m=1.0),
        make_object(2, 'small blue ball', **{'x': 300, 'distance_m': 1.0, **change}),
    )
    query = ask(Form.RELATED, '- - cube', relation, '- - ball')
    assert is_well_posed(query, frame) is clear
    assert not clear or resolve(query, frame).answer == 'yes'


@pytest.mark.parametrize(
    ('extreme', 'second', 'clear'),
    [
        ('nearest', {'distance_m': 1.03}, False),
        ('nearest', {'distance_m': 1.05}, True),
        ('farthest', {'distance_m': 0.97}, False),
        ('farthest', {'distance_m': 0.95}, True),
        ('leftmost', {'x': 320.0}, False),
        ('leftmost', {'x': 330.0}, True),
        ('rightmost', {'x': 280.0}, False),
        ('rightmost', {'x': 270.0}, True),
    ],
)
def test_extremes_need_a_margin(extreme: str, second: dict[str, float], clear: bool) -> None:
    frame = make_frame(
        make_object(1, 'small red cube', x=300, distance_m=1.0),
        make_object(2, 'small blue ball', **{'x': 300, 'distance_m': 1.0, **second}),
    )
    found = resolve(find(Form.EXTREME, relation=extreme), frame)
    assert (found.target_ids, not found.problem) == ((1,) if clear else (), clear)


@pytest.mark.parametrize(('gap_m', 'clear'), [(0.12, False), (0.14, True)])
def test_next_to_needs_a_margin(gap_m: float, clear: bool) -> None:
    frame = make_frame(
        make_object(1, 'small red mug', at=(0.0, 0.0, 0.0)),
        make_object(2, 'small red ball', x=200, at=(0.1, 0.0, 0.0)),
        make_object(3, 'small blue ball', x=400, at=(0.0, gap_m, 0.0)),
    )
    found = resolve(find(Form.RELATION, '- - ball', 'next_to', '- - mug'), frame)
    assert (found.target_ids, not found.problem) == ((2,) if clear else (), clear)


def matching(query: Query, frame) -> set[int]:
    """Answer a location query the naive way: filter a table of words, then every pair."""
    rows = {o.id: o for o in frame.objects if o.is_target}
    words = {i: {o.size_name, o.colour, o.kind} for i, o in rows.items()}
    fits = {i for i in rows if words[i] >= set(query.noun) - {''}}
    if query.form in (Form.ONE, Form.ALL):
        return fits
    if query.form is Form.FUNCTION:
        return {i for i in rows if rows[i].kind in FUNCTIONS[query.function].kinds}
    anchors = [i for i in rows if words[i] >= set(query.anchor) - {''}]
    if query.form is Form.EXTREME or not anchors:
        return {
            i
            for i in fits
            if query.form is Form.EXTREME
            and all(
                key(query.relation, rows[i]) < key(query.relation, rows[j]) or i == j for j in fits
            )
        }
    return {
        i
        for i in fits - set(anchors)
        if key(query.relation, rows[i]) < key(query.relation, rows[anchors[0]])
    }


def key(relation: str, o) -> float:
    """The smaller, the more it is so."""
    x, size = o.box[0] + o.box[2], ('small', 'medium', 'large').index(o.size_name)
    return {
        'left': x,
        'right': -x,
        'front': o.distance_m,
        'behind': -o.distance_m,
        'nearest': o.distance_m,
        'farthest': -o.distance_m,
        'leftmost': x,
        'rightmost': -x,
        'largest': -size,
        'smallest': size,
    }[relation]


nouns = st.builds(
    Noun,
    st.sampled_from(('', 'small', 'large')),
    st.sampled_from(('', 'red', 'blue')),
    st.sampled_from(('', 'cube', 'mug', 'ball')),
)
locations = st.one_of(
    st.builds(Query, st.sampled_from((Form.ONE, Form.ALL)), st.just(FIND), nouns),
    st.builds(
        Query,
        st.sampled_from((Form.RELATION, Form.RELATION_ALL)),
        st.just(FIND),
        nouns,
        st.sampled_from(tuple(SIDES)),
        nouns,
    ),
    st.builds(
        Query,
        st.just(Form.EXTREME),
        st.just(FIND),
        nouns,
        st.sampled_from(('nearest', 'farthest', 'leftmost', 'rightmost', 'largest', 'smallest')),
    ),
    st.builds(
        Query, st.just(Form.FUNCTION), st.just(FIND), function=st.sampled_from(tuple(FUNCTIONS))
    ),
)


@settings(max_examples=300)
@given(frames(), locations)
def test_a_clear_location_agrees_with_the_naive_way(frame, query: Query) -> None:
    found = resolve(query, frame)
    if found.problem:
        assert found.target_ids == ()
        return
    assert set(found.target_ids) == matching(query, frame)
    centres = {o.id: o.box[0] + o.box[2] for o in frame.objects}
    assert list(found.target_ids) == sorted(found.target_ids, key=centres.__getitem__)


@settings(max_examples=200)
@given(frames(), locations)
def test_only_targets_are_named(frame, query: Query) -> None:
    visible = {o.id for o in frame.objects if o.is_target}
    found = resolve(query, frame)
    assert set(found.target_ids) | set(found.anchor_ids) <= visible
    assert not set(found.target_ids) & set(found.anchor_ids)


@given(frames())
def test_every_target_is_found_by_its_full_name(frame) -> None:
    for thing in frame.targets:
        full = Noun(thing.size_name, thing.colour, thing.kind)
        assert thing.id in resolve(Query(Form.ALL, FIND, full), frame).target_ids


def test_every_form_has_a_task() -> None:
    assert {*LOCATION_FORMS, *COUNT_FORMS, *VQA_FORMS} == set(Form)
    assert len(FUNCTIONS) >= 6
