"""Muon for weight matrices, AdamW for everything else."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

INSIDE = ('layers.', 'blocks.')  # names of what is repeated in every network here


class MuonAndAdamW:
    """Two optimisers that step as one.

    Matrices inside the network learn by orthogonalised updates (Muon, Jordan et al. 2024), which
    on these small models reach a given loss in clearly fewer steps; embeddings, norms, biases,
    convolutions and heads stay with AdamW.

    :param rate: learning rate of both: Muon's updates are scaled to AdamW's size.
    """

    def __init__(self, modules: Iterable[nn.Module], rate: float) -> None:
        matrices, others = [], []
        for module in modules:
            for name, parameter in module.named_parameters():
                is_matrix = parameter.ndim == 2 and any(part in name for part in INSIDE)
                (matrices if is_matrix else others).append(parameter)
        self.parameters = [*matrices, *others]
        self._optimizers = [
            torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, adjust_lr_fn='match_rms_adamw'),
            torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.01),
        ]

    def step(self, loss: torch.Tensor, rate: float, clip_norm: float = 1.0) -> None:
        """Go one step down the gradient of a loss."""
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group['lr'] = rate
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, clip_norm)
        for optimizer in self._optimizers:
            optimizer.step()

    def state_dict(self) -> dict:
        """:return: what :meth:`load_state_dict` takes."""
        return {'parts': [optimizer.state_dict() for optimizer in self._optimizers]}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a saved state."""
        for optimizer, part in zip(self._optimizers, state['parts'], strict=True):
            optimizer.load_state_dict(part)
