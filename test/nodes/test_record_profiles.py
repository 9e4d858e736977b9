"""The table of profiles: what each records, and who publishes it."""
from __future__ import annotations

from pathlib import Path

import pytest

from vr_ros.nodes.record_profiles import (
    PROFILES,
    Origin,
    image_topics,
    kept_of,
    origin_of,
    table,
    topics_of,
)

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
