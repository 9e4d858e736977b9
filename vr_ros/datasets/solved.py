"""VisionReasoner's training data as published: boxes and points as JSON, images resized.

Columns: id, problem, solution, image; img_width and img_height are of the picture before it was
resized, and not needed. Source: VisionReasoner_multi_object_7k_840 and its like on the hub.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from vr_ros.core.types import Task
from vr_ros.datasets.columns import Rows
from vr_ros.datasets.pictures import Pictures
from vr_ros.datasets.sample import (
    DataSetError,
    Sample,
    SampleError,
    check_boxes,
    read_json,
    size_of,
)
from vr_ros.datasets.truth import Truth

COLUMNS = ('id', 'problem', 'solution', 'image')


class Solved:
    """Samples from the rows of such a table; ids are the numbers of the rows.

    ``has_groups``: see :class:`~vr_ros.datasets.columns.Columns`.

    :raises DataSetError: with the columns that are missing, or if there is no row.
    """

    def __init__(self, rows: Rows) -> None:
        missing = [name for name in COLUMNS if name not in rows.columns]
        if missing:
            raise DataSetError(f'{rows.name}: lacks the columns {", ".join(missing)};'
                               f' it has {", ".join(rows.columns)}')
        if not len(rows):
            raise DataSetError(f'{rows.name}: no rows')
        self._rows, self.name = rows, rows.name
        self.has_groups = getattr(rows, 'has_groups', False)
        self.ids = tuple(map(str, range(len(rows))))
        self._pictures = Pictures()

    def load(self, place: int) -> Sample:
        """Read one sample.

        :raises SampleError: if its image or its objects cannot be used.
        """
        row = self._rows.row(place)
        problem = row['problem']
        if not isinstance(problem, str) or not problem.strip():
            raise SampleError(f'the text is {problem!r}')
        image, name = self._pictures.read(row['image'], row)
        try:
            boxes, points = _objects(read_json(row['solution']))
        except (KeyError, TypeError, ValueError) as error:
            raise SampleError(f'broken solution: {type(error).__name__} {error}') from error
        size = size_of(image)
        truth = Truth(name, size, boxes=check_boxes(boxes, size), points=points)
        return Sample(image, problem, truth, Task.DETECTION)


def _objects(items: Any) -> tuple[list[Any], np.ndarray]:
    """:return: boxes, and (N, 2) points."""
    boxes = [item['bbox_2d'] for item in items]
    return boxes, np.array([item['point_2d'] for item in items], float).reshape(-1, 2)
