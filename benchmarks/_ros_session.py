"""One measurement: a camera, the perception node and a plain subscriber as processes over DDS."""
from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _ros_copies import Copies, count_copies
from _ros_watch import Arrival, Watch

from vr_ros.core.types import Size
from vr_ros.nodes.demo.processes import Processes

RATE_HZ = 30.0
# The first frames find nothing prepared: rings, caches, imports.
WARM_UP_FRAMES = 5
# Of Fast DDS 2 and 3; other middlewares do not care.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
_NAMESPACE = '/bench'
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Idle:
    """What frames cost that nobody asks about. CPU in percent of one core, rates in Hz."""

    node_cpu: float
    worker_cpu: float
    plain_cpu: float
    node_hz: float
    began_ns: int
    ended_ns: int

    @property
    def seconds(self) -> float:
        return (self.ended_ns - self.began_ns) / 1e9


@dataclass(frozen=True)
class PlainFrame:
    """One frame at the plain subscriber: published, handed to the callback, converted."""

    sent_ns: int
    called_ns: int
    converted_ns: int


def measure_size(size: Size, seconds: float, folder: Path) -> tuple[dict[str, float], Copies]:
    """Measure one image size.

    :param seconds: how long to measure while idle, and again while every frame is asked about.
    :param folder: for the logs of the programs.
    :return: the numbers by name, see bench_ros.METRICS; and the copies per frame.
    :raises TimeoutError: nothing arrives.
    :raises RuntimeError: one of the programs ended.
    """
    times = folder / 'plain.json'
    prepare_environment()
    with Watch(_NAMESPACE) as watch:
        copies = count_copies(watch, size)
        with Processes(folder) as processes:
            watch.check = lambda: _check(processes)
            _start(processes, size, times)
            watch.until_measurable()
            idle = _measure_idle(watch, processes, seconds)
            watch.ask_for(seconds)
    plain = [PlainFrame(*frame) for frame in json.loads(times.read_text(encoding='utf-8'))]
    return _numbers(idle, watch.arrivals[WARM_UP_FRAMES:], plain), copies


def prepare_environment() -> None:
    """Prepare what programs inherit: where to find this folder, and a ROS that loses no frames."""
    here, path = str(_HERE), os.environ.get('PYTHONPATH', '')
    if here not in path.split(os.pathsep):
        os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, (path, here)))
    os.environ.pop('ROS_PYTHON_CHECK_FIELDS', None)
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    for name in PROFILE_VARIABLES:
        os.environ.setdefault(name, str(_HERE / '_fastdds.xml'))
    os.environ['VR_ROS_WORKER_BACKEND'] = f'{_HERE / "_ros_backend.py"}:make'


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that all threads of a process have used so far.

    :raises OSError: there is no such process.
    """
    clock = ctypes.c_int()
    error = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise OSError(error, os.strerror(error), f'process {pid}')
    return time.clock_gettime(clock.value)


def _start(processes: Processes, size: Size, times: Path) -> None:
    processes.start_node('plain', '_ros_plain', _arguments(output=times))
    processes.start_node('perception', 'vr_ros.nodes.perception_node', _arguments(
        model='clock', autostart='true', reason_period=0.0))
    processes.start_node('camera', '_ros_camera', _arguments(
        width=size.width, height=size.height, rate=RATE_HZ))


def _arguments(**parameters: object) -> Sequence[str]:
    arguments = ['--ros-args', '-r', f'__ns:={_NAMESPACE}']
    for name, value in parameters.items():
        arguments += ['-p', f'{name}:={value}']
    return arguments


def _check(processes: Processes) -> None:
    for name, status in processes.ended().items():
        raise RuntimeError(f'{name} ended with {status}: {processes.last_words(name)}')


def _measure_idle(watch: Watch, processes: Processes, seconds: float) -> Idle:
    """Measure from one message on /diagnostics to another, since they count the frames."""
    first = watch.next_beat()
    began_ns = time.monotonic_ns()
    pids = processes.pid('perception'), first.worker_pid, processes.pid('plain')
    before = [cpu_seconds(pid) for pid in pids]
    last = watch.next_beat(seconds)
    after = [cpu_seconds(pid) for pid in pids]
    ended_ns = time.monotonic_ns()
    node, worker, plain = (
        (late - early) / (ended_ns - began_ns) * 1e11
        for early, late in zip(before, after, strict=True))
    rate_hz = (last.images - first.images) / (last.stamp_s - first.stamp_s)
    return Idle(node, worker, plain, rate_hz, began_ns, ended_ns)


def _numbers(idle: Idle, arrivals: Sequence[Arrival],
             plain: Sequence[PlainFrame]) -> dict[str, float]:
    """:raises RuntimeError: too few frames arrived to say anything."""
    while_idle = [f for f in plain if idle.began_ns <= f.called_ns < idle.ended_ns]
    # The same frames on both sides, under the same load.
    sent = {a.sent_ns for a in arrivals} & {f.sent_ns for f in plain}
    if not sent:
        raise RuntimeError(f'no frame arrived on both sides: {len(arrivals)} at the worker, '
                           f'{len(plain)} at the plain subscriber')
    arrivals = [a for a in arrivals if a.sent_ns in sent]
    plain = [f for f in plain if f.sent_ns in sent]
    to_worker = [(a.arrived_ns - a.sent_ns) / 1e6 for a in arrivals]
    to_array = [(f.converted_ns - f.sent_ns) / 1e6 for f in plain]
    return {
        'node CPU': idle.node_cpu,
        'plain CPU': idle.plain_cpu,
        'CPU ratio': idle.plain_cpu / idle.node_cpu,
        'worker CPU': idle.worker_cpu,
        'node rate': idle.node_hz,
        'plain rate': len(while_idle) / idle.seconds,
        'to worker': float(np.median(to_worker)),
        'to worker, p95': float(np.percentile(to_worker, 95)),
        'to node': float(np.median([a.age_ms for a in arrivals])),
        'to plain callback': float(np.median([(f.called_ns - f.sent_ns) / 1e6 for f in plain])),
        'to plain array': float(np.median(to_array)),
        'to plain array, p95': float(np.percentile(to_array, 95)),
        'frames on both sides': len(arrivals),
    }
