"""The worker's list of requests: what waits, what runs, what was cancelled."""
from __future__ import annotations

import threading
from dataclasses import dataclass, field

from vr_ros.pipeline.protocol import Perceive
from vr_ros.pipeline.worker_frames import RingFrame


@dataclass
class Job:
    """One request and its frame, of which it took hold when it came."""

    request: Perceive
    frame: RingFrame
    cancelled: threading.Event = field(default_factory=threading.Event)


class Jobs:
    """Requests by id: the reader adds and cancels, the inference thread starts and finishes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, Job] = {}
        self._running: Job | None = None

    @property
    def running_id(self) -> int | None:
        """The request that is being computed."""
        running = self._running
        return None if running is None else running.request.request_id

    def add(self, job: Job) -> None:
        with self._lock:
            self._waiting[job.request.request_id] = job

    def start(self, job: Job) -> bool:
        """Take a job up; False when it was cancelled while it waited and is answered already."""
        with self._lock:
            if self._waiting.pop(job.request.request_id, None) is None:
                return False
            self._running = job
            return True

    def finish(self) -> None:
        with self._lock:
            self._running = None

    def cancel(self, request_id: int) -> Job | None:
        """Cancel a request; one that runs is told to stop, one that is not known is over already.

        :return: the job if it was still waiting: the caller answers it.
        """
        with self._lock:
            if self._running is not None and self._running.request.request_id == request_id:
                self._running.cancelled.set()
                return None
            job = self._waiting.pop(request_id, None)
            if job is not None:
                job.cancelled.set()
            return job

    def cancel_all(self) -> list[Job]:
        """Cancel everything, and return what was still waiting, in order."""
        with self._lock:
            waiting, self._waiting = list(self._waiting.values()), {}
            if self._running is not None:
                self._running.cancelled.set()
        return waiting
