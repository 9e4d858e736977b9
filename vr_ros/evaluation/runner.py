"""Puts the questions of a data set to models, in one process or several, and makes records."""
from __future__ import annotations

import ctypes
import logging
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from vr_ros.core.types import Perception, PerceptionError, Status, Task
from vr_ros.evaluation.datasets.sample import DataSet, SampleError, digest
from vr_ros.evaluation.records import Record
from vr_ros.evaluation.samples import Found

_log = logging.getLogger(__name__)

# Jobs under way per process: enough that none waits for work, few enough to end soon.
_AHEAD = 2
_PR_SET_PDEATHSIG = 1
_LAST_BYTES = 1 << 20


class RunError(Exception):
    """A run that cannot go on, in one line; what is recorded stays."""


class Asks(Protocol):
    """What answers: a Perceiver, or another of its kind."""

    def perceive(self, image: np.ndarray, text: str, task: Task = ...) -> Perception:
        """Answer one instruction about one image."""


@dataclass(frozen=True)
class Job:
    """What each process needs to know.

    :param make: loads what answers, in the process; can be pickled.
    :param open: opens the data set there; can be pickled.
    """

    make: Callable[[], Asks]
    open: Callable[[], DataSet]


@dataclass(frozen=True)
class LoadPerceiver:
    """Load a model by its card, to compute with a number of threads; 0: as many as torch likes."""

    model: str
    device: str = 'auto'
    threads: int = 0

    def __call__(self) -> Asks:
        import torch

        from vr_ros.pipeline.perceiver import Perceiver

        if self.threads:
            torch.set_num_threads(self.threads)
        return Perceiver.from_card(self.model, self.device)


def model_identity(model: str) -> str:
    """Name a model so that another card, or other weights on this machine, have another name.

    :raises PerceptionError: MODEL_UNAVAILABLE, there is no such card.
    """
    from vr_ros.models.card import load_card

    card = load_card(model)
    parts = [card.reasoner] + ([card.segmenter] if card.segmenter else [])
    paths = [part.weights.path for part in parts if part.weights.path is not None]
    files = [file for path in paths
             for file in (sorted(path.glob('*.safetensors')) if path.is_dir() else [path])]
    return f'{card.name} {digest(repr(card), *(_end(file) for file in files if file.exists()))}'


def ask(perceiver: Asks, data_set: DataSet, place: int) -> Record:
    """Put one sample to what answers.

    A sample that cannot be used is skipped; whatever happens while it is answered is an answer, a
    wrong one, because leaving it out would raise the figures.
    """
    sample_id = data_set.ids[place]
    try:
        sample = data_set.load(place)
    except SampleError as error:
        return Record(sample_id, skipped=str(error))
    except Exception as error:
        _log.exception('sample %s cannot be read', sample_id)
        return Record(sample_id, skipped=f'{type(error).__name__}: {error}')
    started = time.perf_counter()
    try:
        perception = perceiver.perceive(sample.image, sample.instruction, sample.task)
    except PerceptionError as error:
        perception = Perception(error.status, status_message=error.message)
    except Exception as error:
        _log.exception('sample %s', sample_id)
        perception = Perception(
            Status.MODEL_ERROR, status_message=f'{type(error).__name__}: {error}')
    found = Found.from_perception(perception, (time.perf_counter() - started) * 1e3)
    return Record(sample_id, sample.truth, found, sample.instruction, sample.task.name,
                  perception.status_message)


def ask_all(job: Job, places: Iterable[int], processes: int = 1) -> Iterator[Record]:
    """Put samples to as many models as there are processes.

    :param places: of the samples in the data set.
    :return: records in the order in which they are done.
    :raises RunError: if the model cannot be loaded, or a process died.
    :raises DataSetError: if the data set cannot be read.
    """
    if processes == 1:
        data_set, perceiver = job.open(), _load(job)
        yield from (ask(perceiver, data_set, place) for place in places)
        return
    rest, waiting = iter(places), set[Future[Record]]()
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context('spawn'), _enter, (job,))
    try:
        while True:
            for place in islice(rest, _AHEAD * processes - len(waiting)):
                waiting.add(pool.submit(_ask, place))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool as error:
        raise RunError('a process of the evaluation died, perhaps for want of memory: give fewer'
                       ' --processes; with --records the run goes on') from error
    finally:
        pool.shutdown(cancel_futures=True)


def _load(job: Job) -> Asks:
    try:
        return job.make()
    except PerceptionError as error:
        raise RunError(error.message) from error


_job: Job | None = None
_loaded: tuple[Asks, DataSet] | None = None


def _enter(job: Job) -> None:
    """Begin a process: it ends with its parent, even a killed one, and does not keep a model."""
    global _job
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    # Ctrl-C is for the parent, which ends its processes in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _job = job


def _ask(place: int) -> Record:
    """Answer one sample; what is needed is loaded here, where an error finds its way back."""
    global _loaded
    assert _job is not None
    if _loaded is None:
        _loaded = _load(_job), _job.open()
    return ask(*_loaded, place)


def _end(path: Path) -> bytes:
    """Read the end of a file of weights: reading gigabytes takes long, and training alters all."""
    with path.open('rb') as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _LAST_BYTES))
        return file.read()
