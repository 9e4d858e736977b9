"""Reads what a robot saw and was asked out of a bag, without ROS.

Frames are decoded from the recorded bytes by the code that the worker uses, so that the same model
sees the same pixels.
"""
from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vr_ros.bags.files import Bag, open_bag
from vr_ros.bags.index import (
    IMAGES,
    Answered,
    Asked,
    Frame,
    Index,
    LabelledBox,
    Picture,
    read_index,
)
from vr_ros.bags.result_messages import Result
from vr_ros.core.types import Stamp, Task
from vr_ros.images.decode import decode_compressed, decode_image

_DECODERS = dict(zip(IMAGES, (decode_image, decode_compressed), strict=True))
# Pictures that nodes made of others.
_NO_CAMERAS = ('overlay', 'labels', 'depth')


@dataclass(frozen=True)
class Question:
    """An instruction about an image.

    :param id: the same whenever the same bag is read.
    :param task: that was asked for; AUTO where only the text is known.
    :param picture: None if it is not in the bag.
    :param recorded: what the node answered; None if the bag does not say.
    :param truth: what would have been right; None if the bag does not say.
    :param topic: that the answer came on; empty: there is none.
    """

    id: str
    text: str
    task: Task
    picture: Picture | None
    recorded: Result | None = None
    truth: Result | None = None
    topic: str = ''

    @property
    def has_own_picture(self) -> bool:
        """Whether the image is the one that was looked at, or that was the newest to look at."""
        return self.picture is not None and (self.recorded is None or self.recorded.has_image)


@dataclass(frozen=True)
class Questions:
    """All that was asked in a bag, in the order of the images.

    :param left_out: how many of what, in words.
    :param problems: what cannot be read or used.
    :param boxes: true objects by image, where a topic tells them.
    """

    bag: Bag
    items: tuple[Question, ...]
    left_out: Mapping[str, int]
    problems: tuple[str, ...]
    boxes: Mapping[Frame, Sequence[LabelledBox]]

    def decode(self, picture: Picture) -> np.ndarray:
        """Decode an image.

        :return: (H, W, 3) uint8 RGB.
        :raises PerceptionError: it cannot be decoded.
        """
        return _DECODERS[picture.kind](self.bag.read(picture.place))


@dataclass(frozen=True)
class BagCase:
    """An image, and what was asked about it; see Question.

    :param image: (H, W, 3) uint8 RGB.
    """

    text: str
    task: Task
    frame_id: str
    stamp: Stamp
    image: np.ndarray
    recorded: Result | None = None
    truth: Result | None = None


def read_questions(
    path: Path, image_topics: Sequence[str] = (), truth_topics: Sequence[str] = (),
) -> Questions:
    """Pair images with what was asked about them; the bag is read once, and no image decoded.

    A result belongs to the image with its stamp and frame. Left out are results of the tracker.
    Instructions without any result, and those whose result is about no image, belong to the image
    that was the newest when they came; before the first image, to that one.

    :param image_topics: where the images are; none: all but overlays, labels and depth, as they
        are where a camera was recorded as they are and compressed.
    :param truth_topics: see read_index().
    :raises BagError: the bag cannot be read, or one of the topics is not there or of another type.
    """
    bag = open_bag(path)
    index = read_index(bag, truth_topics, image_topics)
    pictures = _of_cameras(index.pictures, image_topics)
    made = _Pairing(index, pictures)
    items = [*map(made.of_answer, index.answered), *map(made.of_unanswered, _unanswered(index))]
    # By image, then by the time of the instruction or of its result.
    items.sort(key=lambda item: item[0])
    return Questions(bag, _with_ids([question for _, question in items]),
                     dict(+index.counts), tuple(index.problems), index.boxes)


def read_cases(bag: Path, image_topics: Sequence[str] = ()) -> Iterator[BagCase]:
    """Give images with what was asked about them, in the order of the images.

    Left out are results without an image, and those whose image is not in the bag.

    :param image_topics: see read_questions().
    :raises BagError: the bag cannot be read, or a topic is not there or of another type.
    :raises PerceptionError: an image cannot be decoded.
    """
    questions = read_questions(bag, image_topics)
    for item in questions.items:
        if item.picture is not None and item.has_own_picture:
            yield BagCase(item.text, item.task, item.picture.frame_id, item.picture.stamp,
                          questions.decode(item.picture), item.recorded, item.truth)


