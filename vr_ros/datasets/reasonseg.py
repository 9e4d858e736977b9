"""ReasonSeg as its authors give it away: photographs, and a JSON file of shapes beside each."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Size, Task
from vr_ros.datasets.sample import (
    DataSetError,
    Sample,
    SampleError,
    digest,
    read_image,
    read_json,
    size_of,
)
from vr_ros.datasets.truth import Truth

TARGET, IGNORE = 1, 255
# No photograph is so large; OpenCV's fixed-point numbers end there.
_FARTHEST_PX = 30_000


def is_reasonseg(folder: Path) -> bool:
    """Say whether a folder, or one in it, holds JSON files each beside a photograph."""
    return folder.is_dir() and any(
        path.with_suffix('.jpg').exists()
        for pattern in ('*.json', '*/*.json') for path in folder.glob(pattern))


class ReasonSeg:
    """One sample per JSON file; the instruction is its first text, its kind sentence or phrase.

    Shapes labelled ignore count neither way in the strict figures, and as true pixels in the
    published ones, as in VisionReasoner's ``ReasonSeg_val``; flags are no pixels.

    :param split: a folder in it; empty: the folder itself, or the only one in it.
    :param all_texts: each text is a sample, as in LISA's training; ids are then FILE/TEXT.
    :raises DataSetError: if there is no JSON file, or which folder is meant is not clear.
    """

    figure = 'gIoU'

    def __init__(self, folder: Path, split: str = '', all_texts: bool = False) -> None:
        if not split and not any(folder.glob('*.json')):
            splits = sorted(path.parent.name for path in folder.glob('*/*.json'))
            if len({*splits}) != 1:
                raise DataSetError(f'{folder}: --split is one of {", ".join(sorted({*splits}))}')
            split = splits[0]
        self._files = sorted((folder / split).glob('*.json'))
        if not self._files:
            raise DataSetError(f'{folder / split}: no JSON files; --split names a folder in'
                               f' {folder}')
        contents = [path.read_bytes() for path in self._files]
        self._texts = [(path, number) for path, content in zip(self._files, contents, strict=True)
                       for number in range(_number_of_texts(content) if all_texts else 1)]
        self.ids = tuple(f'{path.stem}/{number}' if all_texts else path.stem
                         for path, number in self._texts)
        self.name = f'{folder.resolve().name}/{split} {digest(*self.ids, *contents)}'

    def load(self, place: int) -> Sample:
        """Read one sample.

        :raises SampleError: if its image or its shapes cannot be used.
        """
        path, number = self._texts[place]
        try:
            content = read_json(_decode(path.read_bytes()))
            text, shapes = content['text'], content['shapes']
            text = text[number] if isinstance(text, list) else text
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise SampleError(f'{path.name}: {type(error).__name__} {error}') from error
        if not isinstance(text, str) or not text.strip():
            raise SampleError(f'{path.name}: the text is {text!r}')
        image = read_image(path.with_suffix('.jpg'))
        try:
            values = draw(shapes, size_of(image))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SampleError(f'broken shape: {type(error).__name__} {error}') from error
        ignore = values == IGNORE
        truth = Truth(path.stem, size_of(image), region=mask_to_rle(values == TARGET),
                      ignore=mask_to_rle(ignore) if ignore.any() else None)
        kind = 'sentence' if content.get('is_sentence') else 'phrase'
        return Sample(image, text, truth, Task.SEGMENTATION, kind)


def draw(shapes: Sequence[Mapping[str, Any]], size: Size) -> np.ndarray:
    """Draw shapes, larger ones first, so that smaller ones lie on top of them.

    Outlines belong to the shapes; corners are cut to whole pixels. Whatever is labelled neither
    ignore nor flag is a target. Source: the authors' own reader (LISA, utils/data_processing.py),
    by OpenCV as there, because the published masks are drawn so.

    :param shapes: each with its label and its points x, y in pixels.
    :return: (H, W) uint8: 0, TARGET or IGNORE.
    :raises KeyError, TypeError, ValueError: if one is no such shape.
    """
    drawn = []
    for shape in shapes:
        label = shape['label'].lower()
        if label == 'flag':
            continue
        points = np.array(shape['points'], float).reshape(-1, 2)
        if not len(points) or not (np.abs(points) < _FARTHEST_PX).all():
            raise ValueError(f'{label} with corners {points[:3].tolist()}')
        mask = np.zeros((size.height, size.width), np.uint8)
        corners = [points.astype(np.int32)]
        cv2.polylines(mask, corners, True, 1, 1)
        cv2.fillPoly(mask, corners, 1)
        drawn.append((mask.astype(bool), IGNORE if 'ignore' in label else TARGET))
    values = np.zeros((size.height, size.width), np.uint8)
    for pixels, value in sorted(drawn, key=lambda item: -int(item[0].sum())):
        values[pixels] = value
    return values


def _number_of_texts(data: bytes) -> int:
    """Count the texts of a file; one where it is broken, which is told when it is loaded."""
    try:
        text = read_json(_decode(data))['text']
    except (ValueError, KeyError, TypeError):
        return 1
    return max(1, len(text)) if isinstance(text, list) else 1


def _decode(data: bytes) -> str:
    """Read a text; some files are as Windows wrote them."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode('cp1252')
