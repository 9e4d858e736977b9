"""What relations between objects mean, with a margin inside which they are called unclear.

Left and right are those of the image, by the boxes' centres. In front of and behind compare the
distance from the camera's centre to the objects' centres: the nearer one is in front. Larger means
a larger size name, whatever the kind, and no smaller volume of the object's own box. A three-valued
answer (True, False, None = unclear) keeps doubtful cases out of the instructions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vr_ros.sim.truth import SIZES, ObjectTruth

SIDE_MARGIN = 0.04  # of the image's width: 26 px at 640
DISTANCE_MARGIN_M = 0.04
NEXT_TO_MARGIN_M = 0.03

_RANK = {name: rank for rank, name in enumerate(SIZES)}


def centre_x(thing: ObjectTruth) -> float:
    """Horizontal centre of the box, pixels."""
    return 0.5 * (thing.box[0] + thing.box[2])


def _more(difference: float, margin: float) -> bool | None:
    if difference >= margin:
        return True
    return False if difference <= -margin else None


def holds(relation: str, thing: ObjectTruth, anchor: ObjectTruth, width: int) -> bool | None:
    """Tell whether ``thing`` stands in a relation or comparison to ``anchor``.

    :param relation: a key of SIDES or COMPARISONS.
    :param width: of the image, pixels.
    :return: None when it is too close to call.
    """
    if relation == 'left':
        return _more(centre_x(anchor) - centre_x(thing), SIDE_MARGIN * width)
    if relation == 'right':
        return _more(centre_x(thing) - centre_x(anchor), SIDE_MARGIN * width)
    if relation in ('front', 'nearer'):
        return _more(anchor.distance_m - thing.distance_m, DISTANCE_MARGIN_M)
    if relation in ('behind', 'farther'):
        return _more(thing.distance_m - anchor.distance_m, DISTANCE_MARGIN_M)
    if relation == 'larger':
        return _is_larger(thing, anchor)
    if relation == 'smaller':
        return _is_larger(anchor, thing)
    raise ValueError(f'unknown relation {relation!r}')


def order_by(relation: str, thing: ObjectTruth) -> float:
    """What a side or a comparison goes by: the more, the farther right, away, or the larger.

    :param relation: a key of SIDES or COMPARISONS.
    """
    if relation in ('left', 'right'):
        return centre_x(thing)
    return _RANK[thing.size_name] if relation in ('larger', 'smaller') else thing.distance_m


def _volume(thing: ObjectTruth) -> float:
    x, y, z = thing.dimensions
    return x * y * z


def _is_larger(thing: ObjectTruth, anchor: ObjectTruth) -> bool | None:
    by_name = _RANK[thing.size_name] - _RANK[anchor.size_name]
    by_volume = _volume(thing) - _volume(anchor)
    return None if by_name * by_volume < 0 else _more(by_name, 1)


def gap_m(thing: ObjectTruth, anchor: ObjectTruth) -> float:
    """Distance between two centres, metres."""
    return math.dist(thing.world_position, anchor.world_position)


def closest_to(things: Sequence[ObjectTruth], anchor: ObjectTruth) -> ObjectTruth | None:
    """Find the object whose centre is closest to the anchor's in space.

    :return: None when there is no object, or two are equally close within NEXT_TO_MARGIN_M.
    """
    return _clear_minimum(things, [gap_m(thing, anchor) for thing in things], NEXT_TO_MARGIN_M)


def extreme(name: str, things: Sequence[ObjectTruth], width: int) -> ObjectTruth | None:
    """Find the one object at an extreme.

    :param name: a key of EXTREMES.
    :param width: of the image, pixels.
    :return: None when there is no object, or the first two are too close to call.
    """
    if name == 'nearest':
        return _clear_minimum(things, [t.distance_m for t in things], DISTANCE_MARGIN_M)
    if name == 'farthest':
        return _clear_minimum(things, [-t.distance_m for t in things], DISTANCE_MARGIN_M)
    if name == 'leftmost':
        return _clear_minimum(things, [centre_x(t) for t in things], SIDE_MARGIN * width)
    if name == 'rightmost':
        return _clear_minimum(things, [-centre_x(t) for t in things], SIDE_MARGIN * width)
    if name in ('largest', 'smallest'):
        beats = 'larger' if name == 'largest' else 'smaller'
        best = [t for t in things if all(holds(beats, t, o, width) for o in things if o is not t)]
        return best[0] if best else None
    raise ValueError(f'unknown extreme {name!r}')


def _clear_minimum(
    things: Sequence[ObjectTruth], values: Sequence[float], margin: float
) -> ObjectTruth | None:
    if not things:
        return None
    lowest = min(values)
    close = [thing for thing, value in zip(things, values, strict=True) if value < lowest + margin]
    return close[0] if len(close) == 1 else None
