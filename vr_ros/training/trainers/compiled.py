"""Compiled layers for training on a CPU, where most of the time of an eager step in bfloat16 is
spent on moving activations through casts, norms and rotations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


def compile_layers(layers: Iterable[nn.Module]) -> None:
    """Compile layers in place, by the C++ compiler of this machine, at their first use.

    Only for passes that learn: those that write an answer take one token at a time.
    """
    for layer in layers:
        layer.forward = _compiled_to_learn(layer.forward)


def _compiled_to_learn(eager: Callable[..., Any]) -> Callable[..., Any]:
    compiled = torch.compile(eager, dynamic=True)

    def forward(*inputs: Any, **named: Any) -> Any:
        return (compiled if torch.is_grad_enabled() else eager)(*inputs, **named)

    return forward
