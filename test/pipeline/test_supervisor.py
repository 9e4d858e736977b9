"""Whatever happens to workers, every request is answered once and the next one can succeed."""
from __future__ import annotations

import gc
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vr_ros.core.types import PerceptionError, Status, Task
from vr_ros.pipeline import protocol
from vr_ros.pipeline.protocol import Result
from vr_ros.pipeline.worker_process import WorkerOptions

Frame = Callable[..., bytes]
Supervise = Callable[..., Any]


def results(log: Any) -> dict[int, Status]:
    found = [event for event in log.events if isinstance(event, Result)]
    assert set(Counter(event.request_id for event in found).values()) <= {1}
    return {event.request_id: event.perception.status for event in found}


def ask(run: Any, request_id: int, text: str, frame: bytes, **options: Any) -> Status:
    run.supervisor.perceive(request_id, text, frame, **options)
    status: Status = run.log.wait(Result, request_id).perception.status
    return status


def test_an_answer_streams_from_one_thread(supervise: Supervise, frame: Frame) -> None:
    run = supervise()
    health = run.wait_state('ready')
    assert health.model_id == 'fault:good' and health.pid == run.supervisor.health.pid
    assert ask(run, 1, 'echo', frame(), task=Task.SEGMENTATION) is Status.OK
    assert [type(event).__name__ for event in run.log.of(1)] == [
        'Started', 'Text', 'Text', 'Objects', 'Masks', 'Result']
    run.supervisor.close()
    assert run.wait_state('closed').pid is None
    assert run.log.threads == run.states.threads and len(run.log.threads) == 1
    states = [health.state.value for health in run.states.events]
    assert list(dict.fromkeys(states)) == ['starting', 'loading', 'ready', 'closed']


def test_killed_in_mid_answer_the_next_request_succeeds(
        supervise: Supervise, frame: Frame) -> None:
    run = supervise()
    first = run.wait_state('ready').pid
    run.supervisor.perceive(1, 'words 100000', frame())
    run.supervisor.perceive(2, 'echo', frame())
    run.log.wait(protocol.Text, 1)
    os.kill(first, signal.SIGKILL)
    run.log.wait(Result, 2)
    restarting = run.wait_state('restarting')
    assert 'SIGKILL' in restarting.message and restarting.restarts == 1
    assert run.wait_state('ready').pid != first
    assert ask(run, 3, 'echo', frame()) is Status.OK
    assert results(run.log) == {1: Status.WORKER_RESTARTING, 2: Status.WORKER_RESTARTING,
                                3: Status.OK}
    assert [type(event).__name__ for event in run.log.of(1)][-1] == 'Result'


@pytest.mark.parametrize('text', ['hang', 'hang with the interpreter lock'])
def test_a_hang_is_a_timeout_and_the_next_request_succeeds(
        supervise: Supervise, frame: Frame, text: str) -> None:
    run = supervise(inference_timeout_s=0.5)
    run.wait_state('ready')
    run.supervisor.perceive(1, text, frame())
    run.supervisor.perceive(2, 'echo', frame())
    run.log.wait(Result, 2)
    assert 'no progress for 0.5 s' in run.log.of(1)[-1].perception.status_message
    run.wait_state('restarting')
    run.wait_state('ready')
    assert ask(run, 3, 'echo', frame()) is Status.OK
    assert results(run.log) == {1: Status.TIMEOUT, 2: Status.WORKER_RESTARTING, 3: Status.OK}


def test_a_long_answer_that_goes_on_is_no_hang(supervise: Supervise, frame: Frame) -> None:
    run = supervise(inference_timeout_s=1.0)
    run.wait_state('ready')
    assert ask(run, 1, 'words 200', frame()) is Status.OK
    assert run.supervisor.health.restarts == 0


def test_a_stopped_worker_is_replaced(supervise: Supervise, frame: Frame) -> None:
    run = supervise(inference_timeout_s=0.5)
    os.kill(run.wait_state('ready').pid, signal.SIGSTOP)
    assert ask(run, 1, 'echo', frame()) is Status.TIMEOUT
    run.wait_state('ready')
    assert ask(run, 2, 'echo', frame()) is Status.OK


def test_cancel_answers_at_once_and_the_worker_is_kept(
        supervise: Supervise, frame: Frame) -> None:
    run = supervise(cancel_grace_s=60.0)
    pid = run.wait_state('ready').pid
    run.supervisor.perceive(1, 'words 100000', frame())
    run.supervisor.perceive(2, 'echo', frame())
    run.log.wait(protocol.Text, 1)
    run.supervisor.cancel(1)
    run.supervisor.cancel(1)
    run.supervisor.cancel(77)
    cancelled = run.log.wait(Result, 1).perception
    assert cancelled.status is Status.CANCELLED
    run.log.wait(Result, 2)
    assert results(run.log) == {1: Status.CANCELLED, 2: Status.OK}
    assert run.log.of(1)[-1].perception is cancelled  # and nothing after it
    assert run.supervisor.health.pid == pid


