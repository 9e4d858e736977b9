"""Rewards from several processes, for verifiers that take long, such as mathematics."""
from __future__ import annotations

import multiprocessing
import pickle
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.pool import Pool

from vr_ros.training.rewards.registry import Registry, default_registry
from vr_ros.training.rewards.scoring import Outcome, Scorer, failure_of
from vr_ros.training.rewards.verifier import Rollout

# Handed over at once. What hangs takes so many others with it.
CHUNK = 8
# A process that needs so long to begin, with all that its verifiers load, never will.
LONGEST_START_S = 600.0
TRIAL = 'vr_ros-rewards-trial'
UNGUARDED_STATUS = 87
UNGUARDED = ("its processes run the program's own file anew, up to where they are started: start a"
             " PoolScorer below `if __name__ == '__main__':`, or in a function called there")
_scorer: Scorer | None = None


class PoolError(RuntimeError):
    """The processes of a pool cannot begin; the message says why."""


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
        :raises PoolError: they cannot begin.
        """
        if multiprocessing.current_process().name == TRIAL:
            # Only a program without the guard comes here; the one that tries it out says so.
            raise SystemExit(UNGUARDED_STATUS)
        if processes < 1 or timeout_s <= 0:
            raise ValueError('a pool has at least 1 process and takes some time')
        self._processes = processes
        self.timeout_s = timeout_s
        self._make_registry = make_registry
        self.registry = make_registry()
        # Not fork: the trainer has threads, and locks that they hold would stay locked.
        self._context = multiprocessing.get_context('spawn')
        _try_out(self._context, make_registry)
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
        return self._context.Pool(self._processes, _begin, (self._make_registry,))


def _try_out(context: SpawnContext, make_registry: Callable[[], Registry]) -> None:
    """Begin one process before the pool: a pool starts what dies at once over and over.

    :raises PoolError: it does not begin.
    """
    here, there = context.Pipe(duplex=False)
    process = context.Process(
        target=_try_begin, args=(make_registry, there), name=TRIAL, daemon=True)
    try:
        process.start()
        there.close()
        problem = here.recv() if here.poll(LONGEST_START_S) else (
            f'it has not begun within {LONGEST_START_S:g} s')
        if problem:
            process.terminate()
    except EOFError:
        process.join()
        problem = UNGUARDED if process.exitcode == UNGUARDED_STATUS else (
            f'it ended with status {process.exitcode}')
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise PoolError('the processes of a PoolScorer cannot begin: make_registry is no function'
                        f' at the top level of a module: {error}') from error
    finally:
        here.close()
    process.join()
    if problem:
        raise PoolError(f'the processes of a PoolScorer cannot begin: {problem}')


def _try_begin(make_registry: Callable[[], Registry], there: Connection) -> None:
    try:
        _begin(make_registry)
    except Exception as error:   # said by the process that started this one
        there.send(f'make_registry failed there: {error!r}')
    else:
        there.send('')


def _begin(make_registry: Callable[[], Registry]) -> None:
    global _scorer
    signal.signal(signal.SIGINT, signal.SIG_IGN)   # it is for the process that has the pool
    _scorer = Scorer(make_registry())


def _score_all(rollouts: list[Rollout]) -> list[Outcome]:
    assert _scorer is not None, 'the process was not begun'
    return _scorer.score_all(rollouts)
