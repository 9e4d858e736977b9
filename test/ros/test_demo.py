"""The demo as a person runs it: real processes, a real graph, a back-end that answers anything."""
from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from live import FAULT_BACKEND
from rosbags.highlevel import AnyReader
from std_msgs.msg import Header
from without_ros import evaluate_without_ros

from vr_ros.core.types import Size
from vr_ros.evaluation.runs.records import read_records
from vr_ros.evaluation.totals import is_right
from vr_ros.nodes.demo.client import DemoClient, DemoError
from vr_ros.nodes.demo.main import clear_bag, main
from vr_ros.nodes.demo.options import DEFAULT_SEED
from vr_ros.nodes.demo.script import QUESTIONS
from vr_ros.sim.renderer import render_scene

DEMO = [sys.executable, '-m', 'vr_ros.nodes.demo.main']
# The demo ends what it started within this time, whatever happens.
END_S = 60


def environment(token: str) -> dict[str, str]:
    return os.environ | {'VR_ROS_WORKER_BACKEND': FAULT_BACKEND, 'VR_ROS_PYTHON': sys.executable,
                         'DEMO_TEST': token}


def processes_with(token: str) -> list[str]:
    """Find what a demo left running, by its environment."""
    found = []
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            if f'DEMO_TEST={token}'.encode() in (folder / 'environ').read_bytes().split(b'\0'):
                found.append((folder / 'cmdline').read_bytes().decode().replace('\0', ' '))
        except OSError:
            continue
    return found


@pytest.fixture(scope='module')
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """Run a whole demo once; give its folder, its summary and what it printed."""
    out = tmp_path_factory.mktemp('demo') / 'out'
    done = subprocess.run(
        [*DEMO, '--out', str(out), '--model', 'good', '--json', str(out / 'claims.json')],
        env=environment(str(out)), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert processes_with(str(out)) == []
    return out, json.loads((out / 'summary.json').read_text()), done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_instruction_is_answered_and_its_truth_known(
        outcome: tuple[Path, dict[str, Any], str]) -> None:
    _, summary, _ = outcome
    entries = summary['instructions']
    assert len(entries) == QUESTIONS == summary['totals']['instructions']
    assert {entry['status'] for entry in entries} == {'OK'}
    assert {entry['sent_by'] for entry in entries} == {'action', 'topic'}
    assert len({entry['kind'] for entry in entries}) == QUESTIONS
    assert all(entry['truth'] for entry in entries)
    assert {e['truth']['task'] for e in entries} == {'DETECTION', 'SEGMENTATION', 'COUNTING', 'VQA'}
    assert all(entry['timing']['total_ms'] > 0 for entry in entries)
    assert summary['totals']['answered'] == summary['totals']['with known truth'] == QUESTIONS
    assert (summary['seed'], summary['model'], summary['problem']) == (DEFAULT_SEED, 'good', '')
    assert summary['versions']['rclpy']


@pytest.mark.slow
def test_the_pictures_are_those_of_the_scenes_asked_about(
        outcome: tuple[Path, dict[str, Any], str]) -> None:
    out, summary, _ = outcome
    page = (out / 'index.html').read_text()
    pictures = [
        cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        for data in re.findall(r'data:image/jpeg;base64,([^"]+)', page)]
    assert len(pictures) == QUESTIONS
    scenes = [render_scene(DEFAULT_SEED + part, count=4).rgb.astype(int) for part in (0, 1)]
    shown = []
    for picture in pictures:
        differences = [np.abs(picture - scene).mean() for scene in scenes]
        assert min(differences) < 6
        shown.append(int(np.argmin(differences)))
    assert shown == [0] * (QUESTIONS // 2) + [1] * (QUESTIONS // 2)
    assert not re.search(r'(?:href|src)="(?!data:)', page)
    for entry in summary['instructions']:
        assert entry['instruction'].replace("'", '&#39;') in page


@pytest.mark.slow
def test_the_bag_holds_questions_answers_and_truth(
        outcome: tuple[Path, dict[str, Any], str]) -> None:
    out, summary, _ = outcome
    topics = summary['bag']['topics']
    assert (out / 'bag' / 'metadata.yaml').is_file()
    for topic in ('/detections', '/answer', '/count', '/truth/detections', '/truth/answer'):
        assert topics[topic] == QUESTIONS
    assert topics['/instruction'] == QUESTIONS // 2        # the others went by the action
    assert summary['bag']['messages'] == sum(topics.values())
    stamps: dict[str, set[int]] = {}
    with AnyReader([out / 'bag']) as reader:
        for connection, _, data in reader.messages():
            header = getattr(reader.deserialize(data, connection.msgtype), 'header', None)
            if header is not None:
                stamps.setdefault(connection.topic, set()).add(
                    header.stamp.sec * 10**9 + header.stamp.nanosec)
    assert stamps['/detections'] == stamps['/truth/detections'] == stamps['/truth/answer']
    assert stamps['/detections'] <= stamps['/image/compressed']
    assert stamps['/detections'] <= stamps['/camera_info'] & stamps['/camera_pose']


@pytest.mark.slow
def test_its_bag_evaluates_to_the_very_same(
        outcome: tuple[Path, dict[str, Any], str], tmp_path: Path) -> None:
    out, summary, _ = outcome
    done = evaluate_without_ros('bag', out / 'bag', '--json', tmp_path / 'out.json',
                                '--records', tmp_path)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / 'out.json').read_text())
    assert content['bag']['totals'] == summary['totals']
    assert content['bag']['problems'] == content['bag']['notes'] == []
    assert content['model'] == {e['model_id'] for e in summary['instructions']}.pop()
    records = {record.instruction: record
               for record in read_records(Path(content['records'])).answered}
    for entry in summary['instructions']:
        record = records[entry['instruction']]
        assert record.found.latency_ms == pytest.approx(entry['timing']['total_ms'], abs=1e-3)
        assert is_right(record.truth, record.found) is entry['right']
        assert [d.label for d in record.truth.objects] == entry['truth']['labels']
        assert len(record.found.boxes) == len(entry['detections'])
        assert record.truth.size == Size(*entry['image_size'])


