"""Results as they come from the graph: back to domain values, and on to JSON."""
from __future__ import annotations

import math
from dataclasses import asdict, dataclass
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
    """

    instruction_id: str
    text: str
    camera: str
    stamp: Stamp
    frame_id: str
    perception: Perception

    @property
    def has_image(self) -> bool:
        return self.stamp.nanoseconds != 0


def read_result(detections: Any, answer: Any | None = None) -> Result:
    """Read a result from its messages.

    :param detections: DetectionArray.
    :param answer: the Answer that belongs to it, if it is there.
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
                  read_stamp(detections), detections.header.frame_id, perception)


def read_stamp(message: Any) -> Stamp:
    """Read the stamp of a message with a header."""
    return Stamp(message.header.stamp.sec, message.header.stamp.nanosec)


def read_detections(messages: Any) -> tuple[Detection, ...]:
    """Read Detection messages."""
    return tuple(_detection(message) for message in messages)


def perception_json(perception: Perception, *, masks: bool = True) -> dict[str, Any]:
    """Write a perception as plain values.

    :param masks: write them as COCO run lengths, size as height, width.
    """
    return {
        'status': perception.status.name, 'status_message': perception.status_message,
        'task': perception.task.name, 'source': perception.source.name,
        'count': perception.count, 'answer': perception.answer,
        'reasoning': perception.reasoning, 'finish_reason': perception.finish_reason,
        'detections': [_detection_json(found, masks) for found in perception.detections],
        'image_size': [perception.image_size.width, perception.image_size.height],
        'model_id': perception.model_id,
        'timing': {name: round(value, 3) for name, value in asdict(perception.timing).items()},
    }


def result_json(result: Result, *, masks: bool = True) -> dict[str, Any]:
    """Write a result as plain values; see perception_json."""
    return {
        'instruction_id': result.instruction_id, 'instruction': result.text,
        'camera': result.camera,
        'stamp': {'sec': result.stamp.sec, 'nanosec': result.stamp.nanosec},
        'frame_id': result.frame_id, **perception_json(result.perception, masks=masks)}


def _detection(message: Any) -> Detection:
    return Detection(
        message.index, (message.x_min, message.y_min, message.x_max, message.y_max),
        (message.point_x, message.point_y) if message.has_point else None, message.label,
        message.score, ScoreSource(message.score_source),
        Mask(Size(message.mask.width, message.mask.height), tuple(message.mask.counts))
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


def _detection_json(found: Detection, masks: bool) -> dict[str, Any]:
    content = {
        'index': found.index, 'label': found.label, 'box': _rounded(found.box),
        'point': None if found.point is None else _rounded(found.point),
        'score': _number(found.score), 'score_source': found.score_source.name,
        'mask_score': _number(found.mask_score), 'area_px': found.area_px,
        'track_id': found.track_id, 'track_state': found.track_state.name,
        'position_status': found.position_status.name}
    if found.position is not None:
        content['position'] = {name: _metres(value)
                               for name, value in asdict(found.position).items()}
    if masks:
        content['mask'] = None if found.mask is None else {
            'size': [found.mask.size.height, found.mask.size.width],
            'counts': list(found.mask.counts)}
    return content


def _rounded(values: tuple[float, ...]) -> list[float]:
    return [round(value, 2) for value in values]


def _metres(value: float | tuple[float, ...]) -> float | list[float]:
    if isinstance(value, tuple):
        return [round(one, 4) for one in value]
    return round(value, 4)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
