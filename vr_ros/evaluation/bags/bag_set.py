"""What a robot was asked, out of a bag: to ask a model again, or with the answers of then."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from vr_ros.bags.index import Picture
from vr_ros.bags.questions import Question, Questions
from vr_ros.core.types import PerceptionError, Size, Status, Task
from vr_ros.datasets.sample import Sample, SampleError, digest, size_of
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.runs.records import Record

NO_RESULT = 'no result in the bag'


class Truths(Protocol):
    """What is true of images, from elsewhere than the bag; ``name`` identifies it."""

    name: str

    def find(self, picture: Picture, text: str, size: Size) -> Truth | None:
        """Find the truth of an instruction about an image; None: it is not known.

        :raises SampleError: it is known, but cannot be used.
        """


class BagSet:
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
        truth = self._truth(item, size_of(image))
        return Sample(image, item.text, truth, item.task, kind_of(item, truth))

    def recorded(self, place: int) -> Record:
        """Give the answer of then; no result is an error, and no sample is left out for it.

        :return: a skipped record where the truth cannot be used.
        """
        item = self.questions.items[place]
        size = item.recorded.perception.image_size if item.recorded else Size(0, 0)
        try:
            truth = self._truth(item, size)
        except SampleError as error:
            return Record(item.id, skipped=str(error))
        if item.recorded is None:
            found, message = Found(Status.TIMEOUT), NO_RESULT
        else:
            found = Found.from_perception(item.recorded.perception)
            message = item.recorded.perception.status_message
        return Record(item.id, truth, found, item.text, item.task.name, message,
                      kind=kind_of(item, truth))

    @property
    def models(self) -> str:
        """Name the models whose answers are in the bag."""
        names = {item.recorded.perception.model_id for item in self.questions.items
                 if item.recorded}
        return ', '.join(sorted(names - {''})) or 'unknown'

    @property
    def unanswered(self) -> Sequence[Question]:
        """Questions without any result."""
        return [item for item in self.questions.items if item.recorded is None]

    def _truth(self, item: Question, size: Size) -> Truth:
        if self._truths is not None:
            picture = item.picture if item.has_own_picture else None
            truth = self._truths.find(picture, item.text, size) if picture else None
            return truth or Truth(_image(item), size)
        if item.truth is None:
            return Truth(_image(item), size)
        return Truth.from_perception(item.truth.perception, _image(item))


def ask_recorded(data_set: BagSet, places: Sequence[int]) -> Iterator[Sequence[Record]]:
    """Give the answers of then as if a model were asked."""
    yield from ([data_set.recorded(place)] for place in places)


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
