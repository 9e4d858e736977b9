"""What a bag says, in one pass: where its images are, what was asked and answered, what is true.

Images stay undecoded where they are. Results of the tracker are counted, and not kept.
"""
from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vr_ros.bags.files import Bag, BagError, BagMessage, Decoder, Place
from vr_ros.bags.result_messages import Result, read_result
from vr_ros.core.cdr import parse_header
from vr_ros.core.types import Mode, PerceptionError, Source, Stamp, Task

IMAGES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
RESULTS, ANSWERS = 'vr_ros/msg/DetectionArray', 'vr_ros/msg/Answer'
INSTRUCTIONS, TEXTS = 'vr_ros/msg/Instruction', 'std_msgs/msg/String'
BOXES = 'vision_msgs/msg/Detection2DArray'
# What topics of these names must be, where no other topic is.
_EXPECTED = {'detections': RESULTS, 'answer': ANSWERS, 'instruction': INSTRUCTIONS}
_LAST, _ACTIVE, _TEXT = '/last_result', '/active_instruction', '/instruction_text'

Frame = tuple[str, int]


class Picture(NamedTuple):
    """An image in a bag, not decoded.

    :param at_ns: when it was received.
    """

    place: Place
    kind: str
    frame_id: str
    stamp: Stamp
    at_ns: int

    @property
    def frame(self) -> Frame:
        """What results about it say of their image."""
        return self.frame_id, self.stamp.nanoseconds

    @property
    def name(self) -> str:
        """Name the image so that annotations find back to it: topic, seconds, nanoseconds."""
        topic = self.place.topic.strip('/').replace('/', '_')
        return f'{topic}-{self.stamp.sec}_{self.stamp.nanosec:09d}'


class Asked(NamedTuple):
    """An instruction; the id is empty where only its text was sent."""

    at_ns: int
    id: str
    text: str
    task: Task


class LabelledBox(NamedTuple):
    """A true object on an image: its class, and x_min, y_min, x_max, y_max in pixels."""

    label: str
    box: tuple[float, float, float, float]


class Answered(NamedTuple):
    """A result, and when and on which topic it came."""

    at_ns: int
    topic: str
    result: Result


