"""Results written as messages and read back, and as JSON."""
from __future__ import annotations

import json

import numpy as np
import pytest

from vr_ros.bags.result_messages import read_result
from vr_ros.core.types import (
    Detection,
    Instruction,
    Mask,
    Perception,
    ScoreSource,
    Size,
    Stamp,
    Status,
    Task,
    Timing,
)
from vr_ros.nodes.convert import answer_to_msg, detections_to_msg
from vr_ros.nodes.instruction_queue import Job
from vr_ros.nodes.results import perception_json, result_json
from vr_ros.nodes.updates import Answer

# Numbers that float32 holds exactly.
PERCEPTION = Perception(
    Status.PARTIAL, Task.SEGMENTATION, (
        Detection(0, (1.5, 2.0, 30.25, 40.0), (10.0, 20.5), 'a cup ☕', 0.75, ScoreSource.TOKENS,
                  Mask(Size(64, 48), (100, 7, 64 * 48 - 107)), 0.5, 7),
        Detection(1, (0.0, 0.0, 63.0, 47.0), score=0.25, mask_score=1.0)),
    answer='two', reasoning='because', raw_text='<answer>', finish_reason='length',
    status_message='cut off', image_size=Size(64, 48), model_id='some_model',
    timing=Timing(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8, 9, 10))
INSTRUCTION = Instruction('id 1', 'find ☕', Task.AUTO, stamp=Stamp(5, 6))


def messages(perception: Perception) -> tuple[object, object]:
    job = Job(INSTRUCTION, 'front', 0, 0.0, 0.0, 0.0)
    answer = Answer(job, perception, None, 3, ended=True)
    detections = detections_to_msg(answer)
    detections.header.stamp.sec, detections.header.stamp.nanosec = 11, 12
    detections.header.frame_id = 'optical'
    return detections, answer_to_msg(answer, reasoning=True, raw_text_limit=100)


def test_a_result_comes_back_as_it_was() -> None:
    result = read_result(*messages(PERCEPTION))
    assert (result.instruction_id, result.text, result.camera) == ('id 1', 'find ☕', 'front')
    assert (result.stamp, result.frame_id, result.has_image) == (Stamp(11, 12), 'optical', True)
    assert result.perception == PERCEPTION


def test_without_the_answer_its_texts_are_empty() -> None:
    perception = read_result(messages(PERCEPTION)[0]).perception
    assert perception.detections == PERCEPTION.detections
    assert (perception.answer, perception.reasoning, perception.raw_text) == ('', '', '')


def test_json_holds_plain_values_only() -> None:
    content = json.loads(json.dumps(result_json(read_result(*messages(PERCEPTION))),
                                    allow_nan=False))
    assert content['stamp'] == {'sec': 11, 'nanosec': 12}
    assert (content['status'], content['task'], content['count']) == ('PARTIAL', 'SEGMENTATION', 2)
    first, second = content['detections']
    assert first['box'] == [1.5, 2.0, 30.25, 40.0]
    assert first['mask'] == {'size': [48, 64], 'counts': [100, 7, 64 * 48 - 107]}
    assert (second['point'], second['mask'], second['score']) == (None, None, 0.25)
    assert content['timing']['completion_tokens'] == 9


@pytest.mark.parametrize('number', [float('nan'), float(np.float32('nan'))])
def test_no_score_is_null(number: float) -> None:
    perception = Perception(Status.OK, detections=(
        Detection(0, (0.0, 0.0, 1.0, 1.0), score=number, mask_score=number),))
    found = perception_json(perception)['detections'][0]
    assert (found['score'], found['mask_score']) == (None, None)


def test_masks_may_be_left_out() -> None:
    found = perception_json(PERCEPTION, masks=False)['detections'][0]
    assert 'mask' not in found
    assert found['area_px'] == 7


def test_an_error_counts_minus_one() -> None:
    assert perception_json(Perception(Status.TIMEOUT))['count'] == -1
