"""When the node calls itself well, in trouble, or broken."""
from __future__ import annotations

from collections import Counter

import pytest
from dispatching import image_cdr
from std_msgs.msg import Header

from vr_ros.core.types import Perception, Size, Source, Status, Timing
from vr_ros.nodes.cameras import Camera
from vr_ros.nodes.diagnostics import (
    ERROR,
    OK,
    STALE,
    WARN,
    CameraJudge,
    Diagnosis,
    HoldUp,
    judge_callbacks,
    judge_instructions,
    judge_model,
    outdated,
    to_message,
)
from vr_ros.nodes.result_statistics import ResultStatistics
from vr_ros.pipeline.protocol import FrameKind, Heartbeat
from vr_ros.pipeline.worker_state import WorkerHealth, WorkerState


@pytest.mark.parametrize(('state', 'silent_s', 'level', 'words'), [
    (WorkerState.READY, 1.0, OK, 'ready'),
    (WorkerState.READY, 4.9, OK, 'ready'),
    (WorkerState.READY, 5.1, ERROR, 'silent for 5 s'),   # it hangs beyond its own help
    (WorkerState.LOADING, 99.0, WARN, 'why'),            # says nothing while it imports
    (WorkerState.STARTING, 0.0, WARN, 'why'),
    (WorkerState.RESTARTING, 0.0, ERROR, 'why'),
    (WorkerState.FAILED, 0.0, ERROR, 'why'),
    (WorkerState.CLOSED, 0.0, OK, 'not configured'),
])
def test_model(state: WorkerState, silent_s: float, level: int, words: str) -> None:
    heartbeat = Heartbeat(2_000_000, 5_000_000, 8_000_000)
    health = WorkerHealth(state, 'why', 'm', 12, 3, heartbeat, 100.0)
    diagnosis = judge_model(health, 100.0 + silent_s, 5.0)
    assert diagnosis.level == level and words in diagnosis.message
    assert diagnosis.values['restarts'] == '3' and diagnosis.values['worker pid'] == '12'
    assert diagnosis.values['worker memory [MB]'] == '2'
    assert diagnosis.values['GPU memory [MB]'] == '5'


def test_a_worker_that_never_spoke_is_not_called_silent() -> None:
    assert judge_model(WorkerHealth(WorkerState.READY), 1e9, 5.0).level == OK


def statistics(*latencies_s: float) -> ResultStatistics:
    """Results that came at second 100."""
    results = ResultStatistics()
    for latency_s in latencies_s:
        results.add(Perception(
            Status.OK, timing=Timing(total_ms=latency_s * 1e3, frames_dropped=2)), 100.0)
    return results


def test_instructions() -> None:
    results = statistics(*[1.0] * 19, 3.0)
    results.add(Perception(Status.TIMEOUT, timing=Timing(total_ms=1e9)), 101.0)
    results.add(Perception(Status.OK, source=Source.TRACKED, timing=Timing(total_ms=40.0)), 102.0)
    diagnosis = judge_instructions(9, 10, results, 104.5, 0.0)
    assert (diagnosis.level, diagnosis.message) == (OK, '9 open')
    assert diagnosis.values == {
        'open': '9', 'results': '22', 'OK': '21', 'TIMEOUT': '1', 'tracked frames': '1',
        'frames dropped for newer ones': '40', 'last result age [s]': '2.5',
        'answer latency p50 [ms]': '1000', 'answer latency p95 [ms]': '1100',
        'tracked latency p50 [ms]': '40', 'tracked latency p95 [ms]': '40'}
    assert judge_instructions(10, 10, results, 104.5, 0.0).level == WARN
    assert judge_instructions(0, 10, results, 104.5, 1.2).level == OK
    slow = judge_instructions(0, 10, results, 104.5, 1.0)
    assert (slow.level, slow.message) == (WARN, 'answers take up to 1.1 s')


def test_without_results_there_is_nothing_to_be_slow() -> None:
    diagnosis = judge_instructions(0, 10, statistics(), 5.0, 0.1)
    assert diagnosis.level == OK
    assert not [name for name in diagnosis.values if 'latency' in name or 'age' in name]


def test_latencies_are_those_of_the_last_results() -> None:
    results = statistics(*[9.0] * 500, *[1.0] * 200)
    assert results.latency_ms(Source.REASONED, 0.95) == 1000.0


