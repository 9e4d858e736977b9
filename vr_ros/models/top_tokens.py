"""The best few tokens of every step of a generation, with their log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import LogitsProcessor

BEST = 5


@dataclass(frozen=True, eq=False)
class TopTokens:
    """What a model could have written at each step, best first.

    :param ids: (T, K) token ids.
    :param log_probs: (T, K) natural logarithms of their probabilities, falling along a row.
    """

    ids: np.ndarray
    log_probs: np.ndarray


class TopTokenRecorder(LogitsProcessor):
    """Keep each step's best tokens of all rows on the device: no synchronisation while decoding."""

    def __init__(self) -> None:
        self._ids: list[torch.Tensor] = []
        self._log_probs: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        values = scores.float()
        best = values.topk(min(BEST, values.shape[-1]))
        self._ids.append(best.indices)
        self._log_probs.append(best.values - values.logsumexp(-1, keepdim=True))
        return scores

    def results(self, steps: Sequence[int]) -> list[TopTokens]:
        """Bring all steps to the host at once.

        :param steps: how many each row has; what follows is padding.
        """
        ids, log_probs = (
            torch.stack(kept, 1).cpu().numpy() for kept in (self._ids, self._log_probs))
        return [TopTokens(ids[row, :end], log_probs[row, :end]) for row, end in enumerate(steps)]
