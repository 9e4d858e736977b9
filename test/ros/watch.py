"""One more participant of the graph, that listens, speaks and waits."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

PATIENCE_S = 60.0


class Watcher:
    """A node that collects what it hears.

    :param make_nodes: of those under test; they share its executor.
    """

    def __init__(self, *make_nodes: Callable[[rclpy.Context], Node]) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.node = Node('watcher', context=self.context)
        self.others = [make(self.context) for make in make_nodes]
        for node in (self.node, *self.others):
            self.executor.add_node(node)

    def listen(self, kind: type, topic: str, profile: QoSProfile | int = 50) -> list[Any]:
        """Collect what is published on a topic from now on; wait for its publisher."""
        heard: list[Any] = []
        subscription = self.node.create_subscription(kind, topic, heard.append, profile)
        self.until(lambda: self.node.count_publishers(subscription.topic_name))
        return heard

    def until(self, condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
        """Spin until a condition holds, and return its value."""
        end_at = time.monotonic() + patience_s
        while not (value := condition()):
            if time.monotonic() > end_at:
                raise TimeoutError(f'waited {patience_s:g} s')
            self.executor.spin_once(timeout_sec=0.05)
        return value

    def spin(self, seconds: float) -> None:
        """Let things happen that must not happen."""
        end_at = time.monotonic() + seconds
        while time.monotonic() < end_at:
            self.executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        """End everything."""
        self.executor.shutdown()
        for node in (*self.others, self.node):
            node.destroy_node()
        rclpy.shutdown(context=self.context)


@contextmanager
def watching(*make_nodes: Callable[[rclpy.Context], Node]) -> Iterator[Watcher]:
    """Watch nodes, and end them."""
    watcher = Watcher(*make_nodes)
    try:
        yield watcher
    finally:
        watcher.close()


def overrides(**parameters: Any) -> list[Parameter]:
    """Make parameter overrides for a node."""
    return [Parameter(name, value=value) for name, value in parameters.items()]
