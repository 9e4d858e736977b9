"""What becomes of continuous instructions, and how instructions are stopped. Time is the test's."""
from __future__ import annotations

import pytest
from dispatching import CUP, Bench, image_cdr, stages

from vr_ros.core.types import Instruction, Mode, Status
from vr_ros.nodes.cameras import Frame
from vr_ros.pipeline import protocol
from vr_ros.pipeline.protocol import FrameKind

CONTINUOUS, STOP = Mode.CONTINUOUS, Mode.STOP


def test_a_continuous_instruction_is_answered_at_its_period_on_new_frames() -> None:
    bench = Bench(reason_period=2.0)
    bench.show()
    bench.tell('a', mode=CONTINUOUS)
    bench.advance(0.5)
    bench.finish()
    bench.show()
    bench.advance(1.49)
    assert len(bench.worker.requests) == 1
    bench.advance(0.02)
    assert len(bench.worker.requests) == 2
    bench.finish()
    bench.advance(10.0)
    assert len(bench.worker.requests) == 2  # no new frame
    bench.show()
    bench.finish()
    assert [(answer.sequence, answer.ended) for answer in bench.answers] == [
        (0, False), (1, False), (2, False)]
    assert bench.dispatcher.waiting == 1


def test_a_continuous_instruction_tells_that_images_stopped_and_goes_on() -> None:
    bench = Bench(default_deadline=5.0)
    bench.show()
    bench.tell('a', mode=CONTINUOUS)
    bench.finish()
    bench.advance(8.0)
    bench.show()
    bench.finish()
    assert [status for _, status in bench.statuses] == ['OK', 'STALE_IMAGE', 'OK']
    assert not any(answer.ended for answer in bench.answers)


def test_a_continuous_instruction_that_fails_pauses() -> None:
    bench = Bench(reason_period=0.0, max_image_pixels=6)
    for _ in range(30):
        bench.show()
        if not bench.dispatcher.waiting:
            bench.tell('a', mode=CONTINUOUS)
        bench.advance(0.1)
    assert bench.statuses == [('a', 'IMAGE_TOO_LARGE')] * 3


def test_a_newer_continuous_instruction_takes_the_place_of_the_older() -> None:
    bench = Bench('left', 'right')
    bench.show('left')
    bench.tell('old', mode=CONTINUOUS)
    request = bench.begin()
    bench.dispatcher.on_worker(protocol.Text(request.id, 'I see a cup'))
    bench.dispatcher.on_worker(protocol.Objects(request.id, (CUP,), False))
    bench.tell('new', mode=CONTINUOUS, cameras=('left',))
    (answer,) = bench.answers
    assert bench.statuses == [('old', 'SUPERSEDED')] and answer.ended
    assert answer.perception.detections == (CUP,) and answer.perception.count == 1
    assert answer.perception.reasoning == 'I see a cup'
    assert bench.worker.cancelled == [request.id]
    assert bench.worker.requests[-1].id != request.id
    bench.show('right')
    bench.finish()
    bench.finish()
    assert [(a.job.instruction.id, a.job.camera) for a in bench.answers[1:]] == [
        ('new', 'left'), ('old', 'right')]


def test_once_and_continuous_take_turns() -> None:
    bench = Bench(reason_period=0.0)
    bench.show()
    bench.tell('always', mode=CONTINUOUS)
    for name in 'ab':
        bench.tell(name)
    for _ in range(4):
        bench.advance(0.1)
        bench.show()
        bench.finish()
    assert [name for name, _ in bench.statuses] == ['always', 'a', 'b', 'always']
    assert bench.attended == ['always', 'a', 'b', 'always']


@pytest.mark.parametrize(('stop', 'stopped'), [
    ({'instruction_id': ''}, ['left always', 'right always']),                    # all continuous
    ({'instruction_id': '', 'cameras': ('left',)}, ['left always']),              # on one camera
    ({'instruction_id': 'once'}, ['left once']),                                  # by its id
    ({'instruction_id': 'always', 'cameras': ('right',)}, ['right always']),      # id and camera
    ({'instruction_id': 'unknown'}, []),                                          # nothing
])
def test_stop_ends_what_it_names(stop: dict, stopped: list[str]) -> None:
    bench = Bench('left', 'right')
    bench.tell('always', mode=CONTINUOUS)
    bench.tell('once', cameras=('left',))
    assert bench.tell(**stop, mode=STOP, text='') == 0
    ended = [f'{answer.job.camera} {answer.job.instruction.id}' for answer in bench.answers]
    assert ended == stopped
    assert all(answer.perception.status is Status.CANCELLED for answer in bench.answers)
    assert bool(bench.warnings) == (not stopped)


def test_stop_ends_an_answer_under_way() -> None:
    bench = Bench()
    bench.show()
    bench.tell('a', mode=CONTINUOUS)
    request = bench.begin()
    bench.tell('', mode=STOP)
    assert bench.statuses == [('a', 'CANCELLED')] and bench.worker.cancelled == [request.id]
    bench.finish(Status.CANCELLED)
    assert len(bench.answers) == 1 and bench.is_idle


def test_a_cancelled_instruction_makes_room_for_the_next() -> None:
    bench = Bench()
    bench.show()
    bench.tell('a')
    bench.tell('b')
    bench.dispatcher.cancel('a')
    bench.dispatcher.cancel('a')
    bench.dispatcher.cancel('')
    bench.finish()
    assert bench.statuses == [('a', 'CANCELLED'), ('b', 'OK')]


def test_one_picture_cannot_be_looked_at_continuously() -> None:
    bench = Bench()
    picture = Frame('', image_cdr(0), FrameKind.IMAGE, 0, bench.now)
    bench.dispatcher.submit(Instruction('a', 'cup', mode=CONTINUOUS), picture=picture)
    assert bench.statuses == [('a', 'BAD_INSTRUCTION')]


def test_a_continuous_instruction_that_the_model_refuses_is_over() -> None:
    bench = Bench()
    bench.show()
    bench.tell('a', mode=CONTINUOUS)
    bench.finish(Status.BAD_INSTRUCTION)
    assert bench.answers[0].ended and bench.is_idle


def test_between_two_continuous_instructions_attention_does_not_flicker() -> None:
    bench = Bench('left', 'right', reason_period=0.0)
    for camera in ('left', 'right'):
        bench.show(camera)
        bench.tell(camera, mode=CONTINUOUS, cameras=(camera,))
    for _ in range(4):
        bench.show('left')
        bench.show('right')
        bench.advance(0.1)
        bench.finish()
    assert {name for name, _ in bench.statuses} == {'left', 'right'}
    assert bench.attended == ['left', 'right']


def test_continuous_results_count_from_one_another() -> None:
    bench, heard = Bench(reason_period=1.0), []
    bench.show()
    bench.tell('a', mode=CONTINUOUS, listener=heard.append)
    bench.advance(0.5)
    bench.finish()
    bench.advance(0.25)
    bench.show()
    bench.show()
    bench.advance(0.5)
    bench.finish()
    first, second = (answer.perception.timing for answer in bench.answers)
    assert (first.frames_dropped, second.frames_dropped) == (0, 1)
    assert first.total_ms == pytest.approx(500.0)   # of the image's receipt
    assert second.total_ms == pytest.approx(500.0)
    # Not due yet is not waiting: the listener hears of nothing between the answers.
    assert stages(heard) == ['REASONING', 'RESULT', 'REASONING', 'RESULT']
