"""Which instruction is answered next, on which camera, until when. The time is an argument."""
from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vr_ros.core.types import Instruction, Mode, PerceptionError, Status

REMEMBERED_IDS = 1_000
MAX_ID_CHARS = 256


@dataclass(eq=False)
class Job:
    """One instruction on one camera: answered once, or if it is continuous again and again.

    :param camera: its name; '' for a picture that came along.
    :param number: order of receipt.
    :param received_at, due_at, deadline_at: seconds of the steady clock. Before due_at there is
        nothing to do; by deadline_at there must be an answer.
    :param picture: the frame to look at; None: the newest of the camera.
    :param listener: who is told besides the topics; not looked into here.
    :param sequence: results so far.
    :param frames_seen: frames that the camera had delivered when the previous result was made.
    :param frame_looked_at: number of the frame behind the previous result.
    :param stage: what the listener was last told about the waiting.
    :param rests: while a continuous job waits for its next turn: when its previous answer began,
        and when the next may begin at the earliest, seconds of the steady clock.
    """

    instruction: Instruction
    camera: str
    number: int
    received_at: float
    due_at: float
    deadline_s: float
    picture: Any = None
    listener: Any = None
    sequence: int = 0
    frames_seen: int = 0
    frame_looked_at: int = 0
    stage: Any = None
    rests: tuple[float, float] | None = None
    deadline_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.deadline_at = self.due_at + self.deadline_s

    @property
    def is_continuous(self) -> bool:
        return self.instruction.mode is Mode.CONTINUOUS

    @property
    def rank(self) -> tuple[int, float, int]:
        """Priority first, then who has been due for longest: nobody of equal priority starves."""
        return -self.instruction.priority, self.due_at, self.number


class RecentIds:
    """The last so many ids."""

    def __init__(self, limit: int = REMEMBERED_IDS) -> None:
        self._limit = limit
        self._ids: OrderedDict[str, None] = OrderedDict()

    def add(self, instruction_id: str) -> bool:
        """Remember an id; False when it was known."""
        if instruction_id in self._ids:
            return False
        self._ids[instruction_id] = None
        if len(self._ids) > self._limit:
            self._ids.popitem(last=False)
        return True


class InstructionQueue:
    """The instructions that have been accepted and not ended, the one under way included.

    A camera has at most one continuous instruction: a newer one takes the place of the older.
    """

    def __init__(self) -> None:
        self._once: list[Job] = []
        self._continuous: dict[str, Job] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._once) + len(self._continuous)

    @property
    def jobs(self) -> list[Job]:
        """Everything, in order of receipt."""
        return sorted([*self._once, *self._continuous.values()], key=lambda job: job.number)

    @property
    def once_count(self) -> int:
        return len(self._once)

    @property
    def newest_continuous(self) -> Job | None:
        return max(self._continuous.values(), key=lambda job: job.number, default=None)

    def add(self, instruction: Instruction, cameras: Sequence[str], now: float, deadline_s: float,
            limit: int, **about: Any) -> tuple[list[Job], list[Job]]:
        """Accept an instruction for all of the cameras, or for none.

        :param deadline_s: seconds from now, and for a continuous one from when each answer is due.
        :param limit: how many ONCE there may be on all cameras together.
        :param about: picture and listener of the new jobs.
        :return: the new jobs, and the continuous ones whose place they took.
        :raises PerceptionError: QUEUE_FULL.
        """
        continuous = instruction.mode is Mode.CONTINUOUS
        if not continuous and len(self._once) + len(cameras) > limit:
            raise PerceptionError(
                Status.QUEUE_FULL, f'{len(self._once)} of {limit} places in the queue are taken')
        jobs, replaced = [], []
        for camera in cameras:
            self._count += 1
            job = Job(instruction, camera, self._count, now, now, deadline_s, **about)
            jobs.append(job)
            if not continuous:
                self._once.append(job)
                continue
            if camera in self._continuous:
                replaced.append(self._continuous[camera])
            self._continuous[camera] = job
        return jobs, replaced

    def matching(self, instruction_id: str, cameras: Iterable[str] = ()) -> list[Job]:
        """List the jobs that a STOP means.

        :param instruction_id: '' means all continuous ones.
        :param cameras: empty means all.
        """
        wanted = set(cameras)
        return [job for job in self.jobs
                if (job.instruction.id == instruction_id if instruction_id else job.is_continuous)
                and (not wanted or job.camera in wanted)]

    def next(self, now: float, ready: Callable[[Job], bool]) -> Job | None:
        """Return the job to work on: the highest rank among those that are due and ready."""
        due = [job for job in self.jobs if job.due_at <= now]
        return next((job for job in sorted(due, key=lambda job: job.rank) if ready(job)), None)

    def expired(self, now: float) -> list[Job]:
        """List the jobs that should have been answered by now."""
        return [job for job in self.jobs if job.deadline_at <= now]

    def wake_at(self, now: float) -> float:
        """Return when a deadline passes or something comes due; infinity when nothing will."""
        return min((at for job in self.jobs for at in (job.deadline_at, job.due_at)
                    if at > now or at == job.deadline_at), default=math.inf)

    def postpone(self, job: Job, due_at: float) -> None:
        """Have a continuous job answered again."""
        job.due_at, job.rests = due_at, None
        job.deadline_at = due_at + job.deadline_s

    def pace(self, period_s: float, now: float) -> None:
        """Have the continuous jobs that rest answered a period after their answers began.

        :param period_s: may have changed since the last call.
        """
        for job in self._continuous.values():
            if job.rests is not None and job.due_at > now:
                self.rest(job, *job.rests, period_s, now)

    def rest(self, job: Job, begun_at: float, until: float, period_s: float, now: float) -> None:
        """Have a continuous job answered again, a period after its answer began.

        :param until: not before that.
        """
        self.postpone(job, max(begun_at + period_s, until, now))
        job.rests = begun_at, until

    def remove(self, job: Job) -> None:
        """Forget a job; no matter whether it is there."""
        if job in self._once:
            self._once.remove(job)
        if self._continuous.get(job.camera) is job:
            del self._continuous[job.camera]
