"""The node's side of one worker process: starts it, talks to it, and accounts for every request."""
from __future__ import annotations

import logging
import os
import select
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vr_ros.core.types import Perception, PerceptionError, Status, Task
from vr_ros.pipeline import protocol
from vr_ros.pipeline.frame_sender import FrameData, FrameSender
from vr_ros.pipeline.protocol import FromWorker, Perceive, ProtocolError, ToWorker, Track, Tracked
from vr_ros.pipeline.wire import Channel
from vr_ros.pipeline.worker_process import WorkerOptions, WorkerProcess, describe_exit
from vr_ros.pipeline.worker_state import WorkerState

MAX_OPEN_ANSWERS = 4
# Answers, and one frame that is tracked on each of some cameras.
RING_SLOTS = MAX_OPEN_ANSWERS + 8
_POLL_MS = 500
_EXIT_GRACE_S = 1.0

_log = logging.getLogger('vr_ros.worker_client')


@dataclass(frozen=True)
class Died:
    """The last event of a client: the process is gone and reaped, its memory is free.

    :param spoke: whether it had said anything; if not, it could not even be started properly.
    :param expected: whether it ended because of close() or a failed load.
    """

    exit_status: int | None
    message: str
    spoke: bool
    expected: bool


ClientEvent = FromWorker | Died


