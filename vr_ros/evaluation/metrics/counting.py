"""How many objects: accuracy, mean absolute and root mean square error."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.measure import Measure, Sums, mean, quotient


@dataclass(frozen=True)
class CountError:
    """One count against the true one.

    :param error: said - true.
    """

    error: int
    is_right: bool


def count_error(truth: Truth, found: Found) -> CountError | None:
    """Compare counts, strict; None if the true one is unknown.

    An error says no number: it is never right, and as far off as 'none', but by one at least.
    """
    if truth.count is None:
        return None
    if found.status.is_error:
        return CountError(-max(truth.count, 1), False)
    return CountError(found.count - truth.count, found.count == truth.count)


def count_measures(errors: Sequence[CountError | None], prefix: str = '') -> list[Measure]:
    """Sum up: exact count, MAE, RMSE.

    :param prefix: of the names.
    """
    squares = mean('', [None if e is None else e.error ** 2 for e in errors])

    def root(sums: np.ndarray) -> np.ndarray:
        return np.sqrt(quotient(sums[..., 0], sums[..., 1]))

    return [
        mean(f'{prefix}exact count', [None if e is None else e.is_right for e in errors]),
        mean(f'{prefix}count MAE', [None if e is None else abs(e.error) for e in errors],
             unit='objects', better='lower'),
        Sums(f'{prefix}count RMSE', squares.rows, root, squares.of, 'objects', 'lower'),
    ]
