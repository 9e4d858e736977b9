"""The end of a demo: the table, the total, and what is left on disk."""
from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from vr_ros.core.types import Detection, Perception, Status, Task, Timing
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.pages.demo_page import Case
from vr_ros.nodes.demo.record import Session

HERE, THERE = (Detection(0, (x, 0.0, x + 10.0, 10.0)) for x in (0.0, 50.0))
ONE = Perception(Status.OK, Task.DETECTION, (HERE,), timing=Timing(total_ms=1234.0))


def true(task: Task, *detections: Detection, answer: str = '') -> Truth:
    return Truth.from_perception(Perception(Status.OK, task, detections, answer=answer))


RIGHT = Case('find it', ONE, truth=true(Task.DETECTION, HERE))
ELSEWHERE = Case('find it', ONE, truth=true(Task.DETECTION, THERE))
SAID = Case('which?', Perception(Status.OK, Task.VQA, answer='red'),
            truth=true(Task.VQA, answer='blue'))
PICTURE = Case('find it', ONE, np.zeros((6, 8, 3), np.uint8))
LATE = Case('find it', Perception(Status.TIMEOUT))


def session_of(*cases: Case) -> tuple[Session, io.StringIO]:
    console = Console(file=io.StringIO(), width=120)
    session = Session(console, 'sim_tiny', 'a scene', 7)
    for case in cases:
        session.add(case)
    return session, console.file


@pytest.mark.parametrize(('case', 'line'), [
    (RIGHT, 'right · truth: 1'),
    (ELSEWHERE, 'wrong: 0 of 1 hit, 1 elsewhere · truth: 1'),    # as the page says it
    (SAID, 'wrong · truth: blue'),                               # the words say it themselves
    (PICTURE, 'OK · 1 object · 1.23 s'),                         # nobody knows
])
def test_the_verdict_says_why(case: Case, line: str) -> None:
    _, file = session_of(case)
    assert file.getvalue().splitlines()[-1].strip() == line


@pytest.mark.parametrize(('cases', 'heading', 'last', 'total'), [
    ([RIGHT, ELSEWHERE], 'instruction status answer truth seconds verdict',
     'find it OK 1 1 1.2 wrong: 0 of 1 hit, 1 elsewhere', '1 of 2 right, 2 of 2 answered'),
    ([PICTURE, LATE], 'instruction status answer seconds', 'find it TIMEOUT - 0.0',
     '1 of 2 answered'),
    ([PICTURE, RIGHT], 'instruction status answer truth seconds verdict',
     'find it OK 1 1 1.2 right', '1 of 1 right, 2 of 2 answered'),
])
def test_the_table_has_the_columns_it_can_fill(
        cases: list[Case], heading: str, last: str, total: str) -> None:
    session, file = session_of(*cases)
    before = len(file.getvalue())
    session.console.print(session.table())
    lines = [' '.join(line.split()) for line in file.getvalue()[before:].splitlines()]
    assert (lines[0], lines[-1]) == (heading, last)
    assert session.total() == total


def test_nothing_replaces_no_report(tmp_path: Path) -> None:
    session, _ = session_of()
    (tmp_path / 'index.html').write_text('an earlier report')
    session.write(tmp_path, 1.0, 'interrupted')
    assert (tmp_path / 'index.html').read_text() == 'an earlier report'
    assert json.loads((tmp_path / 'summary.json').read_text())['problem'] == 'interrupted'


def test_a_report_that_is_not_complete_says_why(tmp_path: Path) -> None:
    session, _ = session_of(RIGHT)
    session.write(tmp_path, 1.0, 'the <gripper> is stuck')
    assert 'incomplete: the &lt;gripper&gt; is stuck' in (tmp_path / 'index.html').read_text()
    session.write(tmp_path, 1.0, '')
    assert 'incomplete' not in (tmp_path / 'index.html').read_text()
