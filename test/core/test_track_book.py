"""Who keeps an id, who gets a new one, and who is given up."""
from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.track_book import TrackBook, match
from vr_ros.core.types import Detection, Mask, ScoreSource, Stamp, TrackState

SHAPE = (40, 60)
NEW, TRACKED = TrackState.NEW, TrackState.TRACKED
OCCLUDED, LOST = TrackState.OCCLUDED, TrackState.LOST


def square(x: int, y: int = 10, edge: int = 10) -> Mask:
    pixels = np.zeros(SHAPE, bool)
    pixels[y:y + edge, x:x + edge] = True
    return mask_to_rle(pixels)


def at(*places: int | None) -> list[Detection]:
    """Objects of an answer or of a tracker, by their columns; None is hidden."""
    return [Detection(index, (float(x or 0), 10.0, float(x or 0) + 10, 20.0),
                      mask=None if x is None else square(x))
            for index, x in enumerate(places)]


def stamp(seconds: float) -> Stamp:
    return Stamp(int(seconds), round(seconds % 1 * 1e9))


@pytest.fixture
def book() -> TrackBook:
    numbers = itertools.count(1)
    return TrackBook(lambda: f't{next(numbers)}', lambda: 3.0)


def states(found: Iterable[Detection] | None) -> list[tuple[str, TrackState]]:
    assert found is not None
    found = list(found)
    assert len({one.index for one in found}) == len(found)
    return [(one.track_id, one.track_state) for one in found]


def test_an_object_keeps_the_score_of_the_answer_that_named_it(book: TrackBook) -> None:
    def scored(found: Detection, score: float) -> Detection:
        return replace(found, score=score, score_source=ScoreSource.FUSED)

    seeds = [scored(found, 0.25 + found.index / 2) for found in at(0, 30)]
    book.answer(1, 10, stamp(1), seeds)
    # The tracker hands on what it was seeded with.
    seen, hidden = replace(seeds[0], mask=square(2)), replace(seeds[1], mask=None)
    followed = book.follow(1, 11, stamp(1.1), [seen, hidden])
    lost = book.follow(1, 12, stamp(9), [seen])
    for found in (followed, lost):
        assert [(one.score, one.score_source) for one in found or ()] == [
            (0.25, ScoreSource.FUSED), (0.75, ScoreSource.FUSED)]


def test_an_object_keeps_the_index_of_its_answer(book: TrackBook) -> None:
    def under(indices: Iterable[int], *places: int | None) -> list[Detection]:
        return [replace(found, index=index)
                for index, found in zip(indices, at(*places), strict=True)]

    def indices(found: Iterable[Detection] | None) -> dict[str, int]:
        return {one.track_id: one.index for one in found or ()}

    # 1 and 3 were announced and left out.
    seeds = (0, 2, 4)
    assert indices(book.answer(1, 10, stamp(1), under(seeds, 0, 20, 40))) == {
        't1': 0, 't2': 2, 't3': 4}
    assert indices(book.follow(1, 11, stamp(2), under(seeds, None, 20, 40))) == {
        't1': 0, 't2': 2, 't3': 4}
    assert indices(book.follow(1, 12, stamp(4.1), under(seeds, None, 20, 40))) == {
        't1': 0, 't2': 2, 't3': 4}           # the first is lost
    assert indices(book.follow(1, 13, stamp(4.2), under(seeds, None, 20, 40))) == {
        't2': 2, 't3': 4}
    # The next answer sees the third alone, and announced four more that it left out.
    assert indices(book.answer(2, 14, stamp(5), under([1], 40), 6)) == {'t3': 1}
    assert indices(book.answer(3, 15, stamp(6), under([3], 40), 6)) == {'t3': 3}
    # What is hidden by now was seen last under the index of an earlier answer.
    assert indices(book.follow(3, 16, stamp(6.5), under([3], None))) == {'t3': 3}
    found = book.follow(3, 17, stamp(20), under([3], None))
    assert sorted((one.track_id, one.index, one.track_state) for one in found or ()) == [
        ('t2', 6, LOST), ('t3', 3, LOST)]


