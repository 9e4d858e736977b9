"""What answers cost and how often there is none: latency, length of the reasoning, failures."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vr_ros.core.types import Status
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.measure import Measure, Quantile, mean

PARTIAL = (Status.PARTIAL, Status.LIMIT_REACHED)
LATENCY_SHARES = (0.5, 0.9, 0.95, 0.99)


def effort_measures(found: Sequence[Found]) -> list[Measure]:
    """Sum up over all samples, those with errors included, since they take their time too.

    Reasoning: words between white space, without tags; 0 where an answer has none. A share of
    failures is one of all samples.
    """
    latency = np.array([f.latency_ms for f in found], float)
    words = np.array([len(f.reasoning.split()) for f in found], float)
    return [
        mean('latency mean', [None if np.isnan(ms) else ms for ms in latency],
             unit='ms', better='lower'),
        *(Quantile(f'latency p{round(100 * share)}', latency, share, 'ms')
          for share in LATENCY_SHARES),
        mean('reasoning mean', words, unit='words', better='lower'),
        *(Quantile(f'reasoning p{round(100 * share)}', words, share, 'words')
          for share in (0.5, 0.95)),
        mean('parse failures', [f.status is Status.PARSE_ERROR for f in found],
             better='lower'),
        mean('errors', [f.status.is_error for f in found], better='lower'),
        mean('partial answers', [f.status in PARTIAL for f in found], better='lower'),
    ]
