"""Values that change with the progress of the training, such as the least IoU of a match."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# COCO's ten thresholds; the reward of 'average' is the mean over them.
AVERAGE = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True)
class Steps:
    """A value that stays up to a share of the training, the end included, and then jumps.

    :param until: shares of the training, rising, the last one 1.
    :param values: one for each.
    :raises ValueError: they are not like that.
    """

    until: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.until, self.until[1:], strict=False))
        if not self.until or len(self.until) != len(self.values) or not rising:
            raise ValueError('steps are pairs of a share of the training and a value, rising')
        if self.until[-1] != 1.0 or self.until[0] < 0:
            raise ValueError(f'steps end with a share of 1, not {self.until[-1]}')

    def at(self, progress: float | None) -> float:
        """Give the value at a share of the training.

        :param progress: 0 to 1, what is beyond counts as the end; None is the end, as when a
            finished model is scored.
        """
        if progress is None or not math.isfinite(progress):
            return self.values[-1]
        for until, value in zip(self.until, self.values, strict=True):
            if progress <= until:
                return value
        return self.values[-1]


# V-Triune, section 3.4 (Dynamic IoU): loose at the start, so that there is something to learn from.
DYNAMIC_IOU = Steps((0.10, 0.25, 1.0), (0.85, 0.95, 0.99))


def thresholds_from(setting: Any) -> tuple[Steps, ...]:
    """Read how the least IoU of a match is chosen; the reward is the mean over all given.

    :param setting: a number; 'dynamic'; 'average' for 0.5, 0.55 … 0.95; or a list of pairs
        (share of the training, IoU), the last share 1.
    :raises ValueError: it is none of these, or an IoU is not above 0 and at most 1.
    """
    if setting == 'dynamic':
        return (DYNAMIC_IOU,)
    if setting == 'average':
        return tuple(Steps((1.0,), (value,)) for value in AVERAGE)
    steps = setting if isinstance(setting, Sequence) and not isinstance(setting, str) else (
        [(1.0, setting)])
    try:
        until, values = zip(*((float(share), float(value)) for share, value in steps), strict=True)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f'an IoU threshold is a number, "dynamic", "average" or pairs, not {setting!r}'
        ) from error
    if not all(0 < value <= 1 for value in values):
        raise ValueError(f'an IoU threshold is above 0 and at most 1, not {setting!r}')
    return (Steps(until, values),)
