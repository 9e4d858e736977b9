"""CVAT's own XML for images, version 1.1: boxes, polygons and masks by image and label."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from vr_ros.core.rle import crop_to_rle, rle_box
from vr_ros.core.types import Mask, Size, Task
from vr_ros.datasets.annotations import ByLabel
from vr_ros.datasets.regions import polygon_to_rle
from vr_ros.datasets.sample import (
    DataSetError,
    Sample,
    SampleError,
    check_boxes,
    digest,
    read_image_in,
    require_unique,
    size_of,
)
from vr_ros.datasets.truth import Truth

# Elements of an image that are no shapes.
_NO_SHAPES = ('tag',)


class Cvat(ByLabel):
    """Every label that an image has is asked for; ids are IMAGE/LABEL.

    Images lie, by their names, beside the file or in ``images``, with or without their subset.
    ``images`` are the names without suffix of all that are listed, ``labels`` those of the task.

    :param path: of the XML file.
    :param split: a subset; empty: all images.
    :raises DataSetError: if it is no such file or has no shapes.
    """

    def __init__(self, path: Path, split: str = '') -> None:
        try:
            data = path.read_bytes()
            # Entities can make gigabytes of a few lines; CVAT writes none.
            if b'<!DOCTYPE' in data or b'<!ENTITY' in data:
                raise ValueError('has a document type, which CVAT does not write')
            root = ElementTree.fromstring(data)
        except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:
            raise DataSetError(f'{path}: {error}') from error
        if root.tag != 'annotations' or root.find('track') is not None:
            raise DataSetError(f'{path}: not CVAT for images 1.1: export it in that format')
        self._groups: list[tuple[Element, str, list[Element]]] = []
        listed = [image for image in root.iter('image')
                  if not split or image.get('subset') == split]
        for image in listed:
            shapes: dict[str, list[Element]] = defaultdict(list)
            for shape in image:
                if shape.tag not in _NO_SHAPES:
                    shapes[shape.get('label', '')].append(shape)
            self._groups += [(image, label, shapes[label]) for label in sorted(shapes)]
        if not self._groups:
            raise DataSetError(f'{path}: no shapes' + (f' in subset {split}' if split else ''))
        self._folder = path.parent
        self.name = f'{path.parent.resolve().name}/{path.name} {digest(data)}'
        self.ids = tuple(f'{image.get("id")}/{label}' for image, label, _ in self._groups)
        require_unique(self.ids, path)
        self._places = {(_stem(image), label): place
                        for place, (image, label, _) in enumerate(self._groups)}
        self.images = frozenset(map(_stem, listed))
        self.labels = frozenset(label for _, label in self._places) | {
            name.text or '' for name in root.iterfind('./meta//labels/label/name')}

    def load(self, place: int) -> Sample:
        """Read one sample.

        :raises SampleError: if its image or a shape cannot be used.
        """
        image, label, _ = self._groups[place]
        name, subset = image.get('name', ''), image.get('subset', '')
        folders = (self._folder / base for base in ('', 'images', f'images/{subset}'))
        pixels = read_image_in(folders, name)
        return Sample(pixels, label, self._truth(place, size_of(pixels)), Task.DETECTION)

    def _truth(self, place: int, size: Size) -> Truth:
        image, label, shapes = self._groups[place]
        try:
            stated = int(image.get('width', size.width)), int(image.get('height', size.height))
            if stated != (size.width, size.height):
                raise SampleError(f'an image of {size.width}x{size.height}, stated to be'
                                  f' {stated[0]}x{stated[1]}')
            return _truth(image.get('name', ''), size, label, shapes)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise SampleError(f'broken shape: {type(error).__name__} {error}') from error


def _stem(image: Element) -> str:
    return Path(image.get('name', '')).stem


def _truth(image: str, size: Size, label: str, shapes: Sequence[Element]) -> Truth:
    boxes, masks = [], []
    for shape in shapes:
        mask = _mask(shape, size)
        if mask is not None:
            masks.append(mask)
            box = rle_box(mask)
            if box is None:
                raise ValueError(f'a {shape.tag} without pixels')
            boxes.append(box)
        elif shape.tag == 'box' and not float(shape.get('rotation', 0)):
            boxes.append([float(shape.attrib[name]) for name in ('xtl', 'ytl', 'xbr', 'ybr')])
        else:
            raise ValueError(f'a {"turned " if shape.tag == "box" else ""}{shape.tag} is neither'
                             ' an upright box, a polygon nor a mask')
    return Truth(image, size, label, check_boxes(boxes, size),
                 tuple(masks) if len(masks) == len(shapes) else None)


def _mask(shape: Element, size: Size) -> Mask | None:
    if shape.tag == 'polygon':
        points = [point.split(',') for point in shape.attrib['points'].split(';')]
        return polygon_to_rle([float(number) for point in points for number in point], size)
    if shape.tag != 'mask':
        return None
    left, top, width, height = (
        int(shape.attrib[name]) for name in ('left', 'top', 'width', 'height'))
    if not (0 <= left <= left + width <= size.width and 0 <= top <= top + height <= size.height):
        raise ValueError(f'a mask of {width}x{height} at {left}, {top} reaches out of the image')
    # Row by row, beginning with what is not set; of the part from left, top on.
    runs = np.array(shape.attrib['rle'].split(','), int)
    if (runs < 0).any() or runs.sum() != width * height:
        raise ValueError(f'run lengths of {runs.sum()} pixels for {width}x{height}')
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return crop_to_rle(pixels, left, top, size)
