"""Domain values to messages and back, with rosidl's field checks on."""
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from dispatching import image_cdr
from rclpy.serialization import deserialize_message, serialize_message

from vr_ros.bags.result_messages import read_result
from vr_ros.core import types
from vr_ros.core.types import (
    Detection,
    Instruction,
    Mask,
    Mode,
    Perception,
    ScoreSource,
    Size,
    Stamp,
    Status,
    Task,
    Timing,
)
from vr_ros.msg import Detection as DetectionMsg
from vr_ros.msg import DetectionArray, Outcome
from vr_ros.msg import Instruction as InstructionMsg
from vr_ros.nodes import convert, updates
from vr_ros.nodes.cameras import Frame
from vr_ros.nodes.instruction_queue import Job
from vr_ros.nodes.updates import Answer, Progress, Stage
from vr_ros.pipeline.protocol import FrameKind

FRAME = Frame('front', image_cdr(12_000_000_034, 4, 3, 'optical'), FrameKind.IMAGE, 7, 1.0)
MASK = Mask(Size(4, 3), (2, 3, 7))
CUP = Detection(3, (0.5, 1.0, 2.5, 3.0), (1.0, 2.0), 'cup', 0.75, ScoreSource.TOKENS, MASK, 0.9, 3)


def answer(status: Status = Status.OK, *found: Detection, frame: Frame | None = FRAME,
           text: str = 'find the cup', **fields: object) -> Answer:
    instruction = Instruction('id', text, Task.COUNTING, stamp=Stamp(5, 6))
    perception = Perception(status, Task.COUNTING, found, image_size=Size(4, 3), **fields)
    return Answer(Job(instruction, 'front', 1, 0.0, 0.0, 1.0), perception, frame, 2, ended=True)


@pytest.mark.parametrize(('enumeration', 'interface', 'prefix'), [
    (Status, Outcome, ''),
    (types.Source, Outcome, ''),
    (Task, InstructionMsg, ''),
    (Mode, InstructionMsg, ''),
    (ScoreSource, DetectionMsg, 'SCORE_'),
    (types.TrackState, DetectionMsg, 'TRACK_'),
    (types.PositionStatus, DetectionMsg, 'POSITION_'),
    (Stage, convert.Perceive.Feedback, ''),
])
def test_enumerations_equal_the_constants_of_the_interfaces(
        enumeration: type, interface: type, prefix: str) -> None:
    for member in enumeration:
        assert getattr(interface, prefix + member.name) == member.value


def test_a_result_survives_the_wire() -> None:
    timing = Timing(1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8, 9, 10)
    message = convert.detections_to_msg(answer(
        Status.OK, CUP, timing=timing, model_id='m', status_message=''))
    message = deserialize_message(serialize_message(message), DetectionArray)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (12, 34)
    assert message.header.frame_id == 'optical'
    outcome = message.outcome
    assert (outcome.instruction_id, outcome.instruction_text, outcome.camera) == (
        'id', 'find the cup', 'front')
    assert (outcome.task, outcome.model_id, outcome.sequence, outcome.is_final) == (3, 'm', 2, True)
    assert (outcome.instruction_stamp.sec, outcome.instruction_stamp.nanosec) == (5, 6)
    assert outcome.reasoned_stamp == message.header.stamp
    assert (outcome.image_width, outcome.image_height) == (4, 3)
    assert outcome.timing.image_age_ms == 1.5 and outcome.timing.total_ms == 7.5
    assert (outcome.timing.prompt_tokens, outcome.timing.frames_dropped) == (8, 10)
    (cup,) = message.detections
    assert (cup.index, cup.label, cup.score, cup.score_source) == (3, 'cup', 0.75, 1)
    assert (cup.x_min, cup.y_min, cup.x_max, cup.y_max) == (0.5, 1.0, 2.5, 3.0)
    assert (cup.has_point, cup.point_x, cup.point_y) == (True, 1.0, 2.0)
    assert (cup.has_mask, list(cup.mask.counts), cup.area_px) == (True, [2, 3, 7], 3)
    assert (cup.mask.width, cup.mask.height) == (4, 3)


def test_tracks_and_positions_come_back_as_they_went() -> None:
    position = types.Position((0.5, 0.25, 1.0), (0.5, 0.25, 1.125), (0.0, 0.0, 0.0, 1.0),
                              (0.125, 0.25, 0.5), 0.0625)
    tracked = replace(
        CUP, track_id='cup-7', track_state=types.TrackState.OCCLUDED, last_seen=Stamp(3, 4),
        position_status=types.PositionStatus.OK, position=position)
    sent = convert.detections_to_msg(answer(Status.OK, tracked, source=types.Source.TRACKED))
    message = deserialize_message(serialize_message(sent), DetectionArray)
    result = read_result(message)
    assert result.perception.source is types.Source.TRACKED
    (found,) = result.perception.detections
    assert (found.track_id, found.track_state, found.last_seen) == (
        'cup-7', types.TrackState.OCCLUDED, Stamp(3, 4))
    assert found.position == position
    assert convert.masks_to_msg(answer(Status.OK, tracked)).track_ids == ['cup-7']


def test_what_is_not_there_is_not_invented() -> None:
    (found,) = convert.detections_to_msg(answer(
        Status.OK, Detection(0, (0.0, 0.0, 1.0, 1.0)))).detections
    assert not found.has_point and not found.has_mask and found.label == ''
    assert math.isnan(found.score) and math.isnan(found.mask_score)
    assert found.track_id == '' and found.last_seen.sec == 0


