"""Definitions of types, against the parser and the hashes of rosbags."""
from __future__ import annotations

import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vr_ros.nodes.bags.message_definitions import (
    UnknownTypeError,
    installed_text,
    message_class,
    message_definition,
)

FILES = {
    'a/msg/Outer': 'Inner[] inner  # mine\nb/Far far\nuint8 LIMIT=3\nHeading heading\n'
                   'string<=5 word\nfloat32[<=4] few\nInner again\nb/msg/Far[2] more\n',
    'a/msg/Inner': 'float64 x\nb/Far far\n',
    'a/msg/Heading': '# Outer is only named here\nfloat64[9] matrix\n',
    'b/msg/Far': 'builtin_interfaces/Time stamp\nbool[3] on\n',
    'builtin_interfaces/msg/Time': 'int32 sec\nuint32 nanosec\n',
}


def test_a_definition_holds_each_type_in_it_once() -> None:
    text = message_definition('a/msg/Outer', FILES.__getitem__)
    own, *parts = text.split('=' * 80 + '\n')
    assert own.rstrip('\n') == FILES['a/msg/Outer'].rstrip('\n')
    named = {part.split('\n', 1)[0]: part.split('\n', 1)[1].rstrip('\n') for part in parts}
    assert named == {
        f'MSG: {name.replace("/msg/", "/")}': body.rstrip('\n')
        for name, body in FILES.items() if name != 'a/msg/Outer'}
    assert len(parts) == 4


@pytest.mark.parametrize('name', [
    'sensor_msgs/msg/Image',              # a header, an array of bytes
    'geometry_msgs/msg/PoseStamped',      # three levels
    'diagnostic_msgs/msg/DiagnosticArray',
    'sensor_msgs/msg/CameraInfo',         # arrays of fixed length
    'visualization_msgs/msg/MarkerArray',
])
def test_installed_types_hash_as_they_should(name: str) -> None:
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(message_definition(name), name))
    assert store.hash_rihs01(name) == get_typestore(Stores.ROS2_JAZZY).hash_rihs01(name)


@pytest.mark.parametrize('name', [
    'no_such_package/msg/Thing',   # package
    'std_msgs/msg/Thing',          # type
    'std_msgs/String',             # no folder
    '',                            # nothing
    'vr_ros/action/Perceive_FeedbackMessage/extra',
])
def test_a_type_that_is_not_installed_is_named(name: str) -> None:
    with pytest.raises(UnknownTypeError, match=f'type {name}'):
        message_class(name)
    with pytest.raises(UnknownTypeError, match=f'type {name}'):
        installed_text(name)
