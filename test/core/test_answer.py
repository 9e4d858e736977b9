"""Tests of the answer parser: a row for each way in which models write, or break, an answer."""
from __future__ import annotations

import pytest

from vr_ros.core.answer import AnswerParser, ParseOutcome, ParserDelta, ParserLimits, parse_answer
from vr_ros.core.types import ParsedObject

OBJECTS, EMPTY, PARTIAL, TEXT, UNREADABLE = ParseOutcome

# Objects as (box, point or None, label); A and B are written in many ways below.
A = ((10, 100, 200, 210), (30, 110), '')
B = ((225, 296, 706, 786), (302, 410), '')
A_BOX = (A[0], None, '')
B_BOX = (B[0], None, '')
A_JSON = '{"bbox_2d": [10,100,200,210], "point_2d": [30,110]}'
B_JSON = '{"bbox_2d": [225,296,706,786], "point_2d": [302,410]}'


def seen(objects: tuple[ParsedObject, ...]) -> list[tuple]:
    return [(o.box, o.point if o.has_point else None, o.label) for o in objects]


def in_answer(text: str) -> str:
    return f'<think>because</think><answer>{text}</answer>'


CLEAN = [
    (f'[{A_JSON}, {B_JSON}]', [A, B]),
    (f'[{A_JSON}]', [A]),
    (f'\n[\n  {A_JSON},\n  {B_JSON}\n]\n', [A, B]),
    ('[{"bbox_2d":[10,100,200,210],"point_2d":[30,110]}]', [A]),                    # no blanks
    ('[{"point_2d": [30,110], "bbox_2d": [10,100,200,210]}]', [A]),                 # other order
    (A_JSON, [A]),                                                                  # no list
    (f'{A_JSON}, {B_JSON}', [A, B]),
    (f'{A_JSON}\n{B_JSON}', [A, B]),                                                # one per line
    (f'{{"objects": [{A_JSON}, {B_JSON}]}}', [A, B]),                               # wrapped
    (f'[[{A_JSON}], [{B_JSON}]]', [A, B]),
    (f'[{{{A_JSON}}}]', [A]),                                                       # format's {{…}}
    ('[{"bbox_2d": [200,210,10,100], "point_2d": [30,110]}]', [A]),  # corners swapped
    ('[{"bbox_2d": [200,100,10,210], "point_2d": [30,110]}]', [A]),                 # x swapped only
    ('[{"bbox_2d": [10,100,200,210]}]', [A_BOX]),                                   # no point
    ('[{"bbox_2d": [10,100,200,210], "point_2d": null}]', [A_BOX]),
    ('[{"bbox_2d": [10,100,200,210], "point_2d": None}]', [A_BOX]),
    ('[{"bbox_2d": [10,100,200,210], "point_2d": []}]', [A_BOX]),
    ('[{"bbox_2d": [1.5, 2.25, 3e1, .5], "point_2d": [2., +3]}]',
     [((1.5, .5, 30, 2.25), (2, 3), '')]),
    ('[{"bbox_2d": [-5, -1, 2000, 1e5], "point_2d": [-2, 0]}]',
     [((-5, -1, 2000, 1e5), (-2, 0), '')]),
    ('[{"bbox_2d": ["10","100","200","210"], "point_2d": ["30","110"]}]', [A]),     # in strings
    ('[{"bbox_2d": "10, 100, 200, 210", "point_2d": "[30, 110]"}]', [A]),
    ('[{"bbox_2d": [10 100 200 210], "point_2d": [30 110]}]', [A]),                 # no commas
    ('[{"bbox_2d": [10,100,200,210,], "point_2d": [30,110],},]', [A]),  # trailing commas
    ("[{'bbox_2d': [10,100,200,210], 'point_2d': [30,110]}]", [A]),                 # single quotes
    ('[{“bbox_2d”: [10,100,200,210], “point_2d”: [30,110]}]', [A]),                 # typographic
    ('[{bbox_2d: [10,100,200,210], point_2d: [30,110]}]', [A]),                     # no quotes
    ('[{"bbox_2d": (10,100,200,210), "point_2d": (30,110)}]', [A]),                 # tuples
    ('({"bbox_2d": (10,100,200,210), "point_2d": (30,110)},)', [A]),
    ('[{"bbox_2d": [[10,100],[200,210]], "point_2d": [[30,110]]}]', [A]),  # pairs of numbers
    ('[{"bbox_2d" [10,100,200,210], "point_2d" [30,110]}]', [A]),                   # no colons
    ('[{"bbox_2d: [10,100,200,210], "point_2d": [30,110]}]', [A]),  # a quote missing
    ('[{\\"bbox_2d\\": [10,100,200,210], \\"point_2d\\": [30,110]}]', [A]),         # escaped twice
    ('[{"BBOX_2D": [10,100,200,210], "Point_2d": [30,110]}]', [A]),
    ('[{"bbox": [10,100,200,210], "point": [30,110]}]', [A]),
    ('[{"box_2d": [10,100,200,210], "points": [[30,110],[35,180]]}]', [A]),  # first of points
    ('[{"bbox_2d": [10,100,200,210], "point_2d": [30,110], "point": [1,2]}]', [A]),  # the first
    ("{'bbox': [10,100,200,210], 'points_1': [30,110], 'points_2': [35,180]}", [A]),    # Seg-Zero
    ('[{"bbox_2d": [10,100,200,210], "label": "red cup"}]', [(A[0], None, 'red cup')]),
    ('[{"bbox_2d": [10,100,200,210], "label": "19\\" \\u0022tv\\u0022"}]',
     [(A[0], None, '19" "tv"')]),
    ('[{"bbox_2d": [10,100,200,210], "label": "the "red" one"}]', [(A[0], None, 'the "red" one')]),
    ("[{'label': 'the man's hat', 'bbox_2d': [10,100,200,210]}]", [(A[0], None, "the man's hat")]),
    ("[{'label': 'dogs' bowl', 'bbox_2d': [10,100,200,210]}]", [(A[0], None, "dogs' bowl")]),
    ('[{"label": "[1,2,3,4] {x: 1}, ok", "bbox_2d": [10,100,200,210]}]',  # brackets in text
     [(A[0], None, '[1,2,3,4] {x: 1}, ok')]),
    ('[{"label": red cup, "bbox_2d": [10,100,200,210]}]', [(A[0], None, 'red cup')]),
    ('[{"label": red, 7, "bbox_2d": [10,100,200,210]}]', [(A[0], None, 'red')]),
    ('[{"label": "size: [big] ok", "bbox_2d": [10,100,200,210]}]',
     [(A[0], None, 'size: [big] ok')]),
    (f'[{{"bbox_2d": [10,100,200,210], "label": "cup\n}}, {B_JSON}]', [(A[0], None, 'cup'), B]),
    ('[{\\"bbox_2d\\": [10,100,200,210], \\"label\\": \\"cup\\"}, [225,296,706,786]]',
     [(A[0], None, 'cup'), B_BOX]),
    ('[{"label": null, "bbox_2d": [10,100,200,210]}]', [A_BOX]),
    ('[{"label": "", "bbox_2d": [10,100,200,210]}]', [A_BOX]),
    ('[{"label": "杯子 ☕ \\ud83c\\udf4e", "bbox_2d": [10,100,200,210]}]',
     [(A[0], None, '杯子 ☕ 🍎')]),
    ('[{"label": "a\\ud83c\\u0000b", "bbox_2d": [10,100,200,210]}]', [(A[0], None, 'a\ufffd b')]),
    ('[{"label": "cup" "bbox_2d": [10,100,200,210]}]', [(A[0], None, 'cup')]),      # comma missing
    ('[{"score": 0.9, "tags": ["x", [1,2,3,4]], "bbox_2d": [10,100,200,210]}]', [A_BOX]),  # others
    ('[[10,100,200,210], [225,296,706,786]]', [A_BOX, B_BOX]),                      # bare lists
    ('[10,100,200,210]', [A_BOX]),
    ('[10,100,200,210], [225,296,706,786]', [A_BOX, B_BOX]),
    ('[(10,100,200,210), (225,296,706,786)]', [A_BOX, B_BOX]),
    ('(10,100,200,210)', [A_BOX]),
    ('[["10","100","200","210"]]', [A_BOX]),
    ('"bbox_2d": [10,100,200,210], "point_2d": [30,110]', [A]),                     # no brackets
    (f'```json\n[{A_JSON}]\n```', [A]),                                             # fences
    (f'```\n[{A_JSON}]\n```', [A]),
    (f'`[{A_JSON}]`', [A]),
    (f'Here they are: [{A_JSON}]. Good luck!', [A]),                                # prose around
    (f"The dog's bowl (left) is \"here\": [{A_JSON}]", [A]),
    (f'Bounding box: [{A_JSON}]', [A]),
    (f'The cups (the left one here): [{A_JSON}]', [A]),
    ('One cup (bbox_2d: [10,100,200,210]).', [A_BOX]),
    ('Label: [10,100,200,210]', [A_BOX]),
    ('The bbox is [10, 100, 200, 210].', [A_BOX]),
    (f'[{A_JSON}]]}}', [A]),  # too many closed
    ('[{"bbox_2d": [0,0,0,0], "point_2d": [0,0]}]', [((0, 0, 0, 0), (0, 0), '')]),  # no area
    ('[{"bbox_2d": [1e30,0,3e38,1], "point_2d": [2e30,1]}]', [((1e30, 0, 3e38, 1), (2e30, 1), '')]),
]

