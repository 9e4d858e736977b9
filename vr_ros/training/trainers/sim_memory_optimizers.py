"""Optimisers whose parts step at rates of their own."""
from __future__ import annotations

import torch
from torch import nn


class RatedOptimizers:
    """Muon for the matrices of repeated layers, AdamW for the rest, each at its own rate.

    :param groups: parameters by name, with the factor on the learning rate.
    """

    def __init__(self, groups: list[tuple[float, dict[str, nn.Parameter]]]) -> None:
        self._optimizers: list[tuple[float, torch.optim.Optimizer]] = []
        self._parameters: list[nn.Parameter] = []
        for factor, named in groups:
            matrices = [p for name, p in named.items() if p.ndim == 2 and 'layers.' in name]
            others = [p for name, p in named.items() if p.ndim != 2 or 'layers.' not in name]
            self._parameters += [*matrices, *others]
            if matrices:
                self._optimizers.append((factor, torch.optim.Muon(
                    matrices, weight_decay=0.0, adjust_lr_fn='match_rms_adamw')))
            if others:
                self._optimizers.append((factor, torch.optim.AdamW(
                    others, betas=(0.9, 0.98), weight_decay=0.0)))

    def step(self, rate: float, clip_norm: float) -> None:
        """Go down the gradients that are there, and forget them."""
        nn.utils.clip_grad_norm_(self._parameters, clip_norm)
        for factor, optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group['lr'] = factor * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict:
        """:return: what :meth:`load_state_dict` takes."""
        return {'parts': [optimizer.state_dict() for _, optimizer in self._optimizers]}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a saved state."""
        for (_, optimizer), part in zip(self._optimizers, state['parts'], strict=True):
            optimizer.load_state_dict(part)
