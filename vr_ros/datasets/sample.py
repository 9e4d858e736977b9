"""One sample of a data set, and how what is wrong with it is said."""
from __future__ import annotations

import hashlib
import io
import json
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vr_ros.core.types import Mask, Size, Task
from vr_ros.datasets.truth import Truth

# What pillow raises for contents that are no image, or only the beginning of one.
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)
# Of a message, in characters: all names of sets fit into it.
_LONGEST = 1500


class _OneLine(Exception):
    def __init__(self, message: str) -> None:
        # What libraries say, and what files hold, may have several lines, or no end.
        line = ' '.join(message.split())
        super().__init__(line if len(line) <= _LONGEST else f'{line[:_LONGEST]}…')


class DataSetError(_OneLine):
    """A data set that cannot be read at all, in one line that says what to do."""


class SampleError(_OneLine):
    """A sample that cannot be used, in one line; the others can."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image, one instruction about it, and what is true.

    :param image: (H, W, 3) uint8 RGB.
    :param task: AUTO where the words are to tell.
    :param kind: of question, in the data set's own words; empty where it has none.
    """

    image: np.ndarray
    instruction: str
    truth: Truth
    task: Task = Task.AUTO
    kind: str = ''


class DataSet(Protocol):
    """Samples by their place; opened anew by each process, so that nothing large is passed on.

    ``name``: what it is and a digest of what it was read from. ``ids``: one per sample, each once,
    the same whenever the same files are read. One that is scored by one figure above all names it
    in ``figure``, see :func:`main_figure`.
    """

    name: str
    ids: Sequence[str]

    def load(self, place: int) -> Sample:
        """Read one sample.

        :raises SampleError: if it cannot be used.
        """


def decode_image(data: bytes) -> np.ndarray:
    """Decode an image file, upright as its EXIF entry says.

    :return: (H, W, 3) uint8 RGB.
    :raises SampleError: if it is none, is cut off, or has more than 8 bits per channel.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            if picture.mode[0] in 'IF':
                raise SampleError(f'broken image: mode {picture.mode}, not 8 bits per channel')
            return np.array(ImageOps.exif_transpose(picture).convert('RGB'))
    except UnidentifiedImageError as error:
        # Its own words name an address in memory, another one each time.
        raise SampleError('broken image: of no known format') from error
    except _BROKEN as error:
        raise SampleError(f'broken image: {error}') from error


def read_image(path: Path) -> np.ndarray:
    """Read an image file, see :func:`decode_image`.

    :raises SampleError: if it is not there or is no whole image.
    """
    try:
        data = read_file(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SampleError(f'no image {path.name[:80]}: {reason}') from error
    return decode_image(data)


def read_file(path: Path) -> bytes:
    """Read a file that a data set names: not a device, which may never end.

    :raises OSError, ValueError: if it is no file, or cannot be read.
    """
    if path.exists() and not path.is_file():
        raise ValueError('not a file')
    return path.read_bytes()


def read_json(text: str | bytes) -> Any:
    """Read JSON that comes from anywhere.

    :raises ValueError: if it is none, or is nested so deeply that it cannot be meant.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError('JSON that is nested too deeply') from error


def read_image_in(folders: Iterable[Path], name: str) -> np.ndarray:
    """Read an image from the first of these folders that has it, see :func:`read_image`.

    :raises SampleError: if none has it, or it is no whole image.
    """
    found = (folder / name for folder in folders)
    return read_image(next((path for path in found if os.path.exists(path)), Path(name)))


def size_of(image: np.ndarray) -> Size:
    """Give width and height of an image in pixels."""
    return Size(image.shape[1], image.shape[0])


def check_boxes(values: Any, size: Size) -> np.ndarray:
    """Make sure that boxes are boxes in an image.

    :param values: N times x_min, y_min, x_max, y_max in pixels.
    :return: (N, 4) float64.
    :raises SampleError: with the box that is none.
    """
    try:
        boxes = np.array(values, float).reshape(-1, 4)
    except (TypeError, ValueError) as error:
        raise SampleError(f'boxes are four numbers each: {error}') from error
    for box in boxes:
        x_min, y_min, x_max, y_max = box
        if not (np.isfinite(box).all() and x_min <= x_max and y_min <= y_max):
            raise SampleError(f'box {box.tolist()}: not x_min, y_min, x_max, y_max')
        if x_min > size.width or y_min > size.height or x_max < 0 or y_max < 0:
            raise SampleError(
                f'box {box.tolist()} lies outside the image of {size.width}x{size.height}')
    return boxes


def check_sizes(masks: Iterable[Mask], size: Size) -> None:
    """Make sure that masks are of their image's size.

    :raises SampleError: with both sizes.
    """
    for mask in masks:
        if mask.size != size:
            raise SampleError(f'a mask of {mask.size.width}x{mask.size.height} for an image of'
                              f' {size.width}x{size.height}')


def main_figure(data_set: DataSet) -> str:
    """Name the figure by which a data set is scored; empty where it is by none above others."""
    return getattr(data_set, 'figure', '')


def digest(*contents: bytes | str) -> str:
    """Give contents a short name that other contents do not have."""
    hasher = hashlib.sha256()
    for content in contents:
        data = content.encode('utf-8', 'replace') if isinstance(content, str) else content
        hasher.update(len(data).to_bytes(8, 'little') + data)
    return hasher.hexdigest()[:12]


def require_unique(ids: Sequence[str], where: Path) -> None:
    """Make sure that each sample has an id of its own.

    :raises DataSetError: with an id that two have.
    """
    seen: set[str] = set()
    for sample_id in ids:
        if sample_id in seen:
            raise DataSetError(f'{where}: id {sample_id!r} is there twice')
        seen.add(sample_id)
