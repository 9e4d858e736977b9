"""Starts the perception node: ros2 launch vr_ros perception.launch.py model:=visionreasoner_7b."""
import yaml
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

# Parameters of the node that an argument of the same name sets. Without one the file decides.
PARAMETERS = ('model', 'device', 'worker_python', 'image_topics', 'cameras', 'image_transport',
              'depth_topics', 'gravity_frame', 'target_frame')
LISTS = ('image_topics', 'cameras', 'depth_topics')


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and the node."""
    params_file = PathJoinSubstitution([FindPackageShare('vr_ros'), 'config', 'perception.yaml'])
    return LaunchDescription([
        DeclareLaunchArgument('namespace', default_value='', description='namespace of the node'),
        DeclareLaunchArgument('use_sim_time', default_value='false', description='use /clock'),
        DeclareLaunchArgument('params_file', default_value=params_file, description='parameters'),
        DeclareLaunchArgument('autostart', default_value='true',
                              description='false: leave the lifecycle to a manager'),
        DeclareLaunchArgument('log_level', default_value='info', description='of the node'),
        DeclareLaunchArgument('model', default_value='', description='model card, or its path'),
        DeclareLaunchArgument('device', default_value='', description='auto, cpu, cuda, cuda:1, …'),
        DeclareLaunchArgument('worker_python', default_value='',
                              description='interpreter that has torch'),
        DeclareLaunchArgument('image_topics', default_value='',
                              description="a topic, or a list: '[front/image, wrist/image]'"),
        DeclareLaunchArgument('cameras', default_value='',
                              description="a name, or a list: '[front, wrist]'"),
        DeclareLaunchArgument('image_transport', default_value='',
                              description='raw or compressed'),
        DeclareLaunchArgument('depth_topics', default_value='',
                              description='depth image of each camera, for positions'),
        DeclareLaunchArgument('gravity_frame', default_value='',
                              description='frame in which boxes stand upright, such as odom'),
        DeclareLaunchArgument('target_frame', default_value='',
                              description='frame of markers and detections_3d, such as map'),
        OpaqueFunction(function=perception_node),
    ])


def perception_node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Make the node, with those parameters only that were given as arguments."""
    given = {name: LaunchConfiguration(name).perform(context) for name in PARAMETERS}
    parameters = {name: as_text(name, value) for name, value in given.items() if value}
    for name in ('use_sim_time', 'autostart'):
        parameters[name] = ParameterValue(LaunchConfiguration(name), value_type=bool)
    return [Node(
        package='vr_ros', executable='perception_node', name='perception', output='screen',
        namespace=LaunchConfiguration('namespace'),
        parameters=[LaunchConfiguration('params_file'), parameters],
        arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')])]


def as_text(name: str, value: str) -> ParameterValue:
    """Keep text what it is: launch would pass on 1, 1e3 and off as numbers and truth values."""
    if name not in LISTS:
        return ParameterValue(value, value_type=str)
    items = yaml.load(value, Loader=yaml.BaseLoader)
    return ParameterValue(items if isinstance(items, list) else [items])
