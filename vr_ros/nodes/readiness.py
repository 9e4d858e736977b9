"""Why an instruction cannot be answered, or not yet: itself, the model, the image."""
from __future__ import annotations

from collections.abc import Collection

from vr_ros.core.prompt import validate_instruction
from vr_ros.core.types import Instruction, Mode, PerceptionError, Status
from vr_ros.nodes.cameras import Camera, Frame
from vr_ros.nodes.instruction_queue import MAX_ID_CHARS, Job
from vr_ros.pipeline.worker_state import WorkerHealth, WorkerState

_MODEL_STATUS = {
    WorkerState.FAILED: Status.MODEL_UNAVAILABLE,
    WorkerState.RESTARTING: Status.WORKER_RESTARTING,
    WorkerState.DEAD: Status.WORKER_RESTARTING,
    WorkerState.CLOSED: Status.NOT_ACTIVE,
}


def check_instruction(instruction: Instruction, cameras: Collection[str] | None) -> None:
    """Check what can be checked before anything is done.

    :param cameras: the names there are; None: a picture came along.
    :raises PerceptionError: BAD_INSTRUCTION.
    """
    validate_instruction(instruction.text)
    if len(instruction.id) > MAX_ID_CHARS:
        raise PerceptionError(
            Status.BAD_INSTRUCTION,
            f'the id has {len(instruction.id)} characters: at most {MAX_ID_CHARS}')
    if instruction.deadline_s < 0:
        raise PerceptionError(Status.BAD_INSTRUCTION, 'the deadline is negative')
    if cameras is None and instruction.mode is not Mode.ONCE:
        raise PerceptionError(Status.BAD_INSTRUCTION, 'a single picture is looked at ONCE')
    unknown = [name for name in instruction.cameras if cameras is not None and name not in cameras]
    if unknown:
        raise PerceptionError(
            Status.BAD_INSTRUCTION,
            f'there is no camera {unknown[0]:.80}, only: {", ".join(cameras or ())}')


def model_problem(health: WorkerHealth) -> PerceptionError | None:
    """Say what the worker lacks to answer; None when it is ready."""
    if health.state is WorkerState.READY:
        return None
    status = _MODEL_STATUS.get(health.state, Status.MODEL_LOADING)
    reason = health.message or health.state.value
    return PerceptionError(status, f'the model is not ready: {reason}')


def image_problem(job: Job, camera: Camera | None, max_age_s: float,
                  now_ns: int) -> PerceptionError | None:
    """Say what a job lacks to look at; None when a frame is there, be it one with a fault.

    :param camera: None for a picture that came along, which has no age.
    :param max_age_s: 0: no limit.
    :param now_ns: the node's clock.
    """
    if job.picture is not None:
        return None
    frame = camera.newest if camera is not None else None
    if camera is None or frame is None:
        topic = camera.topic if camera is not None else ''
        return PerceptionError(Status.NO_IMAGE, f'no image has arrived on {topic}')
    if job.is_continuous and frame.number <= job.frame_looked_at:
        return PerceptionError(Status.STALE_IMAGE, f'no new image has arrived on {camera.topic}')
    return age_problem(frame, camera.topic, max_age_s, now_ns)


def age_problem(frame: Frame, topic: str, max_age_s: float, now_ns: int) -> PerceptionError | None:
    """Say why a frame is too old to be looked at, or seems to be; None when it is not.

    :param max_age_s: 0: no limit.
    :param now_ns: the node's clock; 0: simulated time that has not begun.
    """
    try:
        age_s = frame.age_s(now_ns)
        stamped = frame.header.stamp.nanoseconds != 0
    except PerceptionError:
        return None  # not readable: looking at it says so
    if not max_age_s or abs(age_s) <= max_age_s:
        return None
    if now_ns == 0:
        message = ('use_sim_time is set, but no time has come on /clock: the age of the images on '
                   f'{topic} is not known')
    elif not stamped:
        message = f'images on {topic} have no stamp: set it in the driver, or max_image_age to 0'
    elif age_s < 0:
        message = (f'the newest image on {topic} is stamped {-age_s:.1f} s ahead of the clock: '
                   'synchronise the clocks, or set use_sim_time')
    else:
        message = (f'the newest image on {topic} is {age_s:.1f} s old; max_image_age is '
                   f'{max_age_s:g} s')
    return PerceptionError(Status.STALE_IMAGE, message)