@pytest.mark.slow
def test_the_terminal_shows_questions_reasoning_and_a_table(
        outcome: tuple[Path, dict[str, Any], str]) -> None:
    out, summary, printed = outcome
    for entry in summary['instructions']:
        assert entry['instruction'][:40] in printed
    assert 'rosbags and mcap agree' in ' '.join(printed.split())
    assert str(out / 'index.html') in printed
    claims = json.loads((out / 'claims.json').read_text())['claims']
    assert {c['name']: c['value'] for c in claims}['demo: instructions answered'] == 1.0
    assert {path.name for path in (out / 'logs').iterdir()} == {
        'perception.log', 'sim_camera.log', 'record.log'}


@pytest.mark.parametrize(('recorded', 'age_ms', 'problem'), [
    ({'/image/compressed': 3}, '0', '/camera_info not recorded within'),
    ({'/image/compressed': 3, '/camera_info': 0}, '0', '/camera_info not recorded within'),
    ({'/image/compressed': 3, '/camera_info': 3}, '600000', 'sees nothing of new pictures'),
    ({'/image/compressed': 3, '/camera_info': 3}, None, 'sees nothing of new pictures'),
    ({'/image/compressed': 3, '/camera_info': 3}, '0', ''),
])
def test_nothing_is_asked_before_pictures_are_recorded_and_seen(
        recorded: dict[str, int], age_ms: str | None, problem: str) -> None:
    def say() -> None:
        ages = {} if age_ms is None else {'age [ms]': age_ms}
        status = [
            DiagnosticStatus(name=name, values=[
                KeyValue(key=key, value=str(value)) for key, value in values.items()])
            for name, values in (
                ('/record: losses', {f'{key} recorded': value for key, value in recorded.items()}),
                ('/perception: camera camera', ages))]
        publisher.publish(DiagnosticArray(
            header=Header(stamp=client.node.get_clock().now().to_msg()), status=status))

    client = DemoClient(say)
    try:
        publisher = client.node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        with pytest.raises(DemoError, match=problem) if problem else nullcontext():
            client.wait_for_recorder(['image/compressed', 'camera_info'], 2.0 if problem else 30.0)
    finally:
        client.close()


