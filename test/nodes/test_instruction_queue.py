"""Order, deadlines and places of the queue; test_dispatch.py has what becomes of it all."""
from __future__ import annotations

import math

import pytest

from vr_ros.core.types import Instruction, Mode, PerceptionError, Status
from vr_ros.nodes.instruction_queue import InstructionQueue, Job, RecentIds


def add(queue: InstructionQueue, name: str, now: float = 0.0, deadline_s: float = 10.0,
        cameras: tuple[str, ...] = ('c',), limit: int = 9, **fields: object) -> list[Job]:
    """Add an instruction, and return its jobs."""
    return queue.add(Instruction(name, 't', **fields), cameras, now, deadline_s, limit)[0]


def any_job(_: Job) -> bool:
    return True


def test_wake_at_is_the_next_moment_at_which_something_changes() -> None:
    queue = InstructionQueue()
    assert queue.wake_at(0.0) == math.inf
    (late,) = add(queue, 'late', deadline_s=30.0)
    (early,) = add(queue, 'early', now=5.0, deadline_s=10.0)
    assert queue.wake_at(6.0) == 15.0
    queue.remove(early)
    assert queue.wake_at(6.0) == 30.0
    assert queue.expired(29.9) == [] and queue.expired(30.0) == [late]


def test_a_postponed_job_is_due_again_with_a_new_deadline() -> None:
    queue = InstructionQueue()
    (job,) = add(queue, 'a', mode=Mode.CONTINUOUS)
    queue.postpone(job, 20.0)
    assert queue.next(19.9, any_job) is None and queue.next(20.0, any_job) is job
    assert queue.wake_at(19.0) == 20.0 and queue.wake_at(20.0) == 30.0
    assert queue.expired(29.0) == []


def test_a_period_that_changes_counts_for_who_rests_already() -> None:
    queue = InstructionQueue()
    (job,) = add(queue, 'a', mode=Mode.CONTINUOUS)
    queue.rest(job, 10.0, 11.0, 1000.0, 10.5)
    assert (job.due_at, job.deadline_at) == (1010.0, 1020.0)
    queue.pace(5.0, 12.0)
    assert (job.due_at, job.deadline_at) == (15.0, 25.0)
    queue.pace(20.0, 12.0)
    assert job.due_at == 30.0
    # It is over already: due now, and not with a deadline that has passed.
    queue.pace(1.0, 25.0)
    assert (job.due_at, job.deadline_at) == (25.0, 35.0)
    # What is due is not put off any more, nor what was called for out of turn.
    queue.pace(1000.0, 25.0)
    assert job.due_at == 25.0
    queue.postpone(job, 40.0)
    queue.pace(1.0, 26.0)
    assert job.due_at == 40.0


def test_after_an_error_there_is_a_pause_whatever_the_period() -> None:
    queue = InstructionQueue()
    (job,) = add(queue, 'a', mode=Mode.CONTINUOUS)
    queue.rest(job, 10.0, 12.0, 0.0, 11.0)
    queue.pace(0.0, 11.0)
    assert job.due_at == 12.0


def test_who_is_not_ready_holds_nobody_up() -> None:
    queue = InstructionQueue()
    add(queue, 'blocked', priority=255, cameras=('dark',))
    (other,) = add(queue, 'other')
    assert queue.next(0.0, lambda job: job.camera != 'dark') is other


def test_who_has_been_due_longest_comes_first_among_equals() -> None:
    queue = InstructionQueue()
    (always,) = add(queue, 'always', mode=Mode.CONTINUOUS)
    (once,) = add(queue, 'once', now=1.0)
    assert queue.next(1.0, any_job) is always
    queue.postpone(always, 2.0)
    assert queue.next(2.0, any_job) is once


def test_full_is_full_for_once_only() -> None:
    queue = InstructionQueue()
    add(queue, 'a', limit=1)
    with pytest.raises(PerceptionError) as caught:
        add(queue, 'b', limit=1)
    assert caught.value.status is Status.QUEUE_FULL
    add(queue, 'c', limit=1, mode=Mode.CONTINUOUS)
    assert len(queue) == 2 and queue.once_count == 1


def test_each_camera_has_one_continuous_instruction() -> None:
    queue = InstructionQueue()
    old = add(queue, 'old', mode=Mode.CONTINUOUS, cameras=('l', 'r'))
    new, replaced = queue.add(Instruction('new', 't', mode=Mode.CONTINUOUS), ['r'], 0.0, 1.0, 9)
    assert replaced == [old[1]] and queue.jobs == [old[0], new[0]]
    assert queue.newest_continuous is new[0]
    queue.remove(replaced[0])  # is gone already, and must not take the new one along
    assert queue.jobs == [old[0], new[0]]


def test_recent_ids_forget_the_oldest() -> None:
    ids = RecentIds(limit=2)
    assert [ids.add(name) for name in ('a', 'b', 'a', 'c', 'a', 'c')] == [
        True, True, False, True, True, False]