class _Pairing:
    """Finds the image and the truth of each instruction."""

    def __init__(self, index: Index, pictures: Sequence[Picture]) -> None:
        self._pictures = pictures
        self._times = [picture.at_ns for picture in pictures]
        self._by_frame: dict[Frame, Picture] = {}
        for picture in pictures:
            self._by_frame.setdefault(picture.frame, picture)
        self._tasks = index.tasks
        truths = [item.result for item in index.truths]
        self._truths = {(truth.instruction_id, '' if truth.instruction_id else truth.text,
                         _frame(truth)): truth for truth in truths}
        self._truth_of = {truth.instruction_id: truth for truth in truths if truth.instruction_id}

    def of_answer(self, answered: Answered) -> tuple[tuple[int, int], Question]:
        result = answered.result
        if result.has_image:
            picture = self._by_frame.get(_frame(result))
        else:
            picture = self._newest(answered.at_ns)
        task = self._tasks.get(result.instruction_id, Task.AUTO)
        at_ns = picture.at_ns if picture else answered.at_ns
        name = f'{result.instruction_id}/{result.camera}/{result.sequence}'
        return (at_ns, answered.at_ns), Question(
            name, result.text, task, picture, result, self._truth(result), answered.topic)

    def of_unanswered(self, asked: Asked) -> tuple[tuple[int, int], Question]:
        truth = self._truth_of.get(asked.id)
        picture = self._by_frame.get(_frame(truth)) if truth else self._newest(asked.at_ns)
        at_ns = picture.at_ns if picture else asked.at_ns
        return (at_ns, asked.at_ns), Question(
            asked.id or f'text at {asked.at_ns}', asked.text, asked.task, picture, truth=truth)

    def _truth(self, result: Result) -> Result | None:
        """By id; what was made without knowledge of ids, by text, or for all about an image."""
        frame = _frame(result)
        keys = (result.instruction_id, '', frame), ('', result.text, frame), ('', '', frame)
        return next((self._truths[key] for key in keys if key in self._truths), None)

    def _newest(self, at_ns: int) -> Picture | None:
        if not self._pictures:
            return None
        return self._pictures[max(0, bisect.bisect_right(self._times, at_ns) - 1)]


def _of_cameras(pictures: Sequence[Picture], image_topics: Sequence[str]) -> list[Picture]:
    topics = {picture.place.topic for picture in pictures}
    if image_topics:
        topics &= set(image_topics)
    else:
        topics = {t for t in topics if not any(word in t.lower() for word in _NO_CAMERAS)}
        topics = {t for t in topics if t.removesuffix('/compressed') not in topics - {t}}
    return [picture for picture in pictures if picture.place.topic in topics]


def _unanswered(index: Index) -> list[Asked]:
    """Find the instructions without any result; an id counts once, as the node takes it once."""
    known = {item.id for item in index.asked if item.id}
    sent = [item for item in index.asked if item.id]
    # By the action, or as plain text, whose id the node makes up.
    sent += [item for item in index.active if item.id not in known]
    open_ones = {item.id: item for item in reversed(sent) if item.id not in index.answered_ids}
    named = Counter(item.text for item in open_ones.values() if item.id not in known)
    texts = {item.result.instruction_id: item.result.text for item in index.answered}
    named += Counter(text for name, text in texts.items() if name not in known)
    for item in (item for item in index.asked if not item.id):
        if named[item.text]:
            named[item.text] -= 1
        else:
            open_ones[f'text at {item.at_ns}'] = item
    return list(open_ones.values())


def _with_ids(questions: Sequence[Question]) -> tuple[Question, ...]:
    """Make sure that each has an id of its own, also where two nodes answered one instruction."""
    several = len({question.topic for question in questions if question.topic}) > 1
    seen = Counter[str]()
    made = []
    for question in questions:
        name = f'{question.topic} {question.id}' if several and question.topic else question.id
        seen[name] += 1
        made.append(replace(question, id=name if seen[name] == 1 else f'{name}#{seen[name]}'))
    return tuple(made)


def _frame(result: Result) -> Frame:
    return result.frame_id, result.stamp.nanoseconds
