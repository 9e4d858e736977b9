"""Has the worker follow, on every frame, what continuous instructions have found."""
from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from vr_ros.core.track_book import TrackBook
from vr_ros.core.types import (
    Perception,
    PerceptionError,
    Source,
    Stamp,
    Status,
    Task,
    Timing,
    TrackState,
)
from vr_ros.nodes.cameras import Camera, Frame
from vr_ros.nodes.instruction_queue import Job
from vr_ros.nodes.parameters import PerceptionParameters
from vr_ros.nodes.run import Clocks, Run, Worker
from vr_ros.pipeline.protocol import Tracked

# Answers whose objects may still be followed: the newest, and the one before while that catches up.
REMEMBERED_ANSWERS = 4


@dataclass
class _Sent:
    """A frame that the worker looks at."""

    request_id: int
    frame: Frame
    sent_at: float
    image_age_ms: float


@dataclass(frozen=True)
class _Answer:
    """What all tracked results of an answer share."""

    task: Task
    reasoned_stamp: Stamp
    status: Status
    status_message: str


@dataclass
class _Followed:
    """One job and its tracks."""

    job: Job
    book: TrackBook
    answers: dict[int, _Answer] = field(default_factory=dict)
    sent: _Sent | None = None
    last_frame: int = 0


@dataclass(frozen=True)
class TrackedResult:
    """What became of a frame.

    :param perception: None: nothing is followed.
    :param reasoned_stamp: of the frame that the objects were found on.
    :param is_outdated: an object was given up, or the scene is another: it is time to reason anew.
    """

    job: Job
    frame: Frame
    perception: Perception | None = None
    reasoned_stamp: Stamp = Stamp()
    is_outdated: bool = False


class Following:
    """One stream of frames per camera: the next goes out when the worker is done with the last.

    :param request_ids: shared with whoever else asks the worker.
    """

    def __init__(self, parameters: Callable[[], PerceptionParameters], clocks: Clocks,
                 request_ids: Iterator[int]) -> None:
        self._parameters, self._clocks, self._request_ids = parameters, clocks, request_ids
        # An id is unique over all runs of the node, not in this one alone.
        self._ids = (f'{secrets.token_hex(3)}-{number}' for number in itertools.count(1))
        self._followed: dict[str, _Followed] = {}

    def begin(self, job: Job) -> tuple[str, int]:
        """Get ready for an answer to a job.

        :return: the camera to follow on, '' for none, and how many objects at most.
        """
        if not (job.is_continuous and self._is_wanted):
            return '', 0
        followed = self._followed.get(job.camera)
        if followed is None or followed.job is not job:
            self._followed[job.camera] = _Followed(job, TrackBook(
                lambda: next(self._ids), lambda: self._parameters().track_timeout))
        return job.camera, self._parameters().max_tracks

    @property
    def _is_wanted(self) -> bool:
        values = self._parameters()
        return values.tracking and values.masks

    def answered(self, run: Run, perception: Perception) -> Perception:
        """Give the objects of an answer their ids."""
        followed = self._followed.get(run.job.camera)
        if followed is None or followed.job is not run.job or perception.status.is_error:
            return perception
        stamp = run.frame.header.stamp
        status, message = Status.OK, ''
        masked = sum(found.mask is not None for found in perception.detections)
        limit = self._parameters().max_tracks
        if masked > limit:
            status = Status.LIMIT_REACHED
            message = f'{limit} of {masked} objects are followed: max_tracks'
        followed.answers[run.request_id] = _Answer(perception.task, stamp, status, message)
        while len(followed.answers) > REMEMBERED_ANSWERS:
            del followed.answers[next(iter(followed.answers))]
        detections = followed.book.answer(
            run.request_id, run.frame.number, stamp, perception.detections, run.next_index)
        return replace(perception, detections=detections)

    def pump(self, worker: Worker, cameras: Mapping[str, Camera]) -> None:
        """Send each camera's newest frame, unless the worker has one of it already."""
        if not self._is_wanted:
            for followed in list(self._followed.values()):
                self.end(followed.job, worker)
        for name, followed in self._followed.items():
            frame = cameras[name].newest if name in cameras else None
            if frame is None or followed.sent is not None or frame.number <= followed.last_frame:
                continue
            followed.last_frame = frame.number
            now = self._clocks.steady()
            try:
                age_ms = frame.age_s(self._clocks.node_ns()) * 1e3
                frame.check_size(self._parameters().max_image_pixels)
            except PerceptionError:
                continue  # the next answer about such a frame says what is wrong with it
            followed.sent = _Sent(next(self._request_ids), frame, now, age_ms)
            worker.track(followed.sent.request_id, name, frame.data())

    def on_tracked(self, event: Tracked, model_id: str) -> TrackedResult | None:
        """Take what the worker found on a frame.

        :return: None when that concerns nobody any more.
        """
        for followed in self._followed.values():
            sent = followed.sent
            if sent is not None and sent.request_id == event.request_id:
                followed.sent = None
                return self._result(followed, sent, event, model_id)
        return None

    def _result(self, followed: _Followed, sent: _Sent, event: Tracked,
                model_id: str) -> TrackedResult:
        answer, frame = followed.answers.get(event.seed_id), sent.frame
        detections = None if answer is None else followed.book.follow(
            event.seed_id, frame.number, frame.header.stamp, event.detections)
        if answer is None or detections is None:
            return TrackedResult(followed.job, frame, is_outdated=event.scene_changed)
        now = self._clocks.steady()
        perception = Perception(
            answer.status, answer.task, detections, status_message=answer.status_message,
            image_size=frame.size, model_id=model_id, source=Source.TRACKED,
            timing=Timing(image_age_ms=sent.image_age_ms,
                          queue_ms=(sent.sent_at - frame.received_at) * 1e3,
                          segment_ms=event.busy_ms, total_ms=(now - frame.received_at) * 1e3))
        if perception.count == 0:
            perception = replace(perception, status=Status.NO_OBJECT,
                                 status_message='nothing that was found is in sight')
        has_lost = any(found.track_state is TrackState.LOST for found in detections)
        return TrackedResult(followed.job, frame, perception, answer.reasoned_stamp,
                             has_lost or event.scene_changed)

    def end(self, job: Job, worker: Worker | None) -> None:
        """Follow nothing for a job any more."""
        followed = self._followed.get(job.camera)
        if followed is not None and followed.job is job:
            del self._followed[job.camera]
            if worker is not None:
                worker.forget(job.camera)

    def restart(self) -> None:
        """Go on with a new worker, which follows nothing yet; the ids stay."""
        for followed in self._followed.values():
            followed.sent = None
