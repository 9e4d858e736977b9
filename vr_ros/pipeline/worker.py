"""The worker program: holds the models, answers requests in order, streams what it finds.

Run by the node as `python -m vr_ros.pipeline.worker --fd N`, where N is one end of a socket pair.
It ends when the other end closes, and by the kernel's parent-death signal when the node is killed.
Everything it has to say to a human goes to stderr.
"""
from __future__ import annotations

import argparse
import ctypes
import faulthandler
import importlib
import logging
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vr_ros.core.events import Event, MasksEvent, ObjectsEvent, TextEvent
from vr_ros.core.types import Perception, PerceptionError, Status, Task
from vr_ros.pipeline import protocol
from vr_ros.pipeline.backend import DEFAULT_BACKEND, make_backend
from vr_ros.pipeline.heap import keep_one_heap
from vr_ros.pipeline.protocol import ProtocolError
from vr_ros.pipeline.wire import Channel
from vr_ros.pipeline.worker_errors import (
    BackendError,
    check_detections,
    is_device_lost,
    is_out_of_memory,
    one_line,
    status_of,
)
from vr_ros.pipeline.worker_frames import DECODE, LOCATE, Rings
from vr_ros.pipeline.worker_jobs import Job, Jobs
from vr_ros.pipeline.worker_memory import give_back, heartbeat, keep_for_good, release_memory
from vr_ros.pipeline.worker_tracking import TrackThread, follow_answer

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_PROTOCOL = 64
EXIT_LOAD_FAILED = 65
EXIT_DEVICE_LOST = 66

_PR_SET_PDEATHSIG = 1

_log = logging.getLogger('vr_ros.worker')


class Worker:
    """One back-end behind one channel.

    The reader thread receives, so that a cancellation counts at once; the thread that calls run()
    answers; another one tracks; and one sends a heartbeat.
    """

    def __init__(self, channel: Channel, backend_spec: str, heartbeat_s: float = 1.0) -> None:
        self._channel = channel
        self._backend_spec = backend_spec
        self._heartbeat_s = heartbeat_s
        self._backend: Any = None
        self._jobs = Jobs()
        self._rings = Rings()
        self._tracker: TrackThread | None = None
        self._work: queue.SimpleQueue[protocol.Load | Job | None] = queue.SimpleQueue()

    def run(self) -> int:
        """Serve until Shutdown; return the exit status of the program."""
        threading.Thread(target=self._read, name='reader', daemon=True).start()
        threading.Thread(target=self._beat, name='heartbeat', daemon=True).start()
        while (item := self._work.get()) is not None:
            status = self._load(item) if isinstance(item, protocol.Load) else self._answer(item)
            if status != EXIT_OK:
                return status
        if self._backend is not None:
            self._backend.close()
        return EXIT_OK

    def _read(self) -> None:
        try:
            while (received := protocol.receive(self._channel)) is not None:
                self._on_message(received)
        except (ProtocolError, ValueError):
            _log.exception('the node sent what is no message')
            os._exit(EXIT_PROTOCOL)
        except OSError:
            _log.exception('the channel to the node broke')
        os._exit(EXIT_OK)  # the node is gone: nobody waits for anything

    def _on_message(self, received: protocol.Received) -> None:
        message = received.message
        if isinstance(message, protocol.Perceive):
            job = Job(message, self._rings.open(message.frame))
            self._jobs.add(job)
            self._work.put(job)
        elif isinstance(message, protocol.Cancel):
            waiting = self._jobs.cancel(message.request_id)
            if waiting is not None:
                self._send_cancelled(waiting)
        elif isinstance(message, protocol.AttachRing) and received.descriptor is not None:
            self._rings.attach(message.ring_id, received.descriptor)
        elif isinstance(message, protocol.DetachRing):
            self._rings.detach(message.ring_id)
        elif isinstance(message, protocol.Track):
            self._track(message)
        elif isinstance(message, protocol.Forget):
            if self._tracker is not None:
                self._backend.forget(message.camera)
        elif isinstance(message, protocol.Load):
            self._work.put(message)
        elif isinstance(message, protocol.Shutdown):
            for job in self._jobs.cancel_all():
                self._send_cancelled(job)
            self._work.put(None)
        else:
            raise ProtocolError(f'{type(message).__name__} is not for the worker')

    def _track(self, message: protocol.Track) -> None:
        if self._tracker is None:
            self._send(protocol.Tracked(message.request_id))
        else:
            self._tracker.put(message, self._rings.open(message.frame))

    def _beat(self) -> None:
        pause = threading.Event()
        while True:
            self._send(heartbeat(self._jobs.running_id, loaded=self._backend is not None))
            pause.wait(self._heartbeat_s)

    def _send(self, message: protocol.FromWorker) -> None:
        try:
            protocol.send(self._channel, message)
        except OSError:
            _log.warning('the node is gone')
            os._exit(EXIT_OK)

    def _send_cancelled(self, job: Job) -> None:
        self._send(protocol.Result(job.request.request_id, self._ended(
            job, Status.CANCELLED, 'cancelled before work on it began')))

    def _load(self, message: protocol.Load) -> int:
        self._send(protocol.Loading('importing the back-end', float('nan')))
        try:
            for module in (DECODE, LOCATE):  # here, so that no answer waits for them
                importlib.import_module(module)
            factory = make_backend(self._backend_spec)
            self._send(protocol.Loading(f'loading {message.card}', float('nan')))
            self._backend = factory(message.card, **message.options)
            can_track = bool(getattr(self._backend, 'can_track', False))
            if can_track:
                self._tracker = TrackThread(
                    self._backend, self._send, lambda: os._exit(EXIT_DEVICE_LOST))
            self._send(protocol.Ready(
                str(self._backend.model_id), can_track, {'pid': os.getpid()}))
        except Exception as error:
            _log.error('cannot load %s: %s', message.card, one_line(error),
                       exc_info=not isinstance(error, PerceptionError))
            status = status_of(error)
            if status is Status.MODEL_ERROR:
                status = Status.MODEL_UNAVAILABLE
            self._send(protocol.LoadFailed(status, one_line(error)))
            return EXIT_LOAD_FAILED
        keep_for_good()
        _log.info('%s is ready', self._backend.model_id)
        return EXIT_OK

    def _answer(self, job: Job) -> int:
        request_id = job.request.request_id
        if not self._jobs.start(job):
            return EXIT_OK
        exit_status, out_of_memory, found = EXIT_OK, False, None
        tracker = self._tracker if job.request.follow else None
        try:
            if tracker is not None:
                self._backend.watch(job.request.follow)
            task = self._task_of(job.request)
            self._send(protocol.Started(request_id, task))
            perception = self._perceive(job, task)
            if job.cancelled.is_set() and perception.status is not Status.CANCELLED:
                perception = self._ended(job, Status.CANCELLED, 'cancelled')
            if tracker is not None:
                tracker.hold(job.request.follow)
            self._send(protocol.Result(request_id, perception))
            found = None if perception.status.is_error else perception.detections
        except Exception as error:
            out_of_memory = is_out_of_memory(error)
            if is_device_lost(error):
                exit_status = EXIT_DEVICE_LOST
            self._send(self._failed(job, error))
        if out_of_memory:
            release_memory()
        self._jobs.finish()
        if tracker is not None:
            follow_answer(self._backend, job.request, found)
            tracker.release()
        give_back()
        return exit_status

    def _task_of(self, request: protocol.Perceive) -> Task:
        """Have a back-end that can pick tasks pick this one, so that partial results name it."""
        pick = getattr(self._backend, 'task_of', None)
        return request.task if request.task is not Task.AUTO or pick is None else pick(request.text)

    def _perceive(self, job: Job, task: Task) -> Perception:
        request = job.request
        if self._backend is None:
            raise PerceptionError(Status.MODEL_UNAVAILABLE, 'no model was loaded')
        perception = self._backend.perceive(
            job.frame.image(), request.text, task, want_masks=request.want_masks,
            on_event=lambda event: self._on_event(request.request_id, event),
            should_stop=job.cancelled.is_set)
        if not isinstance(perception, Perception):
            raise BackendError(f'expected a Perception, got {type(perception).__name__}')
        check_detections(perception.detections)
        return replace(perception, detections=job.frame.located(
            perception.detections, perception.image_size))

    def _on_event(self, request_id: int, event: Event) -> None:
        if isinstance(event, TextEvent):
            self._send(protocol.Text(request_id, event.text))
        elif isinstance(event, ObjectsEvent):
            check_detections(event.detections)
            self._send(protocol.Objects(request_id, event.detections, event.masks_pending))
        elif isinstance(event, MasksEvent):
            check_detections(event.detections)
            self._send(protocol.Masks(request_id, event.detections))
        else:
            raise BackendError(f'expected a partial event, got {type(event).__name__}')

    def _failed(self, job: Job, error: Exception) -> protocol.Result:
        if not isinstance(error, PerceptionError):
            _log.error('request %d failed', job.request.request_id, exc_info=error)
        status, message = status_of(error), one_line(error)
        if job.cancelled.is_set():
            status, message = Status.CANCELLED, 'cancelled'
        return protocol.Result(job.request.request_id, self._ended(job, status, message))

    def _ended(self, job: Job, status: Status, message: str) -> Perception:
        model_id = '' if self._backend is None else str(self._backend.model_id)
        return Perception(status, job.request.task, status_message=message, model_id=model_id)


