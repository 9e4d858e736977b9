"""The measuring program on the graph: asks the perception node, and notes what it answers."""
from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from vr_ros.core.types import Instruction, Mode, Status
from vr_ros.nodes import qos
from vr_ros.nodes.convert import AnswerMsg, InstructionMsg, instruction_to_msg

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Beat:
    """What one message on /diagnostics said.

    :param stamp_s: by the node's clock.
    :param images: how many have arrived at the node so far.
    :param worker_pid: 0 while there is none.
    """

    stamp_s: float
    is_ready: bool
    worker_pid: int
    images: int


@dataclass(frozen=True)
class Arrival:
    """One frame at the worker.

    :param age_ms: of the frame when the node handed it over, by its stamp.
    """

    sent_ns: int
    arrived_ns: int
    age_ms: float


class Watch:
    """A node that talks to the perception node of its namespace.

    Set `check` to what is to be called while something is waited for; it raises when that is in
    vain.
    """

    def __init__(self, namespace: str) -> None:
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self.node = Node('watch', context=self._context, namespace=namespace)
        self._executor.add_node(self.node)
        self._perception = f'{namespace}/perception: '
        self.check: Callable[[], None] = lambda: None
        self.beats: list[Beat] = []
        self.arrivals: list[Arrival] = []
        self._instructions = qos.create_publisher(
            self.node, InstructionMsg, 'instruction', qos.command())
        qos.create_subscription(self.node, AnswerMsg, 'answer', self._on_answer, qos.result())
        qos.create_subscription(
            self.node, DiagnosticArray, '/diagnostics', self._on_diagnostics, qos.command())

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def spin_once(self, timeout_s: float) -> None:
        """Do what there is to do, or wait for it."""
        self._executor.spin_once(timeout_sec=timeout_s)

    def until(self, what: str, condition: Callable[[], Any],
              patience_s: float = PATIENCE_S) -> None:
        """Spin until a condition holds.

        :param what: waited for, for the error.
        :raises TimeoutError: it does not within the patience.
        """
        end_at = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > end_at:
                raise TimeoutError(f'waited {patience_s:g} s for {what}')
            self.check()
            self.spin_once(0.1)

    def until_measurable(self) -> None:
        """Wait until the model is ready and frames arrive at it and at the plain subscriber."""
        self.until('the worker', lambda: self.beats and self.beats[-1].is_ready)
        self.until('images at the node', lambda: self.beats[-1].images)
        self.until('both subscribers', lambda: self.node.count_subscribers('image') > 1
                   and self._instructions.get_subscription_count())
        self.next_beat()

    def next_beat(self, seconds: float = 0.0) -> Beat:
        """Wait for the first message on /diagnostics after a time."""
        begun_at = time.monotonic()
        self.until('time', lambda: time.monotonic() >= begun_at + seconds, math.inf)
        count = len(self.beats)
        self.until('a message on /diagnostics', lambda: len(self.beats) > count)
        return self.beats[-1]

    def ask_for(self, seconds: float) -> None:
        """Have every frame answered for a time, so that each goes the whole way to the worker."""
        self._tell(Instruction('', 'when did this frame arrive?', mode=Mode.CONTINUOUS))
        self.until('the first answer', lambda: self.arrivals)
        begun_at = time.monotonic()
        self.until('time', lambda: time.monotonic() >= begun_at + seconds, math.inf)
        self._tell(Instruction('', '', mode=Mode.STOP))

    def _tell(self, instruction: Instruction) -> None:
        self._instructions.publish(instruction_to_msg(instruction))

    def _on_answer(self, message: AnswerMsg) -> None:
        if message.outcome.status == Status.OK:
            sent_ns, arrived_ns = map(int, message.answer.split())
            self.arrivals.append(
                Arrival(sent_ns, arrived_ns, message.outcome.timing.image_age_ms))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        found = {status.name.removeprefix(self._perception).split()[0]:
                 {pair.key: pair.value for pair in status.values}
                 for status in message.status if status.name.startswith(self._perception)}
        if 'model' not in found:
            return
        stamp = message.header.stamp
        self.beats.append(Beat(
            stamp.sec + stamp.nanosec / 1e9, found['model']['state'] == 'ready',
            int(found['model']['worker pid'] or 0),
            int(found.get('camera', {}).get('images', 0))))
