"""COCO's JSON of instances, which CVAT and others export, and LVIS's: every category that an image
has is asked for."""
from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vr_ros.core.types import Size, Task
from vr_ros.datasets.annotations import ByLabel
from vr_ros.datasets.regions import read_region
from vr_ros.datasets.sample import (
    DataSetError,
    Sample,
    SampleError,
    check_boxes,
    digest,
    read_image_in,
    read_json,
    require_unique,
    size_of,
)
from vr_ros.datasets.truth import Truth

LISTS = ('images', 'annotations', 'categories')


class Coco(ByLabel):
    """Samples from a file of instances; the instruction is the category's name.

    Images lie, by their file_name, beside the file, in ``images`` or the split's folder beside it,
    or the same one folder up; those of LVIS by the end of their coco_url. What LVIS knows not to be
    in an image is asked for, too, and what it knows to be there without every instance is not.

    ``images`` are the names without suffix of all that are listed, ``labels`` those of all
    categories. ``categories`` and ``numbers`` tell of each sample, without its image, what is asked
    for and how many of these there are; -1: one of them stands for many.

    :param path: of the file.
    :param split: name of a folder with images; may be empty.
    :param absent: so many categories that an image has no object of are asked for, too, others for
        each image. Only for sets that mark every object of every category, which LVIS does not.
    :raises DataSetError: if it is no such file, or an annotation's image or category is not listed.
    """

    def __init__(self, path: Path, split: str = '', absent: int = 0) -> None:
        try:
            data = path.read_bytes()
            content = read_json(data)
        except (OSError, ValueError) as error:
            raise DataSetError(f'{path}: {error}') from error
        missing = [name for name in LISTS if not isinstance(content, dict) or name not in content]
        if missing:
            raise DataSetError(f'{path}: no COCO instances, lacks {", ".join(missing)}')
        self._folders = [base / name for base in (path.parent, path.parent.parent)
                         for name in ('', 'images', split)]
        try:
            self._groups = _groups(content, absent)
        except (KeyError, TypeError) as error:
            raise DataSetError(
                f'{path}: {type(error).__name__} {error} in its images, annotations or categories'
            ) from error
        if not self._groups:
            raise DataSetError(f'{path}: no annotations')
        if absent and any('neg_category_ids' in image for image in content['images']):
            raise DataSetError(f'{path}: not every category is marked in every image: what is'
                               ' absent is known by neg_category_ids alone')
        self.name = f'{path.parent.resolve().name}/{path.name} {digest(data)}'
        self.ids = tuple(f'{image["id"]}/{category}' for image, category, _ in self._groups)
        require_unique(self.ids, path)
        self.categories = tuple(category for _, category, _ in self._groups)
        self.numbers = tuple(
            -1 if any(a.get('iscrowd') for a in annotations) else len(annotations)
            for _, _, annotations in self._groups)
        self.images = frozenset(Path(str(i.get('file_name'))).stem for i in content['images'])
        self.labels = frozenset(str(category['name']) for category in content['categories'])
        self._places = {(Path(str(image.get('file_name'))).stem, category): place
                        for place, (image, category, _) in enumerate(self._groups)}

    def load(self, place: int) -> Sample:
        """Read one sample.

        :raises SampleError: if its image or an annotation cannot be used.
        """
        image, category, _ = self._groups[place]
        url = str(image.get('coco_url', '')).split('/')
        name = str(image.get('file_name') or '/'.join(url[-2:]))
        pixels = read_image_in(self._folders, name)
        return Sample(pixels, category, self._truth(place, size_of(pixels)), Task.DETECTION)

    def _truth(self, place: int, size: Size) -> Truth:
        try:
            return truth_of(size, *self._groups[place])
        except (KeyError, TypeError, ValueError) as error:
            raise SampleError(f'broken annotation: {type(error).__name__} {error}') from error


def _groups(
    content: Mapping[str, Any], absent: int,
) -> list[tuple[Mapping[str, Any], str, list[Any]]]:
    """Put together the annotations of one image and one category, in the order of the images."""
    images = {image['id']: image for image in content['images']}
    names = {category['id']: str(category['name']) for category in content['categories']}
    of: dict[tuple[Any, Any], list[Any]] = defaultdict(list)
    for annotation in content['annotations']:
        of[annotation['image_id'], annotation['category_id']].append(annotation)
    for image_id, image in images.items():
        for category in image.get('neg_category_ids', ()):
            of.setdefault((image_id, category), [])
        for category in image.get('not_exhaustive_category_ids', ()):
            of.pop((image_id, category), None)
    if absent:
        of.update(((image_id, category), []) for image_id, category in _absent(
            images, sorted(names), of.keys(), absent))
    order = {image_id: place for place, image_id in enumerate(images)}
    return [(images[image_id], names[category_id], of[image_id, category_id])
            for image_id, category_id in sorted(of, key=lambda key: (order[key[0]], key[1]))]


def _absent(
    images: Iterable[Any], categories: Sequence[Any], there: Collection[tuple[Any, Any]],
    number: int,
) -> Iterator[tuple[Any, Any]]:
    """Draw categories that images have no object of; the same ones whatever else is listed."""
    for image_id in images:
        drawn = np.random.default_rng(zlib.crc32(str(image_id).encode())).permutation(
            len(categories))
        missing = ((image_id, categories[place]) for place in drawn)
        yield from islice((key for key in missing if key not in there), number)


def truth_of(
    size: Size, image: Mapping[str, Any], category: str, annotations: Sequence[Any],
    labels: tuple[str, ...] = (),
) -> Truth:
    """Make what is true of annotations of one image; without any, nothing is there.

    :param labels: words for them, if any.
    :raises SampleError, KeyError, TypeError, ValueError: if one of them cannot be used.
    """
    stated = image.get('width', size.width), image.get('height', size.height)
    if stated != (size.width, size.height):
        raise SampleError(f'an image of {size.width}x{size.height}, stated to be'
                          f' {stated[0]}x{stated[1]}')
    xywh = np.array([a['bbox'] for a in annotations], float).reshape(-1, 4)
    has_masks = all(a.get('segmentation') for a in annotations)
    has_areas = all('area' in a for a in annotations)
    return Truth(
        str(image['id']), size, category,
        check_boxes(np.hstack((xywh[:, :2], xywh[:, :2] + xywh[:, 2:])), size),
        tuple(read_region(a['segmentation'], size) for a in annotations) if has_masks else None,
        crowd=np.array([bool(a.get('iscrowd')) for a in annotations]),
        areas_px=np.array([a['area'] for a in annotations]) if has_areas else None,
        labels=labels,
    )
