"""The published reward on a table of responses, every value worked out by hand.

G is a box of 100 x 100 pixels (the published IoU counts the last pixel in), H one far from it.
Columns: response, truth, then thinking 0..1, answer format 0..2, accuracy 0..3, non-repetition
0..1.
"""
from __future__ import annotations

import json

import pytest

from vr_ros.training.rewards.reference import reference_reward

G, H = [100, 100, 199, 199], [400, 400, 499, 499]
PG, PH = [150, 150], [450, 450]


def thing(box, point=None, **more) -> dict:
    return {'bbox_2d': box, **({} if point is None else {'point_2d': point}), **more}


def moved(right: float, down: float = 0) -> list[float]:
    """G, moved by pixels."""
    return [100 + right, 100 + down, 199 + right, 199 + down]


ONE, TWO = [thing(G, PG)], [thing(G, PG), thing(H, PH)]


def said(*objects, think='Look.') -> str:
    return f'<think>{think}</think>\n<answer>{json.dumps(list(objects))}</answer>'


def raw(answer: str, think='Look.') -> str:
    return f'<think>{think}</think>\n<answer>{answer}</answer>'


BOXES = [
    (said(thing(G, PG)), ONE, 1, 2, 3, 1),                       # the very object
    (said(thing(moved(9), PG)), ONE, 1, 2, 3, 1),                # IoU 91/109, L1 4.5
    (said(thing(moved(19), PG)), ONE, 1, 2, 3, 1),               # L1 9.5
    (said(thing(moved(20), PG)), ONE, 1, 2, 2, 1),               # L1 10 is not below 10
    (said(thing(moved(33), PG)), ONE, 1, 2, 2, 1),               # IoU 67/133 = 0.504
    (said(thing(moved(34), PG)), ONE, 1, 2, 1, 1),               # IoU 66/134 = 0.493
    (said(thing(moved(51), PG)), ONE, 1, 2, 0, 1),               # its own box begins at 151
    (said(thing(moved(50), PG)), ONE, 1, 2, 1, 1),               # at 150: the edge is inside
    (said(thing([100, 100, 199, 149], PG)), ONE, 1, 2, 0, 1),    # half: 0.5 is not above 0.5
    (said(thing([100, 100, 199, 150], PG)), ONE, 1, 2, 2, 1),    # 0.51 with the last pixel
    (said(thing([100, 100, 200, 199], PG)), ONE, 1, 2, 3, 1),    # one pixel wider
    (said(thing([110, 110, 189, 189], PG)), ONE, 1, 2, 2, 1),    # IoU 0.64, L1 exactly 10
    (said(thing([110, 110, 189, 190], PG)), ONE, 1, 2, 3, 1),    # L1 9.75
    (said(thing([199, 199, 100, 100], PG)), ONE, 1, 2, 0, 1),    # corners swapped: nothing counts
    (said(thing([100.5, 100.5, 199.5, 199.5], [150.5, 150.5])), ONE, 1, 2, 3, 1),   # decimals
    (said(thing(G, PG, label='mug')), ONE, 1, 2, 3, 1),          # further keys do not matter
    (said(thing(H, PH)), ONE, 1, 2, 0, 1),                       # another place
    (said(thing([0, 0, 839, 839], PG)), ONE, 1, 2, 1, 1),        # everything: only the point
]
POINTS = [
    (said(thing(G, [179, 150])), ONE, 1, 2, 3, 1),               # 29 px
    (said(thing(G, [180, 150])), ONE, 1, 2, 2, 1),               # 30 px is not below 30
    (said(thing(G, [171, 171])), ONE, 1, 2, 3, 1),               # 29.7 px, and 42 by L1
    (said(thing(G, [172, 171])), ONE, 1, 2, 2, 1),               # 30.4 px
    (said(thing(G, [110, 110])), [thing(G, [95, 110])], 1, 2, 3, 1),   # the truth may be outside
    (said(thing(G, [95, 110])), [thing(G, [110, 110])], 1, 2, 2, 1),   # the answer may not
    (said(thing(G, [100, 100])), [thing(G, [100, 100])], 1, 2, 3, 1),  # a corner is inside
    (said(thing(moved(34), [134, 150])), ONE, 1, 2, 1, 1),       # 16 px, on the edge of its box
    (said(thing(H, PG)), ONE, 1, 2, 0, 1),                       # right, but not in its own box
]
SEVERAL = [
    (said(*TWO), TWO, 1, 2, 3, 1),
    (said(*TWO[::-1]), TWO, 1, 2, 3, 1),                         # the order does not matter
    (said(thing(G, PG)), TWO, 1, 2, 1.5, 1),                     # one missed: 3 / 2
    (said(*TWO), ONE, 1, 2, 1.5, 1),                             # one invented: 3 / 2
    (said(thing(G, PG), thing(G, PG)), ONE, 1, 2, 1.5, 1),       # twice the same
    (said(thing(G, PG), thing(G, PG)), TWO, 1, 2, 1.5, 1),       # one of them is H, badly
    (said(*TWO, *TWO), TWO, 1, 2, 1.5, 1),                       # 6 / 4
    (said(*ONE * 3), ONE, 1, 2, 1, 1),                           # 3 / 3
    (said(thing(moved(20), PG), thing(H, PH)), TWO, 1, 2, 2.5, 1),   # (2 + 3) / 2
    (said(thing(moved(34), PG), thing(H, [430, 430])), TWO, 1, 2, 2, 1),   # (1 + 3) / 2
    (said(thing(G, PH), thing(H, PG)), TWO, 1, 2, 2, 1),         # points swapped: outside
    (said(thing(moved(25), PG)), [thing(G, PG), thing(moved(50), [200, 150])],
     1, 2, 1, 1),                                                # IoU 0.6 with both; its point is
                                                                 # 50 px from the second: 2 / 2
    (said(thing(G, PG), thing(moved(20), PG)), [thing(moved(20), PG), thing(G, PG)],
     1, 2, 3, 1),                                                # matched, not in order: 6 / 2
    (said(*ONE * 121), ONE * 120, 1, 2, 3, 1),                   # the 121st is cut off
    (said(*ONE * 120, thing(G)), ONE * 120, 1, 2 - 1 / 121, 0, 1),   # but it needs a point
    (said(*ONE * 120), ONE * 130, 1, 2, 3, 1),                   # so are the true ones behind 120
]
EMPTY = [
    (raw('[]'), [], 1, 0, 0, 1),                                 # right, and worth 2 of 7
    (said(thing(G, PG)), [], 1, 2, 0, 1),                        # invented, and worth 4 of 7
    (raw('[]'), ONE, 1, 0, 0, 1),
    (raw('{}'), [], 1, 0, 0, 1),
    (raw(''), [], 1, 0, 0, 1),
    ('', [], 0, 0, 0, 1),
]
MALFORMED = [
    (said(thing(G)), ONE, 1, 1, 0, 1),                           # no point: all of it is lost
    (said(thing(G, PG), thing(H)), TWO, 1, 1.5, 0, 1),           # also for the whole one
    (said({'point_2d': PG}), ONE, 1, 1, 0, 1),                   # no box
    (said(thing(['a'] * 4, PG)), ONE, 1, 2, 0, 1),               # texts pass as a format
    (said(thing(G, ['a', 'b'])), ONE, 1, 2, 0, 1),
    (said(thing([None] * 4, [None] * 2)), ONE, 1, 2, 0, 1),
    (said(thing(G[:3], PG)), ONE, 1, 1, 0, 1),                   # three numbers
    (said(thing([*G, 5], PG)), ONE, 1, 1, 0, 1),                 # five
    (said(thing(G, [*PG, 1])), ONE, 1, 1, 0, 1),
    (said(thing(G, PG), thing(G[:3], PG)), TWO, 1, 1.5, 0, 1),   # ragged
    (said({'bbox': G, 'point': PG}), ONE, 1, 0, 0, 1),           # other keys
    (raw(json.dumps(ONE[0])), ONE, 1, 0, 0, 1),                  # an object, not a list
    (said(thing(G, PG), 5, thing(H, PH)), TWO, 1, 2 / 3, 0, 1),  # format ends at the 5
    (said(thing(G, PG), 'mug', thing(H, PH)), TWO, 1, 4 / 3, 0, 1),  # and goes on behind a text
    (said(thing(G, PG), 'bbox_2d'), ONE, 1, 1, 0, 1),            # a text that has the key in it
    (raw('5'), ONE, 1, 0, 0, 1),
    (raw('[{"bbox_2d": [100, 100, 199'), ONE, 1, 0, 0, 1),       # cut off
    (raw(f'```json\n{json.dumps(ONE)}\n```'), ONE, 1, 0, 0, 1),  # fenced
    (raw(str(ONE)), ONE, 1, 0, 0, 1),                            # single quotes
]
TAGS = [
    (f'<answer>{json.dumps(ONE)}</answer>', ONE, 0, 2, 3, 1),                 # no thinking
    (' ' + said(*ONE), ONE, 0, 2, 3, 1),                                      # a blank in front
    (said(*ONE) + '\n', ONE, 0, 2, 3, 1),                                     # a line break behind
    (said(*ONE).replace('\n', ' \t\n '), ONE, 1, 2, 3, 1),                    # blanks between
    (said(*ONE).replace('\n', ' so '), ONE, 0, 2, 3, 1),                      # words between
    (f'<think></think><answer>{json.dumps(ONE)}</answer>', ONE, 1, 2, 3, 1),  # empty thinking
    (said(*ONE, think='a</think>b<think>c'), ONE, 1, 2, 3, 1),                # tags in the thinking
    (f'<think>a</think><answer>[]</answer><answer>{json.dumps(ONE)}</answer>',
     ONE, 1, 0, 0, 1),                                                        # the first counts
    (f'<think>a</think><answer>{json.dumps(ONE)}', ONE, 0, 0, 0, 1),          # never closed
    (json.dumps(ONE), ONE, 0, 0, 0, 1),                                       # no tags
    ('<THINK>a</THINK><ANSWER>[]</ANSWER>', ONE, 0, 0, 0, 1),                 # case matters
]
REPEATS = [
    (said(*ONE, think='A. B. C.'), ONE, 1, 2, 3, 1),
    (said(*ONE, think='x. A. A. b'), ONE, 1, 2, 3, 1),           # one repetition is allowed
    (said(*ONE, think='x. A. A. A. b'), ONE, 1, 2, 3, 0),        # two are not
    (said(*ONE, think='x. A. B. A. B. c'), ONE, 1, 2, 3, 0),     # also of different sentences
    (said(*ONE, think='x. A. a. A! b'), ONE, 1, 2, 3, 1),        # case and marks make a difference
    (said(*ONE, think='A. A. A. A'), ONE, 1, 2, 3, 1),           # the tag belongs to the first
                                                                 # and the answer to the last
    (said(*ONE, think='At 1.5 and 2.5 and 2.5 m'), ONE, 1, 2, 3, 1),   # '5 and 2' twice
    (said(*ONE, think='At 2.5 and 2.5 and 2.5 and 2.5 m'), ONE, 1, 2, 3, 0),   # three times
    ('A. A. A.', ONE, 0, 0, 0, 0),
    ('. . . . .', ONE, 0, 0, 0, 1),                              # empty ones do not count
]
TABLE = BOXES + POINTS + SEVERAL + EMPTY + MALFORMED + TAGS + REPEATS


@pytest.mark.parametrize(('response', 'truth', 'think', 'form', 'accuracy', 'repetition'), TABLE)
def test_reference(response, truth, think, form, accuracy, repetition) -> None:
    reward = reference_reward(response, json.dumps(truth))
    assert reward.think_format == think
    assert reward.answer_format == pytest.approx(form, abs=1e-12)
    assert reward.accuracy == pytest.approx(accuracy, abs=1e-12)
    assert reward.non_repetition == repetition
    assert reward.total == pytest.approx(think + form + accuracy + repetition, abs=1e-12)


def test_the_table_is_as_long_as_promised() -> None:
    assert len(TABLE) >= 60
