"""Carries the objects of an answer from frame to frame while the reasoner thinks about the next."""
from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vr_ros.core.scene_change import SAME_SCENE, similarity, thumbnail
from vr_ros.core.thinned import Thinned
from vr_ros.core.types import NAN, Detection
from vr_ros.models.segmenter import ImageFeatures, Segmenter
from vr_ros.models.video_memory import MemorySession, TrackedMask, VideoMemory
from vr_ros.pipeline.worker_tracking import Tracks

# Between the frame that an answer is about and the one that is newest when it is there.
CATCHUP_FRAMES = 16
# Frames come in while others are caught up with; in the end some are left out.
MAX_ROUNDS = 3


@dataclass
class _Passed:
    """A frame that went by while an answer was on its way."""

    image: np.ndarray
    features: ImageFeatures | None


@dataclass
class _Following:
    seed_id: int
    seeds: tuple[Detection, ...]
    session: MemorySession


class CameraTracks:
    """The tracks of one camera.

    watch() and follow() are called by the thread that reasons, step() by the one that tracks; each
    goes on while the other computes.
    """

    def __init__(self, segmenter: Segmenter, memory: VideoMemory) -> None:
        self._segmenter, self._memory = segmenter, memory
        self._lock = threading.Lock()
        self._passed: Thinned[_Passed] | None = None
        self._following: _Following | None = None
        self._scene: np.ndarray | None = None

    def watch(self) -> None:
        """Remember the frames that come from now on: an answer is being made."""
        with self._lock:
            self._passed = Thinned(CATCHUP_FRAMES)

    def follow(
        self, seed_id: int, image: np.ndarray, features: ImageFeatures | None,
        detections: Sequence[Detection] | None,
    ) -> None:
        """Take up the objects of an answer in place of those before.

        They are followed through the frames that went by since, and join live.

        :param image: (H, W, 3) uint8 RGB, the frame that the answer is about.
        :param features: of that frame; None without masks.
        :param detections: those without a mask cannot be followed. An empty answer: nothing is
            followed from now on. None, no answer: what was followed goes on.
        """
        if detections is None:
            with self._lock:
                self._passed = None
            return
        scene = thumbnail(image)
        seeds = tuple(found for found in detections if found.mask is not None)
        if features is None or not seeds:
            with self._lock:
                self._scene, self._following, self._passed = scene, None, None
            return
        session = self._memory.start(features, [found.mask for found in seeds if found.mask])
        following = _Following(seed_id, seeds, session)
        for _ in range(MAX_ROUNDS):
            with self._lock:
                passed = list(self._passed or ())
                self._passed = Thinned(CATCHUP_FRAMES)
                if not passed:
                    break
            for frame in passed:
                session.step(frame.features or self._segmenter.encode(frame.image))
        with self._lock:
            self._scene, self._following, self._passed = scene, following, None

    def step(self, image: np.ndarray) -> Tracks:
        """Find the objects on a new frame.

        :param image: (H, W, 3) uint8 RGB.
        """
        with self._lock:
            following, scene = self._following, self._scene
        features = found = None
        if following is not None:
            features = self._segmenter.encode(image)
            found = following.session.step(features)
        with self._lock:
            if self._passed is not None:
                self._passed.append(_Passed(image, features))
        changed = scene is not None and similarity(thumbnail(image), scene) < SAME_SCENE
        if following is None or found is None:
            return Tracks(scene_changed=changed)
        return Tracks(following.seed_id, tuple(
            _tracked(seed, mask) for seed, mask in zip(following.seeds, found, strict=True)),
            changed)


def _tracked(seed: Detection, found: TrackedMask) -> Detection:
    """Write what was found of an object; box and mask of a hidden one are not known here."""
    seen = found.result
    if seen is None or seen.box is None:
        return dataclasses.replace(seed, point=None, mask=None, mask_score=NAN, area_px=0)
    return dataclasses.replace(
        seed, box=tuple(map(float, seen.box)), point=None, mask=seen.mask, mask_score=seen.score,
        area_px=seen.area_px)
