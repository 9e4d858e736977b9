"""Layouts that are alike, and layouts that are not."""
from __future__ import annotations

import numpy as np
import pytest

from vr_ros.core.scene_change import SAME_SCENE, similarity, thumbnail


def picture(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((height // 6, width // 8, 1), np.uint8))


def test_a_thumbnail_holds_the_means_of_blocks() -> None:
    image = picture(0)
    small = thumbnail(image)
    assert small.shape == (24, 32, 3)
    block = image[:10, :10].reshape(-1, 3).mean(0) - image.reshape(-1, 3).mean(0)
    np.testing.assert_allclose(small[0, 0], block, atol=1e-3)


@pytest.mark.parametrize('shape', [(1, 1), (7, 500), (1080, 1920), (481, 641)])
def test_any_size_will_do(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)
    assert similarity(thumbnail(image), thumbnail(image)) == pytest.approx(1.0)


def test_brightness_does_not_matter_and_layout_does() -> None:
    scene = picture(2)
    darker = (scene * 0.5).astype(np.uint8)
    assert similarity(thumbnail(scene), thumbnail(darker)) > 0.99
    moved = np.roll(scene, 10, axis=1)
    assert similarity(thumbnail(scene), thumbnail(moved)) > SAME_SCENE
    for other in range(3, 20):
        assert similarity(thumbnail(scene), thumbnail(picture(other))) < SAME_SCENE


def test_an_even_surface_is_like_another_one_only() -> None:
    wall, night = np.full((48, 64, 3), 200, np.uint8), np.zeros((48, 64, 3), np.uint8)
    assert similarity(thumbnail(wall), thumbnail(night)) == 1.0
    assert similarity(thumbnail(wall), thumbnail(picture(5, 48, 64))) == 0.0
    assert similarity(thumbnail(wall), thumbnail(np.zeros((4, 4, 3), np.uint8))) == 0.0
