"""Ways to keep track of the objects of a moving scene, frame by frame, by the scene's clock."""
from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vr_ros.core.track_book import TrackBook
from vr_ros.core.types import Detection, Mask, Stamp, TrackState
from vr_ros.evaluation.tracking import TrackedFrame
from vr_ros.models.segmenter import ImageFeatures
from vr_ros.models.transformers_sam2 import Sam2Segmenter
from vr_ros.models.video_memory import VideoMemory
from vr_ros.pipeline.perceiver import Perceiver
from vr_ros.pipeline.tracking import CameraTracks
from vr_ros.sim.renderer import Frame

INSTRUCTION, CAMERA = 'find all objects', 'camera'
TRACK_TIMEOUT_S = 3.0


class Finder(Protocol):
    """What answers: finds objects on one frame."""

    def find(self, frame: Frame) -> tuple[tuple[Detection, ...], ImageFeatures | None]: ...


class Reasoner:
    """The whole still pipeline: the reasoner, then the segmenter."""

    def __init__(self, perceiver: Perceiver) -> None:
        self._perceiver = perceiver

    def find(self, frame: Frame) -> tuple[tuple[Detection, ...], ImageFeatures | None]:
        """Ask for all objects."""
        found = self._perceiver.perceive(frame.rgb, INSTRUCTION).detections
        return found, self._perceiver.features


class TrueBoxes:
    """A reasoner that makes no mistake: the segmenter with the boxes of the truth."""

    def __init__(self, segmenter: Sam2Segmenter) -> None:
        self._segmenter = segmenter

    def find(self, frame: Frame) -> tuple[tuple[Detection, ...], ImageFeatures | None]:
        """Segment what is there."""
        targets = frame.truth.targets
        features = self._segmenter.encode(frame.rgb)
        masks = self._segmenter.decode(
            features, np.array([target.box for target in targets], np.float32),
            np.array([target.point for target in targets], np.float32)) if targets else ()
        return tuple(
            Detection(index, target.box, target.point, mask=mask.mask if mask.area_px else None,
                      area_px=mask.area_px)
            for index, (target, mask) in enumerate(zip(targets, masks, strict=True))), features


@dataclass
class Outcome:
    """What a run has to show: scored frames, and how long each frame took in milliseconds."""

    frames: list[TrackedFrame] = field(default_factory=list)
    frame_ms: list[float] = field(default_factory=list)
    answer_ms: list[float] = field(default_factory=list)

    @property
    def rate_hz(self) -> float:
        """Frames per second that could be kept up, on the median."""
        return 1e3 / statistics.median(self.frame_ms)


class Bookkeeper:
    """A track book as the node keeps one."""

    def __init__(self, rate_hz: float) -> None:
        ids = itertools.count(1)
        self._rate_hz = rate_hz
        self.book = TrackBook(lambda: f't{next(ids)}', lambda: TRACK_TIMEOUT_S)

    def stamp(self, index: int) -> Stamp:
        nanoseconds = 1_000_000_000 + round(index / self._rate_hz * 1e9)
        return Stamp(*divmod(nanoseconds, 1_000_000_000))


def still(finder: Finder, frames: Sequence[Frame], rate_hz: float, first: int) -> Outcome:
    """Answer every frame anew; ids by the overlap of masks from frame to frame."""
    keeper, outcome = Bookkeeper(rate_hz), Outcome()
    for index, frame in enumerate(frames):
        started = time.perf_counter()
        found, _ = finder.find(frame)
        tracks = keeper.book.answer(index, index, keeper.stamp(index), found)
        outcome.frame_ms.append((time.perf_counter() - started) * 1e3)
        if index >= first:
            outcome.frames.append(_scored(frame, tracks))
    return outcome


def fast_and_slow(finder: Finder, segmenter: Sam2Segmenter, memory: VideoMemory,
                  frames: Sequence[Frame], rate_hz: float, first: int, period: int,
                  latency: int) -> Outcome:
    """Answer a frame now and then, follow the objects on all others.

    :param period: frames from one answer to the next.
    :param latency: frames that pass before an answer is there.
    """
    keeper, outcome = Bookkeeper(rate_hz), Outcome()
    tracks = CameraTracks(segmenter, memory)
    pending: tuple[int, int, tuple[Detection, ...], ImageFeatures | None] | None = None
    for index, frame in enumerate(frames):
        if pending is not None and index - pending[0] >= latency:
            began, seed, found, features = pending
            started = time.perf_counter()
            tracks.follow(seed, frames[began].rgb, features, found)
            outcome.answer_ms.append((time.perf_counter() - started) * 1e3)
            keeper.book.answer(seed, began, keeper.stamp(began), found)
            pending = None
        if index % period == 0 and pending is None:
            tracks.watch()
            pending = (index, index, *finder.find(frame))
        started = time.perf_counter()
        seen = tracks.step(frame.rgb)
        results: Iterable[Detection] = ()
        if seen.seed_id >= 0:
            results = keeper.book.follow(
                seen.seed_id, index, keeper.stamp(index), seen.detections) or ()
            outcome.frame_ms.append((time.perf_counter() - started) * 1e3)
        if index >= first:
            outcome.frames.append(_scored(frame, results))
    return outcome


def _scored(frame: Frame, found: Iterable[Detection]) -> TrackedFrame:
    """Whoever is nearly hidden may be found or not."""
    visible: dict[str, Mask] = {
        one.track_id: one.mask for one in found
        if one.mask is not None and one.track_state in (TrackState.NEW, TrackState.TRACKED)}
    return TrackedFrame(
        {target.id: target.mask for target in frame.truth.targets}, visible,
        [item.mask for item in frame.truth.objects if not item.is_target])


