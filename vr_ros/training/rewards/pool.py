"""Rewards from several processes, for verifiers that take long, such as mathematics."""
from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.pool import Pool

from vr_ros.training.rewards.registry import Registry, default_registry
from vr_ros.training.rewards.scoring import Outcome, Scorer, failure_of
from vr_ros.training.rewards.verifier import Rollout

# Handed over at once. What hangs takes so many others with it.
CHUNK = 8
_scorer: Scorer | None = None


class PoolScorer:
    """Score responses in processes of their own.

    A response that takes too long, or ends its process, is a Failure when the time is up, as are
    the few that were handed over with it; the processes are replaced. Only this program's own
    objects go to its own processes.
    """

    def __init__(self, processes: int = 2, *, timeout_s: float = 120.0,
                 make_registry: Callable[[], Registry] = default_registry) -> None:
        """Start the processes.

        :param timeout_s: for one call of :meth:`score_all`; the attribute may be changed.
        :param make_registry: called in each process; a function at the top level of a module.
        :raises ValueError: the number of processes or the time is not above 0.
        """
        if processes < 1 or timeout_s <= 0:
            raise ValueError('a pool has at least 1 process and takes some time')
        self._processes = processes
        self.timeout_s = timeout_s
        self._make_registry = make_registry
        self.registry = make_registry()
        self._pool = self._start()

    def score_all(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """Score responses in order; those that cannot be scored give a Failure each."""
        end = time.monotonic() + self.timeout_s
        chunks = [list(rollouts[at:at + CHUNK]) for at in range(0, len(rollouts), CHUNK)]
        waiting = [self._pool.apply_async(_score_all, (chunk,)) for chunk in chunks]
        outcomes: list[Outcome] = []
        hangs = False
        for chunk, result in zip(chunks, waiting, strict=True):
            try:
                outcomes += result.get(max(0.0, end - time.monotonic()))
            except multiprocessing.TimeoutError:
                hangs = True
                outcomes += [failure_of(rollout.sample, (
                    f'{rollout.sample.title}: not scored within {self.timeout_s:g} s'))
                    for rollout in chunk]
        if hangs:
            self.close()
            self._pool = self._start()
        return outcomes

    def close(self) -> None:
        """End the processes."""
        self._pool.terminate()
        self._pool.join()

    def __enter__(self) -> PoolScorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> Pool:
        # Not fork: the trainer has threads, and locks that they hold would stay locked.
        context = multiprocessing.get_context('spawn')
        return context.Pool(self._processes, _begin, (self._make_registry,))


def _begin(make_registry: Callable[[], Registry]) -> None:
    global _scorer
    signal.signal(signal.SIGINT, signal.SIG_IGN)   # it is for the process that has the pool
    _scorer = Scorer(make_registry())


def _score_all(rollouts: list[Rollout]) -> list[Outcome]:
    assert _scorer is not None, 'the process was not begun'
    return _scorer.score_all(rollouts)
