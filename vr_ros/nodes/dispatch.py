"""Brings instructions, frames and the worker together. No ROS: time and outputs are passed in."""
from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace

from vr_ros.core.types import Instruction, Mode, Perception, PerceptionError, Status
from vr_ros.nodes.cameras import Camera, Frame
from vr_ros.nodes.following import Following
from vr_ros.nodes.instruction_queue import MAX_ID_CHARS, InstructionQueue, Job, RecentIds
from vr_ros.nodes.parameters import PerceptionParameters
from vr_ros.nodes.readiness import check_instruction, image_problem, model_problem
from vr_ros.nodes.reporter import Reporter
from vr_ros.nodes.result_statistics import ResultStatistics
from vr_ros.nodes.run import Clocks, Run, Worker, without_image
from vr_ros.nodes.updates import Stage, UpdateSink
from vr_ros.pipeline import protocol
from vr_ros.pipeline.protocol import FromWorker
from vr_ros.pipeline.worker_state import WorkerHealth, WorkerState

# Of the cameras that a refused instruction names, so many get an answer each.
MAX_REFUSALS = 16
# A continuous instruction that fails at once must not fail in a tight loop.
PAUSE_AFTER_ERROR_S = 1.0

# Refusals after which a job waits for the next worker, until its deadline.
_NOT_THERE = (Status.MODEL_LOADING, Status.WORKER_RESTARTING)


