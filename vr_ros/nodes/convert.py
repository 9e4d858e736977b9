"""Domain values to ROS messages and back. The only file that imports the generated interfaces.

Every number passes through int() or float(): a numpy number in a message ends the process.
"""
from __future__ import annotations

import array

from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from vr_ros.action import Perceive
from vr_ros.core.prompt import MAX_INSTRUCTION_CHARS
from vr_ros.core.types import (
    Detection,
    Instruction,
    Mask,
    Mode,
    Perception,
    PerceptionError,
    Size,
    Stamp,
    Status,
    Task,
    Timing,
)
from vr_ros.msg import Answer as AnswerMsg
from vr_ros.msg import Count, DetectionArray, MaskArray, Outcome
from vr_ros.msg import Detection as DetectionMsg
from vr_ros.msg import Instruction as InstructionMsg
from vr_ros.msg import Mask as MaskMsg
from vr_ros.msg import Timing as TimingMsg
from vr_ros.nodes.cameras import Frame
from vr_ros.nodes.instruction_queue import Job
from vr_ros.nodes.updates import Answer, Progress, Stage
from vr_ros.srv import PerceiveImage

__all__ = [
    'AnswerMsg', 'CompressedImage', 'Count', 'DetectionArray', 'InstructionMsg', 'MaskArray',
    'Perceive', 'PerceiveImage', 'answer_to_msg', 'count_to_msg', 'detections_to_msg',
    'feedback_of_answer', 'feedback_of_progress', 'header_to_msg', 'instruction_from_msg',
    'instruction_to_msg', 'masks_to_msg', 'partial_to_msg',
]

_NANOSECONDS = 1_000_000_000


def instruction_from_msg(
        message: InstructionMsg, received: Stamp) -> tuple[Instruction, PerceptionError | None]:
    """Read an instruction.

    :param received: the node's clock; stands in for a stamp of 0.
    :return: the instruction, and what is wrong with it: BAD_INSTRUCTION, or None.
    """
    stamp = Stamp(message.header.stamp.sec, message.header.stamp.nanosec)
    error = None
    try:
        task, mode = Task(message.task), Mode(message.mode)
    except ValueError as wrong:
        task, mode = Task.AUTO, Mode.ONCE
        error = PerceptionError(Status.BAD_INSTRUCTION, f'unknown value: {wrong}')
    deadline_s = message.deadline.sec + message.deadline.nanosec / _NANOSECONDS
    instruction = Instruction(
        message.id, message.text, task, mode, tuple(message.cameras), message.priority, deadline_s,
        stamp if stamp.nanoseconds else received)
    return instruction, error


def instruction_to_msg(instruction: Instruction | None) -> InstructionMsg:
    """Write an instruction; None becomes an empty one."""
    if instruction is None:
        return InstructionMsg()
    return InstructionMsg(
        header=Header(stamp=_time(instruction.stamp)), id=_text(instruction.id),
        text=_text(instruction.text), task=int(instruction.task), mode=int(instruction.mode),
        cameras=[_text(name) for name in instruction.cameras], priority=int(instruction.priority),
        deadline=_duration(instruction.deadline_s))


def detections_to_msg(answer: Answer) -> DetectionArray:
    """Write a result with all that was found."""
    perception = answer.perception
    return DetectionArray(
        header=header_to_msg(answer.frame), outcome=_outcome(answer), count=int(perception.count),
        detections=[_detection(found) for found in perception.detections])


def count_to_msg(answer: Answer) -> Count:
    """Write a result's number of objects."""
    return Count(header=header_to_msg(answer.frame), outcome=_outcome(answer),
                 count=int(answer.perception.count))


def masks_to_msg(answer: Answer) -> MaskArray:
    """Write a result's masks; objects without one are left out."""
    masked = [found for found in answer.perception.detections if found.mask]
    return MaskArray(
        header=header_to_msg(answer.frame), outcome=_outcome(answer),
        indices=array.array('I', [int(found.index) for found in masked]),
        track_ids=[_text(found.track_id) for found in masked],
        masks=[_mask(found.mask) for found in masked])


def answer_to_msg(answer: Answer, *, reasoning: bool, raw_text_limit: int) -> AnswerMsg:
    """Write what the model said.

    :param reasoning: whether to put its reasoning in.
    :param raw_text_limit: length of raw_text in characters.
    """
    perception = answer.perception
    return AnswerMsg(
        header=header_to_msg(answer.frame), outcome=_outcome(answer),
        answer=_text(perception.answer),
        reasoning=_text(perception.reasoning) if reasoning else '',
        raw_text=_text(perception.raw_text[:raw_text_limit]),
        finish_reason=_text(perception.finish_reason))


def partial_to_msg(progress: Progress) -> DetectionArray:
    """Write what was found so far; not final."""
    size = progress.frame.size if progress.frame else Size(0, 0)
    asked = progress.job.instruction.task
    answer = Answer(progress.job, Perception(
        Status.OK, asked if progress.task is Task.AUTO else progress.task, progress.detections,
        image_size=size, model_id=progress.model_id),
        progress.frame, progress.sequence, ended=False)
    message = detections_to_msg(answer)
    message.outcome.is_final = False
    return message


