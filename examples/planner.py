#!/usr/bin/env python3
"""A planner that grasps the largest object of each result. Run it, then: ask "find the cups"."""
import contextlib

import rclpy
from rclpy.executors import ExternalShutdownException

from vr_ros.msg import Detection, DetectionArray


def plan(result: DetectionArray) -> None:
    """Decide what to do about one result; one message holds all that is needed for it."""
    if result.count < 0:
        print(f'wait: status {result.outcome.status}, {result.outcome.status_message}')
    elif result.count == 0:
        print('look elsewhere: nothing matches')
    else:
        there = [one for one in result.detections if one.track_state != Detection.TRACK_LOST]
        best = max(there, key=lambda found: found.area_px)
        name = best.label or f'object {best.index}'
        print(f'grasp {name} of {result.count} at pixel ({best.point_x:.0f}, {best.point_y:.0f}) '
              f'of the image of {result.header.stamp.sec}.{result.header.stamp.nanosec:09d}')


rclpy.init()
node = rclpy.create_node('planner')
node.create_subscription(DetectionArray, 'detections', plan, 5)
with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
    rclpy.spin(node)