SALVAGED = [
    (f'[{A_JSON}, {{"bbox_2d": [225,296,NaN,786], "point_2d": [302,410]}}]', [A]),  # no number
    (f'[{A_JSON}, {{"bbox_2d": [225,296,Infinity,786]}}]', [A]),
    (f'[{A_JSON}, {{"bbox_2d": [225,296,-Infinity,786]}}]', [A]),
    (f'[{A_JSON}, {{"bbox_2d": [225,296,1e999,786]}}]', [A]),
    (f'[{A_JSON}, {{"bbox_2d": [225,296,1e39,786]}}]', [A]),                        # beyond float32
    (f'[{A_JSON}, {{"bbox_2d": [225,296,{"9" * 5000},786]}}]', [A]),
    ('[{"bbox_2d": [10,100,200,210], "point_2d": [NaN,110]}]', [A_BOX]),            # only the point
    ('[{"bbox_2d": [10,100,200,210], "point_2d": [30,inf]}]', [A_BOX]),
    ('[{"bbox_2d": [10,100,200,210], "point_2d": [30]}]', [A_BOX]),
    ('[{"bbox_2d": [10,100,200,210], "point_2d": [30,110,7]}]', [A_BOX]),
    ('[{"bbox_2d": [10,100,200,210], "point_2d": "centre"}]', [A_BOX]),
    (f'[{A_JSON}, {{"bbox_2d": [225,296,706], "point_2d": [302,410]}}]', [A]),      # three numbers
    (f'[{A_JSON}, {{"bbox_2d": [225,296,706,786,1]}}]', [A]),                       # five
    (f'[{A_JSON}, {{"bbox_2d": [225,296,70 6x,786]}}]', [A]),
    (f'[{A_JSON}, {{"bbox_2d": [１,２,３,４]}}]', [A]),                               # not ASCII
    (f'[{A_JSON}, {{"bbox_2d": [1_0,2,3,4]}}]', [A]),
    (f'[{A_JSON}, {{"bbox_2d": null}}]', [A]),
    (f'[{A_JSON}, {{"bbox_2d": {{"x1": 1, "y1": 2}}}}]', [A]),
    (f'[{{"point_2d": [302,410]}}, {A_JSON}]', [A]),  # a point is no object
    (f'[{{"label": "cup"}}, {A_JSON}]', [A]),
    (f'[{{}}, {A_JSON}]', [A]),
    (f'[{A_JSON}, ...]', [A]),                                                      # left out
    (f'[{A_JSON}, null]', [A]),
    (f'[{A_JSON}, [1,2,3]]', [A]),
    ('[10,100,200,210], [1,2,3,NaN]', [A_BOX]),
    (f'[{A_JSON}, {B_JSON}', [A, B]),                                               # cut off
    (f'[{A_JSON}, ', [A]),
    (f'[{A_JSON}, {{', [A]),
    (f'[{A_JSON}, {{"bb', [A]),
    (f'[{A_JSON}, {{"bbox_2d": [225,296,706,78', [A]),  # a digit missing?
    (f'[{A_JSON}, {{"bbox_2d": [225,296,706,786], "point_2d": [302,41', [A, B_BOX]),  # box is whole
    (f'[{A_JSON}, {{"bbox_2d": [225,296,706,786], "point_2d": [302,410]', [A, B]),
    (f'[{A_JSON}, {{"bbox_2d": [225,296,706,786], "label": "cu', [A, B_BOX]),
    ('[[10,100,200,210], [225,296,706,78', [A_BOX]),
    (f'[{A_JSON[:-1]}, {B_JSON}]', [A, B]),                                         # } missing
    (f'[{A_JSON}, {B_JSON[:-1]}]', [A, B]),
    ('[{"bbox_2d": [10,100,200,210, "point_2d": [30,110]}]', [A]),                  # ] missing
    ('[{"bbox_2d": [10,100,200,210], "point_2d": [30,110}]', [A]),
    ('[{"bbox_2d": [10,100,200,210}, {"bbox_2d": [225,296,706,786]}]', [A_BOX, B_BOX]),
    (f'[{{"bbox_2d": [10,100,200,210, {B_JSON}]', [A_BOX, B]),                      # ]} missing
    ('[{"bbox_2d": 10,100,200,210], "point_2d": [30,110]}]', [A]),                  # [ missing
    ('[{"label": "cup, "bbox_2d": [10,100,200,210]}]', [A_BOX]),
    ('["bbox_2d": [10,100,200,210], "point_2d": [30,110]]', [A]),                   # {} missing
    ('[{"bbox_2d": [10,100,200,210], [30,110]}]', [A_BOX]),                         # key missing
    ('[[10,100,200,210}, [225,296,706,786]]', [A_BOX, B_BOX]),                      # wrong bracket
    (f'[{A_JSON[:-1]}, {B_JSON[1:]}]', [A, B]),                                     # two in one
    (f'[{A_JSON}, {"[" * 1000}1{"]" * 1000}]', [A]),                                # too deep
    (f'{"[" * 100_000}{A_JSON}', []),
]

