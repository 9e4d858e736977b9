"""Pair two sets one-to-one by how well their members overlap."""
from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment


def best_pairs(iou: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Pair one-to-one at ``IoU >= threshold``: as many as can be, and of those the best.

    :param iou: (N, M).
    :return: (K,) rows and (K,) columns.
    """
    close = iou >= threshold
    if not close.any():
        return np.empty(0, int), np.empty(0, int)
    # All the overlaps together weigh less than one pair more.
    gain = close * (1 + iou / (min(iou.shape) + 1))
    rows, columns = linear_sum_assignment(gain, maximize=True)
    paired = close[rows, columns]
    return rows[paired], columns[paired]
