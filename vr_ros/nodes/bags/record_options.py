"""The command line of the recorder."""
from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vr_ros.nodes.bags.profiles import DEFAULT_IMAGES, DEFAULT_PROFILE, PROFILES, kept_of

_MB = 1_000_000


@dataclass(frozen=True)
class RecordOptions:
    """What to record, and where to.

    :param out: folder to make for the bag; of incidents: for the bags.
    :param topics: with how many messages of each a ring keeps beyond their age.
    :param flush_period_s: what is older than that survives the recorder's end, however it comes.
    :param max_file_bytes: the bag is split into files of about this size; 0: one file.
    :param min_free_bytes: the recording ends when less is free on the disk; 0: never.
    :param buffer_bytes: messages that may wait while the disk is busy, or that the ring holds.
    :param window_s: seconds that a ring holds; 0: everything goes to the disk.
    :param saves_on_error: whether a result with an error status saves the ring.
    :param recover: a bag to mend, in place of recording.
    """

    out: Path
    topics: dict[str, int]
    flush_period_s: float = 1.0
    compress: bool = True
    max_file_bytes: int = 0
    min_free_bytes: int = 500 * _MB
    buffer_bytes: int = 256 * _MB
    window_s: float = 0.0
    saves_on_error: bool = False
    recover: Path | None = None


def parse(arguments: Sequence[str]) -> RecordOptions:
    """Read the command line, without its ROS arguments.

    :raises SystemExit: with status 2, bad usage.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    out: Path = given.out or _default_out(given)
    if not given.flush_period > 0:
        parser.error('--flush-period must be more than 0')
    if not given.window > 0:
        parser.error('--window must be more than 0')
    if given.save_on_error and given.profile != 'incident':
        parser.error('--save-on-error goes with --profile incident')
    if given.recover is not None and given.topics:
        parser.error('--recover takes no topics')
    is_incident = given.profile == 'incident'
    if out.exists() and not (is_incident and out.is_dir()):
        parser.error(f'{out} exists: name another folder')
    topics = kept_of(given.profile, given.images)
    if given.topics:
        topics = {topic: topics.get(topic, 0) for topic in given.topics}
    return RecordOptions(
        out, topics, given.flush_period, not given.no_compression,
        round(given.max_bag_size * _MB), round(given.min_free * _MB), round(given.buffer * _MB),
        given.window if is_incident else 0.0, given.save_on_error, given.recover)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='record', description='Record topics to a bag (rosbag2, MCAP) until Ctrl-C.')
    parser.add_argument('topics', nargs='*', metavar='TOPIC',
                        help='what to record in place of what the profile says')
    parser.add_argument('--profile', choices=tuple(PROFILES), default=DEFAULT_PROFILE,
                        help='; '.join(f'{name}: {words}' for name, words in PROFILES.items())
                        + ' (default: %(default)s)')
    parser.add_argument('--images', nargs='+', default=list(DEFAULT_IMAGES), metavar='TOPIC',
                        help='image topic of each camera, without /compressed '
                             f'(default: {" ".join(DEFAULT_IMAGES)})')
    parser.add_argument('-o', '--out', type=Path,
                        help='folder to make, by default named by the time; with --profile '
                             'incident, the folder for the bags')
    parser.add_argument('--flush-period', type=_number, default=1.0, metavar='S',
                        help='seconds after which what was recorded is safe (default: %(default)s)')
    parser.add_argument('--no-compression', action='store_true', help='spend no time on zstd')
    parser.add_argument('--max-bag-size', type=_number, default=0.0, metavar='MB',
                        help='begin another file of the bag after this much (default: one file)')
    parser.add_argument('--min-free', type=_number, default=500.0, metavar='MB',
                        help='end, with the bag complete, when less is free on the disk; 0: go on '
                             '(default: %(default)s)')
    parser.add_argument('--buffer', type=_number, default=256.0, metavar='MB',
                        help='messages that may wait while the disk is busy; with --profile '
                             'incident, what is kept at most (default: %(default)s)')
    parser.add_argument('--window', type=_number, default=30.0, metavar='S',
                        help='seconds that --profile incident keeps (default: %(default)s)')
    parser.add_argument('--save-on-error', action='store_true',
                        help='with --profile incident: save also when a result has an error '
                             'status, at most once per window')
    parser.add_argument('--recover', type=Path, metavar='BAG',
                        help='record nothing: write what can be read of a bag that was cut off '
                             'into a new one (default: BAG_recovered)')
    return parser


def _default_out(given: argparse.Namespace) -> Path:
    if given.recover is not None:
        recovered: Path = given.recover
        return recovered.with_name(f'{recovered.resolve().name}_recovered')
    if given.profile == 'incident':
        return Path('incidents')
    return Path(time.strftime('bag_%Y%m%d_%H%M%S'))


def _number(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(text)
    return value
