"""What becomes of instructions: statuses, order, frames, deadlines. Time is the test's."""
from __future__ import annotations

import pytest
from dispatching import CUP, Bench, image_cdr, stages

from vr_ros.core.types import Instruction, Mode, Perception, PerceptionError, Status, Task
from vr_ros.nodes.cameras import Frame
from vr_ros.nodes.updates import Update
from vr_ros.pipeline import protocol
from vr_ros.pipeline.protocol import FrameKind
from vr_ros.pipeline.worker_state import WorkerState

CONTINUOUS, STOP = Mode.CONTINUOUS, Mode.STOP


def test_an_answer_carries_the_frame_it_is_about() -> None:
    bench = Bench()
    frame = bench.show(age_s=0.5)
    assert bench.tell('a', task=Task.COUNTING) == 1
    request = bench.begin()
    assert (request.text, request.frame, request.kind) == (
        'find the cup', frame.cdr, FrameKind.IMAGE)
    assert (request.task, request.want_masks) == (Task.COUNTING, True)
    bench.show()
    bench.finish(Status.OK, CUP)
    (answer,) = bench.answers
    assert answer.frame is frame and answer.sequence == 0 and answer.ended
    assert answer.perception.detections == (CUP,)
    assert answer.perception.model_id == 'a model'
    assert (answer.perception.image_size.width, answer.perception.image_size.height) == (4, 3)
    assert bench.is_idle


def test_times_are_of_the_right_clock() -> None:
    bench = Bench(ready=False)
    bench.tell('a')
    bench.advance(1.0)
    bench.show(age_s=0.25)
    bench.advance(0.5)
    bench.set_worker(WorkerState.READY)
    bench.advance(0.125)
    bench.begin()
    bench.advance(2.0)
    bench.finish()
    timing = bench.answers[0].perception.timing
    assert timing.image_age_ms == pytest.approx(750.0, abs=0.01)
    assert timing.queue_ms == pytest.approx(3625.0)  # finish() begins once more
    assert timing.total_ms == pytest.approx(3625.0)


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    bench = Bench()
    bench.show()
    bench.tell('a')
    bench.tell('b')
    for _ in range(3):
        newest = bench.show()
    bench.finish()
    assert bench.worker.requests[-1].frame is newest.cdr
    bench.show()
    bench.finish()
    dropped = [answer.perception.timing.frames_dropped for answer in bench.answers]
    assert dropped == [3, 3]  # a: three came while it was computed; b: three of four were not used


def test_a_refused_instruction_has_dropped_no_frames() -> None:
    bench = Bench()
    for _ in range(3):
        bench.show()
    bench.tell('a', text='')
    (answer,) = bench.answers
    assert answer.perception.status is Status.BAD_INSTRUCTION
    assert answer.perception.timing.frames_dropped == 0


def test_instructions_are_answered_by_priority_then_in_order() -> None:
    bench = Bench()
    bench.show()
    for name, priority in (('first', 0), ('second', 0), ('urgent', 9), ('third', 0)):
        bench.tell(name, priority=priority)
    for _ in range(4):
        bench.finish()
    assert [name for name, _ in bench.statuses] == ['first', 'urgent', 'second', 'third']


@pytest.mark.parametrize(('fields', 'words'), [
    ({'text': ''}, 'empty'),                                # nothing said
    ({'text': '\u200b\n\x00'}, 'empty'),                    # nothing visible said
    ({'text': 'x' * 4097}, '4097 characters'),              # too long
    ({'cameras': ('camera', 'typo')}, 'no camera typo'),    # one camera is not there
    ({'deadline_s': -1.0}, 'negative'),                     # over before it began
])
def test_bad_instructions_are_refused(fields: dict, words: str) -> None:
    bench = Bench()
    bench.show()
    expected = len(fields.get('cameras', ('camera',)))
    assert bench.tell('a', **fields) == expected
    assert bench.statuses == [('a', 'BAD_INSTRUCTION')] * expected
    assert words in bench.answers[0].perception.status_message
    assert not bench.worker.requests and bench.is_idle


def test_what_is_known_to_be_wrong_is_refused() -> None:
    bench = Bench()
    bench.dispatcher.submit(Instruction('a', 'find the cup'), error=PerceptionError(
        Status.BAD_INSTRUCTION, 'unknown task'))
    assert bench.answers[0].perception.status_message == 'unknown task'


def test_an_endless_id_is_refused_every_time() -> None:
    bench = Bench()
    for _ in range(2):
        bench.tell('x' * 257)
    assert [status for _, status in bench.statuses] == ['BAD_INSTRUCTION'] * 2


def test_an_empty_id_is_replaced_by_one_of_its_own() -> None:
    bench = Bench()
    bench.show()
    bench.tell('')
    bench.tell('')
    bench.finish()
    bench.finish()
    first, second = (name for name, _ in bench.statuses)
    assert len(first) == len(second) == 36 and first != second