@pytest.mark.parametrize('text', ['hang', 'hang with the interpreter lock'])
def test_a_cancelled_request_that_does_not_stop_costs_the_worker(
        supervise: Supervise, frame: Frame, text: str) -> None:
    run = supervise(cancel_grace_s=0.3, inference_timeout_s=0.0)
    pid = run.wait_state('ready').pid
    run.supervisor.perceive(1, text, frame())
    run.log.wait(protocol.Text, 1)
    run.supervisor.cancel(1)
    assert run.log.wait(Result, 1).perception.status is Status.CANCELLED
    assert run.supervisor.health.pid == pid  # the caller did not have to wait for that
    run.wait_state('restarting')
    run.wait_state('ready')
    assert ask(run, 2, 'echo', frame()) is Status.OK
    assert results(run.log) == {1: Status.CANCELLED, 2: Status.OK}


@pytest.mark.parametrize(('card', 'message'), [
    ('missing', 'weights are missing; fetch them'),
    ('explode', 'RuntimeError: header too large'),
])
def test_a_failed_load_is_final_until_it_is_asked_for_again(
        supervise: Supervise, frame: Frame, card: str, message: str) -> None:
    run = supervise(card)
    failed = run.wait_state('failed')
    assert failed.message == message
    run.supervisor.perceive(1, 'echo', frame())
    answer = run.log.wait(Result, 1).perception
    assert (answer.status, answer.status_message) == (Status.MODEL_UNAVAILABLE, message)
    assert run.supervisor.health.restarts == 0
    run.supervisor.reload('good')
    assert run.wait_state('ready').model_id == 'fault:good'
    assert ask(run, 2, 'echo', frame()) is Status.OK


@pytest.mark.parametrize(('python', 'message'), [
    ('/no/such/python', 'is no program'),     # not there
    ('/bin/false', 'exit status 1'),          # there, but no Python
])
def test_a_wrong_interpreter_is_final(supervise: Supervise, python: str, message: str) -> None:
    failed = supervise(options=WorkerOptions(python)).wait_state('failed')
    assert message in failed.message and failed.restarts == 0


def test_a_worker_that_dies_while_loading_is_tried_again(
        supervise: Supervise, frame: Frame, tmp_path: Path) -> None:
    run = supervise(f'die_once:{tmp_path / "died"}')
    assert run.wait_state('restarting').restarts == 1
    run.wait_state('ready')
    assert ask(run, 1, 'echo', frame()) is Status.OK


def test_a_worker_that_always_dies_while_loading_is_given_up(supervise: Supervise) -> None:
    failed = supervise('die', load_attempts=3).wait_state('failed')
    assert failed.restarts == 2 and 'SIGKILL' in failed.message


def test_a_load_that_hangs_is_given_up(supervise: Supervise, frame: Frame) -> None:
    run = supervise('stuck', load_timeout_s=0.5)
    assert '0.5 s while loading' in run.wait_state('failed').message
    assert ask(run, 1, 'echo', frame()) is Status.MODEL_UNAVAILABLE


def test_requests_before_it_is_ready_say_so(supervise: Supervise, frame: Frame) -> None:
    run = supervise('stuck')
    run.wait_state('loading')
    assert ask(run, 1, 'echo', frame()) is Status.MODEL_LOADING


def test_requests_between_workers_say_so(supervise: Supervise, frame: Frame) -> None:
    run = supervise(restart_delay_s=60.0)
    os.kill(run.wait_state('ready').pid, signal.SIGKILL)
    run.wait_state('restarting')
    run.supervisor.perceive(1, 'echo', frame())
    answer = run.log.wait(Result, 1).perception
    assert answer.status is Status.WORKER_RESTARTING and 'SIGKILL' in answer.status_message
    run.supervisor.reload()  # nobody has to wait for the delay
    run.wait_state('ready')
    assert ask(run, 2, 'echo', frame()) is Status.OK


def test_delays_double_until_something_was_answered(
        supervise: Supervise, frame: Frame, caplog: pytest.LogCaptureFixture) -> None:
    run = supervise(restart_delay_s=0.01, restart_delay_max_s=0.05)
    for number in range(4):
        run.wait_state('ready')
        ask(run, number, 'exit 1', frame())
    run.wait_state('ready')
    assert ask(run, 10, 'raise', frame()) is Status.MODEL_ERROR  # no answer that counts
    ask(run, 11, 'exit 1', frame())
    run.wait_state('ready')
    assert ask(run, 12, 'echo', frame()) is Status.OK
    ask(run, 13, 'exit 1', frame())
    run.wait_state('ready')
    delays = [record.args[1] for record in caplog.records if 'next start' in record.msg]
    assert delays == [0.01, 0.02, 0.04, 0.05, 0.05, 0.01]


