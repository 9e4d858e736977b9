"""LISA++'s instance segmentation: questions about COCO's images, answered by objects of COCO.

``data.json`` (or ``LISA_Plus_Instance_Seg.json``) is a list; an entry names its image
(``img_path``), its question (``English Question``), COCO's annotations that answer it (``ID``) and
what each of them is called (``points``: by id, with ``label name``). Masks are COCO's own.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vr_ros.core.types import Task
from vr_ros.datasets.coco import truth_of
from vr_ros.datasets.sample import (
    DataSetError,
    Sample,
    SampleError,
    digest,
    read_image_in,
    read_json,
    size_of,
)

INSTANCES = 'instances_train2017.json'
QUESTION = 'English Question'
_FOLDERS = ('', 'images', 'train2017', 'images/train2017')
# An entry may begin with the outlines of its objects.
_FIRST_BYTES = 1 << 20


def is_lisa_plus(path: Path) -> bool:
    """Say whether a file holds such questions, by its beginning: it may be large."""
    if path.suffix != '.json' or not path.is_file():
        return False
    with path.open('rb') as file:
        return f'"{QUESTION}"'.encode() in file.read(_FIRST_BYTES)


class LisaPlus:
    """One sample per question; ids are the numbers of the entries, from 0.

    Images lie beside the file or in ``train2017``, there or one folder up; so does
    ``instances_train2017.json``, in ``annotations`` or not.

    :param path: of the file.
    :raises DataSetError: if it is no such file, or COCO's annotations are not there.
    """

    figure = 'gIoU'

    def __init__(self, path: Path) -> None:
        places = [path.parent, path.parent.parent]
        instances = next((file for base in places for folder in ('', 'annotations')
                          if (file := base / folder / INSTANCES).is_file()), None)
        if instances is None:
            raise DataSetError(
                f'{path}: its objects are those of COCO: {INSTANCES} of COCO 2017 has to lie'
                ' beside it, or in annotations/')
        try:
            parts = [path.read_bytes(), instances.read_bytes()]
            entries, content = map(read_json, parts)
        except (OSError, ValueError) as error:
            raise DataSetError(f'{path}: {error}') from error
        if not isinstance(entries, list) or not entries:
            raise DataSetError(f'{path}: no list of questions')
        try:
            self._annotations = {item['id']: item for item in content['annotations']}
            self._images = {image['file_name']: image for image in content['images']}
        except (KeyError, TypeError) as error:
            raise DataSetError(f'{instances}: no COCO instances:'
                               f' {type(error).__name__} {error}') from error
        self._entries: Sequence[Any] = entries
        self._folders = [base / name for base in places for name in _FOLDERS]
        self.name = f'{path.parent.resolve().name}/{path.name} {digest(*parts)}'
        self.ids = tuple(map(str, range(len(entries))))

    def load(self, place: int) -> Sample:
        """Read one sample.

        :raises SampleError: if its image or an annotation cannot be used.
        """
        try:
            text, name, annotations, labels = self._read(self._entries[place])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SampleError(f'broken entry: {type(error).__name__} {error}') from error
        if not isinstance(text, str) or not text.strip():
            raise SampleError(f'the text is {text!r}')
        if not annotations:
            raise SampleError('no objects')
        pixels = read_image_in(self._folders, name)
        try:
            truth = truth_of(size_of(pixels), self._images[name], '', annotations, labels)
        except (KeyError, TypeError, ValueError) as error:
            raise SampleError(f'broken annotation: {type(error).__name__} {error}') from error
        return Sample(pixels, text, truth, Task.SEGMENTATION)

    def _read(
        self, entry: Mapping[str, Any],
    ) -> tuple[Any, str, list[Mapping[str, Any]], tuple[str, ...]]:
        """:return: question, image, annotations and what they are called, if all are called so."""
        name = Path(str(entry['img_path'])).name
        image = self._images[name]['id']
        # Some ids are listed twice: the object is still one.
        ids = list(dict.fromkeys(int(number) for number in entry['ID']))
        annotations = [self._annotations[number] for number in ids]
        strangers = [a['id'] for a in annotations if a['image_id'] != image]
        if strangers:
            raise ValueError(f'objects of another image: {strangers}')
        called = entry.get('points') or {}
        labels = tuple(str((called.get(str(number)) or {}).get('label name') or '')
                       for number in ids)
        return entry[QUESTION], name, annotations, labels if all(labels) else ()
