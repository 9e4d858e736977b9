"""The table of profiles: what each records, and who publishes it."""
from __future__ import annotations

from pathlib import Path

import pytest
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from vr_ros.nodes.bags.profiles import (
    PROFILES,
    Origin,
    RecordCommand,
    image_topics,
    kept_of,
    origin_of,
    table,
    topics_of,
)
from vr_ros.nodes.bags.record_options import parse
from vr_ros.nodes.qos_rules import conflicts

ROOT = Path(__file__).parents[2]


def test_profiles_differ_by_images_alone() -> None:
    results = topics_of('results')
    assert not [topic for topic in results if 'image' in topic]
    assert set(topics_of('full')) - set(results) == {'image/compressed'}
    assert set(topics_of('raw')) - set(results) == {'image'}
    assert topics_of('incident') == topics_of('full')
    for profile in PROFILES:
        assert set(results) <= set(topics_of(profile))
        assert set(image_topics(profile)) == set(topics_of(profile)) - set(results)
    with pytest.raises(KeyError):
        topics_of('everything')


def test_each_camera_brings_what_belongs_to_it() -> None:
    images = ['/front/color/image_raw', 'wrist/image']
    assert topics_of('full', images)[:4] == [
        '/front/color/image_raw/compressed', 'wrist/image/compressed',
        '/front/color/camera_info', 'wrist/camera_info']
    assert topics_of('raw', images)[:2] == images
    assert 'camera_info' not in topics_of('results', images)


def test_state_that_was_said_once_outlives_the_ring() -> None:
    kept = {topic for topic, count in kept_of('incident').items() if count}
    assert kept == {'/tf_static', 'camera_info', 'perception/active_instruction'}


@pytest.mark.parametrize(('topic', 'origin'), [
    ('/detections', Origin.PERCEPTION),
    ('/robot/arm/detections', Origin.PERCEPTION),
    ('/truth/detections', Origin.ROBOT),                 # more of the name says otherwise
    ('/robot/truth/detections', Origin.ROBOT),
    ('/robot/perception/active_instruction', Origin.PERCEPTION),
    ('/instruction', Origin.ROBOT),
    ('/my_detections', Origin.ROBOT),                    # another name
    ('/diagnostics', Origin.SYSTEM),
    ('/camera/image_raw/compressed', Origin.ROBOT),
    ('/tf_static', Origin.ROBOT),
    ('/battery', Origin.ROBOT),                          # not in the table
])
def test_origins(topic: str, origin: Origin) -> None:
    assert origin_of(topic) is origin


def test_the_readme_has_the_table() -> None:
    assert table() in (ROOT / 'README.md').read_text(encoding='utf-8')


IMAGES = ('/front/image_raw', 'wrist/image')


@pytest.mark.parametrize('profile', PROFILES)
def test_both_recorders_are_told_the_same(profile: str) -> None:
    command = RecordCommand(profile, 'my_bag', IMAGES, 250.5, '/robot', window_s=12.5,
                            saves_on_error=profile == 'incident')
    options = parse(command.own())
    assert (options.out, options.max_file_bytes) == (Path('my_bag'), 250_500_000)
    assert options.topics == kept_of(profile, IMAGES)
    assert options.window_s == (12.5 if profile == 'incident' else 0.0)
    assert options.saves_on_error == (profile == 'incident')
    words = command.rosbag2('qos.yaml')
    assert words[:3] == ['ros2', 'bag', 'record']
    assert words[words.index('--output') + 1] == 'my_bag'
    assert words[words.index('--storage') + 1] == 'mcap'
    assert words[words.index('--max-bag-size') + 1] == '250500000'
    assert words[words.index('--qos-profile-overrides-path') + 1] == 'qos.yaml'
    resolved = [t if t[0] == '/' else f'/robot/{t}' for t in options.topics]
    assert words[words.index('--topics') + 1:] == resolved
    assert '--use-sim-time' not in words
    assert '--use-sim-time' in RecordCommand(profile, 'b', use_sim_time=True).rosbag2('q')


def test_rosbag2_hears_images_of_every_driver() -> None:
    overrides = RecordCommand('full', 'b', IMAGES, namespace='/robot').qos_overrides()
    assert list(overrides) == ['/front/image_raw/compressed', '/robot/wrist/image/compressed']
    for words in overrides.values():
        profile = QoSProfile(
            depth=words['depth'], history=HistoryPolicy[words['history'].upper()],
            reliability=ReliabilityPolicy[words['reliability'].upper()],
            durability=DurabilityPolicy[words['durability'].upper()])
        for reliability in ('RELIABLE', 'BEST_EFFORT'):
            for durability in ('VOLATILE', 'TRANSIENT_LOCAL'):
                assert conflicts(QoSProfile(
                    depth=1, reliability=ReliabilityPolicy[reliability],
                    durability=DurabilityPolicy[durability]), profile) == []
    assert RecordCommand('results', 'b').qos_overrides() == {}
