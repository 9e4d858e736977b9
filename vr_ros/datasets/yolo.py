"""YOLO's folders of images and labels: every class that an image has is asked for."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Set
from pathlib import Path

import numpy as np
import yaml

from vr_ros.core.types import Size, Task
from vr_ros.datasets.regions import polygon_to_rle
from vr_ros.datasets.sample import (
    DataSetError,
    Sample,
    SampleError,
    check_boxes,
    digest,
    read_image,
    require_unique,
    size_of,
)
from vr_ros.datasets.truth import Truth

IMAGES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp')


class Yolo:
    """Samples from ``labels/[SPLIT/]*.txt`` and ``images/[SPLIT/]``; the instruction is the class's
    name from ``data.yaml``.

    A line is ``class x y width height`` of a box, centre first, or ``class x y x y …`` of a
    polygon; all are shares of the image's width and height. ``images`` are the names without suffix
    of all that have a file of labels, be it empty, ``labels`` the names of all classes.

    :raises DataSetError: if names or labels are missing.
    """

    def __init__(self, folder: Path, split: str = '') -> None:
        self._names = _names(folder)
        self._images = folder / 'images' / split
        labels = folder / 'labels' / split
        texts = {path.stem: path.read_text(errors='replace') for path in sorted(
            labels.glob('*.txt'))}
        self._samples = [(stem, number, rows) for stem, text in texts.items()
                         for number, rows in _by_class(text).items()]
        if not self._samples:
            raise DataSetError(f'{labels}: no labels; --split names a folder in it')
        self.name = (f'{folder.resolve().name}/{split or "labels"}'
                     f' {digest(*texts, *texts.values(), str(self._names))}')
        self.ids = tuple(f'{stem}/{number}' for stem, number, _ in self._samples)
        require_unique(self.ids, labels)
        self.images, self.labels = frozenset(texts), frozenset(self._names.values())

    def load(self, place: int) -> Sample:
        """Read one sample.

        :raises SampleError: if its image or a label cannot be used.
        """
        stem, number, rows = self._samples[place]
        if number not in self._names:
            raise SampleError(f'class {number} has no name in data.yaml')
        found = (self._images / f'{stem}{suffix}' for suffix in IMAGES)
        image = read_image(next((p for p in found if p.exists()), self._images / f'{stem}.jpg'))
        category = self._names[number]
        return Sample(image, category, _truth(stem, size_of(image), category, rows), Task.DETECTION)

    def annotated(self, image: str, label: str, size: Size) -> Truth | None:
        """Read what is annotated on an image, without the image.

        :param image: its file's name without suffix, one of ``images``.
        :param label: one of ``labels``.
        :return: None where no object has the label.
        :raises SampleError: if a line of the labels cannot be used.
        """
        rows = [row for stem, number, rows in self._samples
                if stem == image and self._names.get(number) == label for row in rows]
        return _truth(image, size, label, rows) if rows else None

    def labels_at(self, place: int) -> Set[str]:
        """Name the labels of all objects that are annotated in the image of a sample."""
        image = self._samples[place][0]
        return {self._names.get(number, '') for stem, number, _ in self._samples if stem == image}


def _names(folder: Path) -> dict[str, str]:
    """Read the names of classes by their number, which is a text here."""
    path = folder / 'data.yaml'
    try:
        names = yaml.safe_load(path.read_text())['names']
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {str(number): str(name) for number, name in pairs}
    except (OSError, TypeError, KeyError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataSetError(
            f'{path}: no names of classes: {type(error).__name__} {error}') from error


def _by_class(text: str) -> dict[str, list[list[str]]]:
    rows: dict[str, list[list[str]]] = defaultdict(list)
    for line in text.splitlines():
        if line.strip():
            number, *rest = line.split()
            rows[number].append(rest)
    return rows


def _truth(image: str, size: Size, category: str, rows: list[list[str]]) -> Truth:
    """A box is taken as it is, a polygon by its corners; masks where all are polygons.

    :raises SampleError: if a row is neither.
    """
    scale = np.array([size.width, size.height], float)
    boxes, masks = [], []
    try:
        for row in rows:
            numbers = np.array(row, float)
            if len(numbers) == 4:
                centre, half = numbers[:2] * scale, numbers[2:] * scale / 2
                boxes.append([*(centre - half), *(centre + half)])
            elif len(numbers) >= 6 and len(numbers) % 2 == 0:
                corners = numbers.reshape(-1, 2) * scale
                boxes.append([*corners.min(0), *corners.max(0)])
                masks.append(polygon_to_rle(corners.ravel().tolist(), size))
            else:
                raise ValueError(f'{len(numbers)} numbers, neither a box nor a polygon')
    except ValueError as error:
        raise SampleError(f'label of {image}: {error}') from error
    return Truth(image, size, category, check_boxes(boxes, size),
                 tuple(masks) if len(masks) == len(rows) else None)
