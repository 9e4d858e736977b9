"""Puts the samples of a data set to models through Ray Data, on this machine or on a cluster.

The records are those of runner.py; whoever keeps them is the one program that was started.
"""
from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from vr_ros.datasets.sample import DataSetError
from vr_ros.evaluation.runs.asking import RunError, ask
from vr_ros.evaluation.runs.records import Record
from vr_ros.evaluation.runs.runner import Job, load

# Ray handles the places in portions: small ones, so that a record is kept soon, but not too many.
_PORTIONS = 1000
# A worker that dies is begun anew once; a sample that kills it twice ends the run.
_RESTARTS = 1
# For places and records that are on their way: Ray's own choice is a third of the memory.
_STORE_BYTES = 256 << 20


def has_ray() -> bool:
    """Tell whether the optional package is there."""
    return find_spec('ray') is not None


def ask_with_ray(
    job: Job, places: Sequence[int], processes: int = 1, address: str = 'local',
    wants_gpus: bool = True,
) -> Iterator[Sequence[Record]]:
    """Put samples to models in workers of Ray.

    :param places: of the samples in the data set, which each machine has to be able to open.
    :param processes: workers, each with a model.
    :param address: 'local' begins a Ray of its own that other machines cannot reach; else that of
        a cluster, as ray.init() takes it.
    :param wants_gpus: whether workers take a share of the GPUs that are there.
    :return: records in the order in which they are done.
    :raises RunError: if there is no Ray, what a worker needs cannot be loaded, or workers keep
        dying.
    """
    if not places:
        return
    with ExitStack() as stack:
        _begin(stack, address, processes)
        import ray
        import ray.data

        gpus = gpus_each(processes, ray.cluster_resources().get('GPU', 0)) if wants_gpus else 0
        answered = _portions(places, job.batch).map_batches(
            _Worker, fn_constructor_args=(job,), batch_size=job.batch,
            compute=ray.data.ActorPoolStrategy(size=processes), num_cpus=1, num_gpus=gpus,
            max_restarts=_RESTARTS, max_task_retries=_RESTARTS)
        try:
            # Nothing ahead: what is done is kept at once.
            for rows in answered.iter_batches(
                    batch_size=None, prefetch_batches=0, batch_format='numpy'):
                yield [_record(text) for text in rows['record']]
        except ray.exceptions.RayError as error:
            raise RunError(
                f'a worker of Ray died ({_reason(error)}), perhaps for want of memory: give fewer'
                ' --processes; with --records the run goes on') from error


def gpus_each(processes: int, gpus: float) -> float:
    """Say which share of a GPU a worker asks for: a whole one, less where there are more workers.

    :param gpus: of the cluster.
    """
    return min(1.0, gpus / processes)


def _begin(stack: ExitStack, address: str, processes: int) -> None:
    """Begin a Ray, or join one; it ends with the stack.

    :raises RunError: there is none, or it does not begin.
    """
    # Nothing is told to Ray's makers.
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    options: dict[str, Any] = {}
    if address == 'local':
        # Before the import: Ray then keeps to the loop-back interface, as it does on macOS.
        os.environ['RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER'] = '0'
        folder = stack.enter_context(TemporaryDirectory(prefix='ray', ignore_cleanup_errors=True))
        options = {
            'include_dashboard': False, '_node_ip_address': '127.0.0.1',
            # Ray opens its folder to everyone: one in a folder that stays closed.
            '_temp_dir': f'{folder}/r',
            'num_cpus': processes + 1, 'object_store_memory': _STORE_BYTES}
    import ray
    import ray.data

    stack.callback(ray.shutdown)
    try:
        ray.init(address, log_to_driver=False, logging_level='error', **options)
    except Exception as error:  # of many kinds, none of them its own
        raise RunError(f'no Ray at {address}: {_reason(error)}') from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    # What goes wrong is said in one line by whoever called.
    logging.getLogger('ray.data').setLevel(logging.CRITICAL)


def _portions(places: Sequence[int], batch: int) -> Any:
    """Make a Ray data set of places, in portions of whole batches."""
    import ray.data

    batches = -(-len(places) // batch)
    size = -(-batches // _PORTIONS) * batch
    return ray.data.from_items(
        [{'place': place} for place in places], override_num_blocks=-(-len(places) // size))


class _Worker:
    """Answers in one process of Ray; what cannot be loaded is said, not raised: Ray would repeat
    it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._loaded: Any = None

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, list[str]]:
        try:
            if self._loaded is None:
                self._loaded = load(self._job), self._job.open()
            records = ask(*self._loaded, [int(place) for place in rows['place']])
        except (RunError, DataSetError) as error:
            return {'record': [json.dumps({'error': str(error)})]}
        return {'record': [json.dumps(record.as_json()) for record in records]}


def _reason(error: Exception) -> str:
    """Give the last line of what Ray says, which may be pages."""
    return next(filter(None, map(str.strip, reversed(str(error).splitlines()))), 'no reason given')


def _record(text: str) -> Record:
    content = json.loads(text)
    if 'error' in content:
        raise RunError(content['error'])
    return Record.from_json(content)
