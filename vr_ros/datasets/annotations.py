"""Data sets whose truth can be had without their images, such as annotations of a bag's frames."""
from __future__ import annotations

from collections.abc import Set
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
