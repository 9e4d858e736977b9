"""What a recorder says of itself: on /diagnostics, and in its last line."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vr_ros.nodes.bags.thread import free_bytes
from vr_ros.nodes.diagnostics import OK, WARN, Diagnosis


@dataclass(frozen=True)
class TopicCount:
    """Messages of a topic.

    :param received: that reached the recorder.
    :param lost: that did not, on the way or in the queue of the middleware.
    :param dropped: that did, and for which there was no room.
    """

    name: str
    received: int
    lost: int = 0
    dropped: int = 0


def judge_bag(path: Path, size_bytes: int, missing: Sequence[str], window_s: float) -> Diagnosis:
    """Say what is being recorded.

    :param path: of the bag, or of the folder for bags.
    :param missing: topics that nobody publishes.
    :param window_s: that is kept in memory; 0: all goes to the disk.
    """
    values = {'path': str(path), 'size [MB]': f'{size_bytes / 1e6:.1f}',
              'free [MB]': f'{free_bytes(path) / 1e6:.0f}', 'without publisher': ', '.join(missing)}
    return Diagnosis('bag', OK, f'keeping the last {window_s:g} s' if window_s else 'recording',
                     values)


def judge_losses(counts: Sequence[TopicCount]) -> Diagnosis:
    """Say what is missing, by topic."""
    values = {}
    for count in counts:
        values[f'{count.name} recorded'] = str(count.received - count.dropped)
        values[f'{count.name} lost'] = str(count.lost)
        values[f'{count.name} dropped'] = str(count.dropped)
    words = _losses(counts)
    return Diagnosis('losses', WARN if words else OK, words or 'nothing was lost', values)


def summary(counts: Sequence[TopicCount], path: Path, saved: int | None = None) -> str:
    """Write the last line.

    :param saved: number of bags that were saved of what was kept; None: all was recorded.
    """
    what = (f'{sum(c.received - c.dropped for c in counts)} messages of {len(counts)} topics'
            if saved is None else f'{saved} incidents of {len(counts)} topics')
    return f'{what} in {path}; {_losses(counts) or "nothing was lost"}'


def _losses(counts: Sequence[TopicCount]) -> str:
    return ', '.join(
        f'{count.name}: {count.lost} lost on the way, {count.dropped} dropped'
        for count in counts if count.lost or count.dropped)
