"""Looks of objects: means of features, compared by angle."""
from __future__ import annotations

import pytest
import torch

from vr_ros.models.appearance import LOGITS_PER_COSINE, doubt, looks


@pytest.fixture
def features() -> torch.Tensor:
    """Two regions of different features on a third, (1, 3, 8, 8), with scales of their own."""
    image = torch.zeros(1, 3, 8, 8)
    image[0, 0, :4, :4] = 100.0
    image[0, 1, 4:, 4:] = 0.1
    image[0, 2, :4, 4:] = 7.0
    return image


def region(rows: slice, columns: slice) -> torch.Tensor:
    mask = torch.zeros(1, 8, 8)
    mask[0, rows, columns] = 1
    return mask


FIRST, SECOND = region(slice(0, 4), slice(0, 4)), region(slice(4, 8), slice(4, 8))


def test_looks_are_means_of_standardised_channels(features: torch.Tensor) -> None:
    mean, std = features[0].mean((1, 2)), features[0].std((1, 2))
    wanted = (torch.tensor([100.0, 0, 0]) - mean) / std
    (found,) = looks(features, FIRST)
    torch.testing.assert_close(found, wanted / wanted.norm())
    assert looks(features, torch.zeros(1, 8, 8)).abs().sum() == 0


def test_the_same_thing_keeps_its_presence_and_another_loses_it(features: torch.Tensor) -> None:
    given, presence = looks(features, FIRST), torch.full((1, 1, 1), 2.0)
    assert doubt(presence, features, FIRST > 0, given, 0.5).item() == 2.0
    assert doubt(presence, features, SECOND > 0, given, 0.5).item() < 0
    assert doubt(-presence, features, FIRST > 0, given, 0.5).item() == -2.0
    near = doubt(presence, features, FIRST > 0, given, 0.95).item()
    assert near == pytest.approx(LOGITS_PER_COSINE * 0.05, abs=1e-4)


def test_an_empty_mask_says_nothing(features: torch.Tensor) -> None:
    given, presence = looks(features, FIRST), torch.full((1, 1, 1), 2.0)
    assert doubt(presence, features, torch.zeros(1, 8, 8) > 0, given, 0.5).item() == 2.0
