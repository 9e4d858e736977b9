"""More rows of the same images: two instructions joined to one, and what is not there.

Joins need to know what else is asked about an image. Where the source names the images of its
places, these are looked at when a row of theirs is made. Else, and for what is not there, which is
asked for in the words of any other image, all drafts are looked through once before.
"""
from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from vr_ros.core.geometry import box_iou_matrix
from vr_ros.core.rle import rle_box, rle_iou_matrix
from vr_ros.core.types import Task
from vr_ros.datasets.sample import DataSetError, SampleError
from vr_ros.datasets.truth import Truth
from vr_ros.progress import Meter
from vr_ros.training.data.ground_truth import task_of
from vr_ros.training.data.source import Draft, LeftOut, Scoring, Source

# Objects of two instructions that overlap so much are one.
SAME_MASK, SAME_BOX = 0.9, 0.95
_ENDS = ' .?!'


@dataclass(frozen=True)
class About:
    """What is asked in one draft.

    :param place, number: of the source, and of the draft among those of its place.
    :param joins: whether it can be joined with another one.
    """

    place: int
    number: int
    image: str
    problem: str
    category: str
    joins: bool


@dataclass(frozen=True)
class Mix:
    """What is added to the rows of a source.

    :param joins: share of the drafts to which one more is added, joined with another of its image.
    :param negatives: share to which one is added that asks for what is not in the image.
    :param is_quoted: joined as ``'a' and 'b'``, as VisionReasoner's data are; else ``a and b``.
    :raises DataSetError: a share is none.
    """

    joins: float = 0.0
    negatives: float = 0.0
    is_quoted: bool = False

    def __post_init__(self) -> None:
        if not all(0 <= share <= 1 for share in (self.joins, self.negatives)):
            raise DataSetError('--joins and --negatives are shares, 0 to 1')


class Absences(Protocol):
    """A source that knows what is not in its images, see :meth:`.source.DataSetSource.absent`."""

    def absent(self, place: int) -> Sequence[str]:
        """Name categories of which no object is in the image of a place, for certain."""


class Mixed:
    """A source with joined and negative drafts behind those that they are made of.

    :param surveyed: all drafts of the source, see :func:`survey`; None: not needed, see
        :func:`needs_survey`.
    :raises DataSetError: the source does not know what is absent.
    """

    def __init__(
        self, source: Source, mix: Mix, seed: int, surveyed: Sequence[About] | None,
    ) -> None:
        require_absences(source, mix)
        self._source, self._mix, self._seed = source, mix, seed
        self.name, self.identity = source.name, f'{source.identity}; {mix} of seed {seed}'
        if hasattr(source, 'ids'):
            self.ids = source.ids
        self._is_surveyed = surveyed is not None
        self._of_image: dict[str, list[About]] = defaultdict(list)
        self._of_category: Mapping[str, list[About]] = defaultdict(list)
        for about in surveyed or ():
            self._of_image[about.image].append(about)
            self._of_category[about.category].append(about)

    def __len__(self) -> int:
        return len(self._source)

    def load(self, place: int) -> Iterator[Draft]:
        """See :class:`~.source.Source`."""
        drafts = list(self._source.load(place))
        yield from drafts
        for number, draft in enumerate(drafts):
            rng = np.random.default_rng([self._seed, place, number])
            is_joined, is_negative = rng.random(2) < (self._mix.joins, self._mix.negatives)
            if is_joined:
                yield from self._joined(place, number, drafts, rng)
            if is_negative:
                yield from self._negative(place, draft, rng)

    def _joined(self, place: int, number: int, drafts: Sequence[Draft], rng: np.random.Generator
                ) -> Iterator[Draft]:
        """Join with one that comes later: no two are joined twice."""
        draft = drafts[number]
        about = self._about_image(draft.truth.image)
        if not any((a.place, a.number, a.joins) == (place, number, True) for a in about):
            return
        others = [a for a in about if a.joins and a.problem != draft.problem
                  and (a.place, a.number) > (place, number)]
        if not others:
            return
        other = others[int(rng.integers(len(others)))]
        more = drafts if other.place == place else list(self._source.load(other.place))
        yield join(draft, more[other.number], is_quoted=self._mix.is_quoted)

    @cached_property
    def _places(self) -> Mapping[str, Sequence[int]]:
        """Places by the names of their images, in their order."""
        places: dict[str, list[int]] = defaultdict(list)
        for place, image in enumerate(self._source.images):  # type: ignore[attr-defined]
            places[image].append(place)
        return places

    def _about_image(self, image: str) -> Sequence[About]:
        """Tell what is asked about an image, in the order of the places."""
        if not self._is_surveyed and image not in self._of_image:
            self._of_image[image] = [
                about for place in self._places[image] for about in _looked_at(self._source, place)]
        return self._of_image[image]

    def _negative(self, place: int, draft: Draft, rng: np.random.Generator) -> Iterator[Draft]:
        source: Absences = self._source  # type: ignore[assignment]
        absent = [category for category in source.absent(place) if category in self._of_category]
        if not absent:
            return
        others = self._of_category[absent[int(rng.integers(len(absent)))]]
        yield negative(draft, others[int(rng.integers(len(others)))])


