"""What each profile of the recorder records: one table for the recorder, its launch file, the
replay and the documents. Imports nothing of ROS.
"""
from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

PROFILES = {
    'results': 'everything but images',
    'full': 'the same, and compressed images',
    'raw': 'the same, and images as they are',
    'incident': 'what full records, kept in memory for the last seconds and saved on demand',
}
DEFAULT_PROFILE = 'full'
DEFAULT_IMAGES = ('image',)
IMAGE_DEPTH = 50


class Origin(Enum):
    """Who publishes a topic: what a replay puts in place of, or leaves to, the nodes that run."""

    ROBOT = 'robot'
    PERCEPTION = 'perception'
    SYSTEM = 'system'


@dataclass(frozen=True)
class RecordedTopic:
    """A row of the table.

    :param name: relative names are those of a graph in its namespace; beside each camera's image
        if `is_of_camera`, which `name` then replaces the last part of, or is put behind.
    :param profiles: that record it; None: all do.
    :param kept: how many of its messages a ring of the last seconds keeps beyond its age, as those
        who come late get them too.
    """

    name: str
    origin: Origin = Origin.ROBOT
    profiles: tuple[str, ...] | None = None
    is_of_camera: bool = False
    kept: int = 0


IMAGE = RecordedTopic('', profiles=('raw',), is_of_camera=True)
COMPRESSED = RecordedTopic('/compressed', profiles=('full', 'incident'), is_of_camera=True)
CAMERA_INFO = RecordedTopic('camera_info', is_of_camera=True, kept=1)
TOPICS = (
    IMAGE, COMPRESSED, CAMERA_INFO,
    RecordedTopic('camera_pose'),
    RecordedTopic('instruction'),
    RecordedTopic('instruction_text'),
    RecordedTopic('detections', Origin.PERCEPTION),
    RecordedTopic('count', Origin.PERCEPTION),
    RecordedTopic('answer', Origin.PERCEPTION),
    RecordedTopic('perception/active_instruction', Origin.PERCEPTION, kept=1),
    RecordedTopic('truth/detections'),
    RecordedTopic('truth/answer'),
    RecordedTopic('/diagnostics', Origin.SYSTEM),
    RecordedTopic('/rosout', Origin.SYSTEM),
    RecordedTopic('/tf'),
    # Several nodes may publish fixed transforms, each its own.
    RecordedTopic('/tf_static', kept=100),
)


def topics_of(profile: str, images: Sequence[str] = DEFAULT_IMAGES) -> list[str]:
    """Name what a profile records, in the order of the table.

    :param images: image topic of each camera, without the ending of a transport.
    :raises KeyError: there is no such profile.
    """
    return list(kept_of(profile, images))


def kept_of(profile: str, images: Sequence[str] = DEFAULT_IMAGES) -> dict[str, int]:
    """Name what a profile records, with how much of it outlives its age in a ring."""
    if profile not in PROFILES:
        raise KeyError(profile)
    names: dict[str, int] = {}
    for topic in TOPICS:
        if topic.profiles is None or profile in topic.profiles:
            for image in images if topic.is_of_camera else ('',):
                names[_name(topic, image)] = topic.kept
    return names


def image_topics(profile: str, images: Sequence[str] = DEFAULT_IMAGES) -> list[str]:
    """Name those of a profile's topics that carry images."""
    return [_name(topic, image) for topic in (IMAGE, COMPRESSED) for image in images
            if profile in (topic.profiles or ())]


def origin_of(topic: str) -> Origin:
    """Tell who publishes a topic of any namespace; what is not in the table is the robot's."""
    known = [row for row in TOPICS if row.name and not row.is_of_camera
             and f'/{topic}'.endswith(f'/{row.name.lstrip("/")}')]
    return max(known, key=lambda row: len(row.name)).origin if known else Origin.ROBOT


def _name(topic: RecordedTopic, image: str) -> str:
    if not topic.is_of_camera:
        return topic.name
    if topic.name.startswith('/') or not topic.name:
        return f'{image}{topic.name}'
    folder, separator, _ = image.rpartition('/')
    return f'{folder}{separator}{topic.name}'


@dataclass(frozen=True)
class RecordCommand:
    """A recording as a launch file asks for it.

    :param out: folder of the bag; of the bags, for incidents.
    :param max_bag_mb: 0: one file.
    :param namespace: '' or as in '/robot'.
    """

    profile: str
    out: str
    images: tuple[str, ...] = DEFAULT_IMAGES
    max_bag_mb: float = 0.0
    namespace: str = ''
    use_sim_time: bool = False
    window_s: float = 30.0
    saves_on_error: bool = False

    def rosbag2(self, overrides: str) -> list[str]:
        """Write it as a command of rosbag2's.

        :param overrides: path of a file with what qos_overrides() gives.
        """
        return ['ros2', 'bag', 'record', '--storage', 'mcap', '--output', self.out,
                '--max-bag-size', str(round(self.max_bag_mb * 1e6)),
                '--qos-profile-overrides-path', overrides,
                *(['--use-sim-time'] if self.use_sim_time else []),
                '--topics', *map(self._resolved, topics_of(self.profile, self.images))]

    def qos_overrides(self) -> dict[str, dict[str, object]]:
        """Say how rosbag2 is to subscribe to images: as best effort, which matches every driver.

        By itself it asks for what the first publisher offers; one that comes later with less is
        never heard.
        """
        return {self._resolved(topic): {
            'reliability': 'best_effort', 'durability': 'volatile', 'history': 'keep_last',
            'depth': IMAGE_DEPTH} for topic in image_topics(self.profile, self.images)}

    def own(self) -> list[str]:
        """Write it as arguments of the executable `record`."""
        return ['--profile', self.profile, '--out', self.out, '--images', *self.images,
                '--max-bag-size', str(self.max_bag_mb), '--window', str(self.window_s),
                *(['--save-on-error'] if self.saves_on_error else [])]

    def _resolved(self, topic: str) -> str:
        return topic if topic.startswith('/') else f'{self.namespace.rstrip("/")}/{topic}'


def table() -> str:
    """Write the table for the README."""
    base = topics_of('results')
    lines = ['| profile | topics |', '|---|---|']
    for profile, words in PROFILES.items():
        own = [topic for topic in topics_of(profile) if topic not in base]
        topics = ', '.join(f'`{topic}`' for topic in (own if profile != 'results' else base))
        default = ', the default' if profile == DEFAULT_PROFILE else ''
        lines.append(f'| `{profile}`{default} | {words}: {topics} |')
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.stdout.write(table() + '\n')
