"""What answers from the data set's own truth, and fails where it is told to."""
from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vr_ros.core.rle import rle_box
from vr_ros.core.types import Detection, Perception, PerceptionError, Status, Task, Timing
from vr_ros.datasets.sample import DataSet, SampleError
from vr_ros.datasets.truth import Truth


@dataclass(frozen=True)
class Oracle:
    """Make what answers, as LoadPerceiver does.

    :param open: the data set whose truth it knows.
    :param fails: how it answers the question with that text.
    :param seconds: that an answer takes.
    :param pids: folder that gets a file per process, with its number.
    """

    open: Callable[[], DataSet]
    fails: tuple[str, str] = ('', '')
    seconds: float = 0.0
    pids: str = ''

    def __call__(self, number: int = 0) -> Answers:
        if self.pids:
            (Path(self.pids) / str(os.getpid())).write_text(str(number))
        return Answers(self)


class Answers:
    """Perceives what is true."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._truths: dict[tuple[bytes, str], Truth] = {}
        data_set = oracle.open()
        for place in range(len(data_set.ids)):
            try:
                sample = data_set.load(place)
            except SampleError:
                continue
            self._truths[sample.image.tobytes(), sample.instruction] = sample.truth

    def perceive(self, image: np.ndarray, text: str, task: Task = Task.AUTO) -> Perception:
        time.sleep(self._oracle.seconds)
        if text == self._oracle.fails[0]:
            return self._fail(self._oracle.fails[1])
        truth = self._truths[image.tobytes(), text]
        raw = f'<think>{text}</think><answer>'
        if truth.answers:
            return Perception(Status.OK, task, answer=truth.answers[0], raw_text=raw)
        masks = truth.masks or (() if truth.region is None else (truth.region,))
        boxes = truth.boxes if truth.boxes is not None else [rle_box(mask) for mask in masks]
        number = truth.count if not len(boxes) and truth.count else len(boxes)
        found = tuple(
            Detection(i, tuple(map(float, boxes[i])) if len(boxes) else (0.0, 0.0, 1.0, 1.0),
                      mask=masks[i] if masks else None) for i in range(number))
        return Perception(Status.OK if found else Status.NO_OBJECT, task, found, raw_text=raw,
                          timing=Timing(total_ms=1.0))

    def _fail(self, how: str) -> Perception:
        if how == 'die':
            os.kill(os.getpid(), signal.SIGKILL)
        if how == 'raise':
            raise ZeroDivisionError('of a kind nobody thought of')
        if how == 'late':
            raise PerceptionError(Status.TIMEOUT, 'took too long')
        return Perception(Status.NO_OBJECT)
