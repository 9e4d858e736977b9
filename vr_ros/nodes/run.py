"""The answer under way, and how it becomes a result."""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from vr_ros.core.types import Detection, Perception, Size, Task, Timing
from vr_ros.nodes.cameras import Frame
from vr_ros.nodes.instruction_queue import Job
from vr_ros.pipeline.frame_sender import FrameData


class Worker(Protocol):
    """What answers: a pipeline.supervisor.WorkerSupervisor."""

    def perceive(self, request_id: int, text: str, frame: FrameData, *, task: Task,
                 want_masks: bool, follow: str, max_tracks: int) -> None: ...

    def cancel(self, request_id: int) -> None: ...

    def track(self, request_id: int, camera: str, frame: FrameData) -> None: ...

    def forget(self, camera: str) -> None: ...


@dataclass(frozen=True)
class Clocks:
    """Durations by the steady clock in seconds, ages by the node's clock in nanoseconds."""

    steady: Callable[[], float]
    node_ns: Callable[[], int]


@dataclass
class Run:
    """One job on one frame, from when it was handed to the worker.

    :param image_age_ms: age of the frame then, by the node's clock.
    :param model_id: of the model it was handed to.
    :param started_at, began_at: seconds of the steady clock: handed over; taken up by the worker.
    :param task: what the worker does; AUTO until it has said so.
    :param text: its reasoning so far.
    """

    request_id: int
    job: Job
    frame: Frame
    image_age_ms: float
    started_at: float
    model_id: str = ''
    began_at: float = math.nan
    task: Task = Task.AUTO
    text: str = ''
    _found: dict[int, Detection] = field(default_factory=dict)

    @property
    def has_begun(self) -> bool:
        return not math.isnan(self.began_at)

    @property
    def found(self) -> tuple[Detection, ...]:
        """What was found so far, each with its mask once that is there."""
        return tuple(self._found[index] for index in sorted(self._found))

    @property
    def next_index(self) -> int:
        """The first index that nothing found so far has."""
        return max(self._found, default=-1) + 1

    def add(self, detections: tuple[Detection, ...]) -> None:
        self._found.update((detection.index, detection) for detection in detections)

    def complete(self, perception: Perception, now: float) -> Perception:
        """Fill in what the worker cannot know: the waiting before it, the image behind an error."""
        job = self.job
        received_at = self.frame.received_at if job.is_continuous else job.received_at
        taken_up_at = self.began_at if self.has_begun else self.started_at
        size = perception.image_size
        return replace(
            perception, image_size=self.frame.size if size == Size(0, 0) else size,
            timing=replace(perception.timing, image_age_ms=self.image_age_ms,
                           queue_ms=(taken_up_at - job.due_at) * 1e3,
                           total_ms=(now - received_at) * 1e3))


def without_image(perception: Perception, job: Job, now: float) -> Perception:
    """Fill in the waiting of a job that no image was looked at for."""
    waited_ms = (now - job.due_at) * 1e3
    return replace(perception, timing=Timing(queue_ms=waited_ms, total_ms=waited_ms))