@pytest.mark.parametrize(('age_s', 'calibrated', 'level', 'words'), [
    (None, None, WARN, 'no image'),                  # never one
    (0.5, None, OK, 'arrive'),                       # a fresh one
    (0.5, Size(4, 3), OK, 'arrive'),                 # and it is the camera_info's
    (0.5, Size(0, 0), OK, 'arrive'),                 # an uncalibrated camera says 0 x 0
    (0.5, Size(8, 6), WARN, '8 x 6'),                # the driver changed resolution
    (2.5, None, WARN, '2.5 s old'),                  # the camera stopped
    (-2.5, None, WARN, '2.5 s ahead'),               # the clocks differ
])
def test_camera(age_s: float | None, calibrated: Size | None, level: int, words: str) -> None:
    camera = Camera('c', 'image', FrameKind.IMAGE)
    if age_s is not None:
        camera.put(image_cdr(10**12 - round(age_s * 1e9)), 0.0)
    diagnosis = CameraJudge().judge(camera, calibrated, 2.0, 50.0, 10**12)
    assert diagnosis.level == level and words in diagnosis.message


def test_images_are_of_no_age_while_simulated_time_has_not_begun() -> None:
    camera = Camera('c', 'image', FrameKind.IMAGE)
    camera.put(image_cdr(10**18), 0.0)
    diagnosis = CameraJudge().judge(camera, None, 2.0, 50.0, 0)
    assert diagnosis.level == WARN and '/clock' in diagnosis.message


def test_without_an_age_limit_no_image_is_old() -> None:
    camera = Camera('c', 'image', FrameKind.IMAGE)
    camera.put(image_cdr(0), 0.0)
    assert CameraJudge().judge(camera, None, 0.0, 50.0, 10**18).level == OK


def test_images_that_cannot_be_read_are_an_error() -> None:
    camera = Camera('c', 'image', FrameKind.IMAGE)
    camera.put(b'rubbish', 0.0)
    assert CameraJudge().judge(camera, None, 2.0, 50.0, 0).level == ERROR


def test_the_rate_is_that_since_the_last_look() -> None:
    camera, judge = Camera('c', 'image', FrameKind.IMAGE), CameraJudge()

    def rate(now: float) -> str | None:
        return judge.judge(camera, None, 0.0, now, 0).values.get('rate [Hz]')

    assert rate(10.0) is None
    for _ in range(15):
        camera.put(image_cdr(0), 0.0)
    assert rate(10.5) == '30.0'
    assert rate(11.5) == '0.0'


@pytest.mark.parametrize(('rate_hz', 'min_rate_hz', 'level'), [
    (30, 0.0, OK),
    (30, 25.0, OK),
    (24, 25.0, WARN),
    (0, 25.0, WARN),
    (0, 0.0, OK),
])
def test_a_camera_may_have_to_be_fast(rate_hz: int, min_rate_hz: float, level: int) -> None:
    camera, judge = Camera('c', 'image', FrameKind.IMAGE), CameraJudge()
    camera.put(image_cdr(0), 0.0)
    # Of the first look there is no rate yet.
    assert judge.judge(camera, None, 0.0, 10.0, 0, min_rate_hz).level == OK
    for _ in range(rate_hz):
        camera.put(image_cdr(0), 0.0)
    diagnosis = judge.judge(camera, None, 0.0, 11.0, 0, min_rate_hz)
    assert diagnosis.level == level
    assert ('min_image_rate is 25' in diagnosis.message) == (level == WARN)


def test_callbacks_that_failed_are_named() -> None:
    assert judge_callbacks(Counter()).level == OK
    diagnosis = judge_callbacks(Counter(_on_text=2, _pump=1))
    assert diagnosis.level == WARN and diagnosis.message.startswith('3 failed')
    assert diagnosis.values == {'failed': '3', '_on_text': '2', '_pump': '1'}


@pytest.mark.parametrize(('seconds', 'level'), [(1.0, WARN), (5.0, WARN), (5.1, ERROR)])
def test_a_callback_that_holds_up_the_others(seconds: float, level: int) -> None:
    diagnosis = judge_callbacks(Counter(_pump=1), HoldUp(seconds, 'submit (dispatch.py:9)'), 5.0)
    assert diagnosis.level == level
    assert diagnosis.message.endswith(f'for {seconds} s in submit (dispatch.py:9)')
    assert diagnosis.values == {'failed': '1', '_pump': '1', 'held up [s]': str(seconds)}


def test_what_nobody_brings_up_to_date_is_stale() -> None:
    old = outdated(Diagnosis('topics', OK, 'every topic connects', {'a': 'b'}), 7.2)
    assert old == Diagnosis('topics', STALE, '7 s ago: every topic connects', {'a': 'b'})


def test_message() -> None:
    message = to_message(Header(frame_id='f'), '/robot/perception', 'sim_tiny', [
        Diagnosis('model', WARN, 'loading', {'state': 'loading'})])
    (status,) = message.status
    assert (status.name, status.level, status.hardware_id) == (
        '/robot/perception: model', b'\x01', 'sim_tiny')
    assert [(pair.key, pair.value) for pair in status.values] == [('state', 'loading')]