def test_a_repeated_id_is_ignored_and_logged() -> None:
    bench = Bench()
    bench.show()
    bench.tell('a')
    assert bench.tell('a', 'something else') == 0
    bench.finish()
    assert bench.tell('a') == 0
    assert bench.statuses == [('a', 'OK')] and len(bench.worker.requests) == 1
    assert len(bench.warnings) == 2 and 'given before' in bench.warnings[0]


def test_the_queue_has_an_end() -> None:
    bench = Bench(queue_size=2)
    bench.show()
    for name in 'abc':
        bench.tell(name)
    assert bench.statuses == [('c', 'QUEUE_FULL')]
    bench.finish()
    bench.tell('d')
    bench.finish()
    bench.finish()
    assert bench.statuses[1:] == [('a', 'OK'), ('b', 'OK'), ('d', 'OK')]


def test_an_instruction_that_does_not_fit_on_all_cameras_is_taken_for_none() -> None:
    bench = Bench('left', 'right', queue_size=3)
    bench.tell('a')
    assert bench.tell('b') == 2
    assert bench.statuses == [('b', 'QUEUE_FULL')] * 2 and bench.dispatcher.waiting == 2


@pytest.mark.parametrize(('prepare', 'status'), [
    (lambda bench: bench.set_worker(WorkerState.LOADING), 'MODEL_LOADING'),          # not there yet
    (lambda bench: bench.set_worker(WorkerState.RESTARTING), 'WORKER_RESTARTING'),   # just died
    (lambda bench: None, 'NO_IMAGE'),                                                # never one
    (lambda bench: bench.show(age_s=2.5), 'STALE_IMAGE'),                            # an old one
    (lambda bench: bench.show(age_s=-2.5), 'STALE_IMAGE'),                           # clocks differ
])
def test_the_deadline_says_what_was_missing(prepare, status: str) -> None:
    bench = Bench()
    prepare(bench)
    bench.tell('a', deadline_s=5.0)
    bench.advance(4.99)
    assert not bench.answers
    bench.advance(0.02)
    assert bench.statuses == [('a', status)]
    assert bench.answers[0].frame is None and bench.answers[0].perception.status_message


def test_who_waits_for_others_until_the_deadline_is_told_so() -> None:
    bench = Bench()
    bench.show()
    bench.tell('other', deadline_s=99.0)
    bench.tell('a', deadline_s=5.0)
    for _ in range(10):
        bench.advance(0.5)
        bench.show()
    assert bench.statuses == [('a', 'TIMEOUT')]


def test_images_without_a_stamp_are_explained() -> None:
    bench = Bench()
    bench.cameras['camera'].put(image_cdr(0), bench.now)
    bench.tell('a', deadline_s=1.0)
    bench.advance(1.0)
    assert bench.statuses == [('a', 'STALE_IMAGE')]
    assert 'no stamp' in bench.answers[0].perception.status_message


def test_a_fresh_image_comes_in_time() -> None:
    bench = Bench()
    bench.show(age_s=10.0)
    bench.tell('a')
    bench.advance(3.0)
    assert not bench.worker.requests
    bench.show(age_s=1.99)
    bench.finish()
    assert bench.statuses == [('a', 'OK')]


def test_without_an_age_limit_any_image_will_do() -> None:
    bench = Bench(max_image_age=0.0)
    bench.show(age_s=1e6)
    bench.tell('a')
    bench.finish()
    assert bench.statuses == [('a', 'OK')]


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    bench = Bench(default_deadline=3.0)
    frame = bench.show()
    bench.tell('a')
    request = bench.begin()
    bench.advance(3.0)
    assert bench.statuses == [('a', 'TIMEOUT')] and bench.answers[0].frame is frame
    assert bench.worker.cancelled == [request.id]
    bench.finish()  # comes too late
    assert len(bench.answers) == 1 and bench.is_idle


def test_a_waiting_instruction_survives_a_restart_of_the_worker() -> None:
    bench = Bench()
    bench.show()
    bench.tell('running')
    bench.tell('waiting')
    bench.set_worker(WorkerState.RESTARTING)
    bench.finish(Status.WORKER_RESTARTING)
    assert bench.statuses == [('running', 'WORKER_RESTARTING')]
    bench.set_worker(WorkerState.LOADING)
    bench.set_worker(WorkerState.READY)
    bench.finish()
    assert bench.statuses[1:] == [('waiting', 'OK')]


def test_what_the_worker_had_not_begun_is_asked_again() -> None:
    bench = Bench()
    bench.show()
    bench.tell('a')
    lost = bench.worker.requests[-1]
    bench.set_worker(WorkerState.RESTARTING)
    bench.dispatcher.on_worker(protocol.Result(lost.id, Perception(Status.WORKER_RESTARTING)))
    assert not bench.answers
    bench.set_worker(WorkerState.READY)
    assert bench.worker.requests[-1].id != lost.id
    bench.finish()
    assert bench.statuses == [('a', 'OK')]


