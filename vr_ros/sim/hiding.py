"""Moving scenes in which something that was well visible goes out of sight, found by small pictures
of them: most scenes hide nothing, and what a tracker makes of hiding is seen only where it happens.
"""
from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from vr_ros.core.types import Size
from vr_ros.sim.motion import MovingScene

# A picture of this size takes a third of the time of a full one.
THUMBNAIL = Size(128, 96)
# So much of an object shows on the first frame; so many of the pictures looked at show none of it.
SEEN_FRACTION, MIN_HIDDEN, EVERY = 0.6, 2, 2


def hidden_objects(seed: int, frames: int, rate_hz: float) -> tuple[int, ...]:
    """Find the objects of a moving scene that are well visible at first and later not at all.

    Every second frame is looked at, in small; what is not a pixel there may be a sliver in full.

    :return: their ids, those that go out of the picture included.
    """
    scene = MovingScene(seed, frames, rate_hz, THUMBNAIL)
    first = {o.id for o in scene.frame(0).truth.objects if o.visible_fraction >= SEEN_FRACTION}
    missing = dict.fromkeys(sorted(first), 0)
    for index in range(EVERY, frames, EVERY):
        seen = {o.id for o in scene.frame(index).truth.objects}
        for item in first - seen:
            missing[item] += 1
    return tuple(item for item, times in missing.items() if times >= MIN_HIDDEN)


def hiding_seeds(first_seed: int, frames: int, rate_hz: float) -> Iterator[int]:
    """:return: without end, the seeds from ``first_seed`` on whose scenes hide something."""
    return (seed for seed in count(first_seed) if hidden_objects(seed, frames, rate_hz))
