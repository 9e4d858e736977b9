"""What is shown of a result, and how it looks: the same on every view."""
from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

from vr_ros.core.palette import colour
from vr_ros.core.types import Detection, Perception, Status, TrackState


def tells_of_objects(perception: Perception) -> bool:
    """Tell whether a result says which objects there are, be it none.

    An error does not, nor an answer in words: as an empty list they would say 'nothing there'.
    """
    if perception.status.is_error:
        return False
    return bool(perception.detections) or perception.status is Status.NO_OBJECT


def still_there(detections: Iterable[Detection]) -> list[Detection]:
    """Leave out the objects whose tracks were given up."""
    return [found for found in detections if found.track_state is not TrackState.LOST]


def in_sight(detections: Iterable[Detection]) -> list[Detection]:
    """Leave out also those that are hidden, whose boxes and masks are not of this image."""
    return [found for found in still_there(detections)
            if found.track_state is not TrackState.OCCLUDED]


def colour_of(found: Detection) -> tuple[int, int, int]:
    """Choose a detection's colour: its track's, which outlives the place in the list; else its own.

    :return: RGB, 0..255.
    """
    return colour(_number(found.track_id) if found.track_id else found.index)


def caption_of(found: Detection) -> str:
    """Name a detection: its track or index, its label if it has one, and whether it is hidden."""
    name = f'#{found.track_id}' if found.track_id else str(found.index)
    hidden = '(hidden)' if found.track_state is TrackState.OCCLUDED else ''
    return ' '.join(filter(None, (name, found.label, hidden)))


def _number(track_id: str) -> int:
    # The node counts its tracks at the end of their ids, and numbers in a row get colours that lie
    # far apart; any other id gets a colour that at least stays the same.
    counted = re.search('[0-9]{1,9}$', track_id)
    return int(counted.group()) if counted else zlib.crc32(track_id.encode())