NOTHING = [
    ('[]', EMPTY),
    (' [ ] ', EMPTY),
    ('[[]]', EMPTY),
    ('{"objects": []}', EMPTY),
    ('```json\n[]\n```', EMPTY),
    ('There is none: []', EMPTY),
    ('red', TEXT),
    ('It is 3 < 5 and 7 > 2.', TEXT),
    ('The sign [left] says {exit} (twice): "open".', TEXT),
    ('See [1] and [2, 3].', TEXT),
    ('The point: (a) the box is red.', TEXT),
    ('None', TEXT),
    ('10, 20, 30, 40', TEXT),
    ('', UNREADABLE),
    (' \n ', UNREADABLE),
    ('[', UNREADABLE),
    ('{}', UNREADABLE),
    ('[{}]', UNREADABLE),
    ('[null]', UNREADABLE),
    ('```json\n[null]\n```', UNREADABLE),
    ('[{"bbox_2d": []}]', UNREADABLE),
    ('["red", "blue"]', UNREADABLE),
    ('[1, 2, 3]', UNREADABLE),
    ('[{"point_2d": [1, 2]}]', UNREADABLE),
    ('[{"bbox_2d": [1, 2, 3', UNREADABLE),
    ('[{"bbox_2d": [1, 2, 3, NaN]}]', UNREADABLE),
    ('{"objects": [], "count": 2}', UNREADABLE),                 # contradicts itself
    ('{"boxes": [[1, 2, 3, 4]]}', UNREADABLE),
    ('The box is "bbox_2d": [1, 2', UNREADABLE),
    ('(' * 100_000, TEXT),
    ('[' * 100_000, UNREADABLE),
    (']' * 1000 + '}' * 1000, TEXT),
]


