"""A client accounts for every request of its worker, and leaves no process behind."""
from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vr_ros.core.types import PerceptionError, Status, Task
from vr_ros.pipeline import protocol, worker_process
from vr_ros.pipeline.frame_sender import FrameData
from vr_ros.pipeline.protocol import Result
from vr_ros.pipeline.worker_client import MAX_OPEN_ANSWERS, Died, WorkerClient
from vr_ros.pipeline.worker_process import WorkerOptions, find_python, worker_environment
from vr_ros.pipeline.worker_state import WorkerState

Start = Callable[..., tuple[WorkerClient, Any]]
Frame = Callable[..., FrameData]


def results(log: Any) -> dict[int, Status]:
    """Return the status of every Result; there is one per request."""
    found = [event for event in log.events if isinstance(event, Result)]
    assert set(Counter(event.request_id for event in found).values()) <= {1}
    return {event.request_id: event.perception.status for event in found}


def refusal(client: WorkerClient, frame: FrameData, request_id: int = 99) -> Status:
    with pytest.raises(PerceptionError) as caught:
        client.perceive(request_id, 'echo', frame)
    return caught.value.status


def test_events_come_in_order_from_one_thread(start_client: Start, frame: Frame) -> None:
    client, log = start_client()
    assert client.state in (WorkerState.STARTING, WorkerState.LOADING, WorkerState.READY)
    log.wait(protocol.Ready)
    assert client.state is WorkerState.READY
    client.perceive(1, 'echo one', frame(), task=Task.VQA)
    client.perceive(2, 'echo two', frame(), want_masks=False)
    log.wait(Result, 2)
    assert [type(event).__name__ for event in log.of(1)] == [
        'Started', 'Text', 'Text', 'Objects', 'Masks', 'Result']
    assert [type(event).__name__ for event in log.of(2)] == [
        'Started', 'Text', 'Text', 'Objects', 'Result']
    assert log.of(1)[-1].perception.task is Task.VQA
    assert log.events.index(log.of(1)[-1]) < log.events.index(log.of(2)[0])
    client.close()
    log.wait(Died)
    assert len(log.threads) == 1 and threading.get_ident() not in log.threads


def test_nothing_follows_a_result(start_client: Start, frame: Frame) -> None:
    client, log = start_client()
    log.wait(protocol.Ready)
    client.perceive(1, 'straggle', frame())
    client.perceive(2, 'words 20', frame())
    log.wait(Result, 2)
    assert [type(event).__name__ for event in log.of(1)][-1] == 'Result'


def test_frames_of_every_size_arrive(start_client: Start, frame: Frame) -> None:
    client, log = start_client()
    log.wait(protocol.Ready)
    sizes = [(8, 8), (64, 48), (1920, 1080), (8, 8), (2048, 1500)]
    answers = []
    for number, (width, height) in enumerate(sizes):
        client.perceive(number, 'echo', frame(width, height, seed=number))
        answers.append(log.wait(Result, number).perception)
    assert [(answer.image_size.width, answer.image_size.height) for answer in answers] == sizes
    assert len({answer.answer for answer in answers}) == 5


def test_frames_that_wait_are_not_overwritten(
        start_client: Start, frame: Frame, picture: Callable[..., Any]) -> None:
    import hashlib
    client, log = start_client()
    log.wait(protocol.Ready)
    client.perceive(0, 'words 20', frame())
    for number in (1, 2):
        client.perceive(number, 'echo', frame(seed=number))
    client.perceive(3, 'echo', frame(100, 100, seed=3))  # does not fit the ring of the others
    log.wait(Result, 3)
    for number, size in ((1, (32, 24)), (2, (32, 24)), (3, (100, 100))):
        expected = hashlib.sha256(picture(*size, seed=number)).hexdigest()[:16]
        assert log.of(number)[-1].perception.answer == expected


