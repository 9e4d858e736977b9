"""Tells the topics, and whoever asked, how instructions fare."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vr_ros.core.types import Detection, Instruction, Perception, Source, Stamp
from vr_ros.nodes.cameras import Frame
from vr_ros.nodes.instruction_queue import Job
from vr_ros.nodes.result_statistics import ResultStatistics
from vr_ros.nodes.run import Run
from vr_ros.nodes.updates import ActiveInstruction, Answer, Progress, Stage, Update, UpdateSink


class Reporter:
    """Makes updates and numbers results.

    :param on_update: gets every update; a job's listener gets those of the job, after it.
    :param clock: seconds of the steady clock.
    """

    def __init__(self, on_update: UpdateSink, clock: Callable[[], float]) -> None:
        self._on_update, self._clock = on_update, clock
        self._attended: Instruction | None = None
        self.results = ResultStatistics()

    def answer(self, job: Job, perception: Perception, frame: Frame | None, received: int, *,
               ended: bool, reasoned_stamp: Stamp | None = None) -> None:
        """Tell a result.

        :param frame: what was looked at, None if nothing was.
        :param received: frames that the job's camera has delivered by now.
        :param reasoned_stamp: of the frame that was reasoned about, if it is another one.
        """
        looked_at = frame is not None and frame.camera != '' and frame.number > job.frames_seen
        dropped = max(received - job.frames_seen - looked_at, 0)
        perception = replace(perception, timing=replace(perception.timing, frames_dropped=dropped))
        sequence = job.sequence
        job.sequence, job.frames_seen = sequence + 1, received
        if perception.source is Source.REASONED:
            job.stage = None
            if frame is not None:
                job.frame_looked_at = frame.number
        self.results.add(perception, self._clock())
        self._tell(job, Answer(job, perception, frame, sequence, ended, reasoned_stamp))

    def progress(self, run: Run, stage: Stage, detections: tuple[Detection, ...] = (),
                 text: str = '') -> None:
        """Tell what is new about the answer under way."""
        job = run.job
        job.stage = stage
        self._tell(job, Progress(job, stage, job.sequence, run.frame, text, detections, run.found,
                                 run.model_id, run.task))

    def waiting(self, job: Job, stage: Stage) -> None:
        """Tell the listener what its job waits for, if that is news."""
        if job.listener is not None and job.stage is not stage:
            job.stage = stage
            job.listener(Progress(job, stage, job.sequence))

    def attended(self, instruction: Instruction | None) -> None:
        """Tell what the node attends to, if that is news."""
        if instruction != self._attended:
            self._attended = instruction
            self._on_update(ActiveInstruction(instruction))

    def _tell(self, job: Job, update: Update) -> None:
        self._on_update(update)
        if job.listener is not None:
            job.listener(update)