@pytest.mark.parametrize(('text', 'expected'), CLEAN)
def test_readable_lists(text: str, expected: list) -> None:
    answer = parse_answer(in_answer(text))
    assert seen(answer.objects) == expected
    assert answer.outcome is OBJECTS
    assert answer.answer_text == text.strip()
    assert answer.closed


@pytest.mark.parametrize(('text', 'expected'), CLEAN)
def test_readable_lists_without_tags(text: str, expected: list) -> None:
    answer = parse_answer(text)
    assert seen(answer.objects) == expected
    assert (answer.outcome, answer.reasoning, answer.closed) == (OBJECTS, '', False)


@pytest.mark.parametrize(('text', 'expected'), SALVAGED)
def test_half_broken_lists(text: str, expected: list) -> None:
    answer = parse_answer(f'<answer>{text}')
    assert seen(answer.objects) == expected
    assert answer.outcome is (PARTIAL if expected else UNREADABLE)


@pytest.mark.parametrize(('text', 'outcome'), NOTHING)
def test_answers_without_objects(text: str, outcome: ParseOutcome) -> None:
    for raw in (text, in_answer(text)):
        answer = parse_answer(raw)
        assert (answer.objects, answer.outcome) == ((), outcome)
        assert answer.answer_text == text.strip()


