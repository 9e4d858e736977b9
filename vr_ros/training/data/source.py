"""What training data is made from: drafts of rows, their sources, and the builders of those."""
from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from vr_ros.core.rle import rle_box
from vr_ros.core.types import Task
from vr_ros.datasets.annotations import Labelled
from vr_ros.datasets.sample import DataSet, Sample, digest
from vr_ros.datasets.truth import Truth


class LeftOut(Exception):
    """A draft that is not wanted, such as by a filter; it is counted and listed, not an error.

    What is broken is a :class:`vr_ros.datasets.sample.SampleError` instead.

    :param reason: short, without names and numbers: it is counted by it.
    :param detail: names and numbers.
    """

    def __init__(self, reason: str, detail: str = '') -> None:
        super().__init__(f'{reason}: {detail}' if detail else reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Scoring:
    """How responses to a draft are scored; the ground truth is written in the verifier's own form.

    :param verifier: one of ``vr_ros.training.rewards``; empty: by the task and by the rule of the
        data set, see :mod:`.ground_truth`.
    :param parameters: of the verifier.
    :param accuracy_ratio, format_ratio: weights; None takes the verifier's own.
    :param ground_truth: None: written from what is true.
    """

    verifier: str = ''
    parameters: Mapping[str, Any] = field(default_factory=dict)
    accuracy_ratio: float | None = None
    format_ratio: float | None = None
    ground_truth: str | None = None


@dataclass(frozen=True, eq=False)
class Draft:
    """What becomes one row.

    :param id: each once in the source.
    :param image: (H, W, 3) uint8 RGB as the source has it; None for text alone.
    :param problem: the instruction as a user says it: no prompt, not cleaned.
    :param truth: in pixels of ``image``.
    :param task: AUTO: what the truth says, else by what is known of it.
    :param ability: empty: the name of the task.
    :param points: (N, 2) x, y of the objects; None: from their masks, else box centres.
    :param data_source: empty: the name of the source.
    :param extra: JSON values for the column of that name.
    """

    id: str
    image: np.ndarray | None
    problem: str
    truth: Truth
    task: Task = Task.AUTO
    ability: str = ''
    points: np.ndarray | None = None
    scoring: Scoring = Scoring()
    data_source: str = ''
    extra: Mapping[str, Any] = field(default_factory=dict)


def as_object(truth: Truth) -> Truth:
    """Take all pixels asked for as one object, or as none where there are none."""
    if truth.region is None or truth.masks is not None:
        return truth
    box = rle_box(truth.region)
    boxes = np.empty((0, 4)) if box is None else np.array([box], float)
    return replace(truth, boxes=boxes, masks=() if box is None else (truth.region,), region=None,
                   crowd=None, areas_px=None, labels=(), count=len(boxes))


class Source(Protocol):
    """Drafts by place; opened anew by each process.

    ``name``: becomes ``data_source``. ``identity``: names what it was read from and how; a build is
    only resumed with the same one. If it has ``ids``, messages call its places by them. If it has
    ``absent``, see :meth:`DataSetSource.absent`, instructions about what is not there can be added.
    If it has ``images``, see there, joins need not look at the other images.
    """

    name: str
    identity: str

    def __len__(self) -> int: ...

    def load(self, place: int) -> Iterable[Draft]:
        """Give the drafts of a place: usually one, perhaps none or several, always the same.

        :raises vr_ros.datasets.sample.SampleError: it is broken.
        :raises LeftOut: it is not wanted.
        """


class Builder(Protocol):
    """A source on the command line. Its module is imported when it is asked for."""

    help: str

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare options beside the common ones, among them ``split``, ``seed``, ``limit``."""

    def open(self, options: argparse.Namespace) -> Source:
        """Open the source; options that are None take the source's own defaults.

        :raises vr_ros.datasets.sample.DataSetError: it cannot be read; one line says what to do.
        """


@dataclass(frozen=True)
class Recipe:
    """What a data set's samples become.

    :param name: of the data source; empty: the data set's.
    :param ability: empty: the name of the task.
    :param filters: each looks at a sample and raises LeftOut if it is not wanted.
    :param region_is_object: all pixels asked for are one object, where objects are not told apart;
        else such a sample is left out.
    :param is_exhaustive: every object of every label is annotated in every image.
    """

    name: str = ''
    ability: str = ''
    task: Task = Task.AUTO
    scoring: Scoring = Scoring()
    filters: tuple[Callable[[Sample], None], ...] = ()
    region_is_object: bool = False
    is_exhaustive: bool = False


class DataSetSource:
    """The samples of a data set that evaluation reads, one draft each.

    :param order: places in the data set, such as a drawn part of them; None: all, as they are.
    """

    def __init__(self, data_set: DataSet, recipe: Recipe = Recipe(),
                 order: np.ndarray | None = None) -> None:
        self.name = recipe.name or data_set.name
        self._data_set, self._recipe = data_set, recipe
        self._order = np.arange(len(data_set.ids)) if order is None else order
        filters = [getattr(one, '__name__', repr(one)) for one in recipe.filters]
        self.identity = (f'{data_set.name}, {replace(recipe, filters=())}, {filters},'
                         f' order {digest(self._order.tobytes())}')

    @cached_property
    def ids(self) -> Sequence[str]:
        """What messages call the places; made once, since sets have up to a million."""
        return [self._data_set.ids[number] for number in self._order]

    @cached_property
    def images(self) -> Sequence[str] | None:
        """Names of the images of the places, as in their truth; None: only known once loaded."""
        data_set = self._data_set
        categories = getattr(data_set, 'categories', None)
        if categories is None:
            return None
        # Where there are categories, an id is IMAGE/CATEGORY.
        return [data_set.ids[number].removesuffix(f'/{categories[number]}')
                for number in self._order]

    @property
    def tells_absent(self) -> bool:
        """Whether it can be known what is not in an image."""
        return self._recipe.is_exhaustive and isinstance(self._data_set, Labelled)

    def __len__(self) -> int:
        return len(self._order)

    def load(self, place: int) -> Iterable[Draft]:
        """See :class:`Source`."""
        number = int(self._order[place])
        sample, recipe = self._data_set.load(number), self._recipe
        for unwanted in recipe.filters:
            unwanted(sample)
        truth = sample.truth
        yield Draft(
            self._data_set.ids[number], sample.image, sample.instruction,
            as_object(truth) if recipe.region_is_object else truth,
            recipe.task or truth.task or sample.task, recipe.ability, scoring=recipe.scoring,
            extra={'kind': sample.kind} if sample.kind else {})

    def absent(self, place: int) -> Sequence[str]:
        """Name labels of which no object is in the image of a place, for certain.

        :return: in alphabetical order; none where the data set does not tell, or its annotations
            are not known to be exhaustive.
        """
        data_set = self._data_set
        if not self._recipe.is_exhaustive or not isinstance(data_set, Labelled):
            return ()                           # what tells_absent says, for the types
        return sorted(data_set.labels - data_set.labels_at(int(self._order[place])))


def drawn_order(number: int, seed: int) -> np.ndarray:
    """Draw an order of places: (number,) int."""
    return np.random.default_rng(seed).permutation(number)
