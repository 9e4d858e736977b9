"""Record a profile: with rosbag2 where it is installed, else with the executable `record`.

ros2 launch vr_ros record.launch.py profile:=full images:="[/camera/color/image_raw]"
"""
from __future__ import annotations

import tempfile
import time

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from vr_ros.nodes.bags.profiles import PROFILES, RecordCommand

# What `ros2 bag record --storage mcap` is made of.
ROSBAG2 = ('ros2bag', 'rosbag2_transport', 'rosbag2_storage_mcap')


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and the recorder."""
    return LaunchDescription([
        DeclareLaunchArgument('namespace', default_value='', description='namespace of the topics'),
        DeclareLaunchArgument('use_sim_time', default_value='false', description='use /clock'),
        DeclareLaunchArgument('log_level', default_value='info', description='of the recorder'),
        DeclareLaunchArgument('profile', default_value='full', choices=list(PROFILES),
                              description='what to record, see record_profiles.py'),
        DeclareLaunchArgument('recorder', default_value='auto',
                              choices=['auto', 'rosbag2', 'record'],
                              description='auto: rosbag2 where it is installed, but for incidents'),
        DeclareLaunchArgument('out', default_value='',
                              description='folder of the bag; empty: named by the time'),
        DeclareLaunchArgument('images', default_value='image',
                              description="a topic, or a list: '[front/image, wrist/image]'"),
        DeclareLaunchArgument('max_bag_size', default_value='0',
                              description='MB of a file, then the next one is begun; 0: one file'),
        DeclareLaunchArgument('window', default_value='30',
                              description='seconds that the profile incident keeps'),
        DeclareLaunchArgument('save_on_error', default_value='false',
                              description='incident: save when a result has an error status'),
        DeclareLaunchArgument('qos_overrides', default_value='',
                              description='file for rosbag2; empty: images as best effort'),
        OpaqueFunction(function=recorder),
    ])


def recorder(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Choose the recorder, and give it what the arguments say."""
    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    images = yaml.load(given('images'), Loader=yaml.BaseLoader)
    profile = given('profile')
    command = RecordCommand(
        profile,
        given('out') or ('incidents' if profile == 'incident'
                         else time.strftime('bag_%Y%m%d_%H%M%S')),
        tuple(images) if isinstance(images, list) else (images,),
        float(given('max_bag_size')), given('namespace'), given('use_sim_time').lower() == 'true',
        float(given('window')), given('save_on_error').lower() == 'true')
    if uses_rosbag2(given('recorder'), profile):
        overrides = given('qos_overrides') or overrides_file(command)
        return [ExecuteProcess(cmd=[*command.rosbag2(overrides), '--log-level',
                                    given('log_level')], output='screen')]
    return [Node(
        package='vr_ros', executable='record', name='record', output='screen',
        namespace=given('namespace'), parameters=[{'use_sim_time': command.use_sim_time}],
        arguments=[*command.own(), '--ros-args', '--log-level', given('log_level')])]


def uses_rosbag2(wanted: str, profile: str) -> bool:
    """Tell whether rosbag2 records: its snapshots know neither errors nor seconds."""
    return wanted == 'rosbag2' or (
        wanted == 'auto' and profile != 'incident' and all(map(is_installed, ROSBAG2)))


def is_installed(package: str) -> bool:
    """Look a package up."""
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True


def overrides_file(command: RecordCommand) -> str:
    """Write down how rosbag2 is to subscribe."""
    with tempfile.NamedTemporaryFile(
            'w', prefix='record_qos_', suffix='.yaml', delete=False) as file:
        yaml.safe_dump(command.qos_overrides(), file)
    return file.name
