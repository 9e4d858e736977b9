"""The program `ask`, run as a process against a live perception node."""
from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from live import FAULT_BACKEND, Graph, Robot

from vr_ros.core.types import Instruction, Mode, Task
from vr_ros.msg import Instruction as InstructionMsg
from vr_ros.nodes import qos
from vr_ros.nodes.ask import AskOptions, main, parse

ASK = 'import sys; from vr_ros.nodes.ask import main; sys.exit(main())'
PERCEPTION = 'import sys; from vr_ros.nodes.perception_node import main; sys.exit(main())'
MakeGraph = Callable[..., Graph]


@contextmanager
def asking(robot: Robot, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    namespace = ('--ros-args', '-r', f'__ns:={robot.node.get_namespace()}')
    process = subprocess.Popen([sys.executable, '-c', ASK, *arguments, *namespace], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ask(robot: Robot, *arguments: str) -> tuple[int, str, str]:
    """Run it to its end while the node's executor spins."""
    with asking(robot, *arguments) as process:
        robot.until(lambda: process.poll() is not None)
        out, err = process.communicate()
        return process.returncode, out, err


@contextmanager
def graphs() -> Iterator[MakeGraph]:
    """Make graphs with names of their own: servers of one that was closed may linger."""
    made: list[Graph] = []

    def make(**parameters: Any) -> Graph:
        made.append(Graph(f'ask{next(NUMBERS)}', {
            'model': 'good', 'max_image_age': 0.0, **parameters}))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('VR_ROS_WORKER_BACKEND', FAULT_BACKEND)
        patch.setenv('VR_ROS_PYTHON', sys.executable)
        yield make
        for graph in made:
            graph.close()


NUMBERS = itertools.count()
READERS = ThreadPoolExecutor(1)


@pytest.fixture
def graph() -> Iterator[MakeGraph]:
    with graphs() as make:
        yield make


@pytest.fixture(scope='module')
def robot() -> Iterator[Robot]:
    with graphs() as make:
        shared = make().start()
        shared.show()
        yield shared


def test_reasoning_then_a_table_then_one_line(robot: Robot) -> None:
    status, out, err = ask(robot, 'echo')
    lines = [line.rstrip() for line in out.splitlines()]
    assert status == 0, err
    # The first feedback may come before the client's ear is open.
    assert 'I see a cup — ☕'.endswith('' if len(lines) == 3 else lines.pop(0))
    assert lines[0].split() == ['label', 'box', 'point', 'area', 'px']
    assert lines[1].split() == ['cup', '1', '2', '4', '4', '2', '3', '5']
    assert lines[2].startswith('OK · 1 object · ')
    assert len(lines) == 3


def test_reasoning_is_shown_as_it_comes(robot: Robot) -> None:
    with asking(robot, 'words 100000') as process:
        for _ in range(3):
            piece = READERS.submit(process.stdout.read, 20)
            robot.until(piece.done)
            assert re.fullmatch(r'[\d ]{20}', piece.result())
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        robot.until(lambda: process.poll() is not None)


def test_words_need_no_quotes_and_the_task_and_camera_are_passed_on(robot: Robot) -> None:
    status, out, _ = ask(robot, 'echo', 'me', '--json', '--task', 'counting', '--camera', 'camera')
    result = json.loads(out)
    assert status == 0
    assert (result['instruction'], result['task']) == ('echo me', 'COUNTING')
    assert (result['camera'], result['frame_id']) == ('camera', 'camera_optical')


def test_json_is_the_whole_result_and_nothing_else(robot: Robot) -> None:
    shown = robot.show()
    _, out, _ = ask(robot, 'echo', '--json')
    (line,) = out.splitlines()
    result = json.loads(line)
    message = robot.received['detections'][-1]
    assert result['stamp'] == {'sec': shown.header.stamp.sec, 'nanosec': shown.header.stamp.nanosec}
    assert result['instruction_id'] == message.outcome.instruction_id != ''
    assert (result['status'], result['count']) == ('OK', 1)
    assert result['image_size'] == [32, 24]
    assert result['detections'] == [{
        'index': 0, 'label': 'cup', 'box': [1.0, 2.0, 3.5, 4.25], 'point': [2.0, 3.0],
        'score': None, 'score_source': 'NONE', 'mask_score': 0.5, 'area_px': 5,
        'track_id': '', 'track_state': 'NONE', 'position_status': 'NONE',
        'mask': {'size': [24, 32], 'counts': [7, 5, 32 * 24 - 12]}}]
    assert result['timing']['total_ms'] == pytest.approx(
        message.outcome.timing.total_ms, abs=1e-3)


@pytest.mark.parametrize(('text', 'name'), [
    ('refuse OUT_OF_MEMORY', 'OUT_OF_MEMORY'),   # the model says so
    ('raise', 'MODEL_ERROR'),                    # it breaks
    ('x' * 5000, 'BAD_INSTRUCTION'),             # too long
])
def test_an_error_status_is_exit_status_1(robot: Robot, text: str, name: str) -> None:
    status, out, _ = ask(robot, text)
    assert status == 1
    assert out.splitlines()[-1].startswith(name)


def test_the_timeout_is_the_deadline(robot: Robot) -> None:
    status, out, _ = ask(robot, 'words 100000', '--timeout', '0.5')
    assert status == 1
    assert 'TIMEOUT: no answer within 0.5 s' in out
    assert re.match(r'[\d ]+\n', out)


@pytest.mark.parametrize('as_json', [False, True])
def test_interrupting_cancels_the_goal(robot: Robot, as_json: bool) -> None:
    active = robot.listen('perception/active_instruction', InstructionMsg, qos.latched())
    with asking(robot, 'words 100000', *(['--json'] if as_json else [])) as process:
        robot.until(lambda: active and active[-1].text == 'words 100000')
        process.send_signal(signal.SIGINT)
        robot.until(lambda: process.poll() is not None)
        out, _ = process.communicate()
    assert process.returncode == 1
    assert 'CANCELLED' in out
    assert robot.received['detections'][-1].outcome.status == 107
    assert robot.ask('echo').outcome.status == 0


def test_continuous_goes_on_until_interrupted(graph: MakeGraph) -> None:
    robot = graph(reason_period=0.05).start()
    with asking(robot, 'echo', '--continuous', '--json') as process:
        def three_results() -> bool:
            robot.show()
            return len(robot.received['detections']) >= 3
        robot.until(three_results)
        process.send_signal(signal.SIGINT)
        robot.until(lambda: process.poll() is not None)
        out, _ = process.communicate()
    results = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0
    assert [r['status'] for r in results[:3]] == ['OK'] * 3
    assert results[-1]['status'] == 'CANCELLED'
    assert len({r['stamp']['nanosec'] for r in results[:3]}) == 3


def test_what_it_waits_for_is_said(graph: MakeGraph) -> None:
    robot = graph().start()
    with asking(robot, 'echo') as process:
        line = READERS.submit(process.stdout.readline)
        robot.until(line.done)
        assert line.result() == 'waiting for an image …\n'
        robot.show()
        robot.until(lambda: process.poll() is not None)
    assert process.returncode == 0


def test_a_hostile_answer_cannot_control_the_terminal(robot: Robot) -> None:
    _, out, _ = ask(robot, 'words \x1b[2J')
    assert '\x1b' not in out


def test_nobody_there_is_status_2_with_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(['find it', '--wait', '0.3', '--node', '/nowhere/perception']) == 2
    captured = capfd.readouterr()
    assert captured.out == ''
    assert captured.err.count('\n') == 1
    assert '/nowhere/perception' in captured.err
    assert 'ros2 launch vr_ros perception.launch.py' in captured.err


@pytest.mark.slow
def test_a_node_that_is_killed_is_noticed(
        robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('VR_ROS_WORKER_BACKEND', FAULT_BACKEND)
    perception = subprocess.Popen([
        sys.executable, '-c', PERCEPTION, '--ros-args', '-r', '__node:=doomed', '-r',
        f'__ns:={robot.node.get_namespace()}', '-p', 'autostart:=true', '-p', 'model:=good',
        '-p', 'max_image_age:=0.0'])
    try:
        with asking(robot, 'words 100000', '--node', 'doomed', '--wait', '60') as process:
            def begins_to_answer() -> bool:
                robot.show()
                return piece.done()
            piece = READERS.submit(process.stdout.read, 60)
            robot.until(begins_to_answer)
            perception.kill()
            assert process.wait(100) == 2
            assert 'went away' in process.stderr.read()
    finally:
        perception.kill()
        perception.wait()


@pytest.mark.parametrize('arguments', [
    [],                             # nothing to ask
    ['x', '--task', 'painting'],    # no task
    ['x', '--timeout', '-1'],       # in the past
    ['x', '--wait', 'long'],        # no number
    ['x', '--wait', 'nan'],         # one that is none
    ['x', '--timeout', 'inf'],      # without end
])
def test_bad_usage_is_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize('name', ['bad name!', '', '/a//b', '1st', 'x/', 'a\nb'])
def test_what_is_no_node_name_is_one_line(
        name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(['find it', '--node', name]) == 2
    captured = capfd.readouterr()
    assert captured.out == ''
    assert captured.err.count('\n') == 1
    assert ascii(name) in captured.err


def test_bytes_that_are_no_utf8_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(['\udcff\udcfe bad', '--wait', '0.3', '--node', '/nowhere/\udcffperception']) == 2
    err = capfd.readouterr().err
    assert err.count('\n') == 1
    assert '/nowhere/perception' in err


def test_the_command_line_becomes_an_instruction() -> None:
    options = parse(['count', 'the', 'cups', '--task', 'counting', '--continuous', '--camera', 'a',
                     '--camera', 'b', '--timeout', '2.5', '--node', 'n', '--wait', '1', '--json'])
    expected: Any = Instruction('', 'count the cups', Task.COUNTING, Mode.CONTINUOUS, ('a', 'b'),
                                deadline_s=2.5)
    assert options == AskOptions(expected, 'n', 1.0, True)