def test_ids_survive_frames_and_answers(book: TrackBook) -> None:
    assert states(book.answer(1, 10, stamp(1), at(0, 30))) == [('t1', NEW), ('t2', NEW)]
    assert states(book.follow(1, 11, stamp(1.1), at(2, 28))) == [('t1', TRACKED), ('t2', TRACKED)]
    assert states(book.follow(1, 12, stamp(1.2), at(4, 26))) == [('t1', TRACKED), ('t2', TRACKED)]
    # The next answer names them in another order, and one more.
    assert states(book.answer(2, 12, stamp(1.2), at(26, 48, 4))) == [
        ('t2', TRACKED), ('t3', NEW), ('t1', TRACKED)]
    assert states(book.follow(2, 13, stamp(1.3), at(24, 48, 6))) == [
        ('t2', TRACKED), ('t3', TRACKED), ('t1', TRACKED)]


def test_an_answer_is_matched_on_the_frame_that_it_is_about(book: TrackBook) -> None:
    book.answer(1, 10, stamp(1), at(0, 40))
    book.follow(1, 11, stamp(1.1), at(2, 40))
    # While the reasoner thinks about frame 11, they change places.
    for frame, (a, b) in enumerate([(14, 28), (26, 16), (40, 2)], 12):
        book.follow(1, frame, stamp(1 + frame / 10), at(a, b))
    assert states(book.answer(2, 11, stamp(1.1), at(2, 40))) == [('t1', TRACKED), ('t2', TRACKED)]


def test_an_answer_that_takes_longer_than_the_timeout_loses_nothing(book: TrackBook) -> None:
    book.answer(1, 10, stamp(1), at(0, 30))
    for frame in range(11, 71):
        book.follow(1, frame, stamp(frame / 10), at(0, 30))
    # About a frame of five seconds ago; it no longer names the second.
    assert states(book.answer(2, 20, stamp(2), at(0))) == [('t1', TRACKED)]
    assert states(book.follow(2, 71, stamp(7.1), at(0))) == [('t1', TRACKED)]
    assert states(book.follow(2, 72, stamp(10.1), at(0))) == [('t1', TRACKED), ('t2', LOST)]


def test_the_tracker_may_be_one_answer_behind(book: TrackBook) -> None:
    book.answer(1, 10, stamp(1), at(0, 30))
    book.answer(2, 11, stamp(1.1), at(30))
    # Of the answer before only what the newest names is still told.
    assert states(book.follow(1, 12, stamp(1.2), at(0, 30))) == [('t2', TRACKED)]
    assert states(book.follow(2, 13, stamp(1.3), at(30))) == [('t2', TRACKED)]
    book.answer(3, 14, stamp(1.4), at(30))
    assert book.follow(1, 15, stamp(1.5), at(0, 30)) is None


def test_hidden_is_occluded_where_it_was_seen_last_and_then_lost_once(book: TrackBook) -> None:
    book.answer(1, 10, stamp(1), at(0, 30))
    book.follow(1, 11, stamp(2), at(5, 30))
    (_, hidden) = reversed(book.follow(1, 12, stamp(4.5), at(None, 30)) or ())
    assert (hidden.track_id, hidden.track_state) == ('t1', OCCLUDED)
    assert hidden.mask == square(5) and hidden.box[0] == 5.0
    assert hidden.last_seen == stamp(2)
    assert states(book.follow(1, 13, stamp(5.1), at(None, 30))) == [('t2', TRACKED), ('t1', LOST)]
    assert states(book.follow(1, 14, stamp(5.2), at(None, 30))) == [('t2', TRACKED)]
    # Its id is not used again, be it at the same place.
    assert states(book.follow(1, 15, stamp(5.3), at(5, 30))) == [('t2', TRACKED)]
    assert states(book.answer(2, 15, stamp(5.3), at(5, 30))) == [('t3', NEW), ('t2', TRACKED)]