class Dispatcher:
    """Takes instructions, and sees to it that each gets one result per camera, whatever happens.

    One answer is under way at a time, so that the next looks at the frame that is newest when its
    turn comes. Not thread-safe; every method returns at once.

    :param parameters: the node's parameters as they are now.
    :param on_update: gets everything, in order. A listener gets what concerns its own instruction.
    :param warn: gets one line about what has no result to say it with.
    """

    def __init__(self, parameters: Callable[[], PerceptionParameters], clocks: Clocks,
                 on_update: UpdateSink, warn: Callable[[str], None]) -> None:
        self._parameters, self._clocks = parameters, clocks
        self._report, self._warn = Reporter(on_update, clocks.steady), warn
        self._queue, self._ids = InstructionQueue(), RecentIds()
        self._request_ids = itertools.count(1)
        self._following = Following(parameters, clocks, self._request_ids)
        self._cameras: Mapping[str, Camera] = {}
        self._worker: Worker | None = None
        self._health = WorkerHealth(WorkerState.CLOSED)
        self._is_active = False
        self._run: Run | None = None

    def attach(self, worker: Worker, cameras: Mapping[str, Camera]) -> None:
        """Use this worker and these cameras from now on."""
        self._worker, self._cameras, self._health = worker, cameras, WorkerHealth()

    def detach(self) -> None:
        """Let go of worker and cameras."""
        self.deactivate()
        self._worker, self._cameras = None, {}
        self._health = WorkerHealth(WorkerState.CLOSED)

    def activate(self) -> None:
        """Accept instructions from now on."""
        self._is_active = True

    def deactivate(self) -> None:
        """Accept no more, and end all there are with NOT_ACTIVE."""
        self._is_active = False
        self._end_all(Status.NOT_ACTIVE, 'the node was deactivated')

    @property
    def waiting(self) -> int:
        """Instructions that are accepted and not ended, counted per camera."""
        return len(self._queue)

    @property
    def results(self) -> ResultStatistics:
        """What came of instructions so far."""
        return self._report.results

    @property
    def wake_at(self) -> float:
        """Until when pump() has nothing to do if nothing else happens; infinity: ever."""
        return self._queue.wake_at(self._clocks.steady())

    def submit(self, instruction: Instruction, listener: UpdateSink | None = None,
               picture: Frame | None = None, error: PerceptionError | None = None) -> int:
        """Take an instruction.

        :param listener: gets its updates besides on_update, the first ones before this returns.
        :param picture: what to look at in place of the cameras.
        :param error: why it cannot be carried out, if that is known already.
        :return: how many Answers will end it, one per camera; 0: it is a STOP, or ignored because
            its id was used before.
        """
        if instruction.mode is Mode.STOP:
            self._stop(instruction)
            return 0
        if not instruction.id:
            instruction = replace(instruction, id=str(uuid.uuid4()))
        if len(instruction.id) <= MAX_ID_CHARS and not self._ids.add(instruction.id):
            self._warn(f'instruction {instruction.id!r:.80} was given before: ignored')
            return 0
        cameras = [''] if picture is not None else self._targets(instruction)
        try:
            self._check(instruction, picture, error)
            jobs, replaced = self._accept(instruction, cameras, listener, picture)
        except PerceptionError as refusal:
            cameras = cameras[:MAX_REFUSALS]
            for camera in cameras:
                self._refuse(instruction, camera, listener, picture, refusal)
            return len(cameras)
        for job in replaced:
            self._end(job, Status.SUPERSEDED, 'a newer continuous instruction took its place')
        self.pump()
        return len(jobs)

    def cancel(self, instruction_id: str) -> None:
        """End an instruction with CANCELLED on every camera; one that has ended stays as it is."""
        for job in self._queue.matching(instruction_id) if instruction_id else []:
            self._end(job, Status.CANCELLED, 'cancelled by the client')
        self.pump()

    def on_health(self, health: WorkerHealth) -> None:
        """Take note of how the worker is."""
        self._health = health
        if health.state is not WorkerState.READY:
            self._following.restart()
        if health.state is WorkerState.FAILED:
            self._end_all(Status.MODEL_UNAVAILABLE, health.message)
        self.pump()

    def on_worker(self, event: FromWorker) -> None:
        """Take what the worker says about the answer under way; about others it is too late."""
        if isinstance(event, protocol.Tracked):
            self._on_tracked(event)
            return
        run = self._run
        if run is None or getattr(event, 'request_id', None) != run.request_id:
            return
        if isinstance(event, protocol.Started):
            run.began_at, run.task = self._clocks.steady(), event.task
            self._report.progress(run, Stage.REASONING)
        elif isinstance(event, protocol.Text):
            run.text += event.text
            self._report.progress(run, Stage.REASONING, text=event.text)
        elif isinstance(event, protocol.Objects | protocol.Masks):
            run.add(event.detections)
            pending = isinstance(event, protocol.Objects) and event.masks_pending
            stage = Stage.SEGMENTING if pending else Stage.REASONING
            self._report.progress(run, stage, event.detections)
        elif isinstance(event, protocol.Result):
            self._run = None
            if run.has_begun or event.perception.status not in _NOT_THERE:
                self._conclude(run, event.perception)
            self.pump()

    def pump(self) -> None:
        """Do what can be done now: end what is overdue, begin the next answer, tell who waits."""
        self._queue.pace(self._parameters().reason_period, self._clocks.steady())
        for job in self._queue.expired(self._clocks.steady()):
            late = self._why_late(job)
            self._end(job, late.status, late.message, again=job.is_continuous)
        while self._run is None and model_problem(self._health) is None:
            job = self._queue.next(self._clocks.steady(),
                                   lambda job: self._image_problem(job) is None)
            if job is None:
                break
            self._start(job)
        for job in self._queue.jobs:
            if not self._is_running(job) and job.due_at <= self._clocks.steady():
                self._report.waiting(job, self._waits_for(job))
        if self._worker is not None and self._health.can_track:
            self._following.pump(self._worker, self._cameras)
        self._tell_attended()

    def _on_tracked(self, event: protocol.Tracked) -> None:
        result = self._following.on_tracked(event, self._health.model_id)
        if result is not None and result.perception is not None:
            self._report.answer(
                result.job, result.perception, result.frame, self._received(result.job),
                ended=False, reasoned_stamp=result.reasoned_stamp)
        if result is not None and result.is_outdated and not self._is_running(result.job):
            self._queue.postpone(result.job, self._clocks.steady())
        self.pump()

    def _check(self, instruction: Instruction, picture: Frame | None,
               error: PerceptionError | None) -> None:
        """:raises PerceptionError: why the instruction cannot be carried out."""
        if not self._is_active:
            raise PerceptionError(Status.NOT_ACTIVE, 'the node is not active: activate it first')
        if error is not None:
            raise error
        check_instruction(instruction, None if picture is not None else self._cameras)
        if self._health.state is WorkerState.FAILED:
            raise PerceptionError(Status.MODEL_UNAVAILABLE, self._health.message)

    def _accept(self, instruction: Instruction, cameras: list[str], listener: UpdateSink | None,
                picture: Frame | None) -> tuple[list[Job], list[Job]]:
        """:raises PerceptionError: QUEUE_FULL."""
        values = self._parameters()
        jobs, replaced = self._queue.add(
            instruction, cameras, self._clocks.steady(),
            instruction.deadline_s or values.default_deadline, values.queue_size,
            listener=listener, picture=picture)
        for job in jobs:
            job.frames_seen = self._received(job)
        return jobs, replaced

    def _refuse(self, instruction: Instruction, camera: str, listener: UpdateSink | None,
                picture: Frame | None, error: PerceptionError) -> None:
        now = self._clocks.steady()
        job = Job(instruction, camera, 0, now, now, 0.0, picture=picture, listener=listener)
        job.frames_seen = self._received(job)
        self._end(job, error.status, error.message)

    def _targets(self, instruction: Instruction) -> list[str]:
        return list(dict.fromkeys(instruction.cameras)) or list(self._cameras) or ['']

    def _stop(self, instruction: Instruction) -> None:
        jobs = self._queue.matching(instruction.id, instruction.cameras)
        if not jobs:
            self._warn(f'STOP {instruction.id!r:.80}: there is nothing to stop')
        for job in jobs:
            self._end(job, Status.CANCELLED, 'stopped by an instruction')
        self.pump()

    def _start(self, job: Job) -> None:
        frame = job.picture or self._cameras[job.camera].newest
        assert frame is not None and self._worker is not None  # what _image_problem made sure of
        values = self._parameters()
        run = Run(next(self._request_ids), job, frame, 0.0, self._clocks.steady(),
                  self._health.model_id)
        try:
            run.image_age_ms = frame.age_s(self._clocks.node_ns()) * 1e3 if job.camera else 0.0
            frame.check_size(values.max_image_pixels)
            follow, max_tracks = self._following.begin(job) if self._health.can_track else ('', 0)
            self._worker.perceive(
                run.request_id, job.instruction.text, frame.data(), task=job.instruction.task,
                want_masks=values.masks, follow=follow, max_tracks=max_tracks)
        except PerceptionError as error:
            self._conclude(run, Perception(error.status, job.instruction.task,
                                           status_message=error.message))
        else:
            self._run = run

    def _conclude(self, run: Run, perception: Perception) -> None:
        """Make the worker's result the instruction's."""
        job, now = run.job, self._clocks.steady()
        again = job.is_continuous and perception.status is not Status.BAD_INSTRUCTION
        perception = self._following.answered(run, run.complete(perception, now))
        if again:
            pause_s = PAUSE_AFTER_ERROR_S if perception.status.is_error else 0.0
            self._queue.rest(job, run.started_at, now + pause_s, self._parameters().reason_period,
                             now)
        self._answer(job, perception, run.frame, ended=not again)

    def _end(self, job: Job, status: Status, message: str, *, again: bool = False) -> None:
        """Give a job a result that the worker did not make."""
        now, task, run = self._clocks.steady(), job.instruction.task, self._run
        perception = Perception(status, task, status_message=message)
        frame = None
        if run is not None and self._is_running(job):
            assert self._worker is not None
            self._run, frame = None, run.frame
            self._worker.cancel(run.request_id)
            if not status.is_error:
                perception = replace(perception, detections=run.found, reasoning=run.text)
            perception = run.complete(perception, now)
        else:
            perception = without_image(perception, job, now)
        if again:
            self._queue.postpone(job, now)
        self._answer(job, perception, frame, ended=not again)

    def _end_all(self, status: Status, message: str) -> None:
        for job in self._queue.jobs:
            self._end(job, status, message)
        self._tell_attended()

    def _answer(self, job: Job, perception: Perception, frame: Frame | None, *,
                ended: bool) -> None:
        if ended:
            self._queue.remove(job)
            self._following.end(job, self._worker)
        perception = replace(perception, model_id=perception.model_id or self._health.model_id)
        self._report.answer(job, perception, frame, self._received(job), ended=ended)

    def _tell_attended(self) -> None:
        """A ONCE is attended to while it is worked on, else the newest continuous instruction."""
        run, continuous = self._run, self._queue.newest_continuous
        job = run.job if run is not None and not run.job.is_continuous else continuous
        self._report.attended(None if job is None else job.instruction)

    def _why_late(self, job: Job) -> PerceptionError:
        if not self._is_running(job):
            problem = model_problem(self._health) or self._image_problem(job)
            if problem is not None:
                return problem
        return PerceptionError(Status.TIMEOUT, f'no answer within {job.deadline_s:g} s')

    def _waits_for(self, job: Job) -> Stage:
        if model_problem(self._health) is not None:
            return Stage.WAITING_MODEL
        return Stage.WAITING_IMAGE if self._image_problem(job) is not None else Stage.QUEUED

    def _image_problem(self, job: Job) -> PerceptionError | None:
        return image_problem(job, self._cameras.get(job.camera), self._parameters().max_image_age,
                             self._clocks.node_ns())

    def _is_running(self, job: Job) -> bool:
        return self._run is not None and self._run.job is job

    def _received(self, job: Job) -> int:
        camera = self._cameras.get(job.camera)
        return 0 if camera is None else camera.received
