"""Pictures of one's own, as files."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vr_ros.core.types import PerceptionError, Status
from vr_ros.nodes.demo.still import read_picture

PICTURE = np.random.default_rng(3).integers(0, 256, (12, 20, 3), np.uint8)


@pytest.mark.parametrize(('picture', 'expected'), [
    (PICTURE[..., ::-1], PICTURE),                                             # colour
    (PICTURE[..., 0], np.repeat(PICTURE[..., :1], 3, 2)),                      # grey
    (np.dstack([PICTURE[..., ::-1], PICTURE[..., 0]]), PICTURE),               # with alpha
    (PICTURE[..., ::-1].astype(np.uint16) * 257, PICTURE),                     # 16 bits
])
def test_every_picture_becomes_rgb(
        tmp_path: Path, picture: np.ndarray, expected: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / 'ä.png'), picture)
    found = read_picture(tmp_path / 'ä.png')
    assert (found.dtype, found.shape) == (np.uint8, (12, 20, 3))
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize('content', [b'', b'no picture', b'\x89PNG\r\n\x1a\n'])
def test_what_is_no_picture_is_a_bad_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'x.png').write_bytes(content)
    with pytest.raises(PerceptionError, match='no picture') as error:
        read_picture(tmp_path / 'x.png')
    assert error.value.status is Status.BAD_IMAGE


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match='not_there'):
        read_picture(tmp_path / 'not_there.png')
