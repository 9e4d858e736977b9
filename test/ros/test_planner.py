"""The example of a consumer, run as a process against messages made by hand."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from watch import watching

from vr_ros.msg import Detection, DetectionArray

PLANNER = Path(__file__).parents[2] / 'examples' / 'planner.py'


def test_the_planner_grasps_the_largest_and_never_on_an_error() -> None:
    found = DetectionArray(count=2, detections=[
        Detection(label='cup', area_px=10), Detection(index=3, area_px=90, point_x=3.0),
        Detection(index=4, area_px=95, track_state=Detection.TRACK_LOST)])
    found.header.stamp.sec = 7
    nothing, failed = DetectionArray(), DetectionArray(count=-1)
    nothing.outcome.status, failed.outcome.status = 1, 102
    planner = subprocess.Popen([sys.executable, '-u', str(PLANNER)], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        with watching() as watcher:
            publisher = watcher.node.create_publisher(DetectionArray, 'detections', 5)
            watcher.until(publisher.get_subscription_count)
            for message in (found, nothing, failed):
                publisher.publish(message)
            lines = [planner.stdout.readline() for _ in range(3)]
        planner.send_signal(2)
        assert planner.wait(30) == 0
        # A busy machine loses images, and the middleware says so.
        told = planner.stderr.read().splitlines()
        assert [line for line in told if not line.startswith('[WARN]')] == []
    finally:
        planner.kill()
        planner.communicate()
    assert lines == [
        'grasp object 3 of 2 at pixel (3, 0) of the image of 7.000000000\n',
        'look elsewhere: nothing matches\n', 'wait: status 102, \n']