def test_who_comes_back_in_time_keeps_the_id(book: TrackBook) -> None:
    book.answer(1, 10, stamp(1), at(0))
    assert states(book.follow(1, 11, stamp(2), at(None))) == [('t1', OCCLUDED)]
    assert states(book.follow(1, 12, stamp(3), at(40))) == [('t1', TRACKED)]


def test_what_an_answer_no_longer_names_waits_for_the_next(book: TrackBook) -> None:
    book.answer(1, 10, stamp(1), at(0, 30))
    assert states(book.answer(2, 11, stamp(2), at(30))) == [('t2', TRACKED)]
    assert states(book.answer(3, 12, stamp(3), at(0, 30))) == [('t1', TRACKED), ('t2', TRACKED)]
    book.answer(4, 13, stamp(4), at(30))
    assert states(book.answer(5, 14, stamp(6.5), at(30))) == [('t2', TRACKED), ('t1', LOST)]
    assert states(book.answer(6, 15, stamp(7), at(0, 30))) == [('t3', NEW), ('t2', TRACKED)]


def test_nothing_found_loses_all_in_the_end(book: TrackBook) -> None:
    book.answer(1, 10, stamp(1), at(0, 30))
    assert book.answer(2, 11, stamp(2), []) == ()
    assert states(book.answer(3, 12, stamp(4.5), [])) == [('t1', LOST), ('t2', LOST)]
    assert book.answer(4, 13, stamp(5), []) == ()


def test_without_a_mask_there_is_no_track(book: TrackBook) -> None:
    seen, hidden = at(0, None)
    assert states(book.answer(1, 10, stamp(1), [seen, hidden])) == [
        ('t1', NEW), ('', TrackState.NONE)]
    assert states(book.follow(1, 11, stamp(1.1), [seen])) == [('t1', TRACKED)]


def test_a_recording_that_starts_again_starts_anew(book: TrackBook) -> None:
    book.answer(1, 10, stamp(100), at(0))
    assert states(book.answer(2, 11, stamp(1), at(30))) == [('t2', NEW), ('t1', LOST)]


def test_another_resolution_has_shown_nothing_yet(book: TrackBook) -> None:
    book.answer(1, 10, stamp(1), at(0))
    larger = replace(at(0)[0], mask=mask_to_rle(np.ones((80, 120), bool)))
    assert states(book.answer(2, 11, stamp(2), [larger])) == [('t2', NEW)]


def test_a_stream_without_end_is_remembered_in_little(book: TrackBook) -> None:
    book.answer(1, 0, stamp(1), at(0))
    for frame in range(1, 2000):
        book.follow(1, frame, stamp(1 + frame / 30), at(frame % 40))
    assert len(book._history) <= 64 and len(book._tracks) == 1


def test_pairs_overlap_most_in_sum() -> None:
    # The first overlaps b more than a, but then the second would be left alone.
    known = {'a': square(0), 'b': square(6)}
    assert sorted(match([square(4), square(8)], known)) == [(0, 'a'), (1, 'b')]
    assert match([], known) == [] and match([square(0)], {}) == []
    assert match([square(40)], known) == []          # touches neither


@pytest.mark.parametrize('seed', range(20))
def test_pairs_equal_those_of_trying_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = [square(int(x)) for x in rng.integers(0, 50, 4)]
    known = {name: square(int(x)) for name, x in zip('abcd', rng.integers(0, 50, 4), strict=True)}
    def iou(a: Mask, b: Mask) -> float:
        one, two = (np.repeat(np.arange(len(m.counts)) % 2, m.counts) > 0 for m in (a, b))
        value = (one & two).sum() / (one | two).sum()
        return float(value) if value >= 0.3 else 0.0

    best = max(sum(iou(mask, known[name]) for mask, name in zip(masks, order, strict=True))
               for order in itertools.permutations('abcd'))
    pairs = match(masks, known)
    assert sum(iou(masks[row], known[name]) for row, name in pairs) == pytest.approx(best)
    assert len({row for row, _ in pairs}) == len({name for _, name in pairs}) == len(pairs)