@pytest.mark.parametrize(('model', 'line'), [
    ('missing', 'weights are missing; fetch them'),   # says what to do
    ('explode', 'header'),                            # breaks while loading
])
def test_a_model_that_cannot_be_loaded_is_one_line_and_status_1(
        tmp_path: Path, model: str, line: str) -> None:
    (tmp_path / 'index.html').write_text('an earlier report')
    done = subprocess.run([*DEMO, '--out', str(tmp_path), '--model', model],
                          env=environment(str(tmp_path)), capture_output=True, text=True,
                          timeout=100)
    assert done.returncode == 1
    # A busy machine loses images, and the middleware says so.
    told = [text for text in done.stderr.splitlines() if not text.startswith('[WARN]')]
    assert len(told) == 1 and line in told[0]
    assert json.loads((tmp_path / 'summary.json').read_text())['problem'] in told[0]
    assert (tmp_path / 'index.html').read_text() == 'an earlier report'
    assert 'Report:' not in done.stdout
    assert processes_with(str(tmp_path)) == []


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_everything_and_keeps_what_it_has(
        tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
            [*DEMO, '--out', str(tmp_path), '--model', 'good', '--seconds', '1000'],
            env=environment(str(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True) as demo:
        try:
            for line in demo.stdout:
                if 'truth:' in line:
                    break
            demo.send_signal(number)
            _, err = demo.communicate(timeout=END_S)
        finally:
            demo.kill()
    assert demo.returncode == 1
    assert 'interrupted' in err
    assert json.loads((tmp_path / 'summary.json').read_text())['totals']['answered'] >= 1
    page = (tmp_path / 'index.html').read_text()
    assert '<article>' in page and 'incomplete: interrupted' in page
    assert processes_with(str(tmp_path)) == []


def test_nothing_outlives_a_demo_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([*DEMO, '--out', str(tmp_path), '--model', 'good'],
                          env=environment(str(tmp_path)), stdout=subprocess.PIPE,
                          text=True) as demo:
        try:
            for line in demo.stdout:
                if 'Ready' in line:
                    break
            assert len(processes_with(str(tmp_path))) >= 4
        finally:
            demo.kill()
    end_at = time.monotonic() + END_S
    while processes_with(str(tmp_path)):
        assert time.monotonic() < end_at
        time.sleep(0.1)


@pytest.mark.slow
def test_a_picture_of_ones_own_is_answered_without_a_graph(tmp_path: Path) -> None:
    picture = tmp_path / 'table.png'
    cv2.imwrite(str(picture), render_scene(DEFAULT_SEED, count=4).rgb[..., ::-1])
    done = subprocess.run(
        [*DEMO, '--image', str(picture), '--ask', 'how many objects are there?',
         '--out', str(tmp_path / 'out')], capture_output=True, text=True, timeout=100)
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    (entry,) = summary['instructions']
    assert done.returncode == (0 if entry['status'] in ('OK', 'NO_OBJECT', 'PARTIAL') else 1)
    assert (entry['task'], entry['truth'], entry['image_size']) == ('COUNTING', None, [640, 480])
    assert entry['model_id'] == 'sim_tiny'
    assert entry['reasoning'] in ' '.join(done.stdout.split())
    assert 'Loading weights' not in done.stderr
    assert 'data:image/jpeg' in (tmp_path / 'out' / 'index.html').read_text()
    assert not (tmp_path / 'out' / 'bag').exists()


def test_a_picture_that_cannot_be_read_is_status_2(
        tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'x.png').write_text('no picture')
    assert main(['--image', str(tmp_path / 'x.png'), '--ask', 'x', '--out', str(tmp_path)]) == 2
    assert capfd.readouterr().err.count('\n') == 1


def test_only_an_earlier_bag_is_replaced(tmp_path: Path) -> None:
    clear_bag(tmp_path / 'none')
    bag = tmp_path / 'bag'
    bag.mkdir()
    (bag / 'bag_0.mcap').touch()
    (bag / 'metadata.yaml').touch()
    clear_bag(bag)
    assert not bag.exists()
    bag.mkdir()
    (bag / 'bag_0.mcap').touch()
    (bag / 'thesis.pdf').touch()
    with pytest.raises(OSError, match=r'thesis\.pdf is not of an earlier demo'):
        clear_bag(bag)
    assert len(list(bag.iterdir())) == 2
