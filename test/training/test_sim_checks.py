"""Questions about one box: their answers, against boxes and targets compared another way."""
from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / 'sim'))
from factories import make_frame, make_object  # noqa: E402

from vr_ros.core.types import Size, Task  # noqa: E402
from vr_ros.sim.instructions import SimInstruction, answer_key  # noqa: E402
from vr_ros.training.sim_checks import RIGHT_IOU, WRONG_IOU, Check, draw_check  # noqa: E402
from vr_ros.training.sim_targets import model_objects  # noqa: E402

SIZE = Size(168, 168)
FRAME = make_frame(
    make_object(1, 'small red cube', 100, 100),
    make_object(2, 'large blue ball', 500, 120, extent=80),
    make_object(4, 'medium green cone', 330, 380),
)
BOXES = {o.truth.id: o.box for o in model_objects(FRAME.targets, FRAME.size, SIZE)}
NAMES = {1: 'small red cube', 2: 'large blue ball', 4: 'medium green cone'}


def key(text: str) -> SimInstruction:
    found = answer_key(text, FRAME)
    assert found is not None
    return found


def draws(text: str, number: int = 300) -> list[Check]:
    rng = np.random.default_rng(5)
    found = [draw_check(key(text), FRAME, SIZE, rng) for _ in range(number)]
    return [check for check in found if check is not None]


def overlap(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """IoU, pixel by pixel."""
    first, second = np.zeros((168, 168), bool), np.zeros((168, 168), bool)
    for image, (x0, y0, x1, y1) in ((first, a), (second, b)):
        image[y0:y1, x0:x1] = True
    return (first & second).sum() / max((first | second).sum(), 1)


@pytest.mark.parametrize(('text', 'targets'), [
    ('find the small red cube', {1}),
    ('segment all objects', {1, 2, 4}),
    ('where is the green bowl?', set()),            # nothing there: always no
])
def test_yes_is_said_of_boxes_on_what_is_asked_for_alone(text, targets):
    checks = draws(text)
    assert len(checks) > 250
    for check in checks:
        best = max((overlap(check.box, BOXES[i]) for i in targets), default=0.0)
        assert best >= RIGHT_IOU - 1e-9 if check.is_yes else best <= WRONG_IOU + 1e-9
        assert check.response.endswith(f'<answer>{"yes" if check.is_yes else "no"}</answer>')
        assert check.task is Task.VQA
    share = np.mean([check.is_yes for check in checks])
    assert share == 0 if not targets else 0.4 < share < 0.75


def test_every_kind_of_no_is_asked():
    seen = Counter(
        None if check.seen is None else check.seen.truth.id
        for check in draws('find the small red cube') if not check.is_yes)
    assert seen[2] > 30 and seen[4] > 30                # other objects
    assert seen[None] + seen[1] > 30                    # beside it


def test_the_question_names_the_box_and_the_response_what_is_in_it():
    for check in draws('find the small red cube', 60):
        numbers = ','.join(map(str, check.box))
        assert check.text == (
            f'Is the object at [{numbers}] what "find the small red cube" asks for?')
        match = re.fullmatch(
            r'<think>Looking for: small red cube\. At:(?: r(\d)c(\d) (.*) (yes|no)| nothing)'
            r'</think><answer>(yes|no)</answer>', check.response)
        assert match is not None
        row, column, name, verdict, _ = match.groups()
        if check.seen is None:
            assert name is None
            assert max(overlap(check.box, box) for box in BOXES.values()) < 0.1
            continue
        one = check.seen.truth.id
        assert max(BOXES, key=lambda i: overlap(check.box, BOXES[i])) == one
        x0, y0, x1, y1 = BOXES[one]
        assert (int(row), int(column)) == ((y0 + y1) // 2 // 28, (x0 + x1) // 2 // 28)
        assert (name, verdict) == (NAMES[one], 'yes' if one == 1 else 'no')


def test_an_empty_table_gives_no_box_to_ask_about():
    empty = make_frame()
    instruction = answer_key('find the small red cube', empty)
    assert instruction is not None
    assert draw_check(instruction, empty, SIZE, np.random.default_rng(0)) is None