def end_with_parent(sock: socket.socket) -> None:
    """Have the kernel kill this process when the thread that started it ends, however it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL)) != 0:
        _log.warning('no parent-death signal: %s', os.strerror(ctypes.get_errno()))
    # A parent that died before prctl sends no signal, but its end of the socket is closed.
    sock.setblocking(False)
    try:
        if sock.recv(1, socket.MSG_PEEK) == b'':
            os._exit(EXIT_OK)
    except BlockingIOError:
        pass  # nothing sent yet, and nothing closed
    sock.setblocking(True)


def prefer_as_victim() -> None:
    """Let the kernel end the worker, not the node, when the machine runs out of memory."""
    try:
        with open('/proc/self/oom_score_adj', 'w', encoding='ascii') as file:
            file.write('500')
    except OSError as error:
        _log.info('oom_score_adj stays: %s', error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the worker program; return its exit status."""
    parser = argparse.ArgumentParser(prog='vr_ros.pipeline.worker', description=__doc__)
    parser.add_argument('--fd', type=int, required=True, help='socket to the node')
    parser.add_argument('--backend', help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO,
                        format='%(asctime)s worker[%(process)d] %(levelname)s %(message)s')
    keep_one_heap()
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault('HF_HUB_DISABLE_PROGRESS_BARS', '1')  # stderr is a log
    try:
        sock = socket.socket(fileno=options.fd)
    except OSError as error:
        print(f'--fd {options.fd} is no socket: {error}. The node starts this program.',
              file=sys.stderr)
        return EXIT_USAGE
    sock.set_inheritable(False)
    end_with_parent(sock)
    prefer_as_victim()
    spec = options.backend or os.environ.get('VR_ROS_WORKER_BACKEND') or DEFAULT_BACKEND
    return Worker(Channel(sock), spec).run()


if __name__ == '__main__':
    _status = main()
    logging.shutdown()
    sys.stderr.flush()
    # Threads of the back-end must not keep a worker alive that has said its last word.
    os._exit(_status)