def test_too_many_requests_are_refused(start_client: Start, frame: Frame) -> None:
    client, log = start_client()
    log.wait(protocol.Ready)
    for number in range(MAX_OPEN_ANSWERS):
        client.perceive(number, 'words 20', frame())
    assert refusal(client, frame()) is Status.QUEUE_FULL
    with pytest.raises(ValueError, match='open already'):
        client.perceive(0, 'echo', frame())
    log.wait(Result, 0)
    client.perceive(99, 'echo', frame())
    log.wait(Result, 99)
    assert results(log) == dict.fromkeys([0, 1, 2, 3, 99], Status.OK)


def test_a_cancelled_request_ends_and_the_next_is_answered(
        start_client: Start, frame: Frame) -> None:
    client, log = start_client()
    log.wait(protocol.Ready)
    client.perceive(1, 'words 100000', frame())
    client.perceive(2, 'echo', frame())
    client.perceive(3, 'echo', frame())
    log.wait(protocol.Text, 1)
    client.cancel(2)
    log.wait(Result, 2)
    client.cancel(1)
    client.cancel(12345)
    log.wait(Result, 3)
    assert results(log) == {2: Status.CANCELLED, 1: Status.CANCELLED, 3: Status.OK}


@pytest.mark.parametrize(('text', 'exit_status'), [
    ('die SIGKILL', -signal.SIGKILL),    # as the kernel does when memory runs out
    ('die SIGSEGV', -signal.SIGSEGV),    # as a broken extension does
    ('exit 3', 3),                       # as a library that gives up does
    ('exit 0', 0),
])
def test_a_worker_that_dies_loses_its_requests_by_name(
        start_client: Start, frame: Frame, text: str, exit_status: int) -> None:
    client, log = start_client()
    log.wait(protocol.Ready)
    client.perceive(1, text, frame())
    client.perceive(2, 'echo', frame())
    died = log.wait(Died)
    assert results(log) == {1: Status.WORKER_RESTARTING, 2: Status.WORKER_RESTARTING}
    assert log.events[-1] is died and (died.exit_status, died.expected) == (exit_status, False)
    assert client.state is WorkerState.DEAD
    assert refusal(client, frame()) is Status.WORKER_RESTARTING


@pytest.mark.parametrize('text', ['hang', 'hang with the interpreter lock'])
def test_a_killed_worker_blames_one_request(
        start_client: Start, frame: Frame, text: str) -> None:
    client, log = start_client()
    log.wait(protocol.Ready)
    client.perceive(1, text, frame())
    client.perceive(2, 'echo', frame())
    log.wait(protocol.Text, 1)
    client.kill(1, Status.TIMEOUT, 'too slow')
    log.wait(Died)
    assert results(log) == {1: Status.TIMEOUT, 2: Status.WORKER_RESTARTING}
    assert log.of(1)[-1].perception.status_message == 'too slow'


def test_a_stopped_worker_does_not_stop_the_node(start_client: Start, frame: Frame) -> None:
    client, log = start_client()
    log.wait(protocol.Ready)
    os.kill(client.pid, signal.SIGSTOP)
    client.perceive(1, 'echo', frame())
    client.kill(1, Status.TIMEOUT, 'stopped')
    log.wait(Died)
    assert results(log) == {1: Status.TIMEOUT}


@pytest.mark.parametrize('text', ['words 100000', 'hang', 'hang with the interpreter lock'])
def test_close_ends_the_process_and_every_request(
        start_client: Start, frame: Frame, is_alive: Callable[[int], bool], text: str) -> None:
    client, log = start_client()
    log.wait(protocol.Ready)
    client.perceive(1, text, frame())
    client.perceive(2, 'echo', frame())
    log.wait(protocol.Text, 1)
    client.close(0.2, lost=Status.NOT_ACTIVE)
    died = log.wait(Died)
    assert died.expected and not is_alive(client.pid)
    deaf = text.startswith('hang')
    assert results(log) == {1: Status.NOT_ACTIVE if deaf else Status.CANCELLED,
                            2: Status.NOT_ACTIVE if deaf and 'lock' in text else Status.CANCELLED}
    client.close()


