"""The closed loop as a person runs it: words in, an object lifted, over a real graph and physics.

The back-end knows the truth: what is tested is the way from its masks to the gripper.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rosbags.highlevel import AnyReader

from vr_ros.nodes.demo.options import DEFAULT_SEED, parse
from vr_ros.nodes.demo.pick import PICKS

DEMO = [sys.executable, '-m', 'vr_ros.nodes.demo.main', '--pick']
ORACLE = f'{Path(__file__).with_name("oracle_backend.py")}:make'


def run(out: Path, model: str) -> tuple[dict[str, Any], str]:
    """Run a demo; give its summary and what it printed."""
    done = subprocess.run(
        [*DEMO, '--out', str(out), '--model', model, '--json', str(out / 'claims.json')],
        env=os.environ | {'VR_ROS_WORKER_BACKEND': ORACLE, 'VR_ROS_PYTHON': sys.executable},
        capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((out / 'summary.json').read_text()), done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_is_asked_for_is_lifted(tmp_path: Path) -> None:
    summary, printed = run(tmp_path, 'truth')
    picks = summary['picks']
    assert len(picks) == PICKS == summary['totals']['right object lifted']
    assert picks[0]['said'] == 'pick up the thing that i can drink from'
    assert picks[0]['held'].endswith(' mug')
    assert all(pick['held'] == pick['wanted'] and pick['why_not'] == '' for pick in picks)
    positions = [entry['detections'][0]['position_status'] for entry in summary['instructions']]
    assert positions == ['OK'] * PICKS
    assert summary['totals']['picks with known truth'] == PICKS
    assert {entry['sent_by'] for entry in summary['instructions']} == {'action'}
    claims = json.loads((tmp_path / 'claims.json').read_text())['claims']
    assert {c['name']: c['value'] for c in claims}['demo --pick: right object lifted'] == 1.0
    page = (tmp_path / 'index.html').read_text()
    assert page[page.index('What the gripper held'):].count('data:image/jpeg') == PICKS
    assert 'pick up the thing that i can drink from' in printed
    assert summary['seed'] == DEFAULT_SEED
    with AnyReader([tmp_path / 'bag']) as reader:
        said = {'/gripper/goal': [], '/gripper/held': []}
        for connection, _, data in reader.messages():
            if connection.topic in said:
                said[connection.topic].append(reader.deserialize(data, connection.msgtype))
    goals = [[g.point.x, g.point.y, g.point.z] for g in said['/gripper/goal']]
    assert goals == [pick['goal'] for pick in picks]
    assert [m.data for m in said['/gripper/held'] if m.data] == [pick['held'] for pick in picks]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(('model', 'right', 'sent'), [
    ('another', 0, PICKS),    # it lifts what the answer means, not what the truth is
    ('nothing', 0, 0),        # nothing found: nothing to send the gripper to
])
def test_a_wrong_answer_lifts_no_right_object(
        tmp_path: Path, model: str, right: int, sent: int) -> None:
    picks = run(tmp_path, model)[0]['picks']
    assert sum(pick['right'] for pick in picks) == right
    assert sum(pick['goal'] is not None for pick in picks) == sent
    assert sum(bool(pick['held']) for pick in picks) == sent
    assert {pick['why_not'] for pick in picks} == ({''} if sent else {'NO_OBJECT'})


def test_a_picture_of_ones_own_has_nothing_to_lift() -> None:
    with pytest.raises(SystemExit) as ended:
        parse(['--pick', '--image', 'x.png', '--ask', 'what is this?'])
    assert ended.value.code == 2
