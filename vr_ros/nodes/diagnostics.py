"""How the node is, for /diagnostics: judged without ROS, then written as messages."""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from vr_ros.core.types import PerceptionError, Size, Source
from vr_ros.nodes.cameras import Camera
from vr_ros.nodes.result_statistics import ResultStatistics
from vr_ros.pipeline.worker_state import WorkerHealth, WorkerState

OK, WARN, ERROR = 0, 1, 2
# The worker says once a second that it lives.
SILENCE_S = 5.0


@dataclass(frozen=True)
class Diagnosis:
    """One status of the array.

    :param level: OK, WARN or ERROR.
    """

    name: str
    level: int
    message: str
    values: Mapping[str, str] = field(default_factory=dict)


def judge_model(health: WorkerHealth, now: float) -> Diagnosis:
    """Judge the worker and its model.

    :param now: seconds of the steady clock.
    """
    state, beat = health.state, health.heartbeat
    silent_s = now - health.heartbeat_at
    level, message = {
        WorkerState.READY: (OK, 'ready'),
        WorkerState.CLOSED: (OK, 'not configured'),
        WorkerState.STARTING: (WARN, health.message or 'starting'),
        WorkerState.LOADING: (WARN, health.message or 'loading'),
    }.get(state, (ERROR, health.message or state.value))
    if state is WorkerState.READY and silent_s > SILENCE_S:
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
              'frames dropped': str(results.frames_dropped)}
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


def judge_callbacks(failures: Counter[str]) -> Diagnosis:
    """Judge the node itself.

    :param failures: how often each of its callbacks has failed.
    """
    count = sum(failures.values())
    return Diagnosis(
        'callbacks', WARN if count else OK,
        f'{count} failed; the log has their tracebacks' if count else 'none has failed',
        {'failed': str(count), **{name: str(times) for name, times in failures.most_common(20)}})


class CameraJudge:
    """Judges one camera after another by what changed since it last did."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, int]] = {}

    def judge(self, camera: Camera, calibrated: Size | None, max_age_s: float, now: float,
              now_ns: int) -> Diagnosis:
        """Judge a camera of an active node.

        :param calibrated: the image size in its camera_info; None: there is no camera_info.
        :param max_age_s: images older than that are not used; 0: no limit.
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
        if max_age_s and abs(age_s) > max_age_s:
            return WARN, f'the newest image is {age_s:.1f} s old'
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
