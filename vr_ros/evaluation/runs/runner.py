"""Puts the samples of a data set to models, in one process or several."""
from __future__ import annotations

import ctypes
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from vr_ros.core.types import PerceptionError
from vr_ros.datasets.sample import DataSet, digest
from vr_ros.evaluation.runs.asking import Asks, RunError, ask
from vr_ros.evaluation.runs.records import Record

# Jobs under way per process: enough that none waits for work, few enough to end soon.
_AHEAD = 2
_PR_SET_PDEATHSIG = 1
_LAST_BYTES = 1 << 20


@dataclass(frozen=True)
class Job:
    """What each process needs to know.

    :param make: loads what answers, in the process whose number it gets; can be pickled.
    :param open: opens the data set there; can be pickled.
    :param batch: samples that are asked together.
    """

    make: Callable[[int], Asks]
    open: Callable[[], DataSet]
    batch: int = 1


@dataclass(frozen=True)
class LoadPerceiver:
    """Load a model by its card, to compute with a number of threads; 0: as many as torch likes."""

    model: str
    device: str = 'auto'
    threads: int = 0

    def __call__(self, number: int = 0) -> Asks:
        import torch

        from vr_ros.models.device import count_gpus, pick_device
        from vr_ros.pipeline.perceiver import Perceiver

        if self.threads:
            torch.set_num_threads(self.threads)
        device = pick_device(device_for(self.device, number, count_gpus()))
        if device.startswith('cuda:'):
            # Also for what asks for "the" device, such as a library's own allocations.
            torch.cuda.set_device(device)
        return Perceiver.from_card(self.model, device)


def device_for(device: str, number: int, gpus: int) -> str:
    """Give each process a GPU of its own, in turn where there are more processes.

    :param device: 'auto' and 'cuda' leave the choice; others stay as they are.
    :param number: of the process, from 0 on.
    :param gpus: how many this process can see.
    """
    return f'cuda:{number % gpus}' if gpus and device in ('auto', 'cuda') else device


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


def ask_all(
    job: Job, places: Sequence[int], processes: int = 1
) -> Iterator[Sequence[Record]]:
    """Put samples to as many models as there are processes.

    :param places: of the samples in the data set.
    :return: records of those that were asked together, in the order in which they are done.
    :raises RunError: if the model cannot be loaded, a process died, or its device is lost.
    :raises DataSetError: if the data set cannot be read.
    """
    batches = (places[first:first + job.batch] for first in range(0, len(places), job.batch))
    if processes == 1:
        data_set, perceiver = job.open(), load(job)
        yield from (ask(perceiver, data_set, batch) for batch in batches)
        return
    waiting = set[Future[list[Record]]]()
    context = multiprocessing.get_context('spawn')
    pool = ProcessPoolExecutor(processes, context, _enter, (job, context.Value('i', 0)))
    try:
        while True:
            for batch in islice(batches, _AHEAD * processes - len(waiting)):
                waiting.add(pool.submit(_ask, batch))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool as error:
        raise RunError('a process of the evaluation died, perhaps for want of memory: give fewer'
                       ' --processes; with --records the run goes on') from error
    finally:
        pool.shutdown(cancel_futures=True)


def load(job: Job, number: int = 0) -> Asks:
    """Load what answers.

    :param number: of the process, from 0 on.
    :raises RunError: it cannot be loaded.
    """
    try:
        return job.make(number)
    except PerceptionError as error:
        raise RunError(error.message) from error


_job: Job | None = None
_number = 0
_loaded: tuple[Asks, DataSet] | None = None


def _enter(job: Job, numbers: Synchronized[int]) -> None:
    """Begin a process: it ends with its parent, even a killed one, and does not keep a model."""
    global _job, _number
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    # Ctrl-C is for the parent, which ends its processes in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with numbers.get_lock():
        _number = numbers.value
        numbers.value += 1
    _job = job


def _ask(places: Sequence[int]) -> list[Record]:
    """Answer some samples; what is needed is loaded here, where an error finds its way back."""
    global _loaded
    assert _job is not None
    if _loaded is None:
        _loaded = load(_job, _number), _job.open()
    return ask(*_loaded, places)


def _end(path: Path) -> bytes:
    """Read the end of a file of weights: reading gigabytes takes long, and training alters all."""
    with path.open('rb') as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _LAST_BYTES))
        return file.read()
