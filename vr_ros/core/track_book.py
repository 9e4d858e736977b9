"""Which objects are which, over answers and over frames: the ids that planners hold on to."""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from vr_ros.core.rle import rle_iou_matrix
from vr_ros.core.thinned import Thinned
from vr_ros.core.types import Detection, Mask, Stamp, TrackState

# Two masks of less overlap are two objects.
MIN_IOU = 0.3
# Frames that an answer may look back on, over the whole time that it takes.
HISTORY_FRAMES = 64


@dataclass
class _Track:
    """:param seen: as it was when it was seen last; :param frame: the number of that frame."""

    seen: Detection
    frame: int


@dataclass(frozen=True)
class _Seed:
    """The objects of an answer that can be followed.

    :param ids: of their tracks, by index.
    :param free: indices that no object of the answer has, each given once.
    """

    ids: Mapping[int, str]
    free: Iterator[int]

    def index_of(self, track_id: str) -> int:
        """Return the index of a track's object, a free one where the answer does not name it."""
        known = (index for index, name in self.ids.items() if name == track_id)
        return next(itertools.chain(known, self.free))


class TrackBook:
    """The tracks of one camera under one instruction.

    An answer says which objects there are: each takes over the id of the track that it overlaps
    most, on the very frame that the answer is about, or gets a new one. What it no longer names is
    out of sight; if no answer names it again within the timeout, it is lost. Times are those of the
    images, so that a recording gives the same tracks at any speed.

    An object has the index that its answer gave it, until the next answer; what that did not name,
    and is lost, one that nothing of the answer has.

    :param new_id: makes ids; none twice.
    :param timeout_s: returns how long an object may be out of sight.
    """

    def __init__(self, new_id: Callable[[], str], timeout_s: Callable[[], float]) -> None:
        self._new_id, self._timeout_s = new_id, timeout_s
        self._tracks: dict[str, _Track] = {}
        self._named: set[str] = set()
        self._seeds: dict[int, _Seed] = {}
        self._history: Thinned[tuple[int, dict[str, Mask]]] = Thinned(HISTORY_FRAMES)

    def answer(self, seed_id: int, frame: int, stamp: Stamp, detections: Sequence[Detection],
               next_index: int = 0) -> tuple[Detection, ...]:
        """Take an answer down.

        :param seed_id: of its request; follow() refers to it.
        :param frame: number of the frame that it is about.
        :param stamp: of that frame.
        :param next_index: the first that no object had that was announced and then left out.
        :return: the detections, with ids where they have masks, and then what is lost.
        """
        masked = [found for found in detections if found.mask is not None]
        ids = dict(zip((found.index for found in masked), self._identify(masked, frame),
                       strict=True))
        seed = _Seed(ids, itertools.count(
            max([next_index, *(found.index + 1 for found in detections)])))
        # A tracker may still be at the answer before.
        self._seeds = {**dict(list(self._seeds.items())[-1:]), seed_id: seed}
        self._named = set(ids.values())
        results = []
        for found in detections:
            track_id = ids.get(found.index, '')
            if track_id:
                known = self._tracks.get(track_id)
                found = replace(
                    found, track_id=track_id, last_seen=stamp,
                    track_state=TrackState.TRACKED if known else TrackState.NEW)
                if known is None or known.frame < frame:
                    self._tracks[track_id] = _Track(found, frame)
            results.append(found)
        return (*results, *self._lost(frame, stamp, seed))

    def follow(self, seed_id: int, frame: int, stamp: Stamp,
               detections: Iterable[Detection]) -> tuple[Detection, ...] | None:
        """Take down what a tracker found on a frame.

        :param seed_id: of the answer whose objects these are.
        :param detections: with the indices of that answer; without a mask while hidden.
        :return: visible and hidden objects, and what is lost; None: that answer is not known.
        """
        seed = self._seeds.get(seed_id)
        if seed is None:
            return None
        masks: dict[str, Mask] = {}
        results = []
        for found in detections:
            track_id = seed.ids.get(found.index, '')
            track = self._tracks.get(track_id)
            if track is None or track_id not in self._named:
                continue
            if found.mask is not None:
                masks[track_id] = found.mask
                track.seen = replace(found, track_id=track_id, last_seen=stamp,
                                     track_state=TrackState.TRACKED)
                track.frame = frame
                results.append(track.seen)
            elif not self._is_overdue(track, frame, stamp):
                results.append(replace(
                    track.seen, index=found.index, track_state=TrackState.OCCLUDED))
        self._history.append((frame, masks))
        return (*results, *self._lost(frame, stamp, seed))

    def _identify(self, detections: Sequence[Detection], frame: int) -> list[str]:
        """:return: the id of each detection, known or new."""
        ids = [''] * len(detections)
        known = self._masks_at(frame)
        masks = [found.mask for found in detections if found.mask is not None]
        for row, track_id in match(masks, known):
            ids[row] = track_id
        return [track_id or self._new_id() for track_id in ids]

    def _masks_at(self, frame: int) -> dict[str, Mask]:
        """Find the masks of all tracks on a frame, or as near to it as they are known."""
        nearest = min(self._history, key=lambda item: abs(item[0] - frame), default=(0, {}))[1]
        return {track_id: nearest.get(track_id) or track.seen.mask
                for track_id, track in self._tracks.items() if track.seen.mask is not None}

    def _lost(self, frame: int, stamp: Stamp, seed: _Seed) -> list[Detection]:
        """Give up what has been out of sight for too long; say so once."""
        overdue = [track_id for track_id, track in self._tracks.items()
                   if self._is_overdue(track, frame, stamp)]
        self._named.difference_update(overdue)
        return [replace(self._tracks.pop(track_id).seen, index=seed.index_of(track_id),
                        track_state=TrackState.LOST)
                for track_id in overdue]

    def _is_overdue(self, track: _Track, frame: int, stamp: Stamp) -> bool:
        # While an answer about that frame was made, the tracker went on.
        if track.frame >= frame:
            return False
        unseen_ns = stamp.nanoseconds - track.seen.last_seen.nanoseconds
        # Either way: a recording that is played again begins in the past.
        return abs(unseen_ns) > self._timeout_s() * 1e9


def match(masks: Sequence[Mask], known: Mapping[str, Mask]) -> list[tuple[int, str]]:
    """Pair masks with known ones, each with one at most, so that they overlap most in sum.

    :return: index of the mask, key of the known one; of pairs that overlap enough.
    """
    # A camera that was set to another resolution has shown nothing yet.
    names = [name for name, mask in known.items() if masks and mask.size == masks[0].size]
    if not names:
        return []
    iou = rle_iou_matrix(masks, [known[name] for name in names])
    # What overlaps too little to be a pair must not keep two that do from becoming one.
    rows, columns = linear_sum_assignment(np.where(iou >= MIN_IOU, iou, 0.0), maximize=True)
    return [(int(row), names[column]) for row, column in zip(rows, columns, strict=True)
            if iou[row, column] >= MIN_IOU]