def test_close_from_a_callback_returns(deadline: None, frame: Frame) -> None:
    gone = threading.Event()

    def on_event(event: object) -> None:
        if isinstance(event, protocol.Ready):
            client.close()
        if isinstance(event, Died):
            gone.set()

    backend = Path(__file__).with_name('fault_backend.py')
    client = WorkerClient(WorkerOptions(backend=f'{backend}:make'), 'good', {}, on_event)
    client.start()
    assert gone.wait(30)


def test_a_callback_that_fails_does_not_stop_the_others(deadline: None, frame: Frame) -> None:
    seen = []
    ready, gone = threading.Event(), threading.Event()

    def on_event(event: object) -> None:
        seen.append(type(event).__name__)
        if isinstance(event, protocol.Ready):
            ready.set()
        if isinstance(event, Died):
            gone.set()
        raise RuntimeError('a bug in the node')

    backend = Path(__file__).with_name('fault_backend.py')
    client = WorkerClient(WorkerOptions(backend=f'{backend}:make'), 'good', {}, on_event)
    client.start()
    assert ready.wait(30)
    client.perceive(1, 'echo', frame())
    client.close()
    assert gone.is_set() and seen.count('Result') == 1


@pytest.mark.parametrize('card', ['missing', 'explode'])
def test_a_failed_load_is_a_state(start_client: Start, frame: Frame, card: str) -> None:
    client, log = start_client(card)
    failed = log.wait(protocol.LoadFailed)
    assert failed.status is Status.MODEL_UNAVAILABLE
    assert log.wait(Died).expected and client.state is WorkerState.FAILED
    assert refusal(client, frame()) is Status.MODEL_UNAVAILABLE


def test_a_request_while_loading_is_refused(start_client: Start, frame: Frame) -> None:
    client, log = start_client('stuck')
    assert refusal(client, frame()) is Status.MODEL_LOADING
    log.wait(protocol.Loading)
    assert refusal(client, frame()) is Status.MODEL_LOADING
    assert client.state is WorkerState.LOADING


def test_an_instruction_that_is_no_text_is_refused(start_client: Start, frame: Frame) -> None:
    client, log = start_client()
    log.wait(protocol.Ready)
    with pytest.raises(PerceptionError) as caught:
        client.perceive(1, 5, frame())  # type: ignore[arg-type]
    assert caught.value.status is Status.BAD_INSTRUCTION
    client.perceive(1, 'echo', frame())
    assert log.wait(Result, 1).perception.status is Status.OK


def test_helpers_of_a_worker_end_with_it(
        start_client: Start, frame: Frame, is_alive: Callable[[int], bool]) -> None:
    client, log = start_client()
    log.wait(protocol.Ready)
    client.perceive(1, 'helper', frame())
    helper = int(log.wait(protocol.Text, 1).text)
    assert is_alive(helper)
    os.kill(client.pid, signal.SIGKILL)
    log.wait(Died)
    while is_alive(helper):
        threading.Event().wait(0.01)
    assert results(log) == {1: Status.WORKER_RESTARTING}


def test_a_worker_that_does_not_read_is_replaced(
        start_client: Start, frame: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, '_SEND_TIMEOUT_S', 0.2)
    client, log = start_client()
    log.wait(protocol.Ready)
    os.kill(client.pid, signal.SIGSTOP)
    client.perceive(1, 'echo ' + 'x' * 10_000_000, frame())
    log.wait(Died)
    assert results(log) == {1: Status.WORKER_RESTARTING}


