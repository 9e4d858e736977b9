"""Results as messages carry them, live or out of a bag: read by the same code, without ROS.

Messages are whatever has their fields: those of rclpy, and those that rosbags makes from the
definitions that a bag brings along.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vr_ros.core.types import (
    Detection,
    Mask,
    Perception,
    Position,
    PositionStatus,
    ScoreSource,
    Size,
    Source,
    Stamp,
    Status,
    Task,
    Timing,
    TrackState,
)


@dataclass(frozen=True)
class Result:
    """One answer to one instruction about one frame.

    :param stamp, frame_id: of the image; stamp 0: no image took part.
    :param sequence: number among the results of the instruction.
    """

    instruction_id: str
    text: str
    camera: str
    stamp: Stamp
    frame_id: str
    perception: Perception
    sequence: int = 0

    @property
    def has_image(self) -> bool:
        return self.stamp.nanoseconds != 0


def read_result(detections: Any, answer: Any | None = None) -> Result:
    """Read a result from its messages.

    :param detections: DetectionArray.
    :param answer: the Answer that belongs to it, if it is there.
    :raises AttributeError, ValueError: a message of another version: it lacks a field, or has a
        value that is not known.
    """
    outcome = detections.outcome
    perception = Perception(
        Status(outcome.status), Task(outcome.task),
        tuple(_detection(message) for message in detections.detections),
        answer=answer.answer if answer else '', reasoning=answer.reasoning if answer else '',
        raw_text=answer.raw_text if answer else '',
        finish_reason=answer.finish_reason if answer else '',
        status_message=outcome.status_message,
        image_size=Size(outcome.image_width, outcome.image_height), model_id=outcome.model_id,
        timing=_timing(outcome.timing), source=Source(outcome.source))
    return Result(outcome.instruction_id, outcome.instruction_text, outcome.camera,
                  read_stamp(detections), detections.header.frame_id, perception, outcome.sequence)


def read_stamp(message: Any) -> Stamp:
    """Read the stamp of a message with a header."""
    return Stamp(message.header.stamp.sec, message.header.stamp.nanosec)


def _detection(message: Any) -> Detection:
    return Detection(
        message.index, (message.x_min, message.y_min, message.x_max, message.y_max),
        (message.point_x, message.point_y) if message.has_point else None, message.label,
        message.score, ScoreSource(message.score_source),
        Mask(Size(message.mask.width, message.mask.height), tuple(message.mask.counts.tolist()))
        if message.has_mask else None,
        message.mask_score, message.area_px, message.track_id, TrackState(message.track_state),
        Stamp(message.last_seen.sec, message.last_seen.nanosec),
        PositionStatus(message.position_status), _position(message))


def _position(message: Any) -> Position | None:
    if message.position_status != PositionStatus.OK:
        return None
    point, size, pose = message.surface_point, message.size, message.center_pose
    turn = pose.orientation
    return Position(
        (point.x, point.y, point.z), (pose.position.x, pose.position.y, pose.position.z),
        (turn.x, turn.y, turn.z, turn.w), (size.x, size.y, size.z), message.position_stddev_m)


def _timing(message: Any) -> Timing:
    return Timing(
        message.image_age_ms, message.queue_ms, message.preprocess_ms, message.first_token_ms,
        message.generate_ms, message.segment_ms, message.total_ms, message.prompt_tokens,
        message.completion_tokens, message.frames_dropped)
