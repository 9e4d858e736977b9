"""Properties of the answer parser that hold for every text, however hostile."""
from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from vr_ros.core.answer import AnswerParser, ParseOutcome, ParserLimits, parse_answer

NUMBERS = st.integers(-50, 900) | st.floats(-1e3, 1e3, allow_nan=False).map(lambda v: round(v, 2))
LABELS = (
    st.text(st.characters(exclude_categories=('Cs', 'Cc')), max_size=12)
    | st.text('“”‘’"\'`,:;[]{}()\\ ab<1', max_size=12)).map(str.strip)

FRAGMENTS = st.sampled_from([
    '<think>', '</think>', '<answer>', '</answer>', '<', '</', '<thi', '<ans', '>', '<|im_end|>',
    '[', ']', '{', '}', '(', ')', '[[', ']]', '[{', '}]', '},', '},{', ',', ':', ';', ' ', '\n',
    '`', '```json\n', '"', "'", '“', '”', '\\', '\\"', '\\u00e9', '\\ud800', '""', '": ', "': ",
    '"bbox_2d"', '"point_2d"', '"label"', "'bbox'", 'bbox_2d', 'bbox_2d:', '"bbox_2d: [',
    'points', 'points_1', 'label:',
    '"bbox_2d": [', '"bbox_2d": [1,2,3,4]', '"point_2d": [5,6]', '"label": "red cup"', '[1,2,3,4]',
    '(4, 3, 2, 1)',
    '{"bbox_2d": [1,2,3,4], "point_2d": [2,3]}', '{"bbox_2d": [9,8,7,6]}',
    "{'bbox': (5, 6, 7, 8),}",
    '0', '7', '42', '-3', '1.5', '1e400', '1e38', 'NaN', '-Infinity', 'null', 'None', '...', 'it',
    "dog's", 'json', 'é', '🍎', '\ud800', '\x00', '\u2028',
])
HOSTILE = st.lists(FRAGMENTS | st.text(max_size=3), max_size=40).map(''.join)
OBJECTS = st.lists(
    st.fixed_dictionaries(
        {'bbox_2d': st.lists(NUMBERS, min_size=4, max_size=4)},
        optional={'point_2d': st.lists(NUMBERS, min_size=2, max_size=2), 'label': LABELS}),
    max_size=6)


def cut(text: str, places: list[float]) -> list[str]:
    ends = sorted(int(place * len(text)) for place in places)
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]


def expected(objects: list[dict]) -> list[tuple]:
    """Read objects in the plainest way, for comparison."""
    found = []
    for item in objects:
        x0, y0, x1, y1 = map(float, item['bbox_2d'])
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        has_point = 'point_2d' in item
        centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        point = tuple(map(float, item['point_2d'])) if has_point else centre
        if (box, point) not in [(b, p) for b, p, _, _ in found]:
            found.append((box, point, has_point, item.get('label', '')))
    return found


@settings(max_examples=600, deadline=None)
@given(HOSTILE, st.lists(st.floats(0, 1), max_size=12))
def test_chunking_never_matters(text: str, places: list[float]) -> None:
    whole = parse_answer(text)
    parser = AnswerParser()
    deltas = [parser.feed(chunk) for chunk in cut(text, places)]
    assert parser.finish() == whole
    objects = tuple(found for delta in deltas for found in delta.objects)
    assert objects == whole.objects[:len(objects)]
    assert whole.reasoning.startswith(''.join(delta.reasoning for delta in deltas))


@settings(max_examples=200, deadline=None)
@given(HOSTILE)
def test_deltas_do_not_depend_on_chunking(text: str) -> None:
    by_char, at_once = AnswerParser(), AnswerParser()
    deltas = [by_char.feed(char) for char in text]
    whole = at_once.feed(text)
    assert ''.join(delta.reasoning for delta in deltas) == whole.reasoning
    assert tuple(found for delta in deltas for found in delta.objects) == whole.objects


@settings(max_examples=600, deadline=None)
@given(HOSTILE | st.text(max_size=200))
def test_every_result_is_sound(text: str) -> None:
    answer = parse_answer(text, ParserLimits(max_objects=3))
    assert len(answer.objects) <= 3
    assert (answer.outcome in (ParseOutcome.OBJECTS, ParseOutcome.PARTIAL)) == bool(answer.objects)
    identities = {(found.box, found.point) for found in answer.objects}
    assert len(identities) == len(answer.objects)
    ends = 0
    for found in answer.objects:
        x0, y0, x1, y1 = found.box
        assert x0 <= x1 and y0 <= y1
        assert all(abs(value) <= 3.4e38 for value in (*found.box, *found.point))
        assert 0 <= found.span[0] < found.span[1] <= len(text)
        assert found.span[1] >= ends
        ends = found.span[1]
        found.label.encode()


@settings(max_examples=300, deadline=None)
@given(OBJECTS, st.sampled_from([None, 1]), st.booleans(), st.booleans(), st.booleans())
def test_proper_json_is_read_as_a_json_parser_reads_it(
        objects: list[dict], indent: int | None, ascii_only: bool, tags: bool,
        python: bool) -> None:
    text = repr(objects) if python else json.dumps(objects, indent=indent,
                                                      ensure_ascii=ascii_only)
    raw = f'<think>so</think><answer>{text}</answer>' if tags else text
    answer = parse_answer(raw)
    found = [(o.box, o.point, o.has_point, o.label) for o in answer.objects]
    assert found == expected(objects)
    assert answer.outcome is (ParseOutcome.OBJECTS if objects else ParseOutcome.EMPTY)
    for item in answer.objects:
        inside = raw[slice(*item.span)]
        assert inside.startswith('{') and inside.endswith('}')


@settings(max_examples=300, deadline=None)
@given(OBJECTS.filter(bool), st.floats(0, 1, exclude_max=True))
def test_a_cut_loses_only_what_it_cuts(objects: list[dict], place: float) -> None:
    text = '<answer>' + json.dumps(objects)
    kept = text[:len('<answer>') + int(place * (len(text) - len('<answer>')))]
    whole, part = parse_answer(text).objects, parse_answer(kept)
    closed = [found for found in whole if found.span[1] <= len(kept)]
    assert list(part.objects[:len(closed)]) == closed
    assert len(part.objects) <= len(closed) + 1
    assert part.outcome in (ParseOutcome.PARTIAL, ParseOutcome.UNREADABLE)
    later = [found.box for found in whole[len(closed):]]
    assert all(found.box in later or found.box in [c.box for c in closed]
               for found in part.objects[len(closed):])


@settings(max_examples=300, deadline=None)
@given(HOSTILE, HOSTILE)
def test_work_is_linear_in_the_text(unit: str, start: str) -> None:
    parser = AnswerParser()
    parser.feed(start + unit * 50)
    parser.finish()
    assert parser.steps <= 4 * len(start + unit * 50)
