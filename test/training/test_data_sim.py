"""The simulator as a source: its truths are what the embedded model is taught."""
from __future__ import annotations

import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from vr_ros.core.rle import rle_to_mask
from vr_ros.core.types import Mask, Size
from vr_ros.datasets.sample import DataSetError
from vr_ros.models.preprocess import resize_image
from vr_ros.sim.instructions import SimInstruction, answer_key, generate
from vr_ros.sim.renderer import Frame, render_scene
from vr_ros.training.data.convert import Converter
from vr_ros.training.data.schema import Row
from vr_ros.training.data.sources.sim import SCENES, STORAGE, SimSource
from vr_ros.training.data.storage import Storage
from vr_ros.training.rewards.scoring import Reward, Scorer
from vr_ros.training.rewards.verifier import Rollout
from vr_ros.training.sim_targets import response

SIZE = Size(168, 168)
SCENE_COUNT = 8
ABSENT = 0.3


@pytest.fixture(scope='module')
def frames() -> dict[int, Frame]:
    source = SimSource('train', SCENE_COUNT, 5, STORAGE)
    return {seed: render_scene(seed) for seed in map(int, source._seeds)}


@pytest.fixture(scope='module')
def rows() -> list[Row]:
    storage = Storage(STORAGE.size, STORAGE.interpolation, with_masks=True)
    source = SimSource('train', SCENE_COUNT, 5, storage, per_view=5, absent=ABSENT)
    converter = Converter(source.name, 'train', storage)
    return [converter.row(draft) for place in range(len(source)) for draft in source.load(place)]


def asked(rows: list[Row], frames: dict[int, Frame]) -> Iterator[tuple[Row, SimInstruction, Frame]]:
    for row in rows:
        frame = frames[json.loads(row.extra)['scene']]
        key = answer_key(row.problem, frame.truth)
        assert key is not None
        yield row, key, frame


def reward(row: Row, text: str) -> Reward:
    outcome, = Scorer().score_all([Rollout(text, row.sample)])
    assert isinstance(outcome, Reward)
    return outcome


def test_what_the_model_is_taught_gets_the_full_reward(rows, frames) -> None:
    tasks = set()
    for row, key, frame in asked(rows, frames):
        right = reward(row, response(key, frame.truth, SIZE))
        assert right.final == 1.0 and right.is_correct, row.problem
        tasks.add(row.task)
    assert tasks == {'detection', 'segmentation', 'counting', 'vqa'}


def test_other_answers_get_less(rows, frames) -> None:
    wrong = {
        'detection': '[{"bbox_2d": [0,0,5,5], "point_2d": [2,2]}]', 'vqa': 'a purple elephant'}
    for row, key, frame in asked(rows, frames):
        right = response(key, frame.truth, SIZE)
        thought, _, answer = right.partition('<answer>')
        other = wrong.get(row.task, wrong['detection'])
        assert reward(row, f'{thought}<answer>{other}</answer>').final < 1.0, row.problem
        assert reward(row, answer.removesuffix('</answer>')).final < 1.0       # without its tags
        if key.target_ids:
            assert reward(row, f'{thought}<answer>[]</answer>').final < 1.0


def test_images_are_what_the_model_sees(rows, frames) -> None:
    for row, _, frame in asked(rows[:10], frames):
        stored = np.asarray(Image.open(io.BytesIO(row.image)))
        seen = resize_image(frame.rgb, SIZE).permute(1, 2, 0).numpy()
        assert np.abs(stored - seen).max() <= 1


def test_masks_and_points_belong_to_their_boxes(rows) -> None:
    checked = 0
    for row in rows:
        items = json.loads(row.sample.ground_truth) if row.task != 'vqa' else []
        masks = json.loads(row.masks) if row.task != 'vqa' else []
        assert len(masks) == len(items)
        for item, mask in zip(items, masks, strict=True):
            pixels = rle_to_mask(Mask(SIZE, tuple(mask['counts'])))
            ys, xs = np.nonzero(pixels)
            tight = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            assert np.abs(tight - item['bbox_2d']).max() <= 1
            x, y = item['point_2d']
            assert pixels[max(y - 1, 0):y + 2, max(x - 1, 0):x + 2].any()
            checked += 1
    assert checked > 10


def test_so_many_ask_for_what_is_not_there(rows) -> None:
    absent = [row for row in rows if row.sample.ground_truth == '[]']
    assert {row.task for row in absent} <= {'detection', 'segmentation', 'counting'}
    # 40 draws of 0.3: 12, plus or minus three deviations.
    assert len(rows) == 40 and 4 <= len(absent) <= 20


def test_the_same_seed_gives_the_same_and_splits_have_no_scene_in_common() -> None:
    def scenes(split: str, seed: int) -> set[int]:
        return set(map(int, SimSource(split, 5000, seed, STORAGE)._seeds))

    assert scenes('train', 1) == scenes('train', 1) != scenes('train', 2)
    assert len(scenes('train', 1)) == 5000
    assert not scenes('train', 1) & scenes('val', 1)
    assert max(end for _, end in SCENES.values()) == 1_000_000      # those are for evaluation
    with pytest.raises(DataSetError, match='for evaluation'):
        SimSource('test', 1, 0, STORAGE)
    with pytest.raises(DataSetError, match='has 1 to 100000'):
        SimSource('val', 100_001, 0, STORAGE)


def test_a_place_gives_the_same_drafts_again() -> None:
    source = SimSource('train', 2, 3, STORAGE, views=2, per_view=2)
    first, second = list(source.load(1)), list(source.load(1))
    assert [d.id for d in first] == [d.id for d in second]
    assert [d.problem for d in first] == [d.problem for d in second]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))
    assert len({d.id for d in first}) == len(first) == 4


def test_the_wordings_are_those_of_training(rows, frames) -> None:
    for _, key, _ in asked(rows, frames):
        assert key.split == 'train'
    heldout = generate(next(iter(frames.values())).truth, np.random.default_rng(0), 'heldout')
    assert heldout.split == 'heldout'