def feedback_of_progress(progress: Progress, *, reasoning: bool) -> Perceive.Feedback:
    """Write how far an answer is."""
    feedback = _feedback(progress.job, progress.stage, progress.sequence, progress.frame)
    feedback.new_reasoning = _text(progress.new_text) if reasoning else ''
    feedback.new_detections = [_detection(found) for found in progress.new_detections]
    return feedback


def feedback_of_answer(answer: Answer, detections: DetectionArray,
                       text: AnswerMsg) -> Perceive.Feedback:
    """Write a complete result as feedback."""
    feedback = _feedback(answer.job, Stage.RESULT, answer.sequence, answer.frame)
    feedback.detections, feedback.answer = [detections], [text]
    return feedback


def _feedback(job: Job, stage: Stage, sequence: int, frame: Frame | None) -> Perceive.Feedback:
    return Perceive.Feedback(
        stage=int(stage), instruction_id=_text(job.instruction.id), camera=_text(job.camera),
        sequence=int(sequence), header=header_to_msg(frame))


def _outcome(answer: Answer) -> Outcome:
    job, perception = answer.job, answer.perception
    return Outcome(
        instruction_id=_text(job.instruction.id),
        instruction_text=_text(job.instruction.text[:MAX_INSTRUCTION_CHARS]),
        camera=_text(job.camera), task=int(perception.task), model_id=_text(perception.model_id),
        status=int(perception.status), status_message=_text(perception.status_message),
        is_final=True, sequence=int(answer.sequence), source=int(perception.source),
        instruction_stamp=_time(job.instruction.stamp),
        reasoned_stamp=(header_to_msg(answer.frame).stamp if answer.reasoned_stamp is None
                        else _time(answer.reasoned_stamp)),
        image_width=int(perception.image_size.width),
        image_height=int(perception.image_size.height),
        timing=_timing(perception.timing))


def _detection(found: Detection) -> DetectionMsg:
    x_min, y_min, x_max, y_max = map(float, found.box)
    x, y = map(float, found.point or (0.0, 0.0))
    message = DetectionMsg(
        index=int(found.index), track_id=_text(found.track_id),
        track_state=int(found.track_state), last_seen=_time(found.last_seen),
        label=_text(found.label), score=float(found.score), score_source=int(found.score_source),
        x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max,
        has_point=found.point is not None, point_x=x, point_y=y,
        has_mask=found.mask is not None, mask=_mask(found.mask) if found.mask else MaskMsg(),
        mask_score=float(found.mask_score), area_px=int(found.area_px),
        position_status=int(found.position_status))
    if found.position is not None:
        message.surface_point = Point(**_xyz(found.position.surface_point))
        message.center_pose = Pose(position=Point(**_xyz(found.position.center)),
                                   orientation=_quaternion(found.position.orientation))
        message.size = Vector3(**_xyz(found.position.size))
        message.position_stddev_m = float(found.position.stddev_m)
    return message


def _xyz(values: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip('xyz', map(float, values), strict=True))


def _quaternion(values: tuple[float, float, float, float]) -> Quaternion:
    return Quaternion(**dict(zip('xyzw', map(float, values), strict=True)))


def _mask(mask: Mask) -> MaskMsg:
    return MaskMsg(height=int(mask.size.height), width=int(mask.size.width),
                   counts=array.array('I', mask.counts))


def _timing(timing: Timing) -> TimingMsg:
    return TimingMsg(
        image_age_ms=float(timing.image_age_ms), queue_ms=float(timing.queue_ms),
        preprocess_ms=float(timing.preprocess_ms), first_token_ms=float(timing.first_token_ms),
        generate_ms=float(timing.generate_ms), segment_ms=float(timing.segment_ms),
        total_ms=float(timing.total_ms), prompt_tokens=int(timing.prompt_tokens),
        completion_tokens=int(timing.completion_tokens), frames_dropped=int(timing.frames_dropped))


def header_to_msg(frame: Frame | None) -> Header:
    """Copy the image's header untouched; an empty one where there is none, or none readable."""
    try:
        header = frame.header if frame is not None else None
    except PerceptionError:
        header = None
    if header is None:
        return Header()
    return Header(stamp=_time(header.stamp), frame_id=_text(header.frame_id))


def _time(stamp: Stamp) -> Time:
    return Time(sec=int(stamp.sec), nanosec=int(stamp.nanosec))


def _duration(seconds: float) -> Duration:
    whole, nanoseconds = divmod(round(seconds * _NANOSECONDS), _NANOSECONDS)
    return Duration(sec=whole, nanosec=nanoseconds)


def _text(text: str) -> str:
    """Make a text that a ROS string can hold: no lone surrogates, no zero."""
    return text.encode('utf-8', 'replace').decode().replace('\0', '')
