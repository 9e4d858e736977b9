"""What people annotated on frames of a bag, found by the frames' names: COCO, CVAT XML or YOLO.

An object belongs to an instruction whose text is its label, case and punctuation aside, or whose
text was given that label by name. On a frame that was annotated no object of the label means that
nothing there is what the instruction asks for.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from vr_ros.bags.index import Picture
from vr_ros.bags.questions import Questions
from vr_ros.core.text_match import normalise_answer
from vr_ros.core.types import Size
from vr_ros.datasets.annotations import Annotations
from vr_ros.datasets.registry import open_data_set
from vr_ros.datasets.sample import DataSetError, check_boxes, digest
from vr_ros.datasets.truth import Truth


class FrameTruths:
    """Annotations by the name of a frame and the text of an instruction.

    :param label_of: labels by text, beside those that are a text themselves.
    :raises DataSetError: a label is not among those of the annotations.
    """

    def __init__(self, annotations: Annotations, label_of: Mapping[str, str]) -> None:
        unknown = sorted(set(label_of.values()) - annotations.labels)
        if unknown:
            raise DataSetError(f'{annotations.name}: no label {unknown[0]!r}; there are'
                               f' {_some(annotations.labels)}')
        self._annotations = annotations
        self._labels = {normalise_answer(label): label for label in sorted(annotations.labels)}
        self._labels |= {normalise_answer(text): label for text, label in label_of.items()}
        # Where labels are given by name, another one is another truth.
        self.name = annotations.name + (
            f' {digest(*map(str, sorted(label_of.items())))}' if label_of else '')

    def find(self, picture: Picture, text: str, size: Size) -> Truth | None:
        """Find the truth of an instruction about an image; None: it is not known.

        :raises SampleError: an annotation cannot be used.
        """
        label = self._labels.get(normalise_answer(text))
        if label is None or picture.name not in self._annotations.images:
            return None
        truth = self._annotations.annotated(picture.name, label, size)
        if truth is None:
            return Truth(picture.name, size, label, boxes=[], masks=())
        return replace(truth, image=picture.name)

    def require_some(self, pictures: Iterable[Picture], texts: Iterable[str]) -> None:
        """Make sure that these annotations are of these frames, and about these instructions.

        :raises DataSetError: none of them is, with the names that are looked for.
        """
        names = {picture.name for picture in pictures}
        if not names & self._annotations.images:
            raise DataSetError(
                f'{self.name}: none of its images ({_some(self._annotations.images)}) is one that'
                f' was asked about ({_some(names)}); --export-images writes those')
        texts = set(texts)
        if not any(normalise_answer(text) in self._labels for text in texts):
            raise DataSetError(
                f'{self.name}: none of its labels ({_some(self._annotations.labels)}) is an'
                f' instruction ({_some(texts)}); --label "INSTRUCTION=LABEL" says which is which')


def open_truths(path: Path, label_of: Mapping[str, str]) -> FrameTruths:
    """Open annotations: COCO JSON, CVAT XML, or a folder of YOLO labels.

    :raises DataSetError: it is neither, or a label is not among its labels.
    """
    parts = sorted(part.name for part in (path / 'labels').glob('*/'))
    annotations = open_data_set(str(path), parts[0] if len(parts) == 1 else '')
    if not isinstance(annotations, Annotations):
        raise DataSetError(f'{path}: annotations of frames are COCO JSON, CVAT XML or YOLO labels')
    return FrameTruths(annotations, label_of)


class TopicBoxes:
    """True objects that the bag itself tells, image by image, as annotations of its frames.

    :param topics: whose boxes these are; they are part of the name.
    """

    def __init__(self, questions: Questions, topics: Iterable[str]) -> None:
        self.name = ', '.join(topics)
        self._boxes = {
            item.picture.name: questions.boxes[item.picture.frame] for item in questions.items
            if item.picture is not None and item.picture.frame in questions.boxes}
        self.images = frozenset(self._boxes)
        self.labels = frozenset(
            found.label for boxes in questions.boxes.values() for found in boxes)

    def annotated(self, image: str, label: str, size: Size) -> Truth | None:
        """Give the objects of a class on an image; None where there is none.

        :raises SampleError: a box lies outside the image.
        """
        boxes = [found.box for found in self._boxes[image] if found.label == label]
        return Truth(image, size, label, check_boxes(boxes, size)) if boxes else None


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    return ', '.join(names[:3]) + (', …' if len(names) > 3 else '') or 'none'
