"""Masks in the background: the frame is encoded while the reasoner thinks, objects are segmented
as they arrive."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from vr_ros.core.types import Detection
from vr_ros.models.segmenter import ImageFeatures, Segmenter


class MaskJob:
    """One frame's segmentation, in a thread of its own.

    :param on_masks: called from that thread with detections that have got their masks.

    ``features`` are those of the frame, once it is encoded.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        image: np.ndarray,
        on_masks: Callable[[tuple[Detection, ...]], None],
    ) -> None:
        self._segmenter, self._image, self._on_masks = segmenter, image, on_masks
        self._waiting: list[Detection] = []
        self._closed = False
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._done: dict[int, Detection] = {}
        self.busy_ms = 0.0
        self.features: ImageFeatures | None = None
        self._thread = threading.Thread(target=self._run, name='segmenter', daemon=True)
        self._thread.start()

    def add(self, detections: Sequence[Detection]) -> None:
        """Queue detections; those queued while the decoder is busy share its next call."""
        with self._changed:
            self._waiting.extend(detections)
            self._changed.notify()

    def finish(self) -> dict[int, Detection]:
        """Wait for all masks.

        :return: detections with masks by their index.
        :raises Exception: what went wrong in the thread.
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._done

    def abandon(self) -> None:
        """Drop what waits and let the thread end by itself."""
        with self._changed:
            self._waiting.clear()
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        try:
            self._segment()
        except BaseException as error:  # handed to the caller by finish()
            self._error = error

    def _segment(self) -> None:
        started = time.perf_counter()
        self.features = features = self._segmenter.encode(self._image)
        self.busy_ms += (time.perf_counter() - started) * 1e3
        while batch := self._next_batch():
            started = time.perf_counter()
            boxes = np.array([d.box for d in batch], np.float32)
            points = np.array([d.point or (np.nan, np.nan) for d in batch], np.float32)
            results = self._segmenter.decode(features, boxes, points)
            masked = tuple(
                dataclasses.replace(
                    d,
                    mask=r.mask if r.area_px else None,  # an empty mask is none
                    mask_score=r.score,
                    area_px=r.area_px,
                )
                for d, r in zip(batch, results, strict=True)
            )
            self.busy_ms += (time.perf_counter() - started) * 1e3
            self._done.update((d.index, d) for d in masked)
            self._on_masks(masked)

    def _next_batch(self) -> list[Detection]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            batch, self._waiting = self._waiting, []
            return batch
