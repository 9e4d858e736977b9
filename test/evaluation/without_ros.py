"""Runs ``evaluate`` where nothing of ROS can be imported, as on a server."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PROGRAM = """
import sys
for name in ('rclpy', 'rosidl_parser', 'sensor_msgs', 'std_msgs', 'vr_ros.msg', 'vr_ros.nodes'):
    sys.modules[name] = None
from vr_ros.evaluation.cli import main
sys.exit(main(sys.argv[1:]))
"""


def evaluate_without_ros(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own, with the sources and nothing that was built."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(('AMENT', 'COLCON', 'ROS', 'RMW'))}
    return subprocess.run(
        [sys.executable, '-c', _PROGRAM, *map(str, arguments)], cwd=ROOT,
        env=environment | {'PYTHONPATH': str(ROOT)}, capture_output=True, text=True, timeout=100)