def make_executable(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize('python', ['/no/such/python', 'no_such_python', '/', __file__])
def test_an_interpreter_that_is_not_there_is_named(
        deadline: None, open_descriptors: Callable[[], int], python: str) -> None:
    before = open_descriptors()
    client = WorkerClient(WorkerOptions(python), 'good', {}, lambda event: None)
    with pytest.raises(PerceptionError, match='worker_python') as caught:
        client.start()
    assert caught.value.status is Status.MODEL_UNAVAILABLE
    assert client.state is WorkerState.FAILED and client.pid is None
    client.close()
    assert open_descriptors() == before


def test_a_program_that_is_no_program_is_named(deadline: None, tmp_path: Path) -> None:
    python = make_executable(tmp_path / 'python', '\x7fnot a program')
    client = WorkerClient(WorkerOptions(python), 'good', {}, lambda event: None)
    with pytest.raises(PerceptionError, match='cannot run worker_python'):
        client.start()


def test_an_interpreter_that_cannot_import_us_never_speaks(
        start_client: Start, tmp_path: Path) -> None:
    python = make_executable(tmp_path / 'python', '#!/bin/sh\nexit 1\n')
    client, log = start_client(options=WorkerOptions(python))
    assert log.wait(Died) == Died(1, 'worker ended with exit status 1', False, False)


def test_a_wrapper_around_the_interpreter_serves(
        start_client: Start, frame: Frame, tmp_path: Path) -> None:
    python = make_executable(tmp_path / 'python', f'#!/bin/sh\n"{sys.executable}" "$@"\n')
    backend = Path(__file__).with_name('fault_backend.py')
    client, log = start_client(options=WorkerOptions(python, f'{backend}:make'))
    log.wait(protocol.Ready)
    client.perceive(1, 'echo', frame())
    assert log.wait(Result, 1).perception.status is Status.OK


def test_the_working_directory_shadows_nothing(
        start_client: Start, frame: Frame, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('numpy', 'vr_ros', 'json'):
        (tmp_path / f'{name}.py').write_text('raise ImportError("shadowed")')
    monkeypatch.chdir(tmp_path)
    client, log = start_client()
    log.wait(protocol.Ready)
    client.perceive(1, 'echo', frame())
    assert log.wait(Result, 1).perception.status is Status.OK


def test_a_card_by_path_is_found_from_anywhere(
        start_client: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'card.yaml').write_text('')
    monkeypatch.chdir(tmp_path)
    _, log = start_client('card.yaml', device='cpu')
    assert log.wait(protocol.Ready).model_id == f'fault:{tmp_path}/card.yaml device=cpu'


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(worker_process.__file__).parents[2])
    monkeypatch.setenv('PYTHONPATH', '/opt/ros/lib')
    monkeypatch.setenv('PYTHONHOME', '/usr')
    mine = worker_environment(find_python(''), {})
    other = worker_environment('/other/python', {'CUDA_VISIBLE_DEVICES': '1'})
    assert mine['PYTHONPATH'] == f'{root}:/opt/ros/lib'
    assert other['PYTHONPATH'] == root and other['CUDA_VISIBLE_DEVICES'] == '1'
    assert 'PYTHONHOME' not in mine and 'PYTHONHOME' not in other


def test_a_virtual_environment_stays_one(tmp_path: Path) -> None:
    link = tmp_path / 'python'
    link.symlink_to(sys.executable)
    assert find_python(str(link)) == str(link)


NODE = """
import sys, time
sys.path[:0] = [{here!r}]
from conftest import FAULTS, FrameData, Log, image_cdr
from vr_ros.pipeline import protocol
from vr_ros.pipeline.worker_client import WorkerClient
import numpy as np
log = Log()
client = WorkerClient(FAULTS, 'good', {{}}, log)
client.start()
log.wait(protocol.Ready)
client.perceive(1, 'hang', FrameData(image_cdr(np.zeros((4, 4, 3), np.uint8))))
log.wait(protocol.Text)
print(client.pid, flush=True)
{end}
"""


@pytest.mark.parametrize('end', [
    'import os; os._exit(1)',                         # no clean-up of any kind
    'raise SystemExit',                               # a normal end without close()
    'import os; os.kill(os.getpid(), 9)',             # as the kernel ends it
    'import ctypes; ctypes.string_at(0)',             # a crash
])
def test_no_worker_outlives_its_node(
        deadline: None, is_alive: Callable[[int], bool], end: str) -> None:
    here = Path(__file__).parent
    node = subprocess.run(
        [sys.executable, '-c', NODE.format(here=str(here), end=end)], stdout=subprocess.PIPE,
        text=True, timeout=60, env={**os.environ, 'PYTHONPATH': str(here.parents[1])})
    worker = int(node.stdout)
    while is_alive(worker):
        threading.Event().wait(0.01)
