"""Start a simulated robot camera over a table, with the true answers to instructions.

ros2 launch vr_ros sim.launch.py orbit:=6.0
"""
from __future__ import annotations

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

# Launch argument, type, default, meaning: each is a parameter of the node.
PARAMETERS = (
    ('seed', int, '1000000', 'scene; the same seed shows the same scene'),
    ('objects', int, '0', 'number of objects, at most 12; 0: drawn from the seed, 1 to 10'),
    ('orbit', float, '0.0', 'speed of the camera around the table, deg/s; 0: it stands still'),
    ('rate', float, '10.0', 'pictures per second'),
    ('width', int, '640', 'width of the pictures, pixels'),
    ('height', int, '480', 'height of the pictures, pixels'),
    ('frame_id', str, 'camera_optical_frame', 'optical frame of the camera'),
    ('use_sim_time', bool, 'false', 'take the time from /clock'),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the camera."""
    arguments = [
        DeclareLaunchArgument('namespace', default_value='', description='namespace of the topics'),
        DeclareLaunchArgument('log_level', default_value='info', description='debug to fatal'),
        *(DeclareLaunchArgument(name, default_value=default, description=meaning)
          for name, _, default, meaning in PARAMETERS),
    ]
    camera = Node(
        package='vr_ros', executable='sim_camera_node', name='sim_camera', output='screen',
        namespace=LaunchConfiguration('namespace'),
        parameters=[{name: ParameterValue(LaunchConfiguration(name), value_type=kind)
                     for name, kind, _, _ in PARAMETERS}],
        arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')],
    )
    return LaunchDescription([*arguments, camera])
