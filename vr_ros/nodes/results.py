"""Results as JSON: what ``ask --json`` prints and what a demo's summary holds."""
from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from vr_ros.bags.result_messages import Result
from vr_ros.core.types import Detection, Perception


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
