"""A perception node as a process of its own with the fault back-end, and a robot beside it."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from live import FAULT_BACKEND, RESULTS, Robot
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from vr_ros.msg import Instruction
from vr_ros.nodes import qos

# Longer than anything takes that goes right.
PATIENCE_S = 25.0
# Short, so that a whole matrix of faults takes minutes.
PARAMETERS = {'model': 'good', 'autostart': True, 'diagnostics_period': 0.1,
              'inference_timeout': 1.5, 'cancel_grace': 0.5, 'queue_size': 3}
_NODE = 'import sys; from vr_ros.nodes.perception_node import main; sys.exit(main())'


class Rig:
    """The node's process, what it says on /diagnostics, and who belongs to it.

    :param folder: for the node's log.
    :param namespace: tells nodes apart that exist at the same time.
    :param backend: of the worker; '' for real models.
    :param check_fields: whether messages are checked as in tests, or not, as in the field.
    """

    def __init__(self, folder: Path, namespace: str = 'faults', *, check_fields: bool = True,
                 backend: str = FAULT_BACKEND, **parameters: Any) -> None:
        self.log = folder / f'{namespace}.log'
        self._namespace, self._check_fields, self._backend = namespace, check_fields, backend
        self._parameters = {**PARAMETERS, **parameters}
        self.health: dict[str, dict[str, str]] = {}
        self.workers: set[int] = set()
        self._told: list[str] = []
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self.robot = Robot(self._context, self._executor, namespace, self.images)
        node = self.robot.node
        qos.create_subscription(
            node, DiagnosticArray, '/diagnostics', self._on_diagnostics, qos.command())
        self._change = node.create_client(ChangeState, 'perception/change_state')
        self._set = node.create_client(SetParameters, 'perception/set_parameters')
        self.process = self._start()

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ, 'VR_ROS_WORKER_BACKEND': self._backend, 'VR_ROS_PYTHON': sys.executable}
        environment.pop('ROS_PYTHON_CHECK_FIELDS', None)
        if self._check_fields:
            environment['ROS_PYTHON_CHECK_FIELDS'] = '1'
        command = [sys.executable, '-c', _NODE, '--ros-args', '-r', f'__ns:=/{self._namespace}']
        for name, value in self._parameters.items():
            command += ['-p', f'{name}:={str(value).lower() if isinstance(value, bool) else value}']
        with self.log.open('ab') as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def revive(self) -> None:
        """Replace a node that has ended by another one."""
        self.kill()
        self.health.clear()
        self.workers.clear()
        self.process = self._start()

    def restart(self) -> None:
        """Replace a node that has ended by another one, and wait until that is ready."""
        self.revive()
        self.until_ready()

    def kill(self) -> None:
        """End the node as the kernel does when memory runs out."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def close(self) -> None:
        """End the node in order, and the robot."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
        self._executor.shutdown()
        self.robot.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def until_ready(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until the node has its model and hears both images and instructions."""
        self.until(lambda: self.state in ('ready', 'failed'), patience_s)
        if self.state == 'failed':
            raise ChildProcessError(self.health['model']['message'])
        self.robot.wait_for_camera()
        self.robot.connect()

    def until(self, condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
        """Wait for a condition.

        :raises TimeoutError: it does not come true.
        :raises ChildProcessError: the node has ended.
        """
        def holds() -> Any:
            if self.process.poll() is not None:
                raise ChildProcessError(f'the node ended with {self.process.returncode}')
            return condition()

        return self.robot.until(holds, patience_s)

    @property
    def state(self) -> str:
        """Of the worker, as /diagnostics has it."""
        return self.health.get('model', {}).get('state', '')

    @property
    def worker(self) -> int:
        """Process id of the worker; 0 while there is none."""
        return int(self.health.get('model', {}).get('worker pid') or 0)

    def images(self) -> int:
        """How many images the node has received."""
        return int(self.health.get('camera camera', {}).get('images', 0))

    def show(self, **fields: Any) -> None:
        """Show an ordinary image unless told otherwise, and wait until the node has it."""
        self.robot.show(**fields)

    def tell(self, text: str, **fields: Any) -> str:
        """Give an instruction that has to be answered exactly once."""
        name = self.robot.tell(text, **fields)
        if fields.get('mode') != Instruction.STOP:
            self._told.append(name)
        return name

    def answer(self, name: str) -> Any:
        """Wait for the result of an instruction on all three topics."""
        self.until(lambda: all(self.robot.answers(name, topic) for topic in RESULTS))
        return self.robot.answers(name)[0]

    def answer_on_film(self, name: str) -> Any:
        """Wait for a result while images keep coming, so that none is too old after a restart."""
        self.until(lambda: self.show() or self.robot.answers(name))
        return self.answer(name)

    def wrong_counts(self, settle_s: float = 0.3) -> list[str]:
        """Say which instructions since the last call got none or more than one result.

        :param settle_s: how long second results are waited for, seconds.
        """
        self.robot.spin(settle_s)
        told, self._told = self._told, []
        counts = {(name, topic): len(self.robot.answers(name, topic))
                  for name in told for topic in RESULTS}
        for messages in self.robot.received.values():
            messages.clear()
        return [f'{count} x {topic} of {name}' for (name, topic), count in counts.items()
                if count != 1]

    def transition(self, *numbers: int) -> None:
        """Lead the node through transitions of its life cycle."""
        for number in numbers:
            self.until(self._change.service_is_ready)
            done = self._change.call_async(
                ChangeState.Request(transition=Transition(id=number)))
            self.until(done.done)
            assert done.result().success, f'transition {number}'

    def load(self, model: str, **parameters: Any) -> None:
        """Have the node load another model, and activate it."""
        self.transition(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
        # Its cameras count anew, so what was heard of the old ones must not be compared with.
        self.until(lambda: 'camera camera' not in self.health)
        self.until(self._set.service_is_ready)
        changes = {'model': model, **parameters}
        done = self._set.call_async(SetParameters.Request(parameters=[
            Parameter(name, value=value).to_parameter_msg() for name, value in changes.items()]))
        self.until(done.done)
        assert all(result.successful for result in done.result().results)
        self.transition(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
        self.robot.wait_for_camera()

    def orphans(self, patience_s: float = 5.0) -> set[int]:
        """:return: process ids of workers that live although they are not, or no more, in use."""
        end_at = time.monotonic() + patience_s
        while time.monotonic() < end_at:
            self.robot.spin(0.1)
            children = descendants(self.process.pid)
            left = {pid for pid in self.workers | children if alive(pid)} - {self.worker}
            if not left:
                break
        return left

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        prefix = f'/{self._namespace}/perception: '
        found = {status.name.removeprefix(prefix):
                 {'level': str(status.level[0]), 'message': status.message,
                  **{pair.key: pair.value for pair in status.values}}
                 for status in message.status if status.name.startswith(prefix)}
        if found:
            self.health = found
            self.workers |= {self.worker} - {0}


def descendants(pid: int) -> set[int]:
    """List the processes that a process has started from any of its threads, and theirs."""
    found: set[int] = set()
    try:
        for task in Path(f'/proc/{pid}/task').iterdir():
            for child in map(int, (task / 'children').read_text().split()):
                found |= {child} | descendants(child)
    except (FileNotFoundError, ProcessLookupError):
        pass  # it ended while it was looked at
    return found


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that is dead and not collected does not."""
    try:
        state = Path(f'/proc/{pid}/stat').read_text(encoding='utf-8').rpartition(')')[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in 'ZX'


def shared_memory_files() -> set[str]:
    """List /dev/shm without what the middleware keeps there for itself."""
    return {name for name in os.listdir('/dev/shm')
            if not name.startswith(('fastrtps_', 'fastdds_', 'sem.fastrtps_', 'sem.fastdds_'))}


def descriptors(pid: int) -> int:
    """Count the open descriptors of a process."""
    return len(os.listdir(f'/proc/{pid}/fd'))


def threads(pid: int) -> int:
    """Count the threads of a process."""
    return len(os.listdir(f'/proc/{pid}/task'))


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has."""
    return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def until_gone(pids: Iterable[int], patience_s: float = 30.0) -> set[int]:
    """Wait until processes have ended, and return those that have not."""
    end_at = time.monotonic() + patience_s
    left = set(pids)
    while left and time.monotonic() < end_at:
        left = {pid for pid in left if alive(pid)}
        time.sleep(0.02)
    return left
