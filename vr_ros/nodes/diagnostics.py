"""How the node is, for /diagnostics: judged without ROS, then written as messages."""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from vr_ros.core.types import PerceptionError, Size, Source
from vr_ros.nodes.cameras import Camera
from vr_ros.nodes.readiness import age_problem
from vr_ros.nodes.result_statistics import ResultStatistics
from vr_ros.pipeline.worker_state import WorkerHealth, WorkerState

OK, WARN, ERROR, STALE = 0, 1, 2, 3


@dataclass(frozen=True)
class Diagnosis:
    """One status of the array.

    :param level: OK, WARN, ERROR or STALE.
    """

    name: str
    level: int
    message: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HoldUp:
    """The thread that spins the node does nothing else.

    :param seconds: since it was asked how the node is.
    :param place: where in the code it is, '' if that is not known.
    """

    seconds: float
    place: str = ''


def judge_model(health: WorkerHealth, now: float, max_silence_s: float) -> Diagnosis:
    """Judge the worker and its model.

    :param now: seconds of the steady clock.
    :param max_silence_s: the worker says once a second that it lives; longer silence is an error.
    """
    state, beat = health.state, health.heartbeat
    silent_s = now - health.heartbeat_at
    level, message = {
        WorkerState.READY: (OK, 'ready'),
        WorkerState.CLOSED: (OK, 'not configured'),
        WorkerState.STARTING: (WARN, health.message or 'starting'),
        WorkerState.LOADING: (WARN, health.message or 'loading'),
    }.get(state, (ERROR, health.message or state.value))
    if state is WorkerState.READY and silent_s > max_silence_s:
        level, message = ERROR, f'the worker has been silent for {silent_s:.0f} s'
    values = {'state': state.value, 'model': health.model_id, 'restarts': str(health.restarts),
              'worker pid': '' if health.pid is None else str(health.pid)}
    if beat is not None:
        values['worker memory [MB]'] = f'{beat.rss_bytes / 1e6:.0f}'
    if beat is not None and beat.gpu_total_bytes:
        values['GPU memory [MB]'] = f'{beat.gpu_bytes / 1e6:.0f}'
        values['GPU memory in all [MB]'] = f'{beat.gpu_total_bytes / 1e6:.0f}'
    return Diagnosis('model', level, message, values)


def judge_instructions(waiting: int, limit: int, results: ResultStatistics, now: float,
                       max_latency_s: float) -> Diagnosis:
    """Judge the queue and what comes out of it.

    :param waiting: instructions that are accepted and not ended.
    :param limit: how many may wait.
    :param now: seconds of the steady clock.
    :param max_latency_s: answers that are slower, the slowest 5 % left out, are a warning; 0: none.
    """
    values = {'open': str(waiting), 'results': str(sum(results.statuses.values())),
              'tracked frames': str(results.sources[Source.TRACKED]),
              'frames dropped for newer ones': str(results.frames_dropped)}
    if math.isfinite(results.age_s(now)):
        values['last result age [s]'] = f'{results.age_s(now):.1f}'
    for name, source in (('answer', Source.REASONED), ('tracked', Source.TRACKED)):
        for share in (0.5, 0.95):
            latency_ms = results.latency_ms(source, share)
            if not math.isnan(latency_ms):
                values[f'{name} latency p{share * 100:.0f} [ms]'] = f'{latency_ms:.0f}'
    values.update((status.name, str(results.statuses[status]))
                  for status in sorted(results.statuses))
    slowest_s = results.latency_ms(Source.REASONED, 0.95) / 1e3
    if waiting >= limit:
        return Diagnosis('instructions', WARN, 'the queue is full', values)
    if max_latency_s and slowest_s > max_latency_s:
        return Diagnosis('instructions', WARN, f'answers take up to {slowest_s:.1f} s', values)
    return Diagnosis('instructions', OK, f'{waiting} open', values)


