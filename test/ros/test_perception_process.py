"""The perception node as the program that people start: its arguments, signals and exit status."""
from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from live import FAULT_BACKEND, PICTURE, Robot, image
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from vr_ros.core.types import Status
from vr_ros.msg import Instruction
from vr_ros.nodes import qos

PROGRAM = Path(__file__).parents[2] / 'executables' / 'perception_node'
Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start the program with ROS arguments; it is gone when the test ends."""
    monkeypatch.setenv('VR_ROS_WORKER_BACKEND', FAULT_BACKEND)
    monkeypatch.setenv('VR_ROS_PYTHON', sys.executable)
    processes: list[subprocess.Popen] = []

    def run(*arguments: str) -> subprocess.Popen:
        processes.append(subprocess.Popen(
            [sys.executable, str(PROGRAM), '--ros-args', '-r', '__ns:=/process', '-p',
            'model:=good', *arguments], stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def robot() -> Iterator[Robot]:
    """Give a robot in the namespace of the program."""
    context = rclpy.Context()
    rclpy.init(context=context)
    executor = SingleThreadedExecutor(context=context)
    made = Robot(context, executor, 'process', lambda: 0)
    yield made
    executor.shutdown()
    made.node.destroy_node()
    rclpy.shutdown(context=context)


def show(robot: Robot) -> None:
    """Publish an image. It may be lost: one side may know of the other before it is known there."""
    robot.images.publish(image(PICTURE, stamp=robot.node.get_clock().now().to_msg()))
    robot.spin(0.1)


def assert_all_is_well(robot: Robot) -> None:
    """Ask something ordinary while images keep coming, of which the first may be lost."""
    name = robot.tell('echo')
    robot.until(lambda: show(robot) or robot.answers(name))
    assert robot.answer(name).outcome.status == Status.OK



def descendants(pid: int) -> list[int]:
    """List the processes that a process has started from any of its threads."""
    found = []
    for task in Path(f'/proc/{pid}/task').iterdir():
        found += [int(child) for child in (task / 'children').read_text().split()]
    return found


@pytest.mark.parametrize('numbers', [
    (signal.SIGINT,),                  # Ctrl-C
    (signal.SIGTERM,),                 # a service manager
    (signal.SIGINT, signal.SIGINT),    # Ctrl-C, and a parent that passes it on
])
def test_a_signal_ends_it_in_order(
        start: Start, robot: Robot, numbers: tuple[signal.Signals, ...]) -> None:
    process = start('-p', 'autostart:=true')
    robot.shake_hands()
    robot.wait_for_camera()
    assert_all_is_well(robot)
    workers = descendants(process.pid)
    assert workers
    running = robot.tell('words 100000')
    robot.spin(0.3)
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.05)
    assert robot.answer(running).outcome.status == Status.NOT_ACTIVE
    assert process.wait(30) == 0
    assert not any(Path(f'/proc/{worker}').exists() for worker in workers)


def test_a_signal_ends_it_also_after_its_last_transition(start: Start, robot: Robot) -> None:
    process = start()
    change = robot.node.create_client(ChangeState, 'perception/change_state')
    robot.until(change.service_is_ready)
    done = change.call_async(ChangeState.Request(
        transition=Transition(id=Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)))
    robot.until(done.done)
    assert done.result().success
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert 'Traceback' not in process.stderr.read()


def test_its_worker_ends_with_it_however_it_ends(start: Start, robot: Robot) -> None:
    process = start('-p', 'autostart:=true')
    robot.shake_hands()
    robot.wait_for_camera()
    assert_all_is_well(robot)
    (worker,) = descendants(process.pid)
    process.kill()
    process.wait(30)
    end_at = time.monotonic() + 30
    while alive(worker):
        assert time.monotonic() < end_at
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        state = Path(f'/proc/{pid}/stat').read_text(encoding='utf-8').rpartition(')')[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in 'ZX'


@pytest.mark.parametrize(('arguments', 'words'), [
    (('-p', 'max_image_age:=-1.0'), ('max_image_age', '0 to 86400')),           # out of range
    (('-p', 'queue_size:=many'), ('queue_size', 'int')),                        # of another type
    (('-p', 'image_transport:=theora'), ('image_transport', 'raw, compressed')),  # no such choice
    (('-p', 'strict_parameters:=true', '-p', 'max_image_aeg:=1.0'),
     ('max_image_aeg', 'max_image_age')),                                       # misspelt
    (('--params-file', '/no/such/file.yaml'), ('/no/such/file.yaml',)),         # not there
])
def test_bad_arguments_are_one_line_and_exit_status_2(
        start: Start, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    process = start(*arguments)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    # rcl has its own say before ours; a traceback would be longer.
    lines = errors.strip().splitlines()
    assert len(lines) <= 2 and all(word in lines[-1] for word in words)


def test_an_unknown_parameter_is_warned_about_with_the_nearest_name(
        start: Start, robot: Robot) -> None:
    process = start('-p', 'max_image_aeg:=1.0', '-p', 'default_deadline:=2')
    robot.shake_hands()
    assert robot.ask('echo').outcome.status == Status.NOT_ACTIVE
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    warnings = [line for line in errors.splitlines() if 'max_image_aeg' in line]
    assert len(warnings) == 1 and 'did you mean max_image_age?' in warnings[0]
    assert process.returncode == 0


def test_parameters_come_from_the_file_that_is_shipped(start: Start, robot: Robot,
                                                       tmp_path: Path) -> None:
    shipped = (PROGRAM.parents[1] / 'config' / 'perception.yaml').read_text(encoding='utf-8')
    mine = tmp_path / 'mine.yaml'
    mine.write_text(shipped.replace('default_deadline: 30.0', 'default_deadline: 0.2'),
                    encoding='utf-8')
    start('-p', 'autostart:=true', '--params-file', str(mine))
    robot.shake_hands()
    result = robot.ask('echo')
    assert result.outcome.status in (Status.NO_IMAGE, Status.MODEL_LOADING)


def test_messages_that_are_none_do_no_harm(start: Start, robot: Robot) -> None:
    start('-p', 'autostart:=true')
    robot.shake_hands()
    robot.wait_for_camera()
    # Publishers of their own: the middleware may give up on one whose messages are none.
    vandal = robot.node.create_publisher(Instruction, 'instruction', qos.command())
    painter = robot.node.create_publisher(Image, 'image', qos.newest())
    robot.until(vandal.get_subscription_count)
    robot.until(painter.get_subscription_count)
    for rubbish in (b'', b'\x00\x01\x00\x00', b'\x00\x01\x00\x00' + b'\xff' * 64, b'x' * 500):
        vandal.publish(rubbish)
        painter.publish(rubbish)
        robot.spin(0.05)
    # The middleware may keep the rubbish to itself.
    assert robot.ask('echo').outcome.status in (Status.BAD_IMAGE, Status.NO_IMAGE)
    show(robot)
    assert_all_is_well(robot)
