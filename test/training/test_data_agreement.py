"""Instructions stay only if a segmenter draws the true masks of all their objects."""
from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Mask, Size
from vr_ros.datasets.sample import DataSetError
from vr_ros.training.cli import main
from vr_ros.training.data.agreement import Agreement
from vr_ros.training.data.ground_truth import Objects
from vr_ros.training.data.shards import iter_rows, read_broken
from vr_ros.training.data.source import LeftOut

SIZE = Size(20, 10)
IMAGE = np.zeros((10, 20, 3), np.uint8)


def columns(first: int, last: int) -> Mask:
    pixels = np.zeros((10, 20), bool)
    pixels[:, first:last] = True
    return mask_to_rle(pixels)


def objects(*masks: Mask) -> Objects:
    boxes = np.array([[i, 0, i + 5, 10] for i in range(len(masks))]).reshape(-1, 4)
    return Objects(boxes, boxes[:, :2], masks, (), SIZE)


@pytest.mark.parametrize(('true', 'drawn', 'is_kept'), [
    ([columns(0, 10)], [columns(0, 10)], True),
    ([columns(0, 10)], [columns(0, 6)], True),                                 # exactly 0.6
    ([columns(0, 10)], [columns(0, 5)], False),                                # 0.5
    ([columns(0, 10)], [columns(0, 20)], False),                               # 0.5 the other way
    ([columns(0, 10), columns(10, 20)], [columns(0, 10), columns(0, 5)], False),   # one of two
    ([columns(0, 10), columns(10, 20)], [columns(0, 9), columns(11, 20)], True),
    ([], [], True),                                                            # nothing is there
])
def test_all_objects_have_to_agree(true: list[Mask], drawn: list[Mask], is_kept: bool) -> None:
    agreement = Agreement(lambda image, boxes, points: drawn, 0.6)
    if is_kept:
        agreement(IMAGE, objects(*true))
    else:
        with pytest.raises(LeftOut, match='does not agree'):
            agreement(IMAGE, objects(*true))


def test_boxes_and_points_are_what_is_shown() -> None:
    seen = []

    def segment(image: np.ndarray, boxes: np.ndarray, points: np.ndarray) -> list[Mask]:
        seen.append((image.shape, boxes.tolist(), points.tolist()))
        return [columns(0, 10)]

    Agreement(segment, 1.0)(IMAGE, objects(columns(0, 10)))
    assert seen == [((10, 20, 3), [[0, 0, 5, 10]], [[0, 0]])]


def test_without_masks_nothing_can_agree() -> None:
    known = objects(columns(0, 10))
    with pytest.raises(LeftOut, match='no masks'):
        Agreement(lambda *_: [], 0.6)(IMAGE, Objects(known.boxes, known.points, None, (), SIZE))


def test_the_embedded_segmenter_agrees_with_the_simulator(tmp_path: Path) -> None:
    given = ['data', 'sim', '--scenes', '4', '--processes', '1', '--size', '256', '--masks']
    assert main([*given, '--out', str(tmp_path / 'all')]) == 0
    filtered = [*given, '--segmenter', 'sim_tiny', '--agreement']
    assert main([*filtered, '0.6', '--out', str(tmp_path / 'most')]) == 0
    assert main([*filtered, '1', '--out', str(tmp_path / 'none')]) == 0
    every, most, none = (list(iter_rows(tmp_path / name, 'train'))
                         for name in ('all', 'most', 'none'))

    def with_objects(rows: list) -> list[str]:
        return [row.id for row in rows if row.masks and json.loads(row.masks)]

    # It was trained on such scenes; no mask is the true one to the last pixel.
    assert len(with_objects(most)) >= 0.6 * len(with_objects(every)) > 0
    assert with_objects(none) == [] and none
    assert {one['reason'] for one in read_broken(tmp_path / 'none')} == {
        'the segmenter does not agree'}


def test_weights_that_are_not_there_are_named(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv('HF_HOME', str(tmp_path))
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    status = main(['data', 'sim', '--scenes', '1', '--processes', '1', '--agreement', '0.6',
                   '--out', str(tmp_path / 'out')])
    error = capsys.readouterr().err
    # Another process hands on what it says.
    assert str(pickle.loads(pickle.dumps(DataSetError(error)))) == error.strip()
    assert status == 2 and len(error.splitlines()) == 1 and 'facebook/sam2' in error
