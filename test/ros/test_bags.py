"""Offline and live, the same model finds the same on the frames of a bag from the simulator."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from bag_checks import check
from live import Graph
from recording import program
from without_ros import evaluate_without_ros

from vr_ros.bags.questions import BagCase, read_cases
from vr_ros.core.cdr import parse_image
from vr_ros.core.types import Stamp, Task
from vr_ros.evaluation.bags.replay import differences, replay
from vr_ros.images.decode import decode_image

ASKED = {'first': 'count the cubes', 'second': 'how many objects are there?',
         'third': 'find the red cube'}
PARAMETERS = {'model': 'sim_tiny', 'default_deadline': 100.0, 'max_image_age': 0.0}
NAMESPACE = ('--ros-args', '-r', '__ns:=/own')
PATIENCE_S = 100.0
BAGS = Path(__file__).parents[1] / 'evaluation' / 'bags'
# Width, height: larger ones do not fit into Fast DDS's segment of shared memory, and some get lost.
SIZE = (320, 240)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def node() -> Iterator[Callable[..., Graph]]:
    """Make perception nodes with the embedded model."""
    graphs: list[Graph] = []

    def make(**parameters: object) -> Graph:
        graphs.append(Graph('own', {**PARAMETERS, **parameters}))
        return graphs[-1]

    yield make
    for item in graphs:
        item.close()


def record(stack: ExitStack, folder: Path) -> object:
    return stack.enter_context(program(
        'record', '--out', str(folder), '--profile', 'raw', *NAMESPACE))


def until_recorded(robot: object, topics: tuple[str, ...]) -> None:
    """Wait until the recorder listens to all of these."""
    robot.until(lambda: all(
        any(peer.node_name == 'record' for peer in
            robot.node.get_subscriptions_info_by_topic(topic)) for topic in topics), PATIENCE_S)


def live_from_the_simulator(node: Callable[..., Graph], folder: Path) -> None:
    """Record what the simulated robot sees and what its node answers."""
    with ExitStack() as stack:
        made = node()
        robot = made.robot
        stack.enter_context(program(
            'sim_camera_node', *NAMESPACE, '-p', 'rate:=2.0', '-p', 'orbit:=12.0',
            *(word for name, value in zip(('width', 'height'), SIZE, strict=True)
              for word in ('-p', f'{name}:={value}'))))
        recorder = record(stack, folder)
        made.start()
        robot.until(robot.frames_received, PATIENCE_S)
        until_recorded(robot, ('/own/image', '/own/instruction', '/own/detections',
                               '/own/answer', '/own/truth/detections', '/own/truth/answer'))
        for name, text in ASKED.items():
            robot.tell(text, id=name)
            robot.answer(name, patience_s=PATIENCE_S)
        robot.spin(1.0)
        recorder.terminate()
        assert recorder.wait(30) == 0


def live_from_the_bag(node: Callable[..., Graph], bag: Path, folder: Path) -> None:
    """Play the bag to another node, and record what that one answers."""
    with ExitStack() as stack:
        made = node(use_sim_time=True)
        robot = made.start()
        recorder = record(stack, folder)
        player = stack.enter_context(program(
            'replay', str(bag), '--delay', '6', '--wait-for', '/own/image', '/own/instruction'))
        until_recorded(robot, ('/own/image', '/own/instruction', '/own/detections'))
        for name in ASKED:
            robot.answer(name, patience_s=PATIENCE_S)
        player.wait(60)
        robot.spin(1.0)
        recorder.terminate()
        assert recorder.wait(30) == 0


def ask_again(bag: Path) -> list[BagCase]:
    """Give the cases of a bag; offline must be as live."""
    from vr_ros.pipeline.perceiver import Perceiver
    perceiver = Perceiver.from_card('sim_tiny', 'cpu')
    cases = []
    for case, perception in replay(perceiver, read_cases(bag)):
        assert case.recorded is not None
        assert differences(case.recorded.perception, perception) == [], case.text
        cases.append(case)
    return cases


def frames_of(bag: Path) -> dict[Stamp, np.ndarray]:
    """Decode every image of a bag."""
    images = (data for topic, _, data in check(bag) if topic == '/own/image')
    return {parse_image(data).stamp: decode_image(data) for data in images}


@pytest.mark.parametrize(('recorded_on', 'median_ms'), [
    ('jazzy', 1074.1495361328125), ('kilted', 1602.720458984375)])
def test_a_bag_of_one_distribution_evaluates_on_the_other(
        tmp_path: Path, recorded_on: str, median_ms: float) -> None:
    """The answers and truths of a demo each, and the totals that the demos themselves wrote."""
    out = tmp_path / 'out.json'
    done = evaluate_without_ros('bag', BAGS / recorded_on, '--json', out)
    assert done.returncode == 0, done.stderr
    content = json.loads(out.read_text())['bag']
    assert content['totals'] == {
        'instructions': 10, 'answered': 10, 'with known truth': 10, 'right': 8,
        'objects found': 10, 'median_ms': median_ms}
    assert content['problems'] == content['notes'] == []


def test_offline_finds_what_the_node_found(
        node: Callable[..., Graph], tmp_path: Path) -> None:
    live_from_the_simulator(node, tmp_path / 'first')
    check(tmp_path / 'first')
    cases = ask_again(tmp_path / 'first')
    assert {case.recorded.instruction_id: case.text for case in cases} == ASKED
    for case in cases:
        assert case.image.shape == (*SIZE[::-1], 3)
        assert case.recorded.frame_id == case.frame_id == 'camera_optical_frame'
        assert case.recorded.stamp == case.stamp
        assert case.task is Task.AUTO
    # The simulator knows the answer to the first two in any scene.
    truths = {case.text: case.truth for case in cases if case.truth is not None}
    assert {'count the cubes', 'how many objects are there?'} <= truths.keys()
    assert truths['count the cubes'].perception.count == len(
        truths['count the cubes'].perception.detections)
    frames = frames_of(tmp_path / 'first')
    live_from_the_bag(node, tmp_path / 'first', tmp_path / 'second')
    again = ask_again(tmp_path / 'second')
    assert {case.recorded.instruction_id: case.text for case in again} == ASKED
    # The frames of then; which of them the node looked at is up to it.
    assert all((case.image == frames[case.stamp]).all() for case in again)
