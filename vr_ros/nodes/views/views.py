"""Results for people and for other tools: pictures, markers, messages of other packages.

All only while somebody subscribes, and all with the header of the image; what is in space has the
frame_id that the parameter target_frame names, if it names one.
"""
from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from rclpy.node import Node
from rclpy.publisher import Publisher

from vr_ros.nodes.safely import safely
from vr_ros.nodes.updates import Answer, Update
from vr_ros.nodes.views.labels import LabelView
from vr_ros.nodes.views.markers import MarkerView
from vr_ros.nodes.views.overlay import OverlayView
from vr_ros.nodes.views.target_frame import Place, as_seen
from vr_ros.nodes.views.vision_mirrors import make_mirrors


class View(Protocol):
    """One way to show an answer to an image of a camera, on topics of its own."""

    @property
    def is_wanted(self) -> bool:
        """Whether there is anybody to show it to."""

    def messages(self, answer: Answer) -> Iterator[tuple[Publisher, Any]]:
        """Make the messages, and say where each goes."""


class Views:
    """Shows each answer in every view that is wanted.

    :param place: says in which frame markers and messages with positions are.
    """

    def __init__(self, node: Node, place: Place = as_seen) -> None:
        self._node = node
        self._quick: Sequence[View] = [MarkerView(node, place), *make_mirrors(node, place)]
        self._studio = Studio(node, [OverlayView(node), LabelView(node)])

    def show(self, update: Update) -> None:
        """Show an answer. Errors, and answers without an image of a camera, are shown nowhere."""
        if (not isinstance(update, Answer) or update.frame is None
                or update.job.picture is not None or update.perception.status.is_error):
            return
        for view in self._quick:
            if view.is_wanted:
                safely(self._node, _publish)(view.messages(update))
        self._studio.show(update)


class Studio:
    """Makes what takes milliseconds, in a thread of its own; the node's thread publishes it.

    If answers come faster than they are drawn, the newest of each camera is drawn.
    """

    def __init__(self, node: Node, views: Sequence[View]) -> None:
        self._node, self._views = node, views
        self._waiting: dict[str, Answer] = {}
        self._changed = threading.Condition()
        self._finished: deque[tuple[Publisher, Any]] = deque()
        self._guard = node.create_guard_condition(safely(node, self._publish_finished))
        self._thread: threading.Thread | None = None

    def show(self, answer: Answer) -> None:
        """Have an answer drawn if any view is wanted."""
        if not any(view.is_wanted for view in self._views):
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._draw_all, name='views', daemon=True)
            self._thread.start()
        with self._changed:
            self._waiting[answer.job.camera] = answer
            self._changed.notify()

    def _draw_all(self) -> None:
        draw = safely(self._node, self._draw)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                # The camera that has waited longest: a slot keeps its place when it is renewed.
                answer = self._waiting.pop(next(iter(self._waiting)))
            for view in self._views:
                draw(view, answer)

    def _draw(self, view: View, answer: Answer) -> None:
        if view.is_wanted:
            self._finished.extend(view.messages(answer))
            self._guard.trigger()

    def _publish_finished(self) -> None:
        while self._finished:
            _publish([self._finished.popleft()])


def _publish(messages: Iterable[tuple[Publisher, Any]]) -> None:
    for publisher, message in messages:
        publisher.publish(message)
