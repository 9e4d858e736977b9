"""A dispatcher with a clock that stands still, told what its cameras see and its worker says."""
from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vr_ros.core.cdr import parse_header
from vr_ros.core.types import Detection, Instruction, Perception, Status, Task
from vr_ros.nodes.cameras import Frame, make_cameras
from vr_ros.nodes.dispatch import Dispatcher
from vr_ros.nodes.parameters import PerceptionParameters
from vr_ros.nodes.run import Clocks
from vr_ros.nodes.updates import ActiveInstruction, Answer, Progress, Update
from vr_ros.pipeline import protocol
from vr_ros.pipeline.frame_sender import FrameData
from vr_ros.pipeline.protocol import FrameKind
from vr_ros.pipeline.worker_state import WorkerHealth, WorkerState

START_NS = 1_700_000_000 * 10**9
CUP = Detection(0, (1.0, 2.0, 3.0, 4.0), (2.0, 3.0), 'cup')


def image_cdr(stamp_ns: int, width: int = 4, height: int = 3, frame_id: str = 'optical') -> bytes:
    """Write a black rgb8 sensor_msgs/Image in CDR, little-endian."""
    def padded(data: bytes) -> bytes:
        return data + bytes(-len(data) % 4)

    name = frame_id.encode() + b'\0'
    body = padded(struct.pack('<iII', stamp_ns // 10**9, stamp_ns % 10**9, len(name)) + name)
    body += padded(struct.pack('<III', height, width, 5) + b'rgb8\0' + b'\0')
    body += struct.pack('<II', 3 * width, 3 * width * height) + bytes(3 * width * height)
    return b'\x00\x01\x00\x00' + body


@dataclass(frozen=True)
class Request:
    """What the worker was asked."""

    id: int
    text: str
    frame: bytes
    kind: FrameKind
    task: Task
    want_masks: bool
    asked_ns: int
    follow: str
    max_tracks: int

    @property
    def age_s(self) -> float:
        """Age of the frame when it was asked about."""
        return (self.asked_ns - parse_header(self.frame).stamp.nanoseconds) / 1e9


@dataclass(frozen=True)
class Looked:
    """A frame that the worker was given to track on."""

    id: int
    camera: str
    frame: bytes


class ScriptedWorker:
    """Notes what it is asked, and answers when the test says so."""

    def __init__(self, node_ns: Callable[[], int]) -> None:
        self._node_ns = node_ns
        self.requests: list[Request] = []
        self.cancelled: list[int] = []
        self.tracked: list[Looked] = []
        self.forgotten: list[str] = []

    def perceive(self, request_id: int, text: str, frame: FrameData, *, task: Task,
                 want_masks: bool, follow: str, max_tracks: int) -> None:
        self.requests.append(Request(
            request_id, text, bytes(frame.image), frame.kind, task, want_masks, self._node_ns(),
            follow, max_tracks))

    def cancel(self, request_id: int) -> None:
        self.cancelled.append(request_id)

    def track(self, request_id: int, camera: str, frame: FrameData) -> None:
        self.tracked.append(Looked(request_id, camera, bytes(frame.image)))

    def forget(self, camera: str) -> None:
        self.forgotten.append(camera)


class Bench:
    """A dispatcher and all that it is connected to.

    :param parameters: in place of the defaults.
    """

    def __init__(self, *cameras: str, ready: bool = True, active: bool = True,
                 **parameters: Any) -> None:
        self.now, self.updates, self.warnings = 100.0, [], []  # type: ignore[var-annotated]
        self.values = PerceptionParameters(**parameters)
        self.worker = ScriptedWorker(self.node_ns)
        names = cameras or ('camera',)
        self.cameras = make_cameras([f'{name}/image' for name in names], names, 'raw')
        self.dispatcher = Dispatcher(lambda: self.values, Clocks(lambda: self.now, self.node_ns),
                                     self.updates.append, self.warnings.append)
        self.dispatcher.attach(self.worker, self.cameras)
        if active:
            self.dispatcher.activate()
        if ready:
            self.set_worker(WorkerState.READY)

    def node_ns(self) -> int:
        return START_NS + round(self.now * 1e9)

    def set_worker(self, state: WorkerState, message: str = '') -> None:
        self.dispatcher.on_health(WorkerHealth(state, message, 'a model'))

    def show(self, camera: str = 'camera', age_s: float = 0.0, **image: Any) -> Frame:
        """Have a camera deliver an image."""
        self.cameras[camera].put(image_cdr(self.node_ns() - round(age_s * 1e9), **image), self.now)
        self.dispatcher.pump()
        frame = self.cameras[camera].newest
        assert frame is not None
        return frame

    def tell(self, instruction_id: str, text: str = 'find the cup', *,
             listener: Callable[[Update], None] | None = None, **fields: Any) -> int:
        return self.dispatcher.submit(Instruction(instruction_id, text, **fields), listener)

    def advance(self, seconds: float) -> None:
        """Let time pass; the dispatcher is woken exactly when it asked for it."""
        end = self.now + seconds
        for _ in range(10_000):
            wake_at = max(self.dispatcher.wake_at, self.now)
            if wake_at > end:
                break
            self.now = wake_at
            self.dispatcher.pump()
        else:
            raise AssertionError('the dispatcher wakes without end')
        self.now = end

    def begin(self) -> Request:
        """Have the worker take up the newest request."""
        request = self.worker.requests[-1]
        self.dispatcher.on_worker(protocol.Started(request.id))
        return request

    def finish(self, status: Status = Status.OK, *found: Detection, **fields: Any) -> None:
        """Have the worker take up and answer the newest request."""
        request = self.begin()
        self.dispatcher.on_worker(protocol.Result(
            request.id, Perception(status, request.task, found, **fields)))

    @property
    def answers(self) -> list[Answer]:
        return [update for update in self.updates if isinstance(update, Answer)]

    @property
    def statuses(self) -> list[tuple[str, str]]:
        """Instruction and status of every result so far."""
        return [(answer.job.instruction.id, answer.perception.status.name)
                for answer in self.answers]

    @property
    def attended(self) -> list[str]:
        """Ids that were announced as being attended to, '' for none."""
        return [update.instruction.id if update.instruction else '' for update in self.updates
                if isinstance(update, ActiveInstruction)]

    @property
    def is_idle(self) -> bool:
        return self.dispatcher.waiting == 0 and self.dispatcher.wake_at == math.inf


def stages(updates: list[Update]) -> list[str]:
    """Name what a listener heard."""
    return ['RESULT' if isinstance(update, Answer) else update.stage.name
            for update in updates if isinstance(update, Answer | Progress)]
