"""Print which publishers and subscriptions connect with a perception node, on a live graph.

Each topic meets peers of every reliability and durability, in a participant of their own. What
connects is compared with the rules of DDS; of what does not, the perception node must warn in its
log with the topic's name.
"""
from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter

import rclpy
from _qos_matrix import ENDPOINTS, Cell, measure
from rcl_interfaces.msg import Log
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import LoggingSeverity
from rclpy.node import Node
from rclpy.parameter import Parameter
from rich.console import Console
from rich.table import Table

from vr_ros.evaluation.claims import Claim, print_claims, write_claims
from vr_ros.nodes.perception_node import PerceptionNode
from vr_ros.nodes.topic_watch import PATIENCE_S

NAMESPACE = 'qos'
NODE = f'{NAMESPACE}.perception'


class Graph:
    """A perception node, and a peer in a context of its own that also reads the node's log."""

    def __init__(self) -> None:
        self._contexts = rclpy.Context(), rclpy.Context()
        for context in self._contexts:
            rclpy.init(context=context)
        own, other = self._contexts
        # Configuring starts to load a model; that need not come to an end for this.
        self.node = PerceptionNode(
            context=own, namespace=NAMESPACE, parameter_overrides=[
                Parameter('model', value='none'), Parameter('image_topics', value=['image'])])
        self.peer = Node('peer', context=other, namespace=NAMESPACE)
        self.warnings: list[str] = []
        self.peer.create_subscription(Log, '/rosout', self._on_log, 1000)
        self._executors = [SingleThreadedExecutor(context=context) for context in self._contexts]
        for executor, node in zip(self._executors, (self.node, self.peer), strict=True):
            executor.add_node(node)

    def _on_log(self, line: Log) -> None:
        if line.name == NODE and line.level == LoggingSeverity.WARN:
            self.warnings.append(line.msg)

    def spin(self, seconds: float) -> None:
        """Let the graph live."""
        end_at = time.monotonic() + seconds
        while time.monotonic() < end_at:
            for executor in self._executors:
                executor.spin_once(timeout_sec=0.01)

    def close(self) -> None:
        """End the node, its worker and the peer."""
        self.node.end()
        for executor, node in zip(self._executors, (self.node, self.peer), strict=True):
            executor.shutdown()
            node.destroy_node()
        for context in self._contexts:
            rclpy.shutdown(context=context)


def run() -> tuple[list[Cell], list[str]]:
    """Set up the graph and measure.

    :return: the table, and the warnings of the node.
    """
    graph = Graph()
    try:
        graph.node.trigger_configure()
        graph.node.trigger_activate()
        graph.spin(1.0)
        cells = measure(graph.peer, graph.spin)
        graph.spin(3 * PATIENCE_S)
        return cells, graph.warnings
    finally:
        graph.close()


def print_table(cells: list[Cell]) -> None:
    """Print a row per topic; what is not as DDS has it is marked."""
    table = Table(title='Which peers connect')
    columns = [(cell.reliable, cell.latched) for cell in cells[:4]]
    table.add_column('topic of the node')
    for reliable, latched in columns:
        table.add_column(f'{"reliable" if reliable else "best effort"}\n'
                         f'{"transient local" if latched else "volatile"}')
    for endpoint in ENDPOINTS:
        row = [cell for cell in cells if cell.endpoint == endpoint]
        ours = (f'{"in " if endpoint.is_input else "out"} {endpoint.name}: '
                f'{"reliable" if endpoint.reliable else "best effort"}'
                f'{", latched" if endpoint.latched else ""}')
        table.add_row(ours, *(
            ('yes' if cell.connected else 'no')
            + ('' if cell.connected == cell.expected else ' (!)') for cell in row))
    Console(width=120).print(table)


def claims_of(cells: list[Cell], warnings: list[str]) -> list[Claim]:
    """Compare what connects with the rules, and what does not with the warnings."""
    refused = Counter(f'/{NAMESPACE}/{cell.endpoint.name}' for cell in cells if not cell.connected)
    warned = Counter(line.partition(': ')[0] for line in warnings)
    inputs = [cell for cell in cells if cell.endpoint.name == 'image']
    return [
        Claim('pairs of publisher and subscription', len(cells), 'pairs', None, 'higher'),
        Claim('pairs that connect', sum(cell.connected for cell in cells), 'pairs', None, 'higher'),
        Claim('pairs that differ from the rules of DDS',
              sum(cell.connected != cell.expected for cell in cells), 'pairs', 0, 'lower'),
        Claim('kinds of camera drivers whose images arrive',
              sum(cell.connected for cell in inputs), 'of 4', 4, 'higher'),
        Claim('pairs that do not connect and of which the node does not warn',
              (refused - warned).total(), 'pairs', 0, 'lower'),
        Claim('warnings beyond one per pair', (warned - refused).total(), 'lines', 0, 'lower'),
    ]


def main() -> int:
    """Measure, print, write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--json', metavar='FILE', help='write the claims there')
    options = parser.parse_args()
    started = time.perf_counter()
    cells, warnings = run()
    print_table(cells)
    claims = claims_of(cells, warnings)
    print_claims(claims, f'QoS, ROS 2 {os.environ.get("ROS_DISTRO", "")}')
    if options.json:
        table = {cell.endpoint.name: [] for cell in cells}
        for cell in cells:
            table[cell.endpoint.name].append({
                'reliable': cell.reliable, 'transient_local': cell.latched,
                'expected': cell.expected, 'connected': cell.connected})
        write_claims(
            options.json, claims, seed=0, seconds=time.perf_counter() - started,
            details={'ros_distro': os.environ.get('ROS_DISTRO', ''), 'table': table,
                     'warnings': sorted(warnings)})
    return 0


if __name__ == '__main__':
    sys.exit(main())
