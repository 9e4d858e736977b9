"""What was found in one sample: what every metric holds against its truth, whoever fills it."""
from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from vr_ros.core.types import Mask, Perception, Status, TrackState
from vr_ros.datasets.truth import box_array


@dataclass(frozen=True, eq=False)
class Found:
    """What a model made of one sample; with an error there are no objects.

    :param boxes: (M, 4).
    :param masks: of the same objects, None where one has no mask; empty: no object has.
    :param scores: (M,) NaN where there is none; empty: no object has one.
    :param count: how many objects the model says there are; None: as many as boxes, -1 on error.
    :param answer: text for people, to be compared with the true answers.
    :param reasoning: what the model wrote before its answer, without tags.
    :param raw_text: all that it wrote, with tags.
    :param latency_ms: from the instruction to the result; NaN: not measured.
    :raises ValueError: if what belongs together differs in number, or an error comes with objects.
    """

    status: Status = Status.OK
    boxes: np.ndarray = field(default_factory=lambda: np.empty((0, 4)))
    masks: tuple[Mask | None, ...] = ()
    scores: np.ndarray = field(default_factory=lambda: np.empty(0))
    count: int | None = None
    answer: str = ''
    reasoning: str = ''
    raw_text: str = ''
    latency_ms: float = math.nan

    def __post_init__(self) -> None:
        _set(self, 'boxes', np.asarray(self.boxes, float).reshape(-1, 4))
        number = len(self.boxes)
        _set(self, 'masks', self.masks or (None,) * number)
        scores = np.asarray(self.scores, float).reshape(-1)
        _set(self, 'scores', scores if scores.size else np.full(number, math.nan))
        lengths = {number, len(self.masks), len(self.scores)}
        if len(lengths) > 1:
            raise ValueError(f'boxes, masks and scores of {sorted(lengths)} objects')
        if self.status.is_error and number:
            raise ValueError(f'{number} objects with status {self.status.name}')
        if self.count is None or self.status.is_error:
            _set(self, 'count', -1 if self.status.is_error else number)

    @classmethod
    def from_perception(cls, perception: Perception, latency_ms: float | None = None) -> Found:
        """Take what counts from a perception: not what went lost, and nothing of an error.

        :param latency_ms: None: the perception's own total time.
        """
        status = Status(perception.status)
        kept = () if status.is_error else tuple(
            d for d in perception.detections if d.track_state is not TrackState.LOST)
        return cls(
            status, box_array(kept), tuple(d.mask for d in kept),
            np.array([d.score for d in kept]), None, perception.answer, perception.reasoning,
            perception.raw_text,
            perception.timing.total_ms if latency_ms is None else latency_ms,
        )

    @property
    def says_absent(self) -> bool:
        """Whether it says that there is no such object, which an error does not."""
        return self.status is Status.NO_OBJECT

    @property
    def known_masks(self) -> tuple[Mask, ...]:
        """Masks of those objects that have one."""
        return tuple(mask for mask in self.masks if mask is not None)


def _set(found: Found, name: str, value: object) -> None:
    """Bring a field of what is new into its form; after that it stays as it is."""
    object.__setattr__(found, name, value)
