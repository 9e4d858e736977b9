"""The demo of the gripper: what it asks for, what it takes from an answer, what it writes down."""
from __future__ import annotations

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from vr_ros.core.types import Detection, Perception, Position, PositionStatus, Status, Task
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.pages.demo_page import Case
from vr_ros.nodes.demo.pick import located, right_object, wish
from vr_ros.nodes.demo.pick_record import Pick, PickSession, picks_html, write_pick_claims
from vr_ros.sim.instructions import answer_key
from vr_ros.sim.pick_requests import TEMPLATES, draw_request, label, noun_phrase
from vr_ros.sim.queries import Form, Query
from vr_ros.sim.renderer import render_scene
from vr_ros.sim.vocabulary import Noun

SEED = 1_000_005
HERE = Position((0.0, 0.0, 1.0), (0.0, 0.0, 1.1), (0.0, 0.0, 0.0, 1.0), (0.1, 0.1, 0.1), 0.001)
THERE = Position((1.0, 0.0, 1.0), (1.0, 0.0, 1.1), (0.0, 0.0, 0.0, 1.0), (0.1, 0.1, 0.1), 0.001)
RED, BLUE = 'small red cube', 'large blue ball'
RIGHT = Pick('pick up the cube', 'find the cube', RED, RED, (0.1, 0.2, 0.3))
WRONG = Pick('pick up the cube', 'find the cube', RED, BLUE, (0.1, 0.2, 0.3))
EMPTY = Pick('pick up the cube', 'find the cube', RED, '', (0.1, 0.2, 0.3))
UNCLEAR = Pick('pick up the cube', 'find the cube', None, RED, (0.1, 0.2, 0.3))
NOT_SENT = Pick('pick up the <cube>', 'find the cube', RED, why_not='NO_OBJECT')


def detection(status: PositionStatus, position: Position | None = None) -> Detection:
    return Detection(0, (0.0, 0.0, 9.0, 9.0), position_status=status, position=position)


@pytest.mark.parametrize('seed', range(SEED, SEED + 5))
def test_a_wish_is_for_one_object_and_its_instruction_means_the_same(seed: int) -> None:
    truth = render_scene(seed, count=4).truth
    for number in range(len(TEMPLATES)):
        request = wish(truth, seed, number)
        key = answer_key(request.instruction.text, truth)
        assert key.target_ids == (request.target.id,)
        assert key.split == 'heldout'
        assert [label(o) for o in truth.objects].count(label(request.target)) == 1
        assert request.said.startswith('pick up the ')
        # What a person says is another wording of the same.
        said = answer_key(request.said.removeprefix('pick up '), truth)
        assert said is None or said.target_ids == key.target_ids


def test_kinds_of_wishes_take_turns_and_the_first_is_to_drink() -> None:
    truth = render_scene(SEED, count=4).truth
    requests = [wish(truth, SEED, number) for number in range(len(TEMPLATES) + 1)]
    assert [r.instruction.template for r in requests] == [*TEMPLATES, TEMPLATES[0]]
    assert requests[0].said == 'pick up the thing that i can drink from'
    assert requests[0].target.kind == 'mug'


def test_no_wish_where_nothing_is() -> None:
    empty = render_scene(SEED, count=0).truth
    assert wish(empty, SEED, 0) is None
    assert draw_request(empty, np.random.default_rng(0)) is None


@pytest.mark.parametrize(('query', 'words'), [
    (Query(Form.ONE, Task.DETECTION, Noun('small', 'red', 'cube')), 'the small red cube'),
    (Query(Form.ONE, Task.DETECTION, Noun(colour='red')), 'the red thing'),
    (Query(Form.RELATION, Task.DETECTION, Noun(kind='cube'), 'next_to', Noun(kind='mug')),
     'the cube closest to the mug'),
    (Query(Form.EXTREME, Task.DETECTION, relation='nearest'), 'the nearest thing'),
    (Query(Form.FUNCTION, Task.DETECTION, function='drink'), 'the thing that i can drink from'),
])
def test_things_have_names(query: Query, words: str) -> None:
    assert noun_phrase(query) == words


def test_several_things_have_no_name_for_one() -> None:
    with pytest.raises(ValueError, match='no single object'):
        noun_phrase(Query(Form.ALL, Task.DETECTION))


@pytest.mark.parametrize(('perception', 'expected'), [
    (Perception(Status.OK, detections=(detection(PositionStatus.OK, HERE),
                                       detection(PositionStatus.OK, THERE))), HERE),  # the first
    (Perception(Status.OK, detections=(detection(PositionStatus.TOO_FEW_PIXELS),
                                       detection(PositionStatus.OK, THERE))), THERE),
    (Perception(Status.OK, detections=(detection(PositionStatus.NO_DEPTH),)),
     'position_status NO_DEPTH'),
    (Perception(Status.NO_OBJECT), 'NO_OBJECT'),                                      # found none
    (Perception(Status.TIMEOUT), 'TIMEOUT'),                                          # an error
])
def test_the_first_object_with_a_position_counts(
        perception: Perception, expected: Position | str) -> None:
    assert located(perception) == expected


