"""Publishes how a node is from a thread of its own: also while the node's thread is held up."""
from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from std_msgs.msg import Header

from vr_ros.nodes import qos
from vr_ros.nodes.diagnostics import (
    Diagnosis,
    HoldUp,
    judge_callbacks,
    judge_model,
    outdated,
    to_message,
)
from vr_ros.nodes.safely import failures_of, safely
from vr_ros.pipeline.worker_state import WorkerHealth

# A callback that takes longer than this holds up the others.
PATIENCE_S = 0.5


@dataclass(frozen=True)
class SelfReport:
    """What the thread that spins a node says of it.

    :param diagnoses: of all that only that thread may look at.
    :param max_silence_s: what is silent for longer is in error.
    """

    diagnoses: tuple[Diagnosis, ...]
    max_silence_s: float


@dataclass(frozen=True)
class _Answer:
    """:param at: seconds of the steady clock."""

    report: SelfReport
    thread_id: int
    at: float


class DiagnosticsThread:
    """Asks the node's thread for its report once a period, and publishes with it or without it.

    Only a message of this thread passes between the two, so nothing else has to be locked.

    :param look: makes the report; called by the executor, and once right away.
    :param health: of the worker; may be called from any thread.
    """

    def __init__(self, node: Node, period_s: float, look: Callable[[], SelfReport],
                 health: Callable[[], WorkerHealth]) -> None:
        self._node, self._period_s, self._look, self._health = node, period_s, look, health
        self._publisher = qos.create_publisher(
            node, DiagnosticArray, '/diagnostics', qos.command())
        self._ended, self._answered = threading.Event(), threading.Event()
        self._newest = _Answer(look(), threading.get_ident(), time.monotonic())
        self._question = node.create_guard_condition(safely(node, self._on_question))
        self._thread = threading.Thread(target=self._run, name='vr_ros diagnostics', daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Publish no more, and end the thread. Safe to call twice."""
        self._ended.set()
        self._answered.set()
        self._thread.join()

    def _on_question(self) -> None:
        # A report that fails is counted as such, and is no hold-up.
        report = safely(self._node, self._look, self._newest.report)()
        self._newest = _Answer(report, threading.get_ident(), time.monotonic())
        self._answered.set()

    def _run(self) -> None:
        publish = safely(self._node, self._publish)
        due = asked_at = time.monotonic() + self._period_s
        while not self._ended.wait(max(due - time.monotonic(), 0.0)):
            # One that was held up itself does not make up for what it missed.
            due = max(due + self._period_s, time.monotonic())
            if self._newest.at >= asked_at:
                asked_at = time.monotonic()
            self._answered.clear()
            self._question.trigger()
            self._answered.wait(PATIENCE_S)
            if self._ended.is_set() or not self._node.context.ok():
                return
            publish(asked_at)

    def _publish(self, asked_at: float) -> None:
        """:param asked_at: since when the node's thread has been asked, seconds."""
        newest, now = self._newest, time.monotonic()
        hold_up = None
        if newest.at < asked_at:
            hold_up = HoldUp(now - asked_at, place_of(newest.thread_id))
        health, limit_s = self._health(), newest.report.max_silence_s
        diagnoses = newest.report.diagnoses
        if hold_up is not None and hold_up.seconds > limit_s:
            diagnoses = tuple(outdated(diagnosis, now - newest.at) for diagnosis in diagnoses)
        self._publisher.publish(to_message(
            Header(stamp=self._node.get_clock().now().to_msg()),
            self._node.get_fully_qualified_name(), health.model_id,
            [judge_model(health, now, limit_s), *diagnoses,
             judge_callbacks(failures_of(self._node), hold_up, limit_s)]))


def place_of(thread_id: int) -> str:
    """Say where in this package a thread is, as in 'submit (dispatch.py:131)'; '' if nowhere."""
    frame = sys._current_frames().get(thread_id)
    while frame is not None:
        if frame.f_globals.get('__name__', '').startswith('vr_ros.'):
            code = frame.f_code
            file = code.co_filename.rpartition('/')[2]
            return f'{code.co_name} ({file}:{frame.f_lineno})'
        frame = frame.f_back
    return ''
