"""Data sets whose truth can be had without their images, such as annotations of a bag's frames."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Set
from functools import cached_property
from typing import Protocol, runtime_checkable

from vr_ros.core.types import Size
from vr_ros.datasets.truth import Truth


@runtime_checkable
class Annotations(Protocol):
    """A data set whose truth can be had without its images.

    ``images``: their names without suffix, ``labels``: of objects.
    """

    name: str
    images: Set[str]
    labels: Set[str]

    def annotated(self, image: str, label: str, size: Size) -> Truth | None:
        """Read what is annotated on an image; None where no object has the label.

        :raises SampleError: it cannot be used.
        """


@runtime_checkable
class Labelled(Protocol):
    """A data set whose samples are an image and a label each; ``labels`` are all there are."""

    labels: Set[str]

    def labels_at(self, place: int) -> Set[str]:
        """Name the labels of all objects that are annotated in the image of a sample."""


class ByLabel(ABC):
    """Annotations whose samples are an image and a label each.

    What inherits it has ``_places``: places of samples, by their image's name without suffix and
    their label.
    """

    _places: Mapping[tuple[str, str], int]

    def annotated(self, image: str, label: str, size: Size) -> Truth | None:
        """Read what is annotated on an image, without the image.

        :param image: its file's name without suffix, one of ``images``.
        :param label: one of ``labels``.
        :return: None where no object has the label.
        :raises SampleError: if an annotation cannot be used, or the size is another.
        """
        place = self._places.get((image, label))
        return None if place is None else self._truth(place, size)

    def labels_at(self, place: int) -> Set[str]:
        """See :class:`Labelled`; images of one name count as one."""
        of_place, of_image = self._by_image
        return of_image[of_place[place]]

    @cached_property
    def _by_image(self) -> tuple[dict[int, str], dict[str, set[str]]]:
        of_image: dict[str, set[str]] = defaultdict(set)
        for image, label in self._places:
            of_image[image].add(label)
        return {place: image for (image, _), place in self._places.items()}, of_image

    @abstractmethod
    def _truth(self, place: int, size: Size) -> Truth:
        """Read what is true of a sample.

        :raises SampleError: if an annotation cannot be used, or the size is another.
        """
