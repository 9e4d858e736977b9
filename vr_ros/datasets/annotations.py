"""Data sets whose truth can be had without their images, such as annotations of a bag's frames."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Set
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

    @abstractmethod
    def _truth(self, place: int, size: Size) -> Truth:
        """Read what is true of a sample.

        :raises SampleError: if an annotation cannot be used, or the size is another.
        """
