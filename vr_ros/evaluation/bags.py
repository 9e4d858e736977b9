"""Reads what a robot saw and was asked out of a bag, without ROS, and asks a model again.

Frames are decoded from the recorded bytes by the code that the worker uses, so that the same model
sees the same pixels: what it finds agrees with what the node found then, see differences().
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection

from vr_ros.core.cdr import parse_header
from vr_ros.core.types import (
    Detection,
    Mask,
    Perception,
    PerceptionError,
    Size,
    Source,
    Stamp,
    Status,
    Task,
)
from vr_ros.pipeline.decode import decode_compressed, decode_image

# Kernels may add in another order with another number of threads; a token of a box is one pixel.
BOX_TOLERANCE_PX = 1.0
_IMAGES = {'sensor_msgs/msg/Image': decode_image, 'sensor_msgs/msg/CompressedImage':
           decode_compressed}
_RESULTS, _ANSWERS = 'vr_ros/msg/DetectionArray', 'vr_ros/msg/Answer'
_INSTRUCTIONS, _TEXTS = 'vr_ros/msg/Instruction', 'std_msgs/msg/String'
# Pictures that nodes made of others.
_NO_CAMERAS = ('overlay', 'labels', 'depth')

_Frame = tuple[str, int]


class Asks(Protocol):
    """What answers: a Perceiver, or another of its kind."""

    def perceive(self, image: np.ndarray, text: str, task: Task = ...) -> Perception:
        """Answer one instruction about one image."""


@dataclass(frozen=True)
class BagResult:
    """A result in a bag, and the image that it is about.

    :param perception: with boxes, points, labels, masks, and the answer where that was recorded.
    """

    instruction_id: str
    text: str
    camera: str
    frame_id: str
    stamp: Stamp
    sequence: int
    perception: Perception


@dataclass(frozen=True)
class BagCase:
    """An image, and what was asked about it.

    :param image: (H, W, 3) uint8 RGB.
    :param task: that was asked for; AUTO where only the text is known.
    :param recorded: what the node answered; None if the bag does not say.
    :param truth: what would have been right; None if the bag does not say.
    """

    text: str
    task: Task
    frame_id: str
    stamp: Stamp
    image: np.ndarray
    recorded: BagResult | None = None
    truth: BagResult | None = None


@dataclass
class _Index:
    """What a bag says beside the images."""

    results: list[BagResult] = field(default_factory=list)
    truths: dict[tuple[str, _Frame], BagResult] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    asked: list[tuple[int, str, str, Task]] = field(default_factory=list)


def read_cases(bag: Path, image_topics: Sequence[str] = ()) -> Iterator[BagCase]:
    """Pair images with what was asked about them, in the order of the images.

    A result belongs to the image with its stamp and frame. Left out are results of the tracker, and
    those whose image is not in the bag. Instructions without any result belong to the image that
    was the newest when they came; before the first image, to that one.

    :param image_topics: where the images are; none: all but overlays, labels and depth, as they
        are where a camera was recorded as they are and compressed.
    :raises PerceptionError: an image cannot be decoded.
    :raises AnyReaderError: the bag cannot be read.
    """
    with AnyReader([bag]) as reader:
        index = _read_index(reader)
        wanted: dict[_Frame, list[BagResult]] = {}
        for result in index.results:
            wanted.setdefault(_frame(result), []).append(result)
        answered = {result.instruction_id for result in index.results}
        open_ones = [item for item in index.asked if item[1] not in answered]
        newest: tuple[Connection, bytes] | None = None
        cameras = _cameras(reader, image_topics)
        # No connections would mean all of them.
        for connection, at_ns, data in reader.messages(cameras) if cameras else ():
            while open_ones and open_ones[0][0] < at_ns:
                _, name, text, task = open_ones.pop(0)
                yield _case(newest or (connection, data), index, name, text, task)
            newest = connection, data
            for result in wanted.pop(_frame_of(data), ()):
                yield _case(newest, index, result.instruction_id, result.text,
                            index.tasks.get(result.instruction_id, Task.AUTO), result)
        if newest is not None:
            for _, name, text, task in open_ones:
                yield _case(newest, index, name, text, task)


def replay(perceiver: Asks, cases: Iterator[BagCase]) -> Iterator[tuple[BagCase, Perception]]:
    """Ask a model again, as fast as it goes; an error becomes the status of its answer."""
    for case in cases:
        try:
            perception = perceiver.perceive(case.image, case.text, case.task)
        except PerceptionError as error:
            perception = Perception(error.status, case.task, status_message=error.message)
        yield case, perception


def differences(recorded: Perception, again: Perception,
                tolerance_px: float = BOX_TOLERANCE_PX) -> list[str]:
    """Say how two answers to one question about one image differ; empty: they agree.

    :param tolerance_px: by which the edges of boxes may differ.
    """
    found = [f'{name}: {then} then, {now} now' for name, then, now in (
        ('status', recorded.status.name, again.status.name),
        ('count', recorded.count, again.count),
        # A bag may hold detections without their answers.
        ('answer', recorded.answer or again.answer, again.answer)) if then != now]
    for then, now in zip(recorded.detections, again.detections, strict=False):
        apart_px = float(np.abs(np.subtract(then.box, now.box)).max())
        if apart_px > tolerance_px:
            found.append(f'box {then.index}: {apart_px:.1f} px apart')
    return found


def _cameras(reader: AnyReader, image_topics: Sequence[str]) -> list[Connection]:
    images = [c for c in reader.connections if c.msgtype in _IMAGES]
    if image_topics:
        return [c for c in images if c.topic in image_topics]
    images = [c for c in images if not any(word in c.topic.lower() for word in _NO_CAMERAS)]
    filled = {c.topic for c in images if c.msgcount}
    return [c for c in images if c.topic.removesuffix('/compressed') not in filled - {c.topic}]


def _read_index(reader: AnyReader) -> _Index:
    index, answers = _Index(), {}
    small = [c for c in reader.connections
             if c.msgtype in (_RESULTS, _ANSWERS, _INSTRUCTIONS)
             or (c.msgtype == _TEXTS and c.topic.endswith('/instruction_text'))]
    messages = [(c, at_ns, reader.deserialize(data, c.msgtype))
                for c, at_ns, data in reader.messages(small)] if small else []
    for connection, _, message in messages:
        if connection.msgtype == _ANSWERS:
            answers[_is_truth(connection), _key(message)] = message.answer
    for connection, at_ns, message in messages:
        if connection.msgtype == _RESULTS:
            is_truth = _is_truth(connection)
            result = _result(message, answers.get((is_truth, _key(message)), ''))
            if is_truth:
                index.truths[result.instruction_id, _frame(result)] = result
            elif _is_of_image(message):
                index.results.append(result)
        elif connection.msgtype == _INSTRUCTIONS:
            _take_instruction(index, connection, at_ns, message)
        elif connection.msgtype == _TEXTS:
            _take_text(index, at_ns, message.data)
    answered = {result.text for result in index.results}
    index.asked = [item for item in index.asked if item[1] or item[2] not in answered]
    return index


def _take_instruction(index: _Index, connection: Connection, at_ns: int, message: Any) -> None:
    if not message.text:
        return  # STOP, or nothing is active
    index.tasks[message.id] = Task(message.task) if message.task in set(Task) else Task.AUTO
    if not connection.topic.endswith('/active_instruction'):
        index.asked.append((at_ns, message.id, message.text, index.tasks[message.id]))


def _take_text(index: _Index, at_ns: int, text: str) -> None:
    index.asked.append((at_ns, '', text, Task.AUTO))


def _is_truth(connection: Connection) -> bool:
    return '/truth/' in connection.topic


def _is_of_image(message: Any) -> bool:
    outcome, stamp = message.outcome, message.header.stamp
    return bool(outcome.is_final and outcome.source == Source.REASONED
                and (stamp.sec or stamp.nanosec))


def _key(message: Any) -> tuple[str, str, int, int]:
    stamp = message.header.stamp
    return (message.outcome.instruction_id, message.outcome.camera, stamp.sec, stamp.nanosec)


def _frame(result: BagResult) -> _Frame:
    return result.frame_id, result.stamp.nanoseconds


def _frame_of(data: bytes) -> _Frame:
    header = parse_header(data)
    return header.frame_id, header.stamp.nanoseconds


def _case(image: tuple[Connection, bytes], index: _Index, name: str, text: str, task: Task,
          recorded: BagResult | None = None) -> BagCase:
    connection, data = image
    header = parse_header(data)
    return BagCase(
        text, task, header.frame_id, header.stamp, _IMAGES[connection.msgtype](data), recorded,
        index.truths.get((name, (header.frame_id, header.stamp.nanoseconds))))


def _result(message: Any, answer: str) -> BagResult:
    outcome, stamp = message.outcome, message.header.stamp
    size = Size(int(outcome.image_width), int(outcome.image_height))
    perception = Perception(
        Status(outcome.status), Task(outcome.task),
        tuple(_detection(found) for found in message.detections), answer=answer,
        status_message=outcome.status_message, image_size=size, model_id=outcome.model_id,
        source=Source(outcome.source))
    return BagResult(
        outcome.instruction_id, outcome.instruction_text, outcome.camera, message.header.frame_id,
        Stamp(int(stamp.sec), int(stamp.nanosec)), int(outcome.sequence), perception)


def _detection(found: Any) -> Detection:
    mask = None
    if found.has_mask:
        mask = Mask(Size(int(found.mask.width), int(found.mask.height)),
                    tuple(map(int, found.mask.counts)))
    return Detection(
        int(found.index), tuple(map(float, (found.x_min, found.y_min, found.x_max, found.y_max))),
        (float(found.point_x), float(found.point_y)) if found.has_point else None, found.label,
        float(found.score), mask=mask, mask_score=float(found.mask_score),
        area_px=int(found.area_px), track_id=found.track_id)
