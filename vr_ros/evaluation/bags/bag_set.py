"""The answers that a robot gave, out of a bag, as if a model were asked."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

from vr_ros.bags.asked_frames import AskedFrames, kind_of
from vr_ros.bags.questions import Question
from vr_ros.core.types import Size, Status
from vr_ros.datasets.sample import SampleError
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.runs.records import Record

NO_RESULT = 'no result in the bag'


class BagSet(AskedFrames):
    """Samples from the questions of a bag, with the answers of then; can be pickled."""

    def recorded(self, place: int) -> Record:
        """Give the answer of then; no result is an error, and no sample is left out for it.

        :return: a skipped record where the truth cannot be used.
        """
        item = self.questions.items[place]
        size = item.recorded.perception.image_size if item.recorded else Size(0, 0)
        try:
            truth = self.truth(item, size)
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


def ask_recorded(data_set: BagSet, places: Sequence[int]) -> Iterator[Sequence[Record]]:
    """Give the answers of then as if a model were asked."""
    yield from ([data_set.recorded(place)] for place in places)
