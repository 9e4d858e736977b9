"""What is true of one sample, and what was found: what every metric reads, whoever fills it.

Boxes are x_min, y_min, x_max, y_max in pixels of the image, the last two exclusive: a box around
the pixels 2 to 5 has a width of 4. Masks are run lengths of the full image. What a data set does
not tell is None, and figures that need it leave the sample out; what it tells to be nothing is
empty.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vr_ros.core.geometry import box_area
from vr_ros.core.rle import rle_union
from vr_ros.core.types import Detection, Mask, Perception, Size, Status, Task, TrackState


def box_array(detections: Sequence[Detection]) -> np.ndarray:
    """:return: (N, 4) boxes of detections."""
    return np.array([d.box for d in detections], float).reshape(-1, 4)


@dataclass(frozen=True, eq=False)
class Truth:
    """The true answer to one instruction about one image.

    :param image: name of the image; samples of one image are not independent of each other.
    :param size: of the image; 0 by 0 where no figure needs it.
    :param category: of the objects, for COCO AP, which is a mean over categories.
    :param boxes: (N, 4) of the objects; None: unknown; (0, 4): there is none.
    :param masks: of the same objects, N of them; None: unknown.
    :param region: all pixels asked for, where the data set does not tell objects apart.
    :param ignore: pixels that count neither way; they may overlap the region.
    :param crowd: (N,) bool, objects that stand for many: what is found in them counts neither way.
    :param areas_px: (N,) areas by which objects are small or large; None: those of the masks, else
        of the boxes.
    :param count: how many objects there are; None: as many as boxes or masks, crowds left out, or
        unknown without them.
    :param answers: texts that are right; empty where no text is asked for.
    :param choices: texts to choose from, if any; answers are the right letter, then its text.
    :param rule: by which the data set scores an answer, a key of RULES in metrics/rules.py.
    :param task: that the instruction really is, whatever it was taken for; AUTO: unknown.
    :param labels: words for the objects, as many as boxes; empty: none has any.
    :raises ValueError: if what belongs together differs in number.
    """

    image: str = ''
    size: Size = Size(0, 0)
    category: str = ''
    boxes: np.ndarray | None = None
    masks: tuple[Mask, ...] | None = None
    region: Mask | None = None
    ignore: Mask | None = None
    crowd: np.ndarray | None = None
    areas_px: np.ndarray | None = None
    count: int | None = None
    answers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    rule: str = ''
    task: Task = Task.AUTO
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.boxes is not None:
            _set(self, 'boxes', np.asarray(self.boxes, float).reshape(-1, 4))
        known = [len(objects) for objects in (self.boxes, self.masks) if objects is not None]
        number = known[0] if known else 0
        crowd = np.zeros(number) if self.crowd is None else self.crowd
        _set(self, 'crowd', np.asarray(crowd, bool).reshape(-1))
        if self.areas_px is not None:
            _set(self, 'areas_px', np.asarray(self.areas_px, float).reshape(-1))
        lengths = {*known, len(self.crowd), number if self.areas_px is None else len(self.areas_px),
                   len(self.labels) or number}
        if len(lengths) > 1:
            raise ValueError(f'boxes, masks, crowd, areas, labels of {sorted(lengths)} objects')
        if known and self.count is None:
            _set(self, 'count', int(number - self.crowd.sum()))

    @classmethod
    def from_perception(cls, perception: Perception, image: str = '') -> Truth:
        """Take a true answer that came as a perception, as the simulated camera publishes it.

        :return: where a text is asked for, that text alone; nothing of an error.
        """
        task, size, found = perception.task, perception.image_size, perception.detections
        if perception.status.is_error:
            return cls(image, size)
        if task is Task.VQA:
            return cls(image, size, answers=(perception.answer,), task=task)
        masks = tuple(d.mask for d in found if d.mask is not None)
        labels = tuple(d.label for d in found)
        return cls(
            image, size, boxes=box_array(found), masks=masks if len(masks) == len(found) else None,
            task=task, labels=labels if any(labels) else ())

    @property
    def objects(self) -> tuple[Detection, ...]:
        """The true objects as what finds them would write them; none where no box is known."""
        boxes = () if self.boxes is None else self.boxes
        masks = self.masks or (None,) * len(boxes)
        labels = self.labels or ('',) * len(boxes)
        return tuple(
            Detection(index, tuple(map(float, box)), label=label, mask=mask)
            for index, (box, mask, label) in enumerate(zip(boxes, masks, labels, strict=True)))

    @property
    def is_absent(self) -> bool | None:
        """Whether nothing there is what the instruction asks for; None if it asks for no object."""
        if self.region is not None and self.count is None:
            return not any(self.region.counts[1::2])
        return None if self.count is None else self.count == 0

    @property
    def true_region(self) -> Mask | None:
        """All pixels asked for; None if they are unknown or there is no object."""
        if self.region is not None or not self.masks:
            return self.region
        return rle_union(self.masks)

    @property
    def has_pixels(self) -> bool:
        """Whether the pixels asked for are known, be it that there are none."""
        return self.region is not None or self.masks is not None


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


def true_areas_px(truth: Truth) -> np.ndarray:
    """Give the areas by which objects are small or large.

    :return: (N,) square pixels.
    :raises ValueError: if no object is known.
    """
    if truth.areas_px is not None:
        return truth.areas_px
    if truth.masks is not None:
        return np.array([sum(mask.counts[1::2]) for mask in truth.masks], float)
    if truth.boxes is None:
        raise ValueError('neither boxes nor masks are known')
    return box_area(truth.boxes)


def _set(sample: Truth | Found, name: str, value: object) -> None:
    """Bring a field of a new sample into its form; after that it stays as it is."""
    object.__setattr__(sample, name, value)
