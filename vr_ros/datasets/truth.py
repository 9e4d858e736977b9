"""What is true of one sample, whatever data set it comes from: what metrics and rewards read.

Boxes are x_min, y_min, x_max, y_max in pixels of the image, the last two exclusive: a box around
the pixels 2 to 5 has a width of 4. Masks are run lengths of the full image. What a data set does
not tell is None, and figures that need it leave the sample out; what it tells to be nothing is
empty.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vr_ros.core.geometry import box_area
from vr_ros.core.rle import rle_union
from vr_ros.core.types import Detection, Mask, Perception, Size, Task


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
    :param rule: by which the data set scores an answer, one of RULES in rules.py.
    :param task: that the instruction really is, whatever it was taken for; AUTO: unknown.
    :param labels: words for the objects, as many as boxes; empty: none has any.
    :param points: (N, 2) x, y of a point on each object, where a data set counts by them; None:
        unknown.
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
    points: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.boxes is not None:
            _set(self, 'boxes', np.asarray(self.boxes, float).reshape(-1, 4))
        known = [len(objects) for objects in (self.boxes, self.masks) if objects is not None]
        number = known[0] if known else 0
        crowd = np.zeros(number) if self.crowd is None else self.crowd
        _set(self, 'crowd', np.asarray(crowd, bool).reshape(-1))
        if self.areas_px is not None:
            _set(self, 'areas_px', np.asarray(self.areas_px, float).reshape(-1))
        if self.points is not None:
            _set(self, 'points', np.asarray(self.points, float).reshape(-1, 2))
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


def _set(truth: Truth, name: str, value: object) -> None:
    """Bring a field of a new truth into its form; after that it stays as it is."""
    object.__setattr__(truth, name, value)
