"""Answers as the dispatcher gives them, for tests of what is shown."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dispatching import image_cdr

from vr_ros.core.types import (
    Detection,
    Instruction,
    Mode,
    Perception,
    Position,
    PositionStatus,
    Size,
    Status,
)
from vr_ros.nodes.cameras import Frame
from vr_ros.nodes.instruction_queue import Job
from vr_ros.nodes.updates import Answer
from vr_ros.pipeline.protocol import FrameKind

SIZE = Size(8, 6)
POSITION = Position(
    surface_point=(0.1, 0.2, 0.95), center=(0.1, 0.2, 1.0), orientation=(0.0, 0.0, 0.0, 1.0),
    size=(0.06, 0.12, 0.08), stddev_m=0.01)


def located(index: int, position: Position = POSITION, **fields: object) -> Detection:
    found = Detection(index, (1.0, 2.0, 4.0, 8.0), label='cup')
    return replace(found, position_status=PositionStatus.OK, position=position, **fields)


def answer(detections: Sequence[Detection] = (), status: Status | None = None,
           camera: str = 'front', mode: Mode = Mode.CONTINUOUS, asked: str = 'i') -> Answer:
    """Make an answer to an image of 8 x 6 pixels with stamp 5.000000007 of the frame 'optical'."""
    if status is None:
        status = Status.OK if detections else Status.NO_OBJECT
    job = Job(Instruction(asked, 'cups', mode=mode), camera, 0, 0.0, 0.0, 0.0)
    cdr = image_cdr(5 * 10**9 + 7, SIZE.width, SIZE.height)
    return Answer(job, Perception(status, detections=tuple(detections), image_size=SIZE),
                  Frame(camera, cdr, FrameKind.IMAGE, 1, 0.0), 0, ended=False)
