"""Tracks on the live graph: what planners see between two answers."""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live import Graph, Robot

from vr_ros.msg import Detection, DetectionArray, Instruction, MaskArray, Outcome
from vr_ros.nodes import qos

MOVING_BACKEND = f'{Path(__file__).parents[1] / "pipeline" / "moving_backend.py"}:make'
MakeGraph = Callable[..., Graph]


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeGraph]:
    """Make perception nodes whose model follows what is bright."""
    monkeypatch.setenv('VR_ROS_WORKER_BACKEND', MOVING_BACKEND)
    monkeypatch.setenv('VR_ROS_PYTHON', sys.executable)
    graphs: list[Graph] = []

    def make(**parameters: Any) -> Graph:
        graphs.append(Graph('tracks', {'model': 'moving', 'reason_period': 1000.0, **parameters}))
        return graphs[-1]

    yield make
    for item in graphs:
        item.close()


def lamp(column: int | None) -> np.ndarray:
    """A picture with something bright, or nothing."""
    picture = np.full((24, 32, 3), 40, np.uint8)
    if column is not None:
        picture[8:16, column:column + 8] = 255
    return picture


def follow(robot: Robot, column: int | None, age_s: float = 0.0) -> Any:
    """Show a picture and wait for the result about it."""
    shown = robot.show(lamp(column), age_s)
    results = robot.received['detections']
    robot.until(lambda: any(result.header == shown.header for result in results))
    return next(result for result in results if result.header == shown.header)


def test_every_frame_between_answers_has_its_result(graph: MakeGraph) -> None:
    robot = graph().start()
    masks = robot.listen('masks', MaskArray, qos.result())
    robot.until(lambda: robot.node.count_publishers('masks'))
    robot.spin(0.3)
    first = robot.show(lamp(2))
    name = robot.tell('lamp', mode=Instruction.CONTINUOUS)
    reasoned = robot.answer(name)
    (seen,) = reasoned.detections
    assert reasoned.outcome.source == Outcome.REASONED
    assert (seen.track_state, seen.last_seen) == (Detection.TRACK_NEW, first.header.stamp)
    assert seen.track_id != ''
    for column in range(3, 20):
        result = follow(robot, column)
        (found,) = result.detections
        assert result.outcome.source == Outcome.TRACKED
        assert result.outcome.reasoned_stamp == first.header.stamp
        assert (found.track_id, found.track_state) == (seen.track_id, Detection.TRACK_TRACKED)
        assert (found.x_min, found.x_max, found.label) == (column, column + 8, 'lamp')
        assert found.has_mask and found.area_px == 64 and result.count == 1
        assert found.position_status == Detection.POSITION_NONE     # no depth_topics
    sequences = [result.outcome.sequence for result in robot.answers(name)]
    assert sequences == list(range(len(sequences)))
    robot.until(lambda: masks and masks[-1].header == result.header)
    assert masks[-1].track_ids == [seen.track_id]
    # The words are those of the one answer, and the latched result is the one reasoned about.
    assert len(robot.answers(name, 'answer')) == 1
    late = robot.listen('perception/last_result', DetectionArray, qos.latched())
    robot.until(lambda: late)
    assert late[-1].outcome.source == Outcome.REASONED


def test_a_frame_right_behind_the_answer_is_followed(graph: MakeGraph) -> None:
    robot = graph().start()
    robot.show(lamp(2))
    name = robot.tell('late lamp', mode=Instruction.CONTINUOUS)
    (seen,) = robot.answer(name).detections
    # The worker is not ready to follow yet, and no other frame will come.
    (found,) = follow(robot, 4).detections
    assert (found.track_id, found.track_state) == (seen.track_id, Detection.TRACK_TRACKED)


def test_hidden_then_seen_again_then_lost(graph: MakeGraph) -> None:
    robot = graph(track_timeout=0.8).start()
    robot.show(lamp(2))
    name = robot.tell('lamp', mode=Instruction.CONTINUOUS)
    (seen,) = robot.answer(name).detections
    (before,) = follow(robot, 4).detections
    (hidden,) = follow(robot, None).detections
    assert (hidden.track_id, hidden.track_state) == (seen.track_id, Detection.TRACK_OCCLUDED)
    assert hidden.last_seen == before.last_seen and hidden.x_min == 4.0 and hidden.has_mask
    (again,) = follow(robot, 6).detections
    assert (again.track_id, again.track_state) == (seen.track_id, Detection.TRACK_TRACKED)
    robot.spin(0.9)
    gone = follow(robot, None)
    assert [found.track_state for found in gone.detections] == [Detection.TRACK_LOST]
    assert (gone.count, gone.outcome.status) == (0, Outcome.NO_OBJECT)
    # The loss itself has the reasoner look again, long before reason_period.
    robot.until(lambda: robot.answers(name)[-1].outcome.source == Outcome.REASONED)
    assert robot.answers(name)[-1].outcome.status == Outcome.NO_OBJECT


