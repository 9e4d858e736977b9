"""Which back-end loads a card's segmenter."""
from __future__ import annotations

import torch

from vr_ros.models.card import SegmenterCard
from vr_ros.models.segmenter import Segmenter
from vr_ros.models.transformers_sam2 import Sam2Segmenter


def load_segmenter(card: SegmenterCard, device: str | torch.device = 'cpu') -> Segmenter:
    """Find and load a card's checkpoint with the back-end that the card names.

    :raises PerceptionError: MODEL_UNAVAILABLE with one line that says what is wrong.
    """
    if card.backend == 'sam2':
        # Not before it is asked for: the package is optional.
        from vr_ros.models.meta_sam2 import MetaSam2Segmenter

        return MetaSam2Segmenter.load(card, device)
    return Sam2Segmenter.load(card, device)