@dataclass
class Index:
    """What a bag says beside the pixels.

    :param answered: final results of the reasoner, each once.
    :param truths: true answers by topic.
    :param boxes: true objects by image, whoever asks for them; none: nothing is there.
    :param answered_ids: of instructions with any result, also of the tracker.
    :param counts: of what was left out, in words.
    :param problems: what cannot be read or used.
    """

    pictures: list[Picture] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    truths: list[Answered] = field(default_factory=list)
    boxes: dict[Frame, list[LabelledBox]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    active: list[Asked] = field(default_factory=list)
    answered_ids: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def tasks(self) -> dict[str, Task]:
        """Tasks that instructions were sent with, by their ids."""
        return {item.id: item.task for item in (*self.active, *self.asked)}


def read_index(
    bag: Bag, truth_topics: Sequence[str] = (), image_topics: Sequence[str] = (),
) -> Index:
    """Read a bag from beginning to end.

    :param truth_topics: with the true results, in place of those under ``/truth/``; to
        ``…/detections`` belongs ``…/answer``. Or with true objects, as Detection2DArray.
    :param image_topics: that must be there.
    :raises BagError: one of these topics is not there, or is of another type.
    """
    index, small, broken = Index(), list[tuple[BagMessage, Any]](), Counter[tuple[str, str]]()
    decode = Decoder(bag.definitions)
    for message in bag.messages():
        topic = message.place.topic
        try:
            if message.kind in IMAGES:
                header = parse_header(message.data)
                index.pictures.append(Picture(
                    message.place, message.kind, header.frame_id, header.stamp, message.at_ns))
            elif message.kind == BOXES and topic in truth_topics:
                frame, boxes = _labelled_boxes(decode(message.kind, message.data))
                index.boxes.setdefault(frame, []).extend(boxes)
            elif _is_ours(topic, message.kind) and not (
                    '/truth/' in topic and not is_truth(topic, truth_topics)):
                content = decode(message.kind, message.data)
                _refuse_other_versions(message.kind, content)
                if is_truth(topic, truth_topics) or _is_kept(message.kind, content, index):
                    small.append((message, content))
        except Exception as error:  # whatever damaged or foreign bytes lead to
            what = error.message if isinstance(error, PerceptionError) else (
                f'{type(error).__name__}: {error}')
            broken[topic, what] += 1
    check_topics(bag, truth_topics, (RESULTS, ANSWERS, BOXES))
    check_topics(bag, image_topics, IMAGES)
    index.pictures.sort(key=lambda picture: picture.at_ns)
    small.sort(key=lambda item: item[0].at_ns)
    _take_results(index, small, truth_topics)
    _take_instructions(index, small)
    index.problems += bag.problems + [
        f'{topic}: {number} × cannot be read: {what}'
        for (topic, what), number in broken.items()]
    _name_misfits(bag, index)
    return index


def is_truth(topic: str, truth_topics: Sequence[str]) -> bool:
    """Tell whether results or answers on a topic are true ones."""
    if not truth_topics:
        return '/truth/' in topic
    beside = {f'{_folder(chosen)}/answer' for chosen in truth_topics
              if chosen.endswith('/detections')}
    return topic in beside.union(truth_topics)


def check_topics(bag: Bag, topics: Sequence[str], kinds: Sequence[str]) -> None:
    """:raises BagError: a topic is not in the bag, or is of none of the types."""
    for topic in topics:
        kind = bag.topics.get(topic)
        if kind is None:
            near = difflib.get_close_matches(topic, bag.topics, 1)
            fit = sorted(name for name, kind in bag.topics.items() if kind in kinds)
            raise BagError(f'{bag.path}: no topic {topic}' + (
                f', is it {near[0]}?' if near else f'; of its type: {", ".join(fit) or "none"}'))
        if kind not in kinds:
            raise BagError(f'{bag.path}: {topic} is {kind}, not {" or ".join(kinds)}')


def _is_ours(topic: str, kind: str) -> bool:
    return kind in (RESULTS, ANSWERS, INSTRUCTIONS) or (kind == TEXTS and topic.endswith(_TEXT))


def _refuse_other_versions(kind: str, content: Any) -> None:
    """:raises AttributeError, ValueError: a field is missing, or has a value that is not known."""
    if kind == RESULTS:
        read_result(content)
    elif kind == ANSWERS:
        _key(content)
    elif kind == INSTRUCTIONS:
        Mode(content.mode)


def _is_kept(kind: str, content: Any, index: Index) -> bool:
    """Leave out at once what comes with every frame: results on their way, and of the tracker."""
    if kind not in (RESULTS, ANSWERS):
        return True
    outcome = content.outcome
    is_tracked = outcome.source == Source.TRACKED
    if kind == RESULTS:
        if outcome.is_final:
            index.answered_ids.add(outcome.instruction_id)
        index.counts['part of a result'] += not outcome.is_final
        index.counts['result of the tracker'] += outcome.is_final and is_tracked
    return bool(outcome.is_final and not is_tracked)


def _key(message: Any) -> tuple[str, str, int, int]:
    """Give what an Answer and the DetectionArray that it belongs to have in common."""
    stamp = message.header.stamp
    return message.outcome.instruction_id, message.outcome.camera, stamp.sec, stamp.nanosec


def _take_results(
    index: Index, messages: Sequence[tuple[BagMessage, Any]], truth_topics: Sequence[str],
) -> None:
    answers: dict[tuple[bool, Any], dict[str, Any]] = {}
    for message, content in messages:
        if message.kind == ANSWERS:
            topic = message.place.topic
            key = is_truth(topic, truth_topics), _key(content)
            answers.setdefault(key, {})[_folder(topic)] = content
    seen: set[tuple[Any, ...]] = set()
    results = [item for item in messages if item[0].kind == RESULTS]
    # What is latched for latecomers was published before, and is taken where that is not there.
    for message, content in sorted(results, key=lambda item: item[0].place.topic.endswith(_LAST)):
        topic = message.place.topic
        true = is_truth(topic, truth_topics)
        beside = answers.get((true, _key(content)), {})
        answer = beside.get(_folder(topic)) or next(iter(beside.values()), None)
        result = read_result(content, answer)
        key = (true, result.instruction_id, result.text, result.camera, _frame(result),
               result.sequence)
        if (*key, topic) in seen or (topic.endswith(_LAST) and (*key, '') in seen):
            index.counts['result that came twice'] += 1
            continue
        seen |= {(*key, topic), (*key, '')}
        found = Answered(message.at_ns, topic, result)
        (index.truths if true else index.answered).append(found)
    index.answered.sort(key=lambda item: item.at_ns)


def _take_instructions(index: Index, messages: Sequence[tuple[BagMessage, Any]]) -> None:
    for message, content in messages:
        if message.kind == TEXTS:
            index.asked.append(Asked(message.at_ns, '', content.data, Task.AUTO))
        # Empty: nothing is active.
        elif message.kind == INSTRUCTIONS and content.text and content.mode != Mode.STOP:
            task = Task(content.task) if content.task in set(Task) else Task.AUTO
            item = Asked(message.at_ns, content.id, content.text, task)
            is_active = message.place.topic.endswith(_ACTIVE)
            (index.active if is_active else index.asked).append(item)


def _name_misfits(bag: Bag, index: Index) -> None:
    """Name topics that are called as ours and are of another type, where none of ours is.

    Truth that is not read is missing in the figures; other detectors may call theirs as they like.
    """
    for topic, kind in bag.topics.items():
        wanted, is_true = _EXPECTED.get(topic.rpartition('/')[2]), '/truth/' in topic
        has_other = any(other == wanted and ('/truth/' in name) == is_true
                        for name, other in bag.topics.items())
        if wanted and kind != wanted and not has_other:
            (index.problems if is_true else bag.notes).append(
                f'{topic} is {kind}, not {wanted}: not read')


def _labelled_boxes(message: Any) -> tuple[Frame, list[LabelledBox]]:
    """Read a vision_msgs/Detection2DArray; the first hypothesis is the class.

    :raises ValueError: a box is turned, so that it is none of ours.
    """
    stamp, found = message.header.stamp, []
    for detection in message.detections:
        center, box = detection.bbox.center, detection.bbox
        if center.theta:
            raise ValueError(f'a box that is turned by {center.theta} rad')
        x, y, half = center.position.x, center.position.y, (box.size_x / 2, box.size_y / 2)
        label = detection.results[0].hypothesis.class_id if len(detection.results) else ''
        found.append(LabelledBox(label, (x - half[0], y - half[1], x + half[0], y + half[1])))
    return (message.header.frame_id, Stamp(stamp.sec, stamp.nanosec).nanoseconds), found


def _frame(result: Result) -> Frame:
    return result.frame_id, result.stamp.nanoseconds


def _folder(topic: str) -> str:
    return topic.rpartition('/')[0]