def test_reload_replaces_the_worker_and_its_model(supervise: Supervise, frame: Frame) -> None:
    run = supervise(cancel_grace_s=0.2)
    pid = run.wait_state('ready').pid
    run.supervisor.perceive(1, 'hang', frame())
    run.log.wait(protocol.Text, 1)
    run.supervisor.reload('other', {'device': 'cpu'})
    run.supervisor.perceive(2, 'echo', frame())
    run.wait_state('restarting')
    ready = run.wait_state('ready')
    assert ready.model_id == 'fault:other device=cpu' and ready.pid != pid
    assert ask(run, 3, 'echo', frame()) is Status.OK
    assert results(run.log)[2] is Status.WORKER_RESTARTING
    assert results(run.log)[1] in (Status.WORKER_RESTARTING, Status.CANCELLED)
    assert run.supervisor.health.restarts == 0


@pytest.mark.parametrize('card', ['good', 'missing', 'stuck'])
def test_close_answers_all_and_accepts_no_more(
        supervise: Supervise, frame: Frame, card: str) -> None:
    run = supervise(card)
    run.wait_state({'good': 'ready', 'missing': 'failed', 'stuck': 'loading'}[card])
    for number in range(3):
        run.supervisor.perceive(number, 'hang', frame())
    run.supervisor.close(0.2)
    run.supervisor.close(0.2)
    for number in range(3):
        run.log.wait(Result, number) if number not in results(run.log) else None
    expected = {'good': Status.CANCELLED, 'missing': Status.MODEL_UNAVAILABLE,
                'stuck': Status.MODEL_LOADING}[card]
    assert results(run.log) == dict.fromkeys(range(3), expected)
    run.supervisor.reload()
    run.supervisor.cancel(0)
    with pytest.raises(PerceptionError) as caught:
        run.supervisor.perceive(9, 'echo', frame())
    assert caught.value.status is Status.NOT_ACTIVE


def test_close_while_it_waits_to_restart(supervise: Supervise) -> None:
    run = supervise(restart_delay_s=60.0)
    os.kill(run.wait_state('ready').pid, signal.SIGKILL)
    run.wait_state('restarting')
    run.supervisor.close()
    assert run.wait_state('closed').pid is None


def test_an_id_is_used_once_at_a_time(supervise: Supervise, frame: Frame) -> None:
    run = supervise()
    run.wait_state('ready')
    run.supervisor.perceive(1, 'words 30', frame())
    with pytest.raises(ValueError, match='open already'):
        run.supervisor.perceive(1, 'echo', frame())
    run.log.wait(Result, 1)
    assert results(run.log) == {1: Status.OK}


def test_callbacks_may_call_back_and_may_fail(deadline: None, frame: Frame) -> None:
    from vr_ros.pipeline.supervisor import WorkerSupervisor
    answered, closed = threading.Event(), threading.Event()

    def on_state(health: Any) -> None:
        if health.state.value == 'ready':
            supervisor.perceive(1, 'words 100000', frame())
        if health.state.value == 'closed':
            closed.set()
        raise RuntimeError('a bug in the node')

    def on_event(event: object) -> None:
        if isinstance(event, protocol.Text):
            supervisor.cancel(1)
        if isinstance(event, Result):
            answered.set()
            supervisor.close()
        raise RuntimeError('another one')

    backend = Path(__file__).with_name('fault_backend.py')
    supervisor = WorkerSupervisor(WorkerOptions(backend=f'{backend}:make'), 'good',
                                  on_event=on_event, on_state=on_state)
    supervisor.start()
    assert answered.wait(30) and closed.wait(30)


def test_heartbeats_tell_the_health(supervise: Supervise, frame: Frame) -> None:
    run = supervise()
    run.wait_state('ready')
    beat = run.log.wait(protocol.Heartbeat)
    health = run.supervisor.health
    assert beat.rss_bytes > 1 << 20 and health.heartbeat is not None and health.heartbeat_at > 0


def test_twenty_restarts_leak_nothing(
        supervise: Supervise, frame: Frame, open_descriptors: Callable[[], int],
        is_alive: Callable[[int], bool]) -> None:
    run = supervise(restart_delay_max_s=0.01)
    run.wait_state('ready')
    ask(run, 0, 'echo', frame())
    gc.collect()  # what earlier tests left to be collected is not ours
    before, threads = open_descriptors(), threading.active_count()
    for number in range(1, 21):
        assert ask(run, number, 'die SIGKILL', frame()) is Status.WORKER_RESTARTING
        run.wait_state('ready')
    ask(run, 100, 'echo', frame())
    gc.collect()
    assert (open_descriptors(), threading.active_count()) == (before, threads)
    assert run.supervisor.health.restarts == 20
    pids = {health.pid for health in run.states.events if health.state.value == 'ready'}
    assert [pid for pid in pids if is_alive(pid)] == [run.supervisor.health.pid]
    assert len(pids) == 21