@pytest.mark.parametrize(('raw', 'reasoning', 'answer_text'), [
    ('<think>why</think><answer>red</answer>', 'why', 'red'),
    ('<think> why\n so </think>\n<answer> red </answer>', 'why\n so', 'red'),
    ('why<answer>red</answer>', 'why', 'red'),                          # no think tags
    ('why</think><answer>red</answer>', 'why', 'red'),                  # opened by the prompt
    ('<think>why<answer>red</answer>', 'why', 'red'),                   # never closed
    ('<think>why</think>red', 'why', 'red'),                            # no answer tags
    ('Sure! <think>why</think> so: <answer>red</answer>', 'Sure!\nwhy\nso:', 'red'),
    ('<think>a < b, <b>c</b>, <|x|> and a<think</think><answer>d</answer>',
     'a < b, <b>c</b>, <|x|> and a<think', 'd'),
    ('<THINK>why</Think><Answer>red</ANSWER>', 'why', 'red'),
    ('<think><think>why</think></think><answer><answer>red</answer></answer>', 'why', 'red'),
    ('<think>a</think><think>b</think><answer>red</answer>', 'a\nb', 'red'),
    ('<answer><think>why</think>red</answer>', 'why', 'red'),           # inside out
    ('<think>I use <answer> </answer> tags</think><answer>red</answer>', 'I use\ntags', 'red'),
    ('<think>I use <answer> so</think><answer>red</answer>', 'I use\nso', 'red'),
    ('[I look] a cup<answer>red</answer>', '[I look] a cup', 'red'),    # looked like a list
    ('[I look] a cup</think><answer>red</answer>', '[I look] a cup', 'red'),
    ('<answer>red</answer> and <answer>blue</answer><think>x</think>', '', 'red'),
    ('red</answer>blue', '', 'red'),                                    # opened by the prompt
    ('<think>why', 'why', ''),                                          # cut off in thought
    ('<think>why</thi', 'why', ''),                                     # … and inside a tag
    ('<think>why</think><answer>red</answe', 'why', 'red'),
    ('<think>why</think><ans', 'why', ''),
    ('a <', '', 'a <'),
    ('<', '', '<'),
    ('<think></think><answer></answer>', '', ''),
    ('</think></answer></think>red', '', 'red'),
])
def test_reasoning_and_answer(raw: str, reasoning: str, answer_text: str) -> None:
    answer = parse_answer(raw)
    assert (answer.reasoning, answer.answer_text) == (reasoning, answer_text)
    assert answer.outcome is (TEXT if answer_text else UNREADABLE)


@pytest.mark.parametrize(('raw', 'expected', 'outcome'), [
    (f'<think>not {A_JSON}</think><answer>[{B_JSON}]</answer>', [B], OBJECTS),  # only thought
    (f'I see {A_JSON}, so <answer>[{B_JSON}]</answer>', [B], OBJECTS),
    (f'<answer>[{A_JSON}]</answer>[{B_JSON}]', [A], OBJECTS),                    # after the end
    (f'<answer>[{A_JSON}</answer>, {B_JSON}]', [A], PARTIAL),
    (f'<think>why</think>[{A_JSON}]', [A], OBJECTS),
    (f'<think>why</think>\nAnswer: [{A_JSON}]', [A], OBJECTS),
    (f'<think>why[{A_JSON}]', [], UNREADABLE),                                   # never answered
    (f'<think><answer>[{A_JSON}]</answer></think>', [A], OBJECTS),
    (f'<answer>[{A_JSON}, <think>next</think>{B_JSON}]</answer>', [A, B], OBJECTS),
    (f'[{A_JSON}]<answer>[{B_JSON}]</answer>', [A, B], OBJECTS),                 # the first was out
    (f'[{A_JSON}]</think><answer>[{B_JSON}]</answer>', [A, B], OBJECTS),
    ('[]<answer>[]</answer>', [], EMPTY),
    ('<think>why<answer>[]</think>', [], EMPTY),
])
def test_where_objects_count(raw: str, expected: list, outcome: ParseOutcome) -> None:
    answer = parse_answer(raw)
    assert seen(answer.objects) == expected
    assert answer.outcome is outcome


def test_missing_point_is_the_box_centre() -> None:
    (found,) = parse_answer('[{"bbox_2d": [10, 20, 31, 40]}]').objects
    assert (found.point, found.has_point) == ((20.5, 30.0), False)


def test_duplicates_are_dropped_and_counted() -> None:
    near = A_JSON.replace('110]', '111]')
    answer = parse_answer(f'[{A_JSON}, {B_JSON}, {A_JSON}, {near}, {A_JSON}]')
    assert seen(answer.objects) == [A, B, (A[0], (30, 111), '')]
    assert (answer.outcome, answer.duplicates) == (OBJECTS, 2)