def judge_callbacks(failures: Counter[str], hold_up: HoldUp | None = None,
                    max_silence_s: float = math.inf) -> Diagnosis:
    """Judge the node itself.

    :param failures: how often each of its callbacks has failed.
    :param hold_up: None: callbacks take turns as they should.
    :param max_silence_s: a longer hold-up is an error, a shorter one a warning.
    """
    count = sum(failures.values())
    values = {'failed': str(count)}
    values.update((name, str(times)) for name, times in failures.most_common(20))
    if hold_up is not None:
        values['held up [s]'] = f'{hold_up.seconds:.1f}'
        place = f' in {hold_up.place}' if hold_up.place else ''
        return Diagnosis('callbacks', ERROR if hold_up.seconds > max_silence_s else WARN,
                         f'one has held up all others for {hold_up.seconds:.1f} s{place}', values)
    return Diagnosis(
        'callbacks', WARN if count else OK,
        f'{count} failed; the log has their tracebacks' if count else 'none has failed', values)


def outdated(diagnosis: Diagnosis, age_s: float) -> Diagnosis:
    """Mark a diagnosis as one that nobody could bring up to date."""
    return replace(diagnosis, level=STALE, message=f'{age_s:.0f} s ago: {diagnosis.message}')


class CameraJudge:
    """Judges one camera after another by what changed since it last did."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, int]] = {}

    def judge(self, camera: Camera, calibrated: Size | None, max_age_s: float, now: float,
              now_ns: int, min_rate_hz: float = 0.0) -> Diagnosis:
        """Judge a camera of an active node.

        :param calibrated: the image size in its camera_info; None: there is no camera_info.
        :param max_age_s: images older than that are not used; 0: no limit.
        :param min_rate_hz: fewer images are a warning; 0: never.
        :param now: seconds of the steady clock.
        :param now_ns: the node's clock.
        """
        then, received = self._before.get(camera.name, (math.nan, 0))
        self._before[camera.name] = now, camera.received
        rate_hz = (camera.received - received) / (now - then)
        values = {'topic': camera.topic, 'images': str(camera.received),
                  'camera_info': 'none' if calibrated is None else _size_text(calibrated)}
        if not math.isnan(rate_hz):
            values['rate [Hz]'] = f'{rate_hz:.1f}'
        level, message = self._judge_frame(camera, calibrated, max_age_s, now_ns, values)
        if level == OK and rate_hz < min_rate_hz:
            level, message = WARN, f'{rate_hz:.1f} images a second; min_image_rate is ' \
                                   f'{min_rate_hz:g}'
        return Diagnosis(f'camera {camera.name}', level, message, values)

    def _judge_frame(self, camera: Camera, calibrated: Size | None, max_age_s: float, now_ns: int,
                     values: dict[str, str]) -> tuple[int, str]:
        frame = camera.newest
        if frame is None:
            return WARN, f'no image has arrived on {camera.topic}'
        try:
            age_s = frame.age_s(now_ns)
        except PerceptionError as error:
            return ERROR, f'images are not readable: {error.message}'
        values['age [ms]'] = f'{age_s * 1e3:.0f}'
        values['frame_id'] = frame.header.frame_id
        size = frame.size
        problem = age_problem(frame, camera.topic, max_age_s, now_ns)
        if problem is not None:
            return WARN, problem.message
        if calibrated not in (None, Size(0, 0), size) and size != Size(0, 0):
            return WARN, (f'images of {_size_text(size)} pixels, but camera_info is for '
                          f'{_size_text(calibrated or size)}')
        return OK, 'images arrive'


def to_message(header: Header, node_name: str, hardware_id: str,
               diagnoses: Iterable[Diagnosis]) -> DiagnosticArray:
    """Write diagnoses as one message.

    :param node_name: goes before each name, as in '/robot/perception: model'.
    """
    return DiagnosticArray(header=header, status=[
        DiagnosticStatus(
            level=bytes([diagnosis.level]), name=f'{node_name}: {diagnosis.name}',
            message=diagnosis.message, hardware_id=hardware_id,
            values=[KeyValue(key=key, value=value) for key, value in diagnosis.values.items()])
        for diagnosis in diagnoses])


def _size_text(size: Size) -> str:
    return f'{size.width} x {size.height}'