class WorkerClient:
    """One worker process.

    Thread-safe. on_event is called from one thread, this client's own, in the order in which
    things happened. Every request that perceive() accepted gets exactly one Result: the worker's,
    or WORKER_RESTARTING when the process ended, or what kill() or close() said. The last event is
    Died.
    """

    def __init__(self, options: WorkerOptions, card: str, card_options: dict[str, Any],
                 on_event: Callable[[ClientEvent], None]) -> None:
        self._options = options
        self._load = protocol.Load(_absolute(card), card_options)
        self._on_event = on_event
        self._lock = threading.Lock()
        self._state = WorkerState.STARTING
        self._open: dict[int, Perceive | Track] = {}
        self._blame: dict[int, tuple[Status, str]] = {}
        self._lost: tuple[Status, str] = (Status.WORKER_RESTARTING, '')
        self._closing = False
        self._frames = FrameSender(RING_SLOTS, self._send)
        self._process: WorkerProcess | None = None
        self._channel: Channel | None = None
        self._start_error: PerceptionError | None = None
        self._spawned = threading.Event()
        self._thread = threading.Thread(target=self._run, name='vr_ros worker', daemon=True)

    def start(self) -> None:
        """Start the process and let it load the card.

        :raises PerceptionError: MODEL_UNAVAILABLE, there is no such interpreter. No event follows.
        """
        self._thread.start()
        self._spawned.wait()
        if self._start_error is not None:
            raise self._start_error

    @property
    def state(self) -> WorkerState:
        return self._state

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def perceive(self, request_id: int, text: str, frame: FrameData, *, task: Task = Task.AUTO,
                 want_masks: bool = True, follow: str = '', max_tracks: int = 0) -> None:
        """Have an instruction answered on a frame; its events and its Result go to on_event.

        :param request_id: not in use by an open request.
        :param frame: copied before this returns.
        :param follow, max_tracks: see protocol.Perceive.
        :raises PerceptionError: not accepted, and no Result follows: MODEL_LOADING,
            WORKER_RESTARTING, MODEL_UNAVAILABLE, QUEUE_FULL, IMAGE_TOO_LARGE, BAD_INSTRUCTION.
        :raises ValueError: the id is in use.
        """
        with self._lock:
            self._check_ready(request_id)
            answers = sum(isinstance(request, Perceive) for request in self._open.values())
            if answers >= MAX_OPEN_ANSWERS:
                raise PerceptionError(Status.QUEUE_FULL, f'{answers} requests are open already')
            self._submit(frame, request_id, lambda ref: Perceive(
                request_id, text, task, ref, want_masks, follow, max_tracks))

    def track(self, request_id: int, camera: str, frame: FrameData) -> None:
        """Find what is followed on a camera's next frame; its Tracked goes to on_event.

        :raises PerceptionError: as perceive(); no Tracked follows.
        :raises ValueError: the id is in use.
        """
        with self._lock:
            self._check_ready(request_id)
            self._submit(frame, request_id, lambda ref: Track(request_id, camera, ref))

    def forget(self, camera: str) -> None:
        """Follow nothing on a camera any more."""
        with self._lock:
            self._send(protocol.Forget(camera))

    def _submit(self, frame: FrameData, request_id: int,
                make: Callable[[protocol.FrameRef], Perceive | Track]) -> None:
        ref = self._frames.put(frame, busy=[
            (request.frame.ring_id, request.frame.slot.slot) for request in self._open.values()])
        request = self._open[request_id] = make(ref)
        try:
            self._send(request)
        except ProtocolError as error:
            del self._open[request_id]
            raise PerceptionError(Status.BAD_INSTRUCTION, str(error)) from error

    def cancel(self, request_id: int) -> None:
        """Ask the worker to stop a request. Its Result still comes; unknown ids are ignored."""
        with self._lock:
            if request_id in self._open:
                self._send(protocol.Cancel(request_id))

    def kill(self, request_id: int, status: Status, message: str) -> None:
        """End the process at once because of a request; that one gets this status."""
        with self._lock:
            self._blame = {request_id: (status, message)}
            process = self._process
        if process is None or process.has_ended():
            return
        process.signal(signal.SIGUSR1)  # has a hung worker say on stderr where it hangs
        process.wait(0.2)
        process.signal(signal.SIGKILL)

    def close(self, grace_s: float = 2.0, *, lost: Status = Status.CANCELLED,
              wait: bool = True) -> None:
        """End the process: ask, then SIGTERM, then SIGKILL.

        :param grace_s: how long it may take after it was asked; after SIGTERM at most one second.
        :param lost: status of the requests that the worker does not end itself.
        :param wait: return when it is gone and Died was sent; else, and always when called from
            on_event, return at once.
        """
        with self._lock:
            self._closing = True
            self._lost = (lost, 'the worker was shut down')
            process = self._process
            if process is not None:
                self._send(protocol.Shutdown())
        if process is None:
            return
        if not wait or threading.current_thread() is self._thread:
            threading.Thread(target=self._end, args=(process, grace_s), daemon=True).start()
        else:
            self._end(process, grace_s)
            self._thread.join()

    @staticmethod
    def _end(process: WorkerProcess, grace_s: float) -> None:
        if not process.wait(grace_s):
            process.signal(signal.SIGTERM)
            if not process.wait(min(grace_s, 1.0)):
                process.signal(signal.SIGKILL)

    def _run(self) -> None:
        # The process is started here because the kernel ends it together with the starting thread.
        try:
            process = WorkerProcess(self._options)
        except PerceptionError as error:
            self._start_error = error
            self._state = WorkerState.FAILED
            self._spawned.set()
            return
        channel = Channel(process.socket)
        with self._lock:
            self._process, self._channel = process, channel
            self._send(self._load)
        self._spawned.set()
        spoke = False
        try:
            while (message := self._receive(process, channel)) is not None:
                spoke = True
                self._handle(message)
        except (ProtocolError, OSError) as error:
            _log.error('worker %d: %s', process.pid, error)
        self._bury(process, spoke)

    def _receive(self, process: WorkerProcess, channel: Channel) -> FromWorker | None:
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        # A helper of the worker may hold its end of the socket open: an end of file may not come.
        while not poll.poll(_POLL_MS):
            if process.has_ended() and not poll.poll(0):
                return None
        received = protocol.receive(channel)
        if received is None:
            return None
        if not isinstance(received.message, FromWorker):
            raise ProtocolError(f'{type(received.message).__name__} is not for the node')
        return received.message

    def _handle(self, message: FromWorker) -> None:
        request_id = getattr(message, 'request_id', None)
        with self._lock:
            if request_id is not None and request_id not in self._open:
                return  # a straggler: this request has had its Result
            if isinstance(message, protocol.Loading):
                self._state = WorkerState.LOADING
            elif isinstance(message, protocol.Ready):
                self._state = WorkerState.READY
            elif isinstance(message, protocol.LoadFailed):
                self._state = WorkerState.FAILED
            elif isinstance(message, protocol.Result | Tracked):
                del self._open[message.request_id]
        self._emit(message)

    def _bury(self, process: WorkerProcess, spoke: bool) -> None:
        status = process.reap(_EXIT_GRACE_S)
        with self._lock:
            expected = self._closing or self._state is WorkerState.FAILED
            if self._state is not WorkerState.FAILED:
                self._state = WorkerState.DEAD
            if self._channel is not None:
                self._channel.close()
                self._channel = None
            self._frames.close()
            lost, self._open = list(self._open.values()), {}
        message = f'worker {describe_exit(status)}'
        for request in lost:
            self._emit(self._loss(request, message))
        self._emit(Died(status, message, spoke, expected))

    def _loss(self, request: Perceive | Track, message: str) -> protocol.Result | Tracked:
        if isinstance(request, Track):
            return Tracked(request.request_id)
        status, reason = self._blame.get(request.request_id, self._lost)
        return protocol.Result(
            request.request_id,
            Perception(status, request.task, status_message=reason or message))

    def _emit(self, event: ClientEvent) -> None:
        try:
            self._on_event(event)
        except Exception:
            _log.exception('a callback failed on %s', type(event).__name__)

    def _check_ready(self, request_id: int) -> None:
        if request_id in self._open:
            raise ValueError(f'request {request_id} is open already')
        if self._state in (WorkerState.STARTING, WorkerState.LOADING):
            raise PerceptionError(Status.MODEL_LOADING, 'the model is being loaded')
        if self._state is WorkerState.FAILED:
            raise PerceptionError(Status.MODEL_UNAVAILABLE, 'the model could not be loaded')
        if self._state is WorkerState.DEAD or self._closing:
            raise PerceptionError(Status.WORKER_RESTARTING, 'the worker has ended')

    def _send(self, message: ToWorker, descriptor: int | None = None) -> None:
        if self._channel is None:
            return
        try:
            protocol.send(self._channel, message, descriptor)
        except OSError as error:
            # Half a packet may be out. The worker is dead or stuck; its end is reported by _run.
            _log.warning('cannot write to the worker: %s', error)
            if self._process is not None:
                self._process.signal(signal.SIGKILL)


def _absolute(card: str) -> str:
    """Return the card, made independent of the working directory if it is a file."""
    return os.path.abspath(card) if os.path.isfile(card) else card
