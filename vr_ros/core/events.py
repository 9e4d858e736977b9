"""What happens while an instruction is answered, in the order in which it happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vr_ros.core.types import Detection, Perception


@dataclass(frozen=True)
class TextEvent:
    """New reasoning text since the last TextEvent."""

    text: str


@dataclass(frozen=True)
class ObjectsEvent:
    """Detections that are new; masks_pending while the segmenter has still to fill in their
    masks."""

    detections: tuple[Detection, ...]
    masks_pending: bool


@dataclass(frozen=True)
class MasksEvent:
    """The same detections again (same index), now with their masks."""

    detections: tuple[Detection, ...]


@dataclass(frozen=True)
class ResultEvent:
    """The end of it: exactly one per instruction and frame."""

    perception: Perception


Event = TextEvent | ObjectsEvent | MasksEvent | ResultEvent
EventSink = Callable[[Event], None]
