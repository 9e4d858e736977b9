"""Puts samples of a data set to a model, one by one or several at once, and makes records."""
from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vr_ros.core.types import Perception, PerceptionError, Status, Task
from vr_ros.datasets.sample import DataSet, Sample, SampleError
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.runs.records import Record
from vr_ros.pipeline.worker_errors import is_device_lost, is_out_of_memory, one_line
from vr_ros.pipeline.worker_memory import release_memory

_log = logging.getLogger(__name__)


class RunError(Exception):
    """A run that cannot go on, in one line; what is recorded stays."""


class Asks(Protocol):
    """What answers: a Perceiver, or another of its kind.

    It may have ``perceive_batch(questions)``: questions are images, texts and tasks, as perceive()
    takes them; there is an answer to each, in their order.
    """

    def perceive(self, image: np.ndarray, text: str, task: Task = ...) -> Perception:
        """Answer one instruction about one image."""


def ask(perceiver: Asks, data_set: DataSet, places: Sequence[int]) -> list[Record]:
    """Put samples to what answers, together where it can.

    A sample that cannot be used is skipped; whatever happens while it is answered is an answer, a
    wrong one, because leaving it out would raise the figures.

    :return: a record for each place, in their order.
    :raises RunError: if the device is lost: what follows would be no answer of the model.
    """
    loaded = {place: _load(data_set, place) for place in places}
    samples = {place: one for place, one in loaded.items() if isinstance(one, Sample)}
    answers = _ask_together(perceiver, list(samples.values())) if len(samples) > 1 else None
    if answers is None:
        answers = [_ask_alone(perceiver, sample) for sample in samples.values()]
    answered = dict(zip(samples, answers, strict=True))
    return [
        one if isinstance(one, Record) else _record(data_set.ids[place], one, *answered[place])
        for place, one in loaded.items()]


def _load(data_set: DataSet, place: int) -> Sample | Record:
    """Read a sample, or say why it is skipped."""
    sample_id = data_set.ids[place]
    try:
        return data_set.load(place)
    except SampleError as error:
        return Record(sample_id, skipped=str(error))
    except Exception as error:
        _log.exception('sample %s cannot be read', sample_id)
        return Record(sample_id, skipped=f'{type(error).__name__}: {error}')


def _record(sample_id: str, sample: Sample, answer: Perception, latency_ms: float) -> Record:
    return Record(
        sample_id, sample.truth, Found.from_perception(answer, latency_ms), sample.instruction,
        sample.task.name, answer.status_message, kind=sample.kind)


def _ask_together(
    perceiver: Asks, samples: Sequence[Sample]
) -> list[tuple[Perception, float]] | None:
    """Answer all at once; each has waited for all.

    :return: answers, and how long they took in milliseconds; None: ask one by one.
    """
    perceive_batch = getattr(perceiver, 'perceive_batch', None)
    if perceive_batch is None:
        return None
    started = time.perf_counter()
    try:
        answers = perceive_batch([(s.image, s.instruction, s.task) for s in samples])
    except Exception as error:
        _require_device(error)
        _log.warning('%s samples together: %s; now one by one', len(samples), one_line(error),
                     exc_info=None if is_out_of_memory(error) else error)
        answers = None
    if answers is None:
        # Only here: while the exception is handled its traceback holds on to the tensors.
        release_memory()
        return None
    latency_ms = (time.perf_counter() - started) * 1e3
    return [(answer, latency_ms) for answer in answers]


def _ask_alone(perceiver: Asks, sample: Sample) -> tuple[Perception, float]:
    started = time.perf_counter()
    try:
        answer = perceiver.perceive(sample.image, sample.instruction, sample.task)
    except PerceptionError as error:
        answer = Perception(error.status, status_message=error.message)
    except Exception as error:
        _require_device(error)
        _log.exception('a sample of %s', sample.truth.image or 'the data set')
        answer = Perception(
            Status.MODEL_ERROR, status_message=f'{type(error).__name__}: {error}')
    return answer, (time.perf_counter() - started) * 1e3


def _require_device(error: Exception) -> None:
    """:raises RunError: if the device is beyond use for this process."""
    if is_device_lost(error):
        raise RunError(f'the device is lost ({one_line(error)}); with --records the same command'
                       ' goes on') from error