def test_a_recording_that_starts_over_leaves_no_track_behind(graph: MakeGraph) -> None:
    robot = graph(max_image_age=0.0, track_timeout=5.0).start()
    robot.show(lamp(2))
    name = robot.tell('lamp', mode=Instruction.CONTINUOUS)
    (seen,) = robot.answer(name).detections
    # What is in sight over the jump is the same object.
    (again,) = follow(robot, 3, age_s=3600.0).detections
    assert (again.track_id, again.track_state) == (seen.track_id, Detection.TRACK_TRACKED)
    (hidden,) = follow(robot, None, age_s=3600.0).detections
    assert hidden.track_state == Detection.TRACK_OCCLUDED
    # What is hidden then would be so for an hour; it is given up instead, once.
    gone = follow(robot, None, age_s=7200.0)
    assert [found.track_state for found in gone.detections] == [Detection.TRACK_LOST]
    robot.until(lambda: robot.answers(name)[-1].outcome.source == Outcome.REASONED)
    assert robot.answers(name)[-1].count == 0


@pytest.mark.parametrize(('level', 'is_replaced'), [
    (13, True),    # the worker dies while it tracks
    (14, True),    # it hangs
    (15, False),   # it cannot
])
def test_a_worker_that_fails_to_track_costs_no_id(
        graph: MakeGraph, level: int, is_replaced: bool) -> None:
    graph_of_one = graph(inference_timeout=1.0, track_timeout=60.0, reason_period=0.0)
    robot = graph_of_one.start()
    pid = graph_of_one.node.worker_health.pid
    robot.show(lamp(2))
    name = robot.tell('lamp', mode=Instruction.CONTINUOUS)
    (seen,) = robot.answer(name).detections
    robot.show(np.full((24, 32, 3), level, np.uint8))
    if is_replaced:
        robot.until(lambda: graph_of_one.node.worker_health.pid not in (pid, None))
        graph_of_one.wait_for_model()
    shown = robot.show(lamp(3))
    robot.until(lambda: any(
        result.header == shown.header and result.count for result in robot.answers(name)))
    (found,) = next(result for result in robot.answers(name)
                    if result.header == shown.header and result.count).detections
    assert found.track_id == seen.track_id
    assert robot.ask('lamp').outcome.status == Outcome.OK


def test_frames_are_followed_while_the_reasoner_thinks(graph: MakeGraph) -> None:
    robot = graph(reason_period=0.1).start()
    robot.show(lamp(2))
    name = robot.tell('slow lamp', mode=Instruction.CONTINUOUS)
    robot.answer(name)
    for step in range(1000):
        follow(robot, 3 + abs((step + 19) % 38 - 19))  # there and back: nothing jumps
        if sum(r.outcome.source == Outcome.REASONED for r in robot.answers(name)) > 2:
            break
    results = robot.answers(name)
    reasoned = [index for index, result in enumerate(results)
                if result.outcome.source == Outcome.REASONED]
    assert len(reasoned) > 2
    assert max(b - a for a, b in zip(reasoned, reasoned[1:], strict=False)) > 1
    assert len({found.track_id for result in results for found in result.detections}) == 1


def test_stop_ends_it(graph: MakeGraph) -> None:
    robot = graph().start()
    robot.show(lamp(2))
    name = robot.tell('lamp', mode=Instruction.CONTINUOUS)
    robot.answer(name)
    follow(robot, 3)
    robot.tell('', id=name, mode=Instruction.STOP)
    robot.until(lambda: robot.answers(name)[-1].outcome.status == Outcome.CANCELLED)
    count = len(robot.answers(name))
    for column in range(4, 8):
        robot.show(lamp(column))
    robot.spin(0.5)
    assert len(robot.answers(name)) == count