BOTH = Pick('pick up the cube', 'find the cube', RED, f'{RED}, {BLUE}', (0.1, 0.2, 0.3))


@pytest.mark.parametrize(('pick', 'is_right', 'verdict', 'outcome'), [
    (RIGHT, True, 'right', RED),
    (WRONG, False, 'wrong', BLUE),
    (BOTH, False, 'wrong', f'{RED}, {BLUE}'),
    (EMPTY, False, 'nothing', 'nothing'),
    (NOT_SENT, False, 'nothing', 'not sent: NO_OBJECT'),
    (UNCLEAR, None, '', RED),
])
def test_only_the_right_object_alone_is_right(
        pick: Pick, is_right: bool | None, verdict: str, outcome: str) -> None:
    assert (pick.is_right, pick.verdict, pick.outcome) == (is_right, verdict, outcome)


@pytest.mark.parametrize(('labels', 'expected'), [
    ([RED], RED),           # one object is meant
    ([RED, BLUE], None),    # from there it is two
    ([], None),             # or none
    (None, None),           # or nobody knows
])
def test_the_truth_about_the_image_tells_the_right_object(
        labels: list[str] | None, expected: str | None) -> None:
    truth = None if labels is None else Truth(
        boxes=[(0, 0, 9, 9)] * len(labels), labels=tuple(labels), task=Task.DETECTION)
    target = render_scene(SEED, count=4).truth.targets[0]
    assert right_object(truth, target, camera_stands=False) == expected
    assert right_object(truth, target, camera_stands=True) == label(target)


def written(tmp_path: Path, *picks: Pick) -> tuple[str, dict[str, Any], str]:
    """Write a session: give its page, its summary, and its table as printed."""
    console = Console(file=io.StringIO(), width=200)
    session = PickSession(console, 'sim_tiny', 'a scene', 7)
    picture = np.zeros((6, 8, 3), np.uint8)
    for pick in picks:
        session.picks.append((pick, picture if pick.goal else None))
        session.cases.append(Case(pick.said, Perception(Status.OK)))
    returned = session.write(tmp_path, 1.0, '')
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert summary['picks'] == json.loads(json.dumps(returned['picks']))
    console.print(session.table())
    page = tmp_path / 'index.html'    # none where nothing was lifted
    return page.read_text() if picks else '', summary, console.file.getvalue()


def test_page_summary_and_table_tell_what_was_lifted(tmp_path: Path) -> None:
    page, summary, table = written(tmp_path, RIGHT, WRONG, EMPTY, NOT_SENT, UNCLEAR)
    totals = summary['totals']
    assert {name: totals[name] for name in (
        'picks with known truth', 'right object lifted', 'wrong object lifted')} == {
            'picks with known truth': 4, 'right object lifted': 1, 'wrong object lifted': 1}
    assert [pick['right'] for pick in summary['picks']] == [True, False, False, False, None]
    assert [pick['goal'] for pick in summary['picks']] == [
        [0.1, 0.2, 0.3]] * 3 + [None, [0.1, 0.2, 0.3]]
    assert summary['instructions'][3]['instruction'] == NOT_SENT.said
    held = page[page.index('What the gripper held'):]
    assert 'the right object in 1 of 5' in held
    assert re.findall(r'badge (right|wrong|plain)', held) == ['right', 'wrong', 'wrong', 'wrong']
    assert 'not clear in that image' in held
    assert held.count('data:image/jpeg') == 4
    assert held.count('no picture') == 1
    assert page.count('</main>') == 1
    last_words = [line.split()[-1] for line in table.splitlines()[1:]]
    assert last_words[:4] == ['right', 'wrong', 'nothing', 'nothing']
    assert last_words[4] not in ('right', 'wrong', 'nothing')


def test_the_page_escapes_what_it_is_told() -> None:
    page = picks_html([(NOT_SENT, None), (Pick('<b>', 'x', '<i>', '<u>\x1b[2J', None), None)])
    assert not {'<cube>', '<b>', '<i>', '<u>', '\x1b'} & set(re.findall(r'<\w+>|\x1b', page))
    assert '&lt;u&gt;' in page


@pytest.mark.parametrize(('picks', 'right', 'wrong'), [
    ((RIGHT, RIGHT, WRONG, NOT_SENT), 0.5, 0.25),
    ((RIGHT, UNCLEAR), 1.0, 0.0),                  # nobody can judge the other
    ((), None, None),                              # interrupted before the first
])
def test_claims_are_shares_of_what_can_be_judged(
        tmp_path: Path, picks: tuple[Pick, ...], right: float | None, wrong: float | None) -> None:
    _, summary, _ = written(tmp_path, *picks)
    write_pick_claims(tmp_path / 'claims.json', summary)
    claims = json.loads((tmp_path / 'claims.json').read_text())['claims']
    values = {claim['name']: claim['value'] for claim in claims}
    assert values == {'demo --pick: right object lifted': right,
                      'demo --pick: wrong object lifted': wrong}
    assert all(value is None or math.isfinite(value) for value in values.values())
