"""Asks a model again what was asked in a bag, and compares what it says with the answers of then.

The same model sees the same pixels, see bags/questions.py: what it finds agrees with what the node
found then, see differences().
"""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vr_ros.bags.questions import BagCase
from vr_ros.core.types import Detection, Perception, PerceptionError, TrackState
from vr_ros.evaluation.runs.asking import Asks

# Kernels may add in another order with another number of threads; a token of a box is one pixel.
BOX_TOLERANCE_PX = 1.0


def replay(perceiver: Asks, cases: Iterator[BagCase]) -> Iterator[tuple[BagCase, Perception]]:
    """Ask a model again, as fast as it goes; an error becomes the status of its answer."""
    for case in cases:
        try:
            perception = perceiver.perceive(case.image, case.text, case.task)
        except PerceptionError as error:
            perception = Perception(error.status, case.task, status_message=error.message)
        yield case, perception


def differences(recorded: Perception, again: Perception,
                tolerance_px: float = BOX_TOLERANCE_PX) -> list[str]:
    """Say how two answers to one question about one image differ; empty: they agree.

    :param tolerance_px: by which the edges of boxes may differ.
    """
    found = [f'{name}: {then} then, {now} now' for name, then, now in (
        ('status', recorded.status.name, again.status.name),
        ('count', recorded.count, again.count),
        # A bag may hold detections without their answers.
        ('answer', recorded.answer or again.answer, again.answer)) if then != now]
    before, after = _by_index(recorded), _by_index(again)
    if len(before) == len(after) and before.keys() != after.keys():
        # A score close to a threshold may have been on either side of it.
        found.append(f'objects: {sorted(before)} then, {sorted(after)} now')
    for index in sorted(before.keys() & after.keys()):
        apart_px = float(np.abs(np.subtract(before[index].box, after[index].box)).max())
        if apart_px > tolerance_px:
            found.append(f'box {index}: {apart_px:.1f} px apart')
    return found


def _by_index(perception: Perception) -> dict[int, Detection]:
    return {found.index: found for found in perception.detections
            if found.track_state is not TrackState.LOST}