@pytest.mark.parametrize(('status', 'count'), [(Status.NO_OBJECT, 0), (Status.TIMEOUT, -1)])
def test_nothing_there_and_an_error_never_look_alike(status: Status, count: int) -> None:
    result = answer(status, frame=None)
    assert convert.detections_to_msg(result).count == count
    message = convert.count_to_msg(result)
    assert (message.count, message.outcome.status) == (count, status)
    assert (message.header.stamp.sec, message.header.frame_id) == (0, '')


def test_numpy_numbers_are_made_plain() -> None:
    found = Detection(np.int64(1), tuple(np.float32([1, 2, 3, 4])), tuple(np.float64([1, 2])),
                      score=np.float32(0.5), area_px=np.uint32(3),
                      mask=Mask(Size(np.int32(4), np.int32(3)), tuple(np.uint32([2, 3, 7]))))
    serialize_message(convert.detections_to_msg(answer(Status.OK, found)))


def test_text_that_no_ros_string_can_hold_is_mended() -> None:
    message = convert.answer_to_msg(answer(answer='a\0b', reasoning='\ud800 ☕', raw_text='x'),
                                    reasoning=True, raw_text_limit=10)
    serialize_message(message)
    assert (message.answer, message.reasoning) == ('ab', '? ☕')


def test_text_is_cut_where_parameters_say() -> None:
    message = convert.answer_to_msg(answer(reasoning='long', raw_text='0123456789'),
                                    reasoning=False, raw_text_limit=4)
    assert (message.reasoning, message.raw_text) == ('', '0123')
    assert len(convert.count_to_msg(answer(text='x' * 10**6)).outcome.instruction_text) == 4096


def test_masks_come_alone_with_their_indices() -> None:
    bare = Detection(0, (0.0, 0.0, 1.0, 1.0))
    message = convert.masks_to_msg(answer(Status.OK, bare, CUP))
    assert list(message.indices) == [3] and message.track_ids == ['']
    assert [list(mask.counts) for mask in message.masks] == [[2, 3, 7]]


def test_a_partial_result_says_that_it_is_one() -> None:
    job = answer().job
    message = convert.partial_to_msg(Progress(
        job, Stage.SEGMENTING, 4, FRAME, new_detections=(CUP,), detections=(CUP, CUP),
        model_id='tiny', task=Task.COUNTING))
    assert message.outcome.model_id == 'tiny' and message.outcome.task == Task.COUNTING
    assert not message.outcome.is_final and message.count == 2 and message.outcome.sequence == 4
    assert message.header.frame_id == 'optical' and message.outcome.image_width == 4


def test_feedback() -> None:
    progress = Progress(answer().job, Stage.REASONING, 1, FRAME, 'because', (CUP,), (CUP,))
    feedback = convert.feedback_of_progress(progress, reasoning=True)
    assert (feedback.stage, feedback.sequence, feedback.camera) == (3, 1, 'front')
    assert feedback.new_reasoning == 'because' and feedback.header.frame_id == 'optical'
    assert [found.index for found in feedback.new_detections] == [3]
    assert convert.feedback_of_progress(progress, reasoning=False).new_reasoning == ''


def test_an_image_whose_header_cannot_be_read_gives_none() -> None:
    broken = Frame('front', b'rubbish', FrameKind.IMAGE, 1, 0.0)
    message = convert.detections_to_msg(answer(Status.BAD_IMAGE, frame=broken))
    assert (message.header.stamp.sec, message.header.frame_id) == (0, '')


@pytest.mark.parametrize('deadline_s', [0.0, 0.25, 30.0, -1.5])
def test_an_instruction_survives_the_way_there_and_back(deadline_s: float) -> None:
    instruction = Instruction('i', 'find ☕', Task.VQA, Mode.CONTINUOUS, ('a', 'b'), 7, deadline_s,
                              Stamp(3, 4))
    message = deserialize_message(
        serialize_message(convert.instruction_to_msg(instruction)), InstructionMsg)
    assert convert.instruction_from_msg(message, Stamp(99, 0)) == (instruction, None)


def test_an_instruction_without_a_stamp_gets_the_time_of_receipt() -> None:
    instruction, _ = convert.instruction_from_msg(InstructionMsg(), Stamp(99, 1))
    assert instruction.stamp == Stamp(99, 1)


@pytest.mark.parametrize('fields', [{'task': 5}, {'mode': 3}, {'task': 255, 'mode': 255}])
def test_unknown_values_are_a_bad_instruction(fields: dict[str, int]) -> None:
    instruction, error = convert.instruction_from_msg(
        InstructionMsg(id='i', text='t', deadline=Duration(sec=1), **fields), Stamp())
    assert error is not None and error.status is Status.BAD_INSTRUCTION
    assert (instruction.id, instruction.text, instruction.mode) == ('i', 't', Mode.ONCE)


def test_no_instruction_is_an_empty_one() -> None:
    assert convert.instruction_to_msg(None) == InstructionMsg()


def test_a_failed_request_answers_with_its_reason() -> None:
    error = types.PerceptionError(Status.BAD_INSTRUCTION, 'why')
    message = convert.detections_to_msg(updates.failed(Instruction('i', 't'), error))
    assert (message.outcome.status, message.outcome.status_message, message.count) == (
        Status.BAD_INSTRUCTION, 'why', -1)
