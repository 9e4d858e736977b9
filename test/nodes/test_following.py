"""What happens between two answers to a continuous instruction. Time is the test's."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dispatching import Bench, image_cdr

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Detection, Mode, Source, Status, TrackState
from vr_ros.nodes.updates import Answer
from vr_ros.pipeline import protocol
from vr_ros.pipeline.worker_state import WorkerState

CONTINUOUS, STOP = Mode.CONTINUOUS, Mode.STOP
SHAPE = (3, 4)


def cup(index: int = 0, column: int | None = 0) -> Detection:
    """One object, one column wide; None is hidden."""
    pixels = np.zeros(SHAPE, bool)
    pixels[:, (column or 0):(column or 0) + 1] = True
    mask = None if column is None else mask_to_rle(pixels)
    return Detection(index, (float(column or 0), 0.0, float(column or 0) + 1, 3.0), label='cup',
                     mask=mask, mask_score=0.9, area_px=3)


class Scene(Bench):
    """One camera, one continuous instruction, a model that can follow."""

    def __init__(self, **parameters: object) -> None:
        super().__init__(reason_period=10.0, **parameters)
        self.dispatcher.on_health(replace(self.dispatcher._health, can_track=True))
        self.show()
        self.tell('a', mode=CONTINUOUS)

    def answer(self, *detections: Detection) -> Answer:
        """End the answer under way."""
        self.finish(Status.OK, *detections)
        return self.answers[-1]

    def track(self, *detections: Detection, seed: int = 0, changed: bool = False,
              ms: float = 5.0) -> None:
        """Have the worker say what it found on the frame that it was given last."""
        looked = self.worker.tracked[-1]
        self.dispatcher.on_worker(protocol.Tracked(
            looked.id, seed or self.worker.requests[-1].id, detections, changed, ms))


def ids(answer: Answer) -> list[str]:
    return [found.track_id for found in answer.perception.detections]


def indices(answer: Answer) -> list[int]:
    return [found.index for found in answer.perception.detections]


def test_frames_are_followed_between_answers() -> None:
    scene = Scene()
    (request,) = scene.worker.requests
    assert (request.follow, request.max_tracks) == ('camera', 16)
    reasoned_on = scene.cameras['camera'].newest
    first = scene.answer(cup())
    assert first.perception.source is Source.REASONED and first.reasoned_stamp is None
    assert [found.track_state for found in first.perception.detections] == [TrackState.NEW]
    scene.advance(0.1)
    shown = scene.show()
    # The frame that was reasoned about is under way; the newest goes out when that is done.
    assert [looked.frame for looked in scene.worker.tracked] == [reasoned_on.cdr]
    scene.track(cup(), ms=5.0)
    assert scene.worker.tracked[-1].frame == shown.cdr
    scene.advance(0.05)
    scene.track(cup(column=1), ms=7.0)
    tracked = scene.answers[-1]
    assert tracked.perception.source is Source.TRACKED and tracked.frame is shown
    assert tracked.reasoned_stamp == reasoned_on.header.stamp
    assert ids(tracked) == ids(first) and '' not in ids(first)
    assert tracked.perception.detections[0].last_seen == shown.header.stamp
    assert [answer.sequence for answer in scene.answers] == [0, 1, 2]
    timing = tracked.perception.timing
    assert (timing.segment_ms, timing.total_ms) == (7.0, pytest.approx(50.0))
    assert not tracked.ended and len(scene.worker.requests) == 1


def test_an_object_has_one_index_while_it_is_announced_answered_and_followed() -> None:
    scene = Scene(track_timeout=1.0)
    request = scene.begin()
    scene.dispatcher.on_worker(protocol.Objects(
        request.id, (cup(0), cup(1, 1), cup(2, 2), cup(3, 3)), True))
    # The first and the last of them are left out for their scores.
    answered = scene.answer(cup(1, 1), cup(2, 2))
    assert indices(answered) == [1, 2]
    scene.track(cup(1, 1), cup(2, None))
    assert indices(scene.answers[-1]) == [1, 2]
    scene.advance(1.5)
    scene.show()
    scene.track(cup(1, 1), cup(2, None))
    last = scene.answers[-1]
    assert [(found.index, found.track_state) for found in last.perception.detections] == [
        (1, TrackState.TRACKED), (2, TrackState.LOST)]
    assert last.perception.count == 1
    # What is given up with an answer is none of the objects that it announced and left out.
    for expected in ([], [2]):
        scene.show()
        request = scene.begin()
        scene.dispatcher.on_worker(protocol.Objects(request.id, (cup(0), cup(1, 1)), True))
        assert indices(scene.answer()) == expected and scene.answers[-1].perception.count == 0
        scene.advance(10.0)


def test_one_frame_at_a_time_and_the_newest_of_them() -> None:
    scene = Scene()
    scene.answer(cup())
    for _ in range(5):
        scene.advance(0.03)
        newest = scene.show()
    assert len(scene.worker.tracked) == 1
    scene.track(cup())
    assert len(scene.worker.tracked) == 2 and scene.worker.tracked[-1].frame == newest.cdr
    scene.track(cup())
    assert len(scene.worker.tracked) == 2         # no frame that it has not seen


def test_frames_go_out_while_an_answer_is_made() -> None:
    scene = Scene()
    scene.show()
    assert len(scene.worker.tracked) == 1         # the worker remembers them until it can follow
    scene.dispatcher.on_worker(protocol.Tracked(scene.worker.tracked[-1].id))
    assert len(scene.worker.tracked) == 2 and scene.answers == []


def test_a_lost_object_is_looked_for_at_once() -> None:
    scene = Scene(track_timeout=1.0)
    scene.answer(cup())
    scene.track(cup())
    scene.advance(0.5)
    scene.show()
    scene.track(cup(column=None))
    (hidden,) = scene.answers[-1].perception.detections
    assert hidden.track_state is TrackState.OCCLUDED and scene.answers[-1].perception.count == 1
    assert len(scene.worker.requests) == 1
    scene.advance(0.6)
    scene.show()
    scene.track(cup(column=None))
    last = scene.answers[-1].perception
    assert [found.track_state for found in last.detections] == [TrackState.LOST]
    assert (last.count, last.status) == (0, Status.NO_OBJECT)
    scene.show()
    assert len(scene.worker.requests) == 2        # long before reason_period


@pytest.mark.parametrize('found', [(cup(),), ()])
def test_another_scene_is_reasoned_about_at_once(found: tuple[Detection, ...]) -> None:
    scene = Scene()
    scene.answer(*found)
    scene.track(*found)
    scene.advance(0.1)
    scene.show()
    # With nothing to follow the worker still says that the place is another one.
    scene.track(*found, seed=0 if found else -1, changed=True)
    scene.show()
    assert len(scene.worker.requests) == 2        # long before reason_period
    scene.track(*found, seed=0 if found else -1, changed=True)
    assert len(scene.worker.requests) == 2        # the answer is under way


@pytest.mark.parametrize('end', ['stop', 'cancel', 'replace', 'deactivate'])
def test_whoever_ends_the_instruction_ends_its_tracks(end: str) -> None:
    scene = Scene()
    scene.answer(cup())
    if end == 'stop':
        scene.tell('a', mode=STOP)
    elif end == 'cancel':
        scene.dispatcher.cancel('a')
    elif end == 'replace':
        scene.tell('b', mode=CONTINUOUS)
    else:
        scene.dispatcher.deactivate()
    assert scene.worker.forgotten == ['camera']
    count = len(scene.answers)
    scene.track(cup(), seed=1)                    # said before the worker heard of it
    assert len(scene.answers) == count


def test_a_new_worker_begins_anew_and_ids_stay() -> None:
    scene = Scene(track_timeout=60.0)
    first = scene.answer(cup())
    scene.set_worker(WorkerState.RESTARTING)
    sent = len(scene.worker.tracked)
    scene.show()
    assert len(scene.worker.tracked) == sent
    scene.set_worker(WorkerState.READY)
    scene.dispatcher.on_health(replace(scene.dispatcher._health, can_track=True))
    scene.advance(10.0)
    scene.show()
    assert len(scene.worker.tracked) == sent + 1
    again = scene.answer(cup())
    assert ids(again) == ids(first) != ['']
    assert again.perception.detections[0].track_state is TrackState.TRACKED


def test_too_many_objects_are_said_to_be() -> None:
    scene = Scene(max_tracks=1)
    assert scene.worker.requests[0].max_tracks == 1
    scene.answer(cup(0, 0), cup(1, 2))
    scene.track(cup(0, 0))
    tracked = scene.answers[-1].perception
    assert tracked.status is Status.LIMIT_REACHED and tracked.count == 1
    assert tracked.status_message == '1 of 2 objects are followed: max_tracks'


@pytest.mark.parametrize(('parameters', 'mode', 'can_track'), [
    ({'tracking': False}, CONTINUOUS, True),      # not wanted
    ({'masks': False}, CONTINUOUS, True),         # nothing to go by
    ({}, Mode.ONCE, True),                        # answered once
    ({}, CONTINUOUS, False),                      # a model without memory
])
def test_without_need_no_frame_is_followed(
        parameters: dict[str, bool], mode: Mode, can_track: bool) -> None:
    bench = Bench(**parameters)
    bench.dispatcher.on_health(replace(bench.dispatcher._health, can_track=can_track))
    bench.show()
    bench.tell('a', mode=mode)
    bench.show()
    bench.finish(Status.OK, cup())
    bench.show()
    assert [request.follow for request in bench.worker.requests] == ['']
    assert bench.worker.tracked == []
    assert ids(bench.answers[-1]) == ['']


def test_a_frame_that_is_no_image_is_left_out() -> None:
    scene = Scene()
    scene.answer(cup())
    scene.track(cup())
    scene.cameras['camera'].put(b'rubbish', scene.now)
    scene.dispatcher.pump()
    assert len(scene.worker.tracked) == 1
    scene.cameras['camera'].put(image_cdr(scene.node_ns(), 4, 3), scene.now)
    scene.dispatcher.pump()
    assert len(scene.worker.tracked) == 2