def test_a_model_that_cannot_be_loaded_is_said_at_once() -> None:
    bench = Bench(ready=False)
    bench.tell('before')
    bench.tell('continuous', mode=CONTINUOUS)
    bench.set_worker(WorkerState.FAILED, 'weights are missing; fetch them')
    bench.tell('after')
    assert bench.statuses == [(name, 'MODEL_UNAVAILABLE')
                              for name in ('before', 'continuous', 'after')]
    assert {answer.perception.status_message for answer in bench.answers} == {
        'weights are missing; fetch them'}
    assert bench.is_idle


def test_nothing_is_left_open_when_the_node_is_deactivated() -> None:
    bench = Bench('left', 'right')
    bench.show('left')
    bench.tell('running', cameras=('left',))
    bench.tell('waiting', cameras=('left',))
    bench.tell('continuous', mode=CONTINUOUS)
    request = bench.begin()
    bench.dispatcher.deactivate()
    bench.tell('later', cameras=('right',))
    assert sorted(bench.statuses) == sorted([
        ('running', 'NOT_ACTIVE'), ('waiting', 'NOT_ACTIVE'), ('continuous', 'NOT_ACTIVE'),
        ('continuous', 'NOT_ACTIVE'), ('later', 'NOT_ACTIVE')])
    assert bench.worker.cancelled == [request.id] and bench.is_idle
    assert bench.attended == ['running', '']


def test_without_cameras_an_instruction_is_still_answered() -> None:
    bench = Bench(active=False)
    bench.dispatcher.detach()
    assert bench.tell('a') == 1
    assert bench.statuses == [('a', 'NOT_ACTIVE')]


def test_every_camera_gets_its_own_answer() -> None:
    bench = Bench('left', 'right')
    bench.show('left')
    assert bench.tell('a') == 2
    bench.finish()
    bench.show('right')
    bench.finish()
    assert [(answer.job.camera, answer.sequence) for answer in bench.answers] == [
        ('left', 0), ('right', 0)]


def test_a_picture_needs_no_camera_and_has_no_age() -> None:
    bench = Bench()
    picture = Frame('', image_cdr(0), FrameKind.IMAGE, 0, bench.now)
    assert bench.dispatcher.submit(Instruction('a', 'find the cup'), picture=picture) == 1
    bench.finish()
    (answer,) = bench.answers
    assert answer.frame is picture and answer.job.camera == ''
    timing = answer.perception.timing
    assert (timing.image_age_ms, timing.frames_dropped) == (0.0, 0)


@pytest.mark.parametrize(('cdr', 'status'), [
    (b'', 'BAD_IMAGE'),                        # nothing at all
    (b'\x00\x01\x00\x00' + bytes(7), 'BAD_IMAGE'),  # the header is cut off
])
def test_an_image_without_a_header_is_bad(cdr: bytes, status: str) -> None:
    bench = Bench()
    bench.cameras['camera'].put(cdr, bench.now)
    bench.tell('a')
    assert bench.statuses == [('a', status)] and bench.is_idle


def test_a_listener_hears_how_its_answer_comes_about() -> None:
    bench, heard, others = Bench(ready=False), [], []
    bench.tell('other', listener=others.append)
    bench.tell('a', listener=heard.append)
    bench.set_worker(WorkerState.READY)
    bench.show()
    bench.finish()
    request = bench.begin()
    for event in (protocol.Text(request.id, 'one '), protocol.Text(request.id, 'cup'),
                  protocol.Objects(request.id, (CUP,), True), protocol.Masks(request.id, (CUP,))):
        bench.dispatcher.on_worker(event)
    bench.dispatcher.on_worker(protocol.Result(request.id, Perception(Status.NO_OBJECT)))
    assert stages(heard) == ['WAITING_MODEL', 'WAITING_IMAGE', 'QUEUED', 'REASONING', 'REASONING',
                             'REASONING', 'SEGMENTING', 'REASONING', 'RESULT']
    assert stages(others) == ['WAITING_MODEL', 'WAITING_IMAGE', 'REASONING', 'RESULT']
    text = [update.new_text for update in heard[3:-1]]
    assert text == ['', 'one ', 'cup', '', '']
    assert [update.new_detections for update in heard[6:8]] == [(CUP,), (CUP,)]


def test_a_listener_hears_a_refusal() -> None:
    heard: list[Update] = []
    Bench(active=False).tell('a', listener=heard.append)
    assert stages(heard) == ['RESULT']


def test_a_camera_named_twice_answers_once() -> None:
    bench = Bench()
    assert bench.tell('a', cameras=('camera', 'camera')) == 1


def test_refusals_have_an_end() -> None:
    bench = Bench()
    assert bench.tell('a', cameras=tuple(f'no {index}' for index in range(1000))) == 16
    assert len(bench.answers) == 16
