"""Two nodes on one machine, each with a namespace, a camera and a worker of its own; remapping."""
from __future__ import annotations

import sys

import numpy as np
import pytest
import rclpy
from fault_backend import digest
from live import FAULT_BACKEND, Graph
from rclpy.parameter import Parameter

from vr_ros.msg import Outcome
from vr_ros.nodes.perception_node import PerceptionNode


@pytest.fixture(autouse=True)
def fault_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('VR_ROS_WORKER_BACKEND', FAULT_BACKEND)
    monkeypatch.setenv('VR_ROS_PYTHON', sys.executable)


def test_each_node_answers_only_what_it_is_asked_about_its_own_camera() -> None:
    graphs = {name: Graph(name, {'model': 'good'}) for name in ('left', 'right')}
    try:
        robots = {name: graph.start() for name, graph in graphs.items()}
        pids = {graph.node.worker_health.pid for graph in graphs.values()}
        assert len(pids) == 2

        pictures = {}
        for value, (name, robot) in enumerate(robots.items(), start=1):
            pictures[name] = np.full((24, 32, 3), 40 * value, np.uint8)
            robot.show(pictures[name], frame_id=f'{name}_optical')
        for name, robot in robots.items():
            asked = robot.tell('echo')
            result = robot.answer(asked)
            assert result.outcome.status == Outcome.OK
            assert result.header.frame_id == f'{name}_optical'
            assert robot.answers(asked, 'answer')[0].answer == digest(pictures[name])
            for other in robots.values():
                other.spin(0.3)
                assert bool(other.answers(asked)) == (other is robot)
    finally:
        for graph in graphs.values():
            graph.close()


def test_every_topic_can_be_remapped() -> None:
    context = rclpy.Context()
    rclpy.init(context=context)
    remapped = {'image': 'front/rgb', 'camera_info': 'front/info', 'instruction': '/orders',
                'detections': 'found', '~/overlay': '/screen'}
    rules = [part for old, new in remapped.items() for part in ('-r', f'{old}:={new}')]
    node = PerceptionNode(
        context=context, namespace='left', cli_args=['--ros-args', *rules],
        parameter_overrides=[Parameter('model', value='good')])
    try:
        node.trigger_configure()
        node.trigger_activate()
        # Not from the graph: it remembers nodes of the same name for a while.
        topics = {end.topic_name for end in (*node.publishers, *node.subscriptions)}
        assert {'/left/front/rgb', '/left/front/info', '/orders', '/left/found', '/screen',
                '/left/perception/labels', '/diagnostics'} <= topics
        assert not {'/left/image', '/left/instruction', '/left/detections',
                    '/left/perception/overlay'} & topics
    finally:
        node.end()
        node.destroy_node()
        rclpy.shutdown(context=context)
