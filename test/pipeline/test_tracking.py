"""An answer's objects catch up with the frames that went by, and join live."""
from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Detection, Mask, Size
from vr_ros.models.segmenter import ImageFeatures, MaskResult
from vr_ros.models.video_memory import TrackedMask
from vr_ros.pipeline.tracking import CATCHUP_FRAMES, CameraTracks

SIZE = Size(4, 3)
FULL, EMPTY = mask_to_rle(np.ones((3, 4), bool)), mask_to_rle(np.zeros((3, 4), bool))
SEEN = TrackedMask(2.0, MaskResult(FULL, 0.75, (0, 0, 4, 3), 12))
HIDDEN = TrackedMask(-2.0, None)


def frame(number: int) -> np.ndarray:
    return np.full((3, 4, 3), number, np.uint8)


class Encoder:
    """Features are the number of the frame."""

    def __init__(self) -> None:
        self.encoded: list[int] = []

    def encode(self, image: np.ndarray) -> ImageFeatures:
        self.encoded.append(int(image[0, 0, 0]))
        return features(int(image[0, 0, 0]))


def features(number: int) -> ImageFeatures:
    return ImageFeatures((number,), SIZE)  # type: ignore[arg-type]


class Session:
    """Notes the frames it is shown, and finds what the test says."""

    def __init__(self, began: int, masks: Sequence[Mask], during: Callable[[], None]) -> None:
        self.shown, self.masks, self._during = [began], list(masks), during
        self.found = [SEEN] * len(masks)

    def step(self, given: ImageFeatures) -> tuple[TrackedMask, ...]:
        self.shown.append(given.maps[0])  # type: ignore[arg-type]
        self._during()
        return tuple(self.found)


class Memory:
    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.during: Callable[[], None] = lambda: None

    def start(self, given: ImageFeatures, masks: Sequence[Mask]) -> Session:
        self.sessions.append(Session(
            given.maps[0], masks, lambda: self.during()))  # type: ignore[arg-type]
        return self.sessions[-1]


@pytest.fixture
def scene() -> tuple[CameraTracks, Encoder, Memory]:
    encoder, memory = Encoder(), Memory()
    return CameraTracks(encoder, memory), encoder, memory  # type: ignore[arg-type]


Scene = tuple[CameraTracks, Encoder, Memory]


def cup(index: int, mask: Mask | None = FULL) -> Detection:
    return Detection(index, (0.0, 0.0, 4.0, 3.0), (1.0, 1.0), 'cup', mask=mask)


def test_before_an_answer_nothing_is_found(scene: Scene) -> None:
    tracks, encoder, memory = scene
    assert tracks.step(frame(1)).seed_id == -1
    tracks.watch()
    assert tracks.step(frame(2)).seed_id == -1
    assert encoder.encoded == [] and memory.sessions == []


def test_objects_go_through_the_frames_that_went_by(scene: Scene) -> None:
    tracks, encoder, memory = scene
    tracks.watch()
    for number in (2, 3, 4):
        tracks.step(frame(number))
    tracks.follow(7, frame(1), features(1), [cup(0), cup(1, None), cup(2)])
    (session,) = memory.sessions
    assert session.shown == [1, 2, 3, 4] and len(session.masks) == 2
    session.found = [SEEN, HIDDEN]
    found = tracks.step(frame(5))
    assert session.shown[-1] == 5
    assert found.seed_id == 7
    assert [one.index for one in found.detections] == [0, 2]
    seen, hidden = found.detections
    assert (seen.box, seen.mask, seen.mask_score, seen.area_px) == (
        (0.0, 0.0, 4.0, 3.0), FULL, 0.75, 12)
    assert (seen.label, seen.point) == ('cup', None)
    assert hidden.mask is None and hidden.area_px == 0


def test_the_answer_before_goes_on_until_the_next_has_caught_up(scene: Scene) -> None:
    tracks, encoder, memory = scene
    tracks.follow(1, frame(0), features(0), [cup(0)])
    tracks.watch()
    tracks.step(frame(1))
    tracks.step(frame(2))
    live: list[int] = []
    numbers = iter(range(3, 100))

    def show() -> None:
        # The camera goes on: each step of catching up lasts as long as one frame.
        memory.during = lambda: None
        found = tracks.step(frame(next(numbers)))
        live.append(found.seed_id)
        memory.during = show

    memory.during = show
    tracks.follow(2, frame(0), features(0), [cup(0)])
    memory.during = lambda: None
    assert live and set(live) == {1}
    old, new = memory.sessions
    assert new.shown == sorted(set(new.shown))        # in order, none twice
    found = tracks.step(frame(50))
    assert found.seed_id == 2
    # Frames that the live tracks had looked at were not encoded again.
    assert len(encoder.encoded) == len(set(encoder.encoded))


def test_many_frames_are_thinned(scene: Scene) -> None:
    tracks, _, memory = scene
    tracks.watch()
    for number in range(1, 200):
        tracks.step(frame(number))
    tracks.follow(1, frame(0), features(0), [cup(0)])
    (session,) = memory.sessions
    assert len(session.shown) <= 1 + CATCHUP_FRAMES and session.shown[-1] == 199


def test_no_answer_changes_nothing_and_an_empty_one_ends_all(scene: Scene) -> None:
    tracks, _, _ = scene
    tracks.follow(1, frame(0), features(0), [cup(0)])
    tracks.watch()
    tracks.follow(2, frame(0), None, None)
    found = tracks.step(frame(1))
    assert found.seed_id == 1
    tracks.follow(3, frame(1), features(1), [])
    assert tracks.step(frame(2)).seed_id == -1


def test_both_threads_at_once_lose_no_answer(scene: Scene) -> None:
    tracks, _, _ = scene
    seeds: list[int] = []
    stop = threading.Event()

    def track() -> None:
        number = 0
        while not stop.is_set():
            number = (number + 1) % 250
            found = tracks.step(frame(number))
            if found.seed_id >= 0:
                seeds.append(found.seed_id)

    thread = threading.Thread(target=track)
    thread.start()
    for seed in range(1, 200):
        tracks.watch()
        tracks.follow(seed, frame(0), features(0), [cup(0)])
    while seeds[-1:] != [199]:
        pass
    stop.set()
    thread.join()
    assert seeds == sorted(seeds)                     # never back to an answer before


def test_another_scene_is_noticed_with_and_without_objects(scene: Scene) -> None:
    tracks, _, _ = scene
    rng = np.random.default_rng(0)
    here, there = (rng.integers(0, 256, (48, 64, 3)).astype(np.uint8) for _ in range(2))
    assert not tracks.step(there).scene_changed      # nothing was reasoned about yet
    for detections in ([cup(0)], []):
        tracks.follow(1, here, features(0), detections)
        assert not tracks.step(here).scene_changed
        assert not tracks.step(here // 2).scene_changed
        assert tracks.step(there).scene_changed
