"""From a draft to a row: the image stored, the truth in its pixels, and how it is scored."""
from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from vr_ros.core.types import Size
from vr_ros.datasets.sample import SampleError, size_of
from vr_ros.training.data.ground_truth import Objects, mask_json, objects_of, reward_sample, task_of
from vr_ros.training.data.schema import Row, RowError, check_row
from vr_ros.training.data.source import Draft
from vr_ros.training.data.storage import Storage
from vr_ros.training.rewards import samples
from vr_ros.training.rewards.scoring import Scorer

# Looks at the stored image and its objects, and raises LeftOut if they are not wanted.
ObjectFilter = Callable[[np.ndarray, Objects], None]


class Converter:
    """Makes rows of drafts.

    :param source: name of the data source, for drafts that do not say theirs.
    :param accept: a last look at image and objects.
    """

    def __init__(self, source: str, split: str, storage: Storage,
                 accept: ObjectFilter | None = None) -> None:
        self._source, self._split, self._storage, self._accept = source, split, storage, accept
        self._scorer = Scorer()
        # Instructions about one image follow each other.
        self._last: tuple[np.ndarray, np.ndarray, bytes] | None = None

    def row(self, draft: Draft) -> Row:
        """Make the row of a draft.

        :raises vr_ros.datasets.sample.SampleError: it is broken.
        :raises vr_ros.training.data.source.LeftOut: it is not wanted.
        """
        truth, source = draft.truth, draft.data_source or self._source
        name, task = f'{source}/{draft.id}', task_of(draft)
        image, content, size, extra = None, None, Size(0, 0), dict(draft.extra)
        if draft.image is not None:
            image, content = self._stored(draft.image)
            size = size_of(image)
            if size != size_of(draft.image):
                extra['original_size'] = [draft.image.shape[1], draft.image.shape[0]]
        objects = objects_of(draft, size)
        if self._accept and objects and image is not None:
            self._accept(image, objects)
        has_masks = self._storage.with_masks and objects and objects.masks is not None
        try:
            sample = reward_sample(draft, task, objects, name, source, size)
            self._scorer.check(sample)
            row = Row(
                name, source, draft.ability or task.name.lower(), self._split, draft.problem,
                task.name.lower(), sample.to_json(), content, truth.image or None, size.width,
                size.height, mask_json(objects.masks) if has_masks else None,
                extra=json.dumps(extra, ensure_ascii=False, sort_keys=True))
            check_row(row)
        except (RowError, samples.SampleError) as error:
            raise SampleError(str(error)) from error
        return row

    def _stored(self, image: np.ndarray) -> tuple[np.ndarray, bytes]:
        if self._last is None or self._last[0] is not image:
            stored = self._storage.resize(image)
            self._last = image, stored, self._storage.encode(stored)
        return self._last[1:]
