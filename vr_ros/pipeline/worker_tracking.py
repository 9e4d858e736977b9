"""The worker's second thread: follows objects on frames as they come, while the first reasons."""
from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vr_ros.core.types import Detection, PerceptionError, Size
from vr_ros.pipeline.protocol import Perceive, Track, Tracked
from vr_ros.pipeline.worker_errors import check_detections, is_device_lost
from vr_ros.pipeline.worker_frames import RingFrame

_log = logging.getLogger('vr_ros.worker')


@dataclass(frozen=True)
class Tracks:
    """The objects of one answer on one frame.

    :param seed_id: of the request whose answer they are from; -1: nothing is followed.
    :param detections: with the indices they had there; without a mask while they are hidden.
    :param scene_changed: the frame no longer shows the scene that the answer is about.
    """

    seed_id: int = -1
    detections: tuple[Detection, ...] = ()
    scene_changed: bool = False


class TrackThread:
    """Answers each Track with one Tracked.

    :param backend: its watch(), follow(), track() and forget() are called; see Perceiver.
    :param send: to the node.
    :param lost: called when the device is lost; does not return.
    """

    def __init__(self, backend: Any, send: Callable[[Tracked], None],
                 lost: Callable[[], None]) -> None:
        self._backend, self._send, self._lost = backend, send, lost
        self._work: queue.SimpleQueue[tuple[Track, RingFrame]] = queue.SimpleQueue()
        self._held, self._is_free = '', threading.Event()
        threading.Thread(target=self._run, name='tracker', daemon=True).start()

    def hold(self, camera: str) -> None:
        """Look at no further frame of a camera until release().

        The node may send the next frame as soon as it has an answer, before the objects of that are
        followed here.
        """
        self._is_free.clear()
        self._held = camera

    def release(self) -> None:
        """Go on."""
        self._held = ''
        self._is_free.set()

    def put(self, request: Track, frame: RingFrame) -> None:
        """Have a frame looked at."""
        self._work.put((request, frame))

    def _run(self) -> None:
        while True:
            request, frame = self._work.get()
            if request.camera == self._held:
                self._is_free.wait()
            started = time.perf_counter()
            tracked = Tracked(request.request_id)
            try:
                tracked = self._track(request, frame, started)
            except PerceptionError as error:
                _log.warning('a frame of %s is not tracked: %s', request.camera, error.message)
            except Exception as error:
                _log.exception('tracking on %s failed', request.camera)
                if is_device_lost(error):
                    self._lost()
            self._send(tracked)

    def _track(self, request: Track, frame: RingFrame, started: float) -> Tracked:
        image = frame.image()
        tracks: Tracks = self._backend.track(request.camera, image)
        check_detections(tracks.detections)
        detections = frame.located(tracks.detections, Size(image.shape[1], image.shape[0]))
        return Tracked(request.request_id, tracks.seed_id, detections,
                       tracks.scene_changed, (time.perf_counter() - started) * 1e3)


def follow_answer(backend: Any, request: Perceive, detections: Any) -> None:
    """Follow the objects of an answer from now on.

    What goes wrong here is no fault of the answer, which has been given.

    :param detections: None when there was no answer: what was followed before goes on.
    """
    if detections is not None:
        # What has no mask cannot be followed, and takes no place of what can.
        detections = [o for o in detections if o.mask is not None][:request.max_tracks]
    try:
        backend.follow(request.follow, request.request_id, detections)
    except Exception:
        _log.exception('the objects of request %d are not followed', request.request_id)
