"""The segmenter of a card, for training data that it has to agree with."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vr_ros.core.types import Mask, PerceptionError, Status
from vr_ros.models.card import load_card
from vr_ros.models.segmenters import load_segmenter
from vr_ros.training.data.agreement import Agreement


def open_agreement(card_name: str, least: float) -> Agreement:
    """Load a card's segmenter.

    :param least: IoU of every object with its true mask.
    :raises PerceptionError: the card has none, or its weights are not there.
    """
    card = load_card(card_name)
    if card.segmenter is None:
        raise PerceptionError(Status.MODEL_UNAVAILABLE, f'{card_name} has no segmenter')
    segmenter = load_segmenter(card.segmenter, 'cuda' if torch.cuda.is_available() else 'cpu')

    def segment(image: np.ndarray, boxes: np.ndarray, points: np.ndarray) -> Sequence[Mask]:
        features = segmenter.encode(image)
        return [result.mask for result in segmenter.decode(features, boxes, points)]

    return Agreement(segment, least)
