"""Record a camera's JPEG images of 1920x1080 at 30 Hz, and results about each, and see that no
message is missing in the bag.

The camera publishes as best effort, as drivers do; results are reliable, and bring ten masks each.
Shared memory is that of _fastdds.xml: Fast DDS's own holds one such image at a time.
"""
from __future__ import annotations

import argparse
import itertools
import math
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from _ros_session import cpu_seconds, prepare_environment
from mcap.reader import make_reader
from rich.console import Console

from vr_ros.evaluation.claims import Claim, print_claims, write_claims

RATE_HZ = 30.0
WIDTH, HEIGHT = 1920, 1080
MASKS = 10
PICTURES = 8
NAMESPACE = '/bench'
PATIENCE_S = 60.0
MAX_BAG_MB = 1000
IMAGES, RESULTS = f'{NAMESPACE}/image/compressed', ('detections', 'count', 'answer')


def make_jpeg(quality: int, seed: int) -> bytes:
    """Make a picture with structure at every scale, as of a room: about 0.4 MB at quality 85."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for octave in range(1, 9):
        size = (2 ** octave * 16 // 9, 2 ** octave)
        noise = rng.normal(0.0, 120.0 / octave, (size[1], size[0], 3)).astype(np.float32)
        picture += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    picture += rng.normal(128.0, 2.0, picture.shape).astype(np.float32)
    done, data = cv2.imencode('.jpg', np.clip(picture, 0, 255).astype(np.uint8),
                              [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return bytes(data.tobytes())


class Robot:
    """A camera and a perception node, as far as their topics go."""

    def __init__(self, jpegs: Sequence[bytes]) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor
        from sensor_msgs.msg import CompressedImage
        from std_msgs.msg import Header

        from vr_ros.nodes import qos
        from vr_ros.nodes.convert import AnswerMsg, Count, DetectionArray

        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node('robot', context=self.context, namespace=NAMESPACE)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        header = Header(frame_id='camera_optical_frame')
        messages: list[tuple[str, list[Any], Any]] = [
            ('image/compressed', [CompressedImage(header=header, format='jpeg', data=jpeg)
                                  for jpeg in jpegs], qos.newest()),
            ('detections', [make_result(DetectionArray(header=header))], qos.result()),
            ('count', [Count(header=header, count=MASKS)], qos.result()),
            ('answer', [AnswerMsg(header=header, reasoning='because ' * 40)], qos.result())]
        self._messages = [
            (self.node.create_publisher(type(kinds[0]), topic, profile), itertools.cycle(kinds))
            for topic, kinds, profile in messages]
        self.reports: list[Any] = []
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_report, 10)
        self.published = 0

    def _on_report(self, report: Any) -> None:
        self.reports = [report]

    def until_recorded(self) -> None:
        """Wait until the recorder listens to everything.

        :raises TimeoutError: it does not.
        """
        end_at = time.monotonic() + PATIENCE_S
        while not all(publisher.get_subscription_count() for publisher, _ in self._messages):
            if time.monotonic() > end_at:
                raise TimeoutError('the recorder does not listen')
            self.executor.spin_once(timeout_sec=0.1)
        # Each side learns of the other by itself.
        self.spin_until(time.monotonic() + 2.0)

    def publish(self, seconds: float) -> float:
        """Publish everything at RATE_HZ; what is late is made up for.

        :return: seconds that it took.
        """
        began = time.monotonic()
        for number in range(round(seconds * RATE_HZ)):
            self.spin_until(began + number / RATE_HZ)
            stamp = self.node.get_clock().now().to_msg()
            for publisher, messages in self._messages:
                message = next(messages)
                message.header.stamp = stamp
                publisher.publish(message)
            self.published += 1
        return time.monotonic() - began

    def spin_until(self, end_at: float) -> None:
        """Let the graph live."""
        while (left := end_at - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left)

    def reported_losses(self) -> int:
        """Give what the recorder says that it missed or dropped of these topics."""
        values = {item.key: item.value for report in self.reports for status in report.status
                  if status.name.endswith('record: losses') for item in status.values}
        return sum(int(value) for key, value in values.items()
                   if key.startswith(NAMESPACE) and key.endswith((' lost', ' dropped')))

    def close(self) -> None:
        """Leave the graph."""
        import rclpy
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def make_result(result: Any) -> Any:
    """Fill a result with objects and their masks."""
    from array import array

    from vr_ros.nodes.convert import DetectionMsg, MaskMsg
    runs = np.random.default_rng(1).integers(1, 200, 300).tolist()
    result.detections = [DetectionMsg(
        index=index, label='cup', has_mask=True, x_max=100.0, y_max=100.0,
        mask=MaskMsg(height=HEIGHT, width=WIDTH, counts=array('I', runs)))
        for index in range(MASKS)]
    result.count = MASKS
    return result


def run(minutes: float, folder: Path, quality: int) -> dict[str, Any]:
    """Publish and record.

    :return: numbers by name.
    """
    from vr_ros.nodes.demo.processes import Processes

    prepare_environment()
    # Each chunk of the bag is compressed: the same picture twice in one would cost nothing.
    jpegs, bag = [make_jpeg(quality, seed) for seed in range(PICTURES)], folder / 'bag'
    robot = Robot(jpegs)
    try:
        with Processes(folder / 'logs') as processes:
            processes.start_node('record', 'vr_ros.nodes.bags.record', [
                '--out', str(bag), '--profile', 'full', '--max-bag-size', str(MAX_BAG_MB),
                '--ros-args', '-r', f'__ns:={NAMESPACE}'])
            robot.until_recorded()
            pid = processes.pid('record')
            cpu_s = cpu_seconds(pid)
            took_s = robot.publish(60 * minutes)
            cpu = (cpu_seconds(pid) - cpu_s) / took_s
            # One more report, of all of it.
            robot.spin_until(time.monotonic() + 2.5)
            if ended := processes.ended():
                raise RuntimeError(f'the recorder ended: {ended}: '
                                   f'{processes.last_words("record")}')
        words = (folder / 'logs' / 'record.log').read_text(errors='replace').splitlines()[-1]
        return {'published': robot.published, 'reported': robot.reported_losses(),
                'seconds': took_s, 'cpu': cpu, 'jpeg_bytes': sum(map(len, jpegs)) / len(jpegs),
                'words': words,
                'recorded': count_messages(bag), 'files': len(list(bag.glob('*.mcap'))),
                'bytes': sum(file.stat().st_size for file in bag.iterdir())}
    finally:
        robot.close()


def count_messages(bag: Path) -> Counter[str]:
    """Count what is in a bag, message by message, and compare with its metadata.

    :raises RuntimeError: they differ.
    """
    counts: Counter[str] = Counter()
    for file in bag.glob('*.mcap'):
        with file.open('rb') as stream:
            for _, channel, _ in make_reader(stream).iter_messages(log_time_order=False):
                counts[channel.topic] += 1
    content = yaml.safe_load((bag / 'metadata.yaml').read_text(encoding='utf-8'))
    announced = {item['topic_metadata']['name']: item['message_count'] for item in
                 content['rosbag2_bagfile_information']['topics_with_message_count']}
    if {topic: count for topic, count in announced.items() if count} != dict(counts):
        raise RuntimeError(f'metadata.yaml says {announced}, but there are {dict(counts)}')
    return counts


def claims_of(result: dict[str, Any]) -> list[Claim]:
    """Compare what was published with what is in the bag."""
    published = result['published']
    missing = {topic: published - result['recorded'][topic]
               for topic in (IMAGES, *(f'{NAMESPACE}/{name}' for name in RESULTS))}
    return [
        *(Claim(f'{topic}: messages that are not in the bag', count, f'of {published}', 0, 'lower')
          for topic, count in missing.items()),
        Claim('messages missing, less those that the recorder reported',
              abs(sum(missing.values()) - result['reported']), '', 0, 'lower'),
        Claim('rate of the camera', published / result['seconds'], 'Hz'),
        Claim('size of an image', result['jpeg_bytes'] / 1e6, 'MB'),
        Claim('CPU of the recorder', 100 * result['cpu'], '% of a core', None, 'lower'),
        Claim('written', result['bytes'] / 1e6, 'MB'),
        Claim('files of the bag', result['files']),
    ]


def main() -> int:
    """Measure, print, write; return the exit status."""
    parser = argparse.ArgumentParser(prog='run bench record', description=__doc__)
    parser.add_argument('--json', metavar='FILE', help='write the claims there')
    parser.add_argument('--minutes', type=float, default=10.0, help='how long (default: 10)')
    parser.add_argument('--quality', type=int, default=85, help='of the JPEG (default: 85)')
    parser.add_argument('--folder', type=Path, help='where the bag is written for the time being: '
                        'about 0.8 GB a minute (default: that of temporary files)')
    options = parser.parse_args()
    if not 0 < options.minutes < math.inf:
        parser.error('--minutes is more than 0')
    if not 1 <= options.quality <= 100:
        parser.error('--quality is 1 to 100')
    started = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            result = run(options.minutes, Path(folder), options.quality)
    except (TimeoutError, RuntimeError, OSError) as error:
        print(f'bench record: {error}', file=sys.stderr)
        return 1
    claims = claims_of(result)
    print_claims(claims, f'Recording {WIDTH}x{HEIGHT} JPEG at {RATE_HZ:g} Hz and results')
    Console().print(result['words'], markup=False)
    if options.json:
        write_claims(options.json, claims, seed=0, seconds=time.perf_counter() - started,
                     details={'minutes': options.minutes, 'rate_hz': RATE_HZ,
                              'ros_distro': os.environ.get('ROS_DISTRO', ''),
                              'recorded': dict(sorted(result['recorded'].items()))})
    return 0


if __name__ == '__main__':
    sys.exit(main())
