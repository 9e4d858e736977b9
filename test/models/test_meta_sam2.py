"""The back-end on Meta's package against the package's own predictor, and what it refuses.

That it gives the same masks as the other back-end is shown in test_segmenter.py.
"""
from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from meta_layout import sam2_package, tiny_config
from test_segmenter import (
    BOXES,
    EDGE,
    HEIGHT,
    POINTS,
    WIDTH,
    card_of,
    checkpoint,
    decode_runs,
    meta_card,
    photo,
    reference,
)

from vr_ros.core.types import PerceptionError, Status
from vr_ros.models.card import SegmenterCard, WeightsCard
from vr_ros.models.meta_sam2 import MetaSam2Segmenter
from vr_ros.models.segmenters import load_segmenter

__all__ = ['checkpoint', 'meta_card', 'reference']
ROOT = Path(__file__).parents[2]


def message_of(card: SegmenterCard) -> str:
    with pytest.raises(PerceptionError) as caught:
        load_segmenter(card)
    assert caught.value.status == Status.MODEL_UNAVAILABLE
    assert '\n' not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize('with_points', [True, False])
def test_masks_are_those_of_the_packages_predictor(
    meta_card: SegmenterCard, with_points: bool
) -> None:
    segmenter = load_segmenter(meta_card)
    image = photo(HEIGHT, WIDTH)
    results = segmenter.decode(segmenter.encode(image), BOXES, POINTS if with_points else None)
    predictor: Any = sam2_package('sam2.sam2_image_predictor').SAM2ImagePredictor(segmenter.model)
    predictor._bb_feat_sizes = [(EDGE // stride,) * 2 for stride in (4, 8, 16)]  # else of 1024 px
    predictor.set_image(image)
    for box, point, result in zip(BOXES, POINTS, results, strict=True):
        prompt = {'point_coords': point[None], 'point_labels': np.ones(1)} if with_points else {}
        logits, scores, _ = predictor.predict(box=box, return_logits=True, **prompt)
        best = int(scores.argmax())
        assert result.score == pytest.approx(scores[best], abs=1e-5)
        clear = np.abs(logits[best]) > 1e-3  # it resizes and scales in another order
        assert clear.mean() > 0.98
        wanted = logits[best] > 0
        np.testing.assert_array_equal(decode_runs(result.mask)[clear], wanted[clear])


def test_package_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'sam2', None)
    (tmp_path / 'some.pt').touch()
    message = message_of(replace(card_of(tmp_path / 'some.pt'), backend='sam2', config='any.yaml'))
    assert message.startswith('the sam2 package cannot be imported (')
    assert 'pip install --no-build-isolation sam2' in message


@pytest.mark.parametrize(('weights', 'message'), [
    (WeightsCard(path=Path('/nowhere/large.pt')), 'no checkpoint at /nowhere/large.pt: copy'),
    (WeightsCard(path=ROOT), f'no checkpoint at {ROOT}: copy'),                    # a directory
    (WeightsCard(hub='a/b'), 'a/b: the sam2 package takes its checkpoint by path'),
])
def test_missing_checkpoints_are_named(weights: WeightsCard, message: str) -> None:
    card = replace(card_of(ROOT), backend='sam2', config='any.yaml', weights=weights)
    assert message_of(card).startswith(message)


def test_digests_are_checked(meta_card: SegmenterCard) -> None:
    path = meta_card.weights.path
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    MetaSam2Segmenter.load(replace(meta_card, weights=WeightsCard(
        path=path, sha256={'tiny.pt': right})))
    message = message_of(replace(meta_card, weights=WeightsCard(
        path=path, sha256={'tiny.pt': '0' * 64})))
    assert message == (
        f'{path} is not the expected file: SHA-256 {right[:12]}…, expected 000000000000… '
        '(given in the card)')


def test_unknown_configurations_tell_the_nearest(meta_card: SegmenterCard) -> None:
    message = message_of(replace(meta_card, config='configs/sam2.1/sam2.1_hiera_x.yaml'))
    assert 'known: configs/sam2/sam2_hiera_b+.yaml, ' in message
    assert '(nearest: "configs/sam2.1/sam2.1_hiera_' in message
    assert 'training' not in message
    absent = str(meta_card.weights.path.parent / 'absent.yaml')
    assert f'no sam2 configuration at {absent}' in message_of(replace(meta_card, config=absent))


@pytest.mark.parametrize(('text', 'reason'), [
    ('model: [unclosed', 'while parsing'),
    ('- a\n', 'list'),
    ('other: 1\n', "'model'"),
    ('model: {_target_: builtins.dict}\n', 'builtins.dict is no part of a SAM 2 model'),
    ('model: {_target_: sam2.modeling.sam2_base.torch.nn.Linear}\n', 'is no part of'),
    ('model: {_target_: sam2.modeling.sam2_base.SAM2Base}\n', 'image_encoder'),   # lacks parts
    ('model: {_target_: sam2.modeling.absent.Absent}\n', 'sam2.modeling.absent'),
])
def test_other_files_are_no_configuration(
    meta_card: SegmenterCard, tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / 'config.yaml'
    path.write_text(text)
    message = message_of(replace(meta_card, config=str(path)))
    assert message.startswith(f'{path} is no configuration of a SAM 2 model: ')
    assert reason in message


def test_configurations_call_nothing_but_the_model(
    meta_card: SegmenterCard, tmp_path: Path
) -> None:
    from omegaconf import OmegaConf

    marker = tmp_path / 'called'
    config = tiny_config(EDGE)
    OmegaConf.update(config, 'model.num_maskmem',
                     {'_target_': 'pathlib.Path.touch', '_args_': [str(marker)]})
    OmegaConf.save(config, tmp_path / 'config.yaml')
    message = message_of(replace(meta_card, config=str(tmp_path / 'config.yaml')))
    assert 'pathlib.Path.touch' in message
    assert not marker.exists()


def with_weights(card: SegmenterCard, path: Path, content: object) -> SegmenterCard:
    torch.save(content, path)
    return replace(card, weights=WeightsCard(path=path))


def weights_of(card: SegmenterCard) -> dict[str, torch.Tensor]:
    return torch.load(card.weights.path, weights_only=True)['model']


@pytest.mark.parametrize('content', [[], {}, {'model': 3}, {'model': {'a': 'text'}}])
def test_other_files_are_no_checkpoint(
    meta_card: SegmenterCard, tmp_path: Path, content: object
) -> None:
    card = with_weights(meta_card, tmp_path / 'other.pt', content)
    assert 'no checkpoint of the sam2 package: it has no tensors under "model"' in message_of(card)


def test_damaged_checkpoints_are_named(meta_card: SegmenterCard, tmp_path: Path) -> None:
    path = tmp_path / 'cut.pt'
    content = meta_card.weights.path.read_bytes()
    for size in (0, 100, len(content) // 2):
        path.write_bytes(content[:size])
        card = replace(meta_card, weights=WeightsCard(path=path))
        assert message_of(card).startswith(f'{path} is damaged, or holds more than tensors: ')


class Code:
    """What a malicious checkpoint could hold."""

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)

    def __init__(self, marker: Path) -> None:
        self.marker = marker


def test_code_in_checkpoints_is_not_run(meta_card: SegmenterCard, tmp_path: Path) -> None:
    marker = tmp_path / 'run'
    card = with_weights(meta_card, tmp_path / 'code.pt', {'model': Code(marker)})
    assert 'holds more than tensors' in message_of(card)
    assert not marker.exists()


def test_missing_tensors_are_refused(meta_card: SegmenterCard, tmp_path: Path) -> None:
    weights = weights_of(meta_card)
    del weights['sam_mask_decoder.iou_token.weight'], weights['no_mem_embed']
    card = with_weights(meta_card, tmp_path / 'less.pt', {'model': weights})
    assert 'less.pt lacks 2 tensors, such as no_mem_embed:' in message_of(card)


def test_tensors_of_another_shape_are_refused(meta_card: SegmenterCard, tmp_path: Path) -> None:
    weights = weights_of(meta_card)
    weights['sam_mask_decoder.mask_tokens.weight'] = torch.zeros(4, 64)
    card = with_weights(meta_card, tmp_path / 'other.pt', {'model': weights})
    assert 'has other shapes for 1 tensors, such as sam_mask_decoder.mask' in message_of(card)


def test_checkpoints_of_another_size_are_refused(meta_card: SegmenterCard) -> None:
    card = replace(meta_card, config='configs/sam2.1/sam2.1_hiera_t.yaml', image_size=1024)
    assert 'tiny.pt lacks ' in message_of(card)


def test_tensors_without_a_place_are_refused(meta_card: SegmenterCard, tmp_path: Path) -> None:
    # A checkpoint of SAM 2.1 with a configuration of SAM 2.0 would be one.
    weights = weights_of(meta_card) | {'no_place': torch.zeros(1)}
    card = with_weights(meta_card, tmp_path / 'more.pt', {'model': weights})
    message = message_of(card)
    assert 'more.pt has 1 tensors, such as no_place, that' in message
    assert 'checkpoint of another configuration' in message
