"""The last seconds, saved when asked for and when a result has an error status."""
from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bag_checks import check
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from recording import lost_on_the_way, program
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import String
from std_srvs.srv import Trigger
from watch import Watcher, watching

from vr_ros.msg import Count, Instruction, Outcome
from vr_ros.nodes import qos

WINDOW_S = 2.0
BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    with watching() as somebody:
        yield somebody


class Recorder:
    """The recorder with a ring, and somebody who speaks to it."""

    def __init__(self, watcher: Watcher, process: subprocess.Popen[str], folder: Path) -> None:
        self.watcher, self.process, self.folder = watcher, process, folder
        self.client = watcher.node.create_client(Trigger, '/record/save')
        watcher.until(self.client.service_is_ready)

    def publisher(self, kind: type, topic: str, profile: Any) -> Any:
        """Make a publisher, and wait until the recorder hears it."""
        made = self.watcher.node.create_publisher(kind, topic, profile)
        self.watcher.until(made.get_subscription_count)
        return made

    def save(self) -> Trigger.Response:
        future = self.client.call_async(Trigger.Request())
        self.watcher.until(future.done)
        return future.result()

    def bags(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.name[0] != '.')


@contextmanager
def keeping(watcher: Watcher, folder: Path, *arguments: str) -> Iterator[Recorder]:
    with program('record', '--profile', 'incident', '--out', str(folder), '--window',
                 str(WINDOW_S), *arguments) as process:
        yield Recorder(watcher, process, folder)


def pictures(bag: Path) -> list[int]:
    """Give the marks of the images in a bag."""
    return [deserialize_message(data, CompressedImage).data[0]
            for topic, _, data in check(bag) if topic == '/image/compressed']


def test_the_last_seconds_are_saved_on_demand_and_recording_goes_on(
        tmp_path: Path, watcher: Watcher) -> None:
    with keeping(watcher, tmp_path / 'incidents') as recorder:
        camera = recorder.publisher(CompressedImage, '/image/compressed', BEST_EFFORT)
        infos = recorder.publisher(CameraInfo, '/camera_info', qos.latched())
        active = recorder.publisher(Instruction, '/perception/active_instruction', qos.latched())
        for number in (3, 4):
            infos.publish(CameraInfo(width=number))
            active.publish(Instruction(id=f'instruction {number}'))

        def show(numbers: range) -> None:
            for number in numbers:
                camera.publish(CompressedImage(data=bytes([number] * 9000)))
                watcher.spin(0.02)

        show(range(10))
        watcher.spin(WINDOW_S + 0.5)
        show(range(10, 20))
        watcher.spin(0.2)
        response = recorder.save()
        assert response.success, response.message
        # The answer comes when the bag is complete.
        assert [str(bag) for bag in recorder.bags()] == [response.message]
        assert pictures(recorder.bags()[0]) == list(range(10, 20))
        show(range(20, 30))
        watcher.spin(0.2)
        assert recorder.save().success
        first, second = recorder.bags()
        assert pictures(second)[-10:] == list(range(20, 30))
        recorder.process.terminate()
        output, _ = recorder.process.communicate(timeout=30)
    assert recorder.process.returncode == 0
    assert '2 incidents of ' in output and 'nothing was lost' in output
    for bag in (first, second):
        found = check(bag)
        state = {topic: data for topic, _, data in found}
        counts = Counter(topic for topic, _, _ in found)
        assert counts['/camera_info'] == counts['/perception/active_instruction'] == 1
        assert deserialize_message(state['/camera_info'], CameraInfo).width == 4
        assert deserialize_message(
            state['/perception/active_instruction'], Instruction).id == 'instruction 4'
        times = [at for _, at, _ in found]
        assert max(times) - min(times) <= WINDOW_S * 1e9


def test_nothing_is_missed_while_a_large_ring_is_saved(tmp_path: Path, watcher: Watcher) -> None:
    arguments = ('--window', '600', '/image/compressed', '/words')
    with keeping(watcher, tmp_path / 'incidents', *arguments) as recorder:
        camera = recorder.publisher(CompressedImage, '/image/compressed', 10)
        words = recorder.publisher(String, '/words', QoSProfile(depth=1000))
        for number in range(40):
            camera.publish(CompressedImage(data=bytes([number]) * 2_000_000))
            watcher.spin(0.05)
        future = recorder.client.call_async(Trigger.Request())
        said = 0
        while not future.done():
            words.publish(String(data=str(said)))
            said += 1
            watcher.spin(0.01)
        assert future.result().success
        # At once again: the first is at its end, or this one says that it is not.
        watcher.spin(0.2)
        assert recorder.save().success
        first, second = recorder.bags()
        recorder.process.terminate()
        output, _ = recorder.process.communicate(timeout=30)
    # What the middleware loses on a busy machine is counted; all else is there, in order.
    lost = lost_on_the_way(output)
    shown = pictures(first)
    assert shown == sorted(set(shown)) and len(shown) + lost['/image/compressed'] == 40
    heard = [int(deserialize_message(data, String).data)
             for topic, _, data in check(second) if topic == '/words']
    assert heard == sorted(set(heard)) and len(heard) + lost['/words'] == said > 1


def count(status: int) -> Count:
    return Count(count=-1, outcome=Outcome(status=status, instruction_id='a'))


def test_an_error_status_saves_what_led_to_it_and_not_too_often(
        tmp_path: Path, watcher: Watcher) -> None:
    with keeping(watcher, tmp_path / 'incidents', '--save-on-error') as recorder:
        counts = recorder.publisher(Count, '/count', qos.result())
        for status in (Outcome.OK, Outcome.NO_OBJECT, Outcome.CANCELLED):
            counts.publish(count(status))
        watcher.spin(0.5)
        assert recorder.bags() == []
        counts.publish(count(Outcome.TIMEOUT))
        watcher.until(recorder.bags)
        for _ in range(5):
            counts.publish(count(Outcome.MODEL_ERROR))
            watcher.spin(0.1)
        assert len(recorder.bags()) == 1
        # Each later one counts from the save before it.
        watcher.spin(WINDOW_S)
        counts.publish(count(Outcome.OUT_OF_MEMORY))
        watcher.until(lambda: len(recorder.bags()) == 2)
        recorder.process.terminate()
        output, _ = recorder.process.communicate(timeout=30)
    assert 'status TIMEOUT' in output and 'status OUT_OF_MEMORY' in output
    assert 'MODEL_ERROR' not in output
    statuses = [deserialize_message(data, Count).outcome.status
                for topic, _, data in check(recorder.bags()[0]) if topic == '/count']
    assert statuses == [Outcome.OK, Outcome.NO_OBJECT, Outcome.CANCELLED, Outcome.TIMEOUT]


def test_without_room_nothing_is_saved_and_recording_goes_on(
        tmp_path: Path, watcher: Watcher) -> None:
    with keeping(watcher, tmp_path / 'incidents', '--min-free', '1e9') as recorder:
        for _ in range(2):
            response = recorder.save()
            assert not response.success
            assert 'MB are free' in response.message
        assert recorder.bags() == []
        assert recorder.process.poll() is None


def test_a_status_without_a_request_saves_nothing(tmp_path: Path, watcher: Watcher) -> None:
    with keeping(watcher, tmp_path / 'incidents') as recorder:
        counts = recorder.publisher(Count, '/count', qos.result())
        counts.publish(count(Outcome.TIMEOUT))
        watcher.spin(0.5)
        assert recorder.bags() == []
