"""Where a model computes: what was asked for, if it is there."""
from __future__ import annotations

import torch

from vr_ros.core.types import PerceptionError, Status


def count_gpus() -> int:
    """Count the GPUs that this torch can use: a driver that is too old has none."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def pick_device(wanted: str) -> str:
    """Resolve 'auto' to the first GPU, or the CPU where there is none.

    :raises PerceptionError: MODEL_UNAVAILABLE, there is no such device.
    """
    gpus = count_gpus()
    if wanted == 'auto':
        return 'cuda' if gpus else 'cpu'
    try:
        device = torch.device(wanted)
        if device.type not in ('cpu', 'cuda'):
            # Many more have a name than can compute here; 'meta' never does.
            torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        raise PerceptionError(
            Status.MODEL_UNAVAILABLE, f'unknown device {wanted!r}: cpu, cuda, cuda:1, auto'
        ) from error
    if device.type == 'cuda' and (device.index or 0) >= gpus:
        raise PerceptionError(
            Status.MODEL_UNAVAILABLE,
            f'no device {wanted!r}: this torch ({torch.__version__}) can use {gpus} GPUs')
    return wanted