@pytest.mark.parametrize(('written', 'reached'), [(4, False), (5, False), (6, True), (50, True)])
def test_limit_of_objects(written: int, reached: bool) -> None:
    text = str([[i, 0, i + 1, 1] for i in range(written)] + [[0, 0, 1, 1]])   # and one duplicate
    answer = parse_answer(text, ParserLimits(max_objects=5))
    assert [o.box[0] for o in answer.objects] == list(range(min(written, 5)))
    assert (answer.limit_reached, answer.outcome) == (reached, OBJECTS)


def test_limit_of_label_length() -> None:
    raw = f'[{{"label": "{"é" * 1000}", "bbox_2d": [1,2,3,4]}}]'
    assert parse_answer(raw, ParserLimits(max_label_chars=7)).objects[0].label == 'é' * 7


def test_ten_thousand_objects() -> None:
    boxes = [((i % 800, i // 800, i % 800 + 9, i // 800 + 7), (i % 800 + 1, i // 800 + 2), '')
             for i in range(10_000)]
    raw = in_answer(str([{'bbox_2d': [*box], 'point_2d': [*point]} for box, point, _ in boxes]))
    answer = parse_answer(raw, ParserLimits(max_objects=20_000))
    assert seen(answer.objects) == boxes
    assert (answer.outcome, len(parse_answer(raw).objects)) == (OBJECTS, 300)


def test_objects_come_with_their_closing_brace() -> None:
    parser = AnswerParser()
    assert parser.feed('<think>a cup </think>').reasoning == 'a cup'
    assert parser.feed(f'<answer>[{A_JSON[:-1]}') == ParserDelta()
    assert seen(parser.feed('}').objects) == [A]
    assert seen(parser.feed(f', {B_JSON}]').objects) == [B]
    assert not parser.done
    assert parser.feed('</answer>') == ParserDelta()
    assert parser.done
    assert parser.feed(A_JSON) == ParserDelta()
    assert seen(parser.finish().objects) == [A, B]
    assert parser.finish() is parser.finish()


def test_objects_come_without_tags_too() -> None:
    parser = AnswerParser()
    assert seen(parser.feed(f'```json\n[{A_JSON},').objects) == [A]


def test_reasoning_is_never_taken_back() -> None:
    parser = AnswerParser()
    chunks = ('<th', 'ink> a', ' ', 'b <', '/', 'x', ' </think>')
    assert [parser.feed(c).reasoning for c in chunks] == ['', 'a', '', ' b', '', ' </x', '']
    assert parser.finish().reasoning == 'a b </x'


@pytest.mark.parametrize(('raw', 'expected'), [
    (in_answer(f'[{A_JSON}, {B_JSON}]'), [A_JSON, B_JSON]),
    (f'é☕🍎 so: [{A_JSON}]', [A_JSON]),
    ('<answer>[[1,2,3,4], (5,6,7,8)]', ['[1,2,3,4]', '(5,6,7,8)']),
    (f'<answer>[{A_JSON}, {B_JSON[:-4]}', [A_JSON, B_JSON[:-4]]),               # up to the cut
    ('x "bbox_2d": [1,2,3,4] y', ['bbox_2d": [1,2,3,4] y']),
])
def test_span_is_where_the_object_stands(raw: str, expected: list[str]) -> None:
    assert [raw[slice(*o.span)] for o in parse_answer(raw).objects] == expected


@pytest.mark.parametrize('unit', [
    'x', '<', '<think', '<think>', '</think>', '<answer>', '[', ']', '{', '}', '(', '"', "'", '\\',
    ':', ',', ' ', '1', '[1,2,3,4],', A_JSON, '{"bbox_2d":', '"label":', '"bbox_2d: [', '[{', '[}',
    '{]', '[<answer>', '{"label": "x" ', "'a' ", '"a: [', '[[{', '<answer></think>',
    '<think><answer>x</think>', 'a"b\'c ',
])
@pytest.mark.parametrize('start', [
    '', '<think>', '<answer>', '<answer>[{"bbox_2d": [', '[{"label": "'])
def test_work_is_linear_in_the_text(start: str, unit: str) -> None:
    def steps(repeats: int) -> int:
        parser = AnswerParser()
        parser.feed(start + unit * repeats)
        parser.finish()
        return parser.steps

    few, many = steps(100), steps(400)
    length = 300 * len(unit)
    assert many - few <= 4 * length
