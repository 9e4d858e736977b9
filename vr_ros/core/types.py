"""The values that travel through the system; enumerations have the numbers of msg/."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

NAN = math.nan


class Task(IntEnum):
    """What an instruction asks for."""

    AUTO = 0
    DETECTION = 1
    SEGMENTATION = 2
    COUNTING = 3
    VQA = 4


class Mode(IntEnum):
    """How often an instruction is answered."""

    ONCE = 0
    CONTINUOUS = 1
    STOP = 2


class Status(IntEnum):
    """How one instruction on one frame ended: usable below 100, an error from 100 on."""

    OK = 0
    NO_OBJECT = 1
    PARTIAL = 2
    LIMIT_REACHED = 3
    SUPERSEDED = 4
    PARSE_ERROR = 100
    MODEL_ERROR = 101
    TIMEOUT = 102
    OUT_OF_MEMORY = 103
    STALE_IMAGE = 104
    NO_IMAGE = 105
    UNSUPPORTED_ENCODING = 106
    CANCELLED = 107
    BAD_INSTRUCTION = 108
    WORKER_RESTARTING = 109
    MODEL_LOADING = 110
    MODEL_UNAVAILABLE = 111
    QUEUE_FULL = 112
    BAD_IMAGE = 113
    IMAGE_TOO_LARGE = 114
    SERVER_UNAVAILABLE = 115
    NOT_ACTIVE = 116

    @property
    def is_error(self) -> bool:
        return self >= 100


class ScoreSource(IntEnum):
    """Where a detection's score comes from."""

    NONE = 0
    TOKENS = 1
    MARGIN = 2
    EXISTENCE = 3
    MASK_IOU = 4
    CONSISTENCY = 5
    FUSED = 6


class TrackState(IntEnum):
    """State of a track in continuous mode."""

    NONE = 0
    NEW = 1
    TRACKED = 2
    OCCLUDED = 3
    LOST = 4


class PositionStatus(IntEnum):
    """Whether a detection was located in 3-D, and if not, why."""

    NONE = 0
    OK = 1
    NO_DEPTH = 2
    NO_CAMERA_INFO = 3
    TOO_FEW_PIXELS = 4
    NOT_REGISTERED = 5
    OUT_OF_SYNC = 6


class Source(IntEnum):
    """Whether a result was reasoned about, or carried on from an earlier one by the tracker."""

    REASONED = 0
    TRACKED = 1


class PerceptionError(Exception):
    """A named failure that becomes the status of a result.

    :param status: an error status, >= 100.
    :param message: one line that says what happened and what to do.
    """

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class Stamp:
    """A ROS time, kept in its two integers so that a header survives untouched."""

    sec: int = 0
    nanosec: int = 0

    @property
    def nanoseconds(self) -> int:
        return self.sec * 1_000_000_000 + self.nanosec


@dataclass(frozen=True)
class Mask:
    """A full-image binary mask as COCO run lengths.

    :param counts: column-major run lengths, the first run counts zeros, sum = height * width.
    """

    size: Size
    counts: tuple[int, ...]


@dataclass(frozen=True)
class ParsedObject:
    """One object as the model wrote it, in the model's own coordinates, sanitised.

    :param box: x_min, y_min, x_max, y_max with x_min <= x_max and y_min <= y_max.
    :param point: x, y inside the object; the box centre when has_point is false.
    :param span: start and end of the object's text within the raw answer, in characters.
    """

    box: tuple[float, float, float, float]
    point: tuple[float, float]
    has_point: bool = True
    label: str = ''
    span: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Position:
    """Where an object is, in metres in the camera's optical frame (REP 103: z forward, y down).

    :param surface_point: median point of the visible surface.
    :param center: of the box around the object.
    :param orientation: of that box: quaternion x, y, z, w.
    :param size: edge lengths of that box along its own axes.
    :param stddev_m: of surface_point along the viewing ray.
    """

    surface_point: tuple[float, float, float]
    center: tuple[float, float, float]
    orientation: tuple[float, float, float, float]
    size: tuple[float, float, float]
    stddev_m: float


@dataclass(frozen=True)
class Detection:
    """One object in the pixels of the input image.

    :param box: x_min, y_min, x_max, y_max in pixels.
    :param point: x, y in pixels of a point inside the object, or None.
    :param score: NaN when the model gives none.
    :param mask_score: the segmenter's own estimate of its mask's IoU, NaN without a mask.
    :param track_id: the same over frames and answers; '' when not tracked.
    :param last_seen: stamp of the last image that showed the object; 0 when not tracked.
    :param position: there with PositionStatus.OK only.
    """

    index: int
    box: tuple[float, float, float, float]
    point: tuple[float, float] | None = None
    label: str = ''
    score: float = NAN
    score_source: ScoreSource = ScoreSource.NONE
    mask: Mask | None = None
    mask_score: float = NAN
    area_px: int = 0
    track_id: str = ''
    track_state: TrackState = TrackState.NONE
    last_seen: Stamp = Stamp()
    position_status: PositionStatus = PositionStatus.NONE
    position: Position | None = None


@dataclass(frozen=True)
class Timing:
    """Where the time went; durations by the steady clock."""

    image_age_ms: float = 0.0
    queue_ms: float = 0.0
    preprocess_ms: float = 0.0
    first_token_ms: float = 0.0
    generate_ms: float = 0.0
    segment_ms: float = 0.0
    total_ms: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    frames_dropped: int = 0


@dataclass(frozen=True)
class Instruction:
    """What the operator wants to know.

    :param deadline_s: seconds from receipt; 0 means the node's default.
    :param cameras: names; empty means all.
    """

    id: str
    text: str
    task: Task = Task.AUTO
    mode: Mode = Mode.ONCE
    cameras: tuple[str, ...] = ()
    priority: int = 0
    deadline_s: float = 0.0
    stamp: Stamp = Stamp()


@dataclass(frozen=True)
class Perception:
    """What one instruction found in one image."""

    status: Status
    task: Task = Task.AUTO
    detections: tuple[Detection, ...] = ()
    answer: str = ''
    reasoning: str = ''
    raw_text: str = ''
    finish_reason: str = ''
    status_message: str = ''
    image_size: Size = Size(0, 0)
    model_id: str = ''
    timing: Timing = field(default_factory=Timing)
    source: Source = Source.REASONED

    @property
    def count(self) -> int:
        """Number of objects, those lost left out; -1 when the status is an error."""
        if self.status.is_error:
            return -1
        return sum(found.track_state is not TrackState.LOST for found in self.detections)
