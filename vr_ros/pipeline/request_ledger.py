"""Which requests are open, which hangs, and until when it may. Pure: the time is an argument."""
from __future__ import annotations

import math
from dataclasses import dataclass

from vr_ros.core.types import Status, Task
from vr_ros.pipeline import protocol
from vr_ros.pipeline.protocol import FromWorker


@dataclass(frozen=True)
class Overdue:
    """A request for which the worker is to be replaced, and the status it gets."""

    request_id: int
    status: Status
    message: str


@dataclass
class _Request:
    task: Task
    stop_before: float = math.inf
    answered: bool = False


class RequestLedger:
    """Open requests in the order in which they were made.

    :param inference_timeout_s: longest time without any event while a request is open; 0: no limit.
    :param cancel_grace_s: longest time that a cancelled request may go on computing.
    """

    def __init__(self, inference_timeout_s: float, cancel_grace_s: float) -> None:
        self._timeout_s = inference_timeout_s or math.inf
        self._grace_s = cancel_grace_s
        self._requests: dict[int, _Request] = {}
        self._running: int | None = None
        self._progress_at = -math.inf

    def __contains__(self, request_id: int) -> bool:
        return request_id in self._requests

    def unanswered(self) -> list[tuple[int, Task]]:
        """Return id and task of every request that still owes its Result to the caller."""
        return [(request_id, request.task) for request_id, request in self._requests.items()
                if not request.answered]

    def open(self, request_id: int, task: Task, now: float) -> None:
        if not self._requests:
            self._progress_at = now
        self._requests[request_id] = _Request(task)

    def discard(self, request_id: int) -> None:
        """Forget a request that the worker did not accept."""
        self._requests.pop(request_id, None)

    def cancel(self, request_id: int, now: float) -> Task | None:
        """Note that a request was cancelled; the worker's own Result will not be passed on.

        :return: the task of the request if the caller is to be answered now, else None.
        """
        request = self._requests.get(request_id)
        if request is None or request.answered:
            return None
        request.answered = True
        request.stop_before = now + self._grace_s
        return request.task

    def observe(self, message: FromWorker, now: float) -> bool:
        """Take note of what the worker said; False when it is not to be passed on."""
        request_id = getattr(message, 'request_id', None)
        if request_id is None:
            return True
        request = self._requests.get(request_id)
        if request is None:
            return False
        self._progress_at = now
        if isinstance(message, protocol.Started):
            self._running = request_id
        elif isinstance(message, protocol.Result | protocol.Tracked):
            del self._requests[request_id]
            if self._running == request_id:
                self._running = None
        return not request.answered

    def overdue(self, now: float) -> Overdue | None:
        """Return the request that hangs, if one does."""
        for request_id, request in self._requests.items():
            if now >= request.stop_before:
                return Overdue(request_id, Status.CANCELLED,
                               f'still computing {self._grace_s:g} s after it was cancelled')
        if self._requests and now >= self._progress_at + self._timeout_s:
            running = self._running if self._running is not None else next(iter(self._requests))
            return Overdue(running, Status.TIMEOUT,
                           f'no progress for {self._timeout_s:g} s; the worker is replaced')
        return None

    def deadline(self) -> float:
        """Return the time at which to ask overdue() next; infinity when nothing is open."""
        if not self._requests:
            return math.inf
        return min(self._progress_at + self._timeout_s,
                   *(request.stop_before for request in self._requests.values()))