def join(first: Draft, second: Draft, *, is_quoted: bool = False) -> Draft:
    """Ask for the objects of two instructions about one image in one; what both mean, once.

    :raises SampleError: the images differ in size.
    """
    if first.image is None or second.image is None or first.image.shape != second.image.shape:
        raise SampleError('joined instructions about images of different sizes')
    one, other = _with_boxes(first.truth), _with_boxes(second.truth)
    assert one.boxes is not None and other.boxes is not None
    new = np.flatnonzero(~_same(one, other))
    boxes = np.concatenate((one.boxes, other.boxes[new]))
    masks = labels = points = None
    if one.masks is not None and other.masks is not None:
        masks = (*one.masks, *(other.masks[i] for i in new))
    if one.labels and other.labels:
        labels = (*one.labels, *(other.labels[i] for i in new))
    if first.points is not None and second.points is not None:
        points = np.concatenate((np.reshape(first.points, (-1, 2)),
                                 np.reshape(second.points, (-1, 2))[new]))
    tasks = {task_of(first), task_of(second)}
    truth = Truth(one.image, one.size, boxes=boxes, masks=masks, labels=labels or (),
                  task=tasks.pop() if len(tasks) == 1 else Task.DETECTION)
    texts = [draft.problem.strip(_ENDS) for draft in (first, second)]
    problem = ' and '.join(f"'{text}'" for text in texts) if is_quoted else ' and '.join(texts)
    return replace(first, id=f'{first.id}+{second.id}', problem=problem, truth=truth, points=points,
                   task=truth.task, extra={**first.extra, 'joined': [first.id, second.id]})


def negative(draft: Draft, other: About) -> Draft:
    """Ask about a draft's image for what is not in it, in the words of another draft."""
    truth = Truth(draft.truth.image, draft.truth.size, other.category, boxes=np.empty((0, 4)),
                  masks=(), task=Task.DETECTION)
    return replace(
        draft, id=f'{draft.id}-not-{other.category}', problem=other.problem, truth=truth,
        points=None, task=Task.DETECTION, ability='', scoring=Scoring(),
        extra={'absent': other.category})


def require_absences(source: Source, mix: Mix) -> None:
    """Make sure that a source can give what is not there, before any of it is looked through.

    :raises DataSetError: it does not know.
    """
    if mix.negatives and not hasattr(source, 'absent'):
        raise DataSetError(f'{source.name} does not tell what is not in its images: no'
                           ' --negatives from it')
    if mix.negatives and not getattr(source, 'tells_absent', True):
        raise DataSetError(f'{source.name}: no --negatives, as nothing is known not to be in an'
                           ' image: it has no labels, or objects may be unmarked (set --exhaustive'
                           ' says that none is)')


def needs_survey(source: Source, mix: Mix) -> bool:
    """Tell whether all drafts have to be looked through before the first is made."""
    return bool(mix.negatives or (mix.joins and getattr(source, 'images', None) is None))


def survey(source: Source, path: Path) -> list[About]:
    """Look through all drafts of a source, or read what was seen then.

    :param path: where it is kept.
    """
    header = {'source': source.identity, 'samples': len(source)}
    if path.exists():
        first, *lines = map(json.loads, path.read_text(encoding='utf-8').splitlines())
        if first == header:
            return [About(**line) for line in lines]
    found: list[About] = []
    with Meter(len(source), what='looked through') as meter:
        for place in range(len(source)):
            found += _looked_at(source, place)
            meter.advance(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{path.name}.tmp')
    temporary.write_text(''.join(
        json.dumps(line) + '\n' for line in (header, *map(asdict, found))), encoding='utf-8')
    os.replace(temporary, path)
    return found


def _looked_at(source: Source, place: int) -> list[About]:
    """Tell what is asked in the drafts of a place."""
    try:
        return [_about(draft, place, number) for number, draft in enumerate(source.load(place))]
    except (LeftOut, SampleError):
        return []           # listed when its rows are made


def _about(draft: Draft, place: int, number: int) -> About:
    truth = draft.truth
    joins = (task_of(draft) in (Task.DETECTION, Task.SEGMENTATION) and bool(truth.count)
             and (truth.boxes is not None or truth.masks is not None)
             and not np.any(truth.crowd) and draft.image is not None)
    return About(place, number, truth.image, draft.problem, truth.category, joins)


def _with_boxes(truth: Truth) -> Truth:
    if truth.boxes is not None:
        return truth
    boxes = [rle_box(mask) or (0, 0, 0, 0) for mask in truth.masks or ()]
    return replace(truth, boxes=np.array(boxes, float).reshape(-1, 4))


def _same(one: Truth, other: Truth) -> np.ndarray:
    """Tell which objects of the other are also objects of the one: (N,) bool."""
    assert one.boxes is not None and other.boxes is not None
    if not len(one.boxes) or not len(other.boxes):
        return np.zeros(len(other.boxes), bool)
    if one.masks is not None and other.masks is not None:
        return rle_iou_matrix(one.masks, other.masks).max(0) >= SAME_MASK
    return box_iou_matrix(one.boxes, other.boxes).max(0) >= SAME_BOX
