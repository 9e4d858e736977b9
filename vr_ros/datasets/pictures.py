"""Images of a table: in its rows, or in a folder where rows only link them."""
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vr_ros.datasets.sample import DataSetError, SampleError, decode_image, digest, read_file

FOLDER = 'images'


class Pictures:
    """Reads the images of a table's rows.

    A row that has but a link finds its image as ``images/NAME`` beside the table, whatever its
    suffix, where NAME is the row's ``image_sha256``. Links are never followed: what they lead to
    may have changed, and is not for a data set to say. One that has the path of a file finds it
    below the table's folder, never outside.

    :param folder: that the table lies in; None: links and paths lead nowhere.
    :param inner: folder in it that paths start from.
    """

    def __init__(self, folder: Path | None = None, inner: str = '') -> None:
        self._folder, self._inner = folder, inner

    @cached_property
    def _by_name(self) -> Mapping[str, Path]:
        files = sorted((self._folder / FOLDER).glob('*')) if self._folder else []
        return {path.stem: path for path in files}

    def require(self, name: str) -> None:
        """Make sure that there are images for a table that has only links.

        :raises DataSetError: if there are none, in words that say what to do.
        """
        if not self._by_name:
            raise DataSetError(
                f'{name}: its images are only linked (image_url), and links are not followed:'
                f' fetch them to {FOLDER}/ beside it, each named by its image_sha256, or take a'
                ' copy that holds them, such as counting_pixmo_test of VisionReasoner')

    def read(self, content: Any, row: Mapping[str, Any]) -> tuple[np.ndarray, str]:
        """Read the image of a row.

        :param content: of its column.
        :return: (H, W, 3) uint8 RGB, and a name that only this image has.
        :raises SampleError: if there is none, or no whole one.
        """
        data = self._data(content, row)
        return decode_image(data), f'image {digest(data)}'

    def _data(self, content: Any, row: Mapping[str, Any]) -> bytes:
        if isinstance(content, list) and len(content) != 1:
            raise SampleError(f'{len(content)} images, of which one can be asked about')
        if isinstance(content, list):
            content = content[0]
        if isinstance(content, str):
            is_file = 'image_sha256' not in row and '://' not in content
            return self._file(content) if is_file else self._linked(row)
        data = content.get('bytes') if isinstance(content, Mapping) else content
        if content is None:
            raise SampleError('broken image: there is none')
        if not isinstance(data, bytes):
            raise SampleError('broken image: no bytes of an image file in the column')
        return data

    def _file(self, name: str) -> bytes:
        if self._folder is None:
            raise SampleError(f'no image {name[:80]}: the row has but a link to it')
        root = (self._folder / self._inner).resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise SampleError(f'image {name[:80]} lies outside {root.name}')
        try:
            return read_file(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise SampleError(f'no image {name[:80]}: {reason}') from error

    def _linked(self, row: Mapping[str, Any]) -> bytes:
        name = str(row.get('image_sha256') or '')
        path = self._by_name.get(name) if name else None
        if path is None:
            raise SampleError(f'no image {FOLDER}/{name or "…"}: the row has but a link to it')
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != name:
            raise SampleError(f'image {path.name} is not the one that is meant: another SHA-256')
        return data
