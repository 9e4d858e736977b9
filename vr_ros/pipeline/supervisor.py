"""Keeps a worker alive: restarts it, watches its progress, answers for what it cannot answer."""
from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from vr_ros.core.types import Perception, PerceptionError, Status, Task
from vr_ros.pipeline import protocol
from vr_ros.pipeline.frame_sender import FrameData
from vr_ros.pipeline.protocol import FromWorker
from vr_ros.pipeline.request_ledger import RequestLedger
from vr_ros.pipeline.worker_client import ClientEvent, Died, WorkerClient
from vr_ros.pipeline.worker_process import WorkerOptions
from vr_ros.pipeline.worker_state import SupervisionPolicy, WorkerHealth, WorkerState

_log = logging.getLogger('vr_ros.supervisor')

_REFUSALS = {
    WorkerState.STARTING: Status.MODEL_LOADING,
    WorkerState.LOADING: Status.MODEL_LOADING,
    WorkerState.RESTARTING: Status.WORKER_RESTARTING,
    WorkerState.FAILED: Status.MODEL_UNAVAILABLE,
    WorkerState.CLOSED: Status.NOT_ACTIVE,
}


class WorkerSupervisor:
    """A worker that is there whenever it can be.

    All methods may be called from any thread and do not block, close() excepted. Both callbacks are
    called from one thread, the supervisor's own, one at a time and in order; they may call the
    methods. Every perceive() is answered by exactly one Result, whatever happens.

    :param on_event: gets what the worker says, of requests and of itself (Heartbeat and others).
    :param on_state: gets a WorkerHealth whenever state or message change.
    """

    def __init__(self, options: WorkerOptions, card: str,
                 card_options: Mapping[str, Any] | None = None, *,
                 on_event: Callable[[FromWorker], None],
                 on_state: Callable[[WorkerHealth], None] = lambda health: None,
                 policy: SupervisionPolicy = SupervisionPolicy()) -> None:  # noqa: B008 (frozen)
        self._options = options
        self._card, self._card_options = card, dict(card_options or {})
        self._on_event, self._on_state = on_event, on_state
        self._policy = policy
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._accepted: set[int] = set()
        self._closed = self._stopped = False
        self._health = WorkerHealth()
        self._client: WorkerClient | None = None
        # Two: that frames are tracked is no sign of life of an answer, nor the other way round.
        self._answers, self._tracks = (
            RequestLedger(policy.inference_timeout_s, policy.cancel_grace_s) for _ in range(2))
        self._killed = self._replacing = False
        self._restart_at = self._load_deadline = math.inf
        self._deaths = self._load_deaths = 0
        self._thread = threading.Thread(target=self._run, name='vr_ros supervisor', daemon=True)

    def start(self) -> None:
        """Start the first worker; on_state tells how it goes."""
        self._inbox.put(self._launch)
        self._thread.start()

    @property
    def health(self) -> WorkerHealth:
        return self._health

    def perceive(self, request_id: int, text: str, frame: FrameData, *, task: Task = Task.AUTO,
                 want_masks: bool = True, follow: str = '', max_tracks: int = 0) -> None:
        """Have an instruction answered on a frame. Its events and one Result go to on_event.

        :param request_id: chosen by the caller, never used twice.
        :param frame: not copied before it is sent, so leave it unchanged.
        :param follow, max_tracks: see protocol.Perceive.
        :raises ValueError: the id is in use.
        :raises PerceptionError: NOT_ACTIVE, close() was called; no Result follows.
        """
        self._accept(request_id, lambda: self._pass_on(
            self._answers, request_id, task, lambda client: client.perceive(
                request_id, text, frame, task=task, want_masks=want_masks, follow=follow,
                max_tracks=max_tracks)))

    def track(self, request_id: int, camera: str, frame: FrameData) -> None:
        """Find what is followed on a camera's next frame. One Tracked goes to on_event.

        :raises ValueError, PerceptionError: as perceive().
        """
        self._accept(request_id, lambda: self._pass_on(
            self._tracks, request_id, Task.AUTO,
            lambda client: client.track(request_id, camera, frame)))

    def forget(self, camera: str) -> None:
        """Follow nothing on a camera any more."""
        self._inbox.put(lambda: self._client.forget(camera) if self._client else None)

    def _accept(self, request_id: int, act: Callable[[], None]) -> None:
        with self._gate:
            if self._closed:
                raise PerceptionError(Status.NOT_ACTIVE, 'the worker was shut down')
            if request_id in self._accepted:
                raise ValueError(f'request {request_id} is open already')
            self._accepted.add(request_id)
            self._inbox.put(act)

    def cancel(self, request_id: int) -> None:
        """Answer a request with CANCELLED now, and have the worker stop computing it."""
        self._inbox.put(lambda: self._cancel(request_id))

    def reload(self, card: str | None = None,
               card_options: Mapping[str, Any] | None = None) -> None:
        """Replace the worker by one that loads a card anew: another one, or the same again."""
        self._inbox.put(lambda: self._reload(card, card_options))

    def close(self, grace_s: float = 2.0) -> None:
        """End the worker and this supervisor; open requests get CANCELLED.

        Returns when the process is gone and the last callback was made; at once if called from one.
        """
        with self._gate:
            if not self._closed:
                self._closed = True
                self._inbox.put(lambda: self._stop(grace_s))
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            due = min(self._restart_at, self._load_deadline,
                      math.inf if self._killed else self._answers.deadline(),
                      math.inf if self._killed else self._tracks.deadline())
            timeout = None if due == math.inf else max(0.0, due - time.monotonic())
            try:
                self._inbox.get(timeout=timeout)()
            except queue.Empty:
                pass  # a deadline
            self._check_deadlines(time.monotonic())

    def _check_deadlines(self, now: float) -> None:
        if now >= self._restart_at:
            self._launch()
        client = self._client
        if client is None or self._killed:
            return
        overdue = self._answers.overdue(now) or self._tracks.overdue(now)
        if overdue is not None:
            _log.error('request %d: %s', overdue.request_id, overdue.message)
            self._killed = True
            client.kill(overdue.request_id, overdue.status, overdue.message)
        elif now >= self._load_deadline:
            self._load_deadline = math.inf
            self._fail(f'no progress for {self._policy.load_timeout_s:g} s while loading')
            client.close(0.0, wait=False)

    def _launch(self) -> None:
        self._restart_at = math.inf
        self._killed = self._replacing = False
        client = WorkerClient(self._options, self._card, self._card_options,
                              lambda event: self._inbox.put(lambda: self._on_client(event)))
        self._set_health(state=WorkerState.STARTING, message='starting the worker', model_id='')
        try:
            client.start()
        except PerceptionError as error:
            self._fail(error.message)
            return
        self._client = client
        self._health = replace(self._health, pid=client.pid)
        self._extend_load_deadline()

    def _on_client(self, event: ClientEvent) -> None:
        if isinstance(event, Died):
            self._on_death(event)
            return
        if not self._replacing and not self._stopped:
            self._follow(event)
        if isinstance(event, protocol.Result) and not event.perception.status.is_error:
            self._deaths = 0
        now, ended = time.monotonic(), isinstance(event, protocol.Result | protocol.Tracked)
        ledger = self._answers
        if ended and event.request_id in self._tracks:
            ledger = self._tracks
        if ledger.observe(event, now):
            self._emit(event)
        if ended:
            self._release(event.request_id)

    def _follow(self, event: FromWorker) -> None:
        """Bring state and health up to date with what the current worker says of itself."""
        if isinstance(event, protocol.Loading):
            self._set_health(state=WorkerState.LOADING, message=event.stage)
            self._extend_load_deadline()
        elif isinstance(event, protocol.Ready):
            self._load_deaths, self._load_deadline = 0, math.inf
            self._set_health(state=WorkerState.READY, message='', model_id=event.model_id,
                             can_track=event.can_track)
        elif isinstance(event, protocol.LoadFailed):
            self._fail(event.message)
        elif isinstance(event, protocol.Heartbeat):
            self._health = replace(self._health, heartbeat=event, heartbeat_at=time.monotonic())

    def _on_death(self, event: Died) -> None:
        was_loading = self._health.state in (WorkerState.STARTING, WorkerState.LOADING)
        self._client, self._load_deadline = None, math.inf
        self._health = replace(self._health, pid=None, heartbeat=None, heartbeat_at=math.nan)
        if self._stopped:
            return
        if self._replacing:
            self._launch()
            return
        if self._health.state is WorkerState.FAILED:
            return
        self._deaths += 1
        self._load_deaths += was_loading
        could_not_start = not event.spoke and (event.exit_status or 0) > 0
        if could_not_start or self._load_deaths >= self._policy.load_attempts:
            self._fail(f'{event.message} while starting; its output says why')
            return
        delay_s = min(self._policy.restart_delay_s * 2 ** (self._deaths - 1),
                      self._policy.restart_delay_max_s)
        self._restart_at = time.monotonic() + delay_s
        _log.error('%s; next start in %g s', event.message, delay_s)
        self._set_health(state=WorkerState.RESTARTING, model_id='', message=event.message,
                         restarts=self._health.restarts + 1)

    def _pass_on(self, ledger: RequestLedger, request_id: int, task: Task,
                 send: Callable[[WorkerClient], None]) -> None:
        try:
            state = self._health.state
            if self._client is None or state is not WorkerState.READY:
                raise PerceptionError(_REFUSALS.get(state, Status.WORKER_RESTARTING),
                                      self._health.message or state.value)
            send(self._client)
            ledger.open(request_id, task, time.monotonic())
        except PerceptionError as error:
            if ledger is self._tracks:
                self._emit(protocol.Tracked(request_id))
            else:
                self._answer(request_id, task, error.status, error.message)
            self._release(request_id)

    def _cancel(self, request_id: int) -> None:
        task = self._answers.cancel(request_id, time.monotonic())
        if task is None:
            return
        assert self._client is not None, 'requests do not outlive their client'
        self._client.cancel(request_id)
        self._answer(request_id, task, Status.CANCELLED, 'cancelled')

    def _reload(self, card: str | None, card_options: Mapping[str, Any] | None) -> None:
        if self._stopped:
            return
        self._card = self._card if card is None else card
        self._card_options = self._card_options if card_options is None else dict(card_options)
        self._deaths = self._load_deaths = 0
        if self._client is None:
            self._launch()
            return
        self._replacing = True
        self._set_health(state=WorkerState.RESTARTING, message=f'loading {self._card} anew')
        self._client.close(self._policy.cancel_grace_s, lost=Status.WORKER_RESTARTING, wait=False)

    def _stop(self, grace_s: float) -> None:
        self._stopped = True
        self._restart_at = math.inf
        if self._client is not None:
            self._client.close(grace_s, lost=Status.CANCELLED)
        # All that the client said lies in the inbox by now, and nothing can come after it.
        while not self._inbox.empty():
            self._inbox.get()()
        self._set_health(state=WorkerState.CLOSED, message='')

    def _fail(self, message: str) -> None:
        _log.error('the worker cannot serve: %s', message)
        self._set_health(state=WorkerState.FAILED, message=message, model_id='')

    def _extend_load_deadline(self) -> None:
        if self._policy.load_timeout_s > 0:
            self._load_deadline = time.monotonic() + self._policy.load_timeout_s

    def _answer(self, request_id: int, task: Task, status: Status, message: str) -> None:
        self._emit(protocol.Result(request_id, Perception(status, task, status_message=message)))

    def _release(self, request_id: int) -> None:
        with self._gate:
            self._accepted.discard(request_id)

    def _emit(self, event: FromWorker) -> None:
        try:
            self._on_event(event)
        except Exception:
            _log.exception('on_event failed on %s', type(event).__name__)

    def _set_health(self, **changes: Any) -> None:
        before, self._health = self._health, replace(self._health, **changes)
        if (before.state, before.message) != (self._health.state, self._health.message):
            try:
                self._on_state(self._health)
            except Exception:
                _log.exception('on_state failed')
