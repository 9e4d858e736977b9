"""What a robot was asked, out of a bag, with what is true: samples, by the ids of the questions."""
from __future__ import annotations

from pathlib import Path
from typing import Protocol

from vr_ros.bags.index import Picture
from vr_ros.bags.questions import Question, Questions
from vr_ros.core.types import PerceptionError, Size, Task
from vr_ros.datasets.sample import Sample, SampleError, digest, size_of
from vr_ros.datasets.truth import Truth


class Truths(Protocol):
    """What is true of images, from elsewhere than the bag; ``name`` identifies it."""

    name: str

    def find(self, picture: Picture, text: str, size: Size) -> Truth | None:
        """Find the truth of an instruction about an image; None: it is not known.

        :raises SampleError: it is known, but cannot be used.
        """


class AskedFrames:
    """Samples from the questions of a bag, by their ids; can be pickled.

    :param truths: None: what the bag itself says.
    """

    def __init__(self, questions: Questions, truths: Truths | None = None) -> None:
        self.questions, self._truths = questions, truths
        self.ids = tuple(item.id for item in questions.items)
        path = questions.bag.path.resolve()
        self.name = f'{path.parent.name}/{path.name} {digest(*self.ids, *_sizes(path))}' + (
            f', truth: {truths.name}' if truths else '')

    def load(self, place: int) -> Sample:
        """Decode the image of one question.

        :raises SampleError: its image is not in the bag, or cannot be decoded.
        """
        item = self.questions.items[place]
        if item.picture is None:
            raise SampleError('its image is not in the bag')
        try:
            image = self.questions.decode(item.picture)
        except (PerceptionError, OSError) as error:
            raise SampleError(f'broken image: {error}') from error
        truth = self.truth(item, size_of(image))
        return Sample(image, item.text, truth, item.task, kind_of(item, truth))

    def truth(self, item: Question, size: Size) -> Truth:
        """Tell what is true of a question.

        :param size: of its image.
        :raises SampleError: it is known, but cannot be used.
        """
        if self._truths is not None:
            picture = item.picture if item.has_own_picture else None
            truth = self._truths.find(picture, item.text, size) if picture else None
            return truth or Truth(_image(item), size)
        if item.truth is None:
            return Truth(_image(item), size)
        return Truth.from_perception(item.truth.perception, _image(item))


def kind_of(item: Question, truth: Truth) -> str:
    """Name the kind of a question: its task by the truth, else as it was taken; or absence."""
    if truth.is_absent:
        return 'absence'
    task = truth.task or (item.recorded.perception.task if item.recorded else None) or item.task
    return Task(task).name.lower()


def _image(item: Question) -> str:
    return item.picture.name if item.picture and item.has_own_picture else ''


def _sizes(path: Path) -> list[str]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [f'{file.name} {file.stat().st_size}' for file in files]
