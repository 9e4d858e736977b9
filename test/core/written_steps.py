"""Answers made by hand, token by token."""
from __future__ import annotations

import numpy as np

from vr_ros.core.written import Written

# A text that was certain, or a text with its probability and those of others in its place.
Step = str | tuple[str, float, dict[str, float]]


def written(steps: list[Step], ends: tuple[str, ...] = ()) -> Written:
    """Put an answer together; each step has five best tokens, as a recorder leaves them."""
    text, spans, rows, rivals = '', [], [], []
    for step in steps:
        said, chance, others = (step, 1.0, {}) if isinstance(step, str) else step
        spans.append((len(text), len(text) + len(said)))
        text += said
        best = {said: chance, **others}
        best |= {'~' * (i + 1): 1e-9 for i in range(5 - len(best))}
        rows.append(np.log(list(best.values())))
        rivals.append(tuple(best))
    return Written(text, np.array(spans).reshape(-1, 2), np.array(rows).reshape(-1, 5),
                   lambda token: rivals[token], ends)
