"""The best few tokens of every step of a generation, with their log-probabilities."""

from __future__ import annotations

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
    """Keep each step's best tokens on the device: no synchronisation while decoding."""

    def __init__(self) -> None:
        self._ids: list[torch.Tensor] = []
        self._log_probs: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        row = scores[0].float()
        best = row.topk(min(BEST, len(row)))
        self._ids.append(best.indices)
        self._log_probs.append(best.values - row.logsumexp(-1))
        return scores

    def result(self) -> TopTokens:
        """Bring all steps to the host at once."""
        return TopTokens(
            torch.stack(self._ids).cpu().numpy(), torch.stack(self._log_probs).cpu().numpy()
        )
