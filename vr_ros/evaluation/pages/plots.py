"""What the answers of a run look like in numbers: histograms, counts, calibration, to be drawn."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from vr_ros.core.geometry import box_iou_matrix
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.calibration import calibration_measures, confidences
from vr_ros.evaluation.metrics.segmentation import region_overlap

Pairs = Sequence[tuple[Truth, Found]]

# Numbers from this on share a row and a column.
MOST_COUNTED = 10
_IOU_BINS = 10
_BINS = 16
# What is rarer than that does not stretch the axis.
_SHARE_ON_AXIS = 0.95


@dataclass(frozen=True)
class Histogram:
    """How often a number lies where.

    :param about: what is counted, such as samples.
    :param edges: (N + 1,) of N bins, each with its lower end; the last may reach to infinity, and
        holds its upper end where it does not.
    :param counts: (N,).
    :param marks: quantiles by their name.
    """

    title: str
    unit: str
    about: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    marks: tuple[tuple[str, float], ...] = ()

    @property
    def of(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True)
class CountTable:
    """How often which number was said of which true one.

    :param names: of the numbers; the last may stand for all from it on.
    :param rows: by the number said, errors last; columns by the true number.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]

    @property
    def of(self) -> int:
        return sum(map(sum, self.rows))


@dataclass(frozen=True)
class Bin:
    """Found objects whose scores lie close together.

    :param score: mean of them, :param right: share of right ones.
    """

    low: float
    high: float
    number: int
    score: float
    right: float


def mask_iou(pairs: Pairs) -> Histogram | None:
    """Sort samples by the IoU of all pixels asked for, whose mean is gIoU; None without any."""
    overlaps = [region_overlap(truth, found) for truth, found in pairs]
    return _shares('IoU of masks', 'samples', [o.iou for o in overlaps if o is not None])


def box_iou(pairs: Pairs) -> Histogram | None:
    """Sort true objects by the IoU of the box that is paired with them, 0 where none is.

    Pairs are those with the most IoU together, whatever each has. Crowds are left out.
    """
    values: list[float] = []
    for truth, found in pairs:
        if truth.boxes is not None:
            iou = box_iou_matrix(truth.boxes[~truth.crowd], found.boxes)
            best = np.zeros(len(iou))
            rows, columns = linear_sum_assignment(iou, maximize=True)
            best[rows] = iou[rows, columns]
            values += best.tolist()
    return _shares('IoU of boxes', 'true objects', values)


def latency(pairs: Pairs) -> Histogram | None:
    """Sort samples by the time that their answer took, errors included."""
    values = [f.latency_ms for _, f in pairs if math.isfinite(f.latency_ms)]
    return _amounts('Latency', 'ms', values, (0.5, 0.9, 0.99))


def reasoning(pairs: Pairs) -> Histogram | None:
    """Sort samples by the words of their reasoning; None where no answer has any."""
    values = [float(len(found.reasoning.split())) for _, found in pairs]
    return _amounts('Reasoning', 'words', values, (0.5, 0.95)) if any(values) else None


def counts(pairs: Pairs) -> CountTable | None:
    """Compare the numbers said with the true ones; None where no number is known."""
    known = [(truth.count, found.count) for truth, found in pairs if truth.count is not None]
    if not known:
        return None
    most = min(max(max(pair) for pair in known), MOST_COUNTED)
    rows = np.zeros((most + 2, most + 1), int)
    for true, said in known:
        # An error says -1, which is the last row.
        rows[min(said, most), min(true, most)] += 1
    is_open = max(max(pair) for pair in known) > most
    names = [*map(str, range(most)), f'{most}+' if is_open else str(most)]
    return CountTable(tuple(names), tuple(map(tuple, rows.tolist())))


def reliability(pairs: Pairs) -> tuple[Bin, ...]:
    """Sort found objects by score as ECE does; bins without any are left out."""
    measures = calibration_measures([confidences(truth, found) for truth, found in pairs])
    number, score, right = np.split(measures[0].rows.sum(axis=0)[:-1], 3)
    edges = np.linspace(0, 1, len(number) + 1)
    return tuple(
        Bin(float(edges[i]), float(edges[i + 1]), int(number[i]), float(score[i] / number[i]),
            float(right[i] / number[i])) for i in np.flatnonzero(number))


def _shares(title: str, about: str, values: Sequence[float]) -> Histogram | None:
    if not values:
        return None
    edges = np.linspace(0, 1, _IOU_BINS + 1)
    return Histogram(title, '', about, tuple(edges.round(6).tolist()), _sorted(values, edges))


def _amounts(
    title: str, unit: str, values: Sequence[float], shares: Sequence[float]
) -> Histogram | None:
    """Choose round edges; what lies far out shares the last bin."""
    if not values:
        return None
    step = round_step(float(np.quantile(values, _SHARE_ON_AXIS)) * 1.25 / _BINS)
    number = max(1, math.floor(min(max(values) / step, _BINS)) + 1)
    edges = [step * i for i in range(number + 1)]
    if max(values) >= edges[-1]:
        edges[-1] = math.inf
    marks = tuple((f'p{round(100 * share)}', float(np.quantile(values, share)))
                  for share in shares)
    return Histogram(title, unit, 'samples', tuple(edges), _sorted(values, np.array(edges)), marks)


def round_step(least: float) -> float:
    """:return: the next of 1, 2, 5, 10, 20, 50, … that is not below."""
    if least <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= least * (1 - 1e-9))


def _sorted(values: Sequence[float], edges: np.ndarray) -> tuple[int, ...]:
    # Sums of the edges round: 0.3 belongs above 0.3.
    place = np.searchsorted(edges, np.asarray(values) + 1e-9, side='right') - 1
    return tuple(np.bincount(np.clip(place, 0, len(edges) - 2), minlength=len(edges) - 1).tolist())
