"""Samples put to what answers: together where it can, none lost when that goes wrong."""
from __future__ import annotations

import numpy as np
import pytest

from vr_ros.core.types import Perception, PerceptionError, Status, Task
from vr_ros.datasets.sample import Sample, SampleError
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.runs.asking import RunError, ask
from vr_ros.evaluation.runs.runner import Job, ask_all, device_for

LOST = RuntimeError('CUDA error: an illegal memory access was encountered')


class Numbers:
    """A data set whose Nth question is N; some cannot be read."""

    def __init__(self, number: int, broken: tuple[int, ...] = ()) -> None:
        self.name, self.ids, self._broken = 'numbers', [f'n{i}' for i in range(number)], broken

    def load(self, place: int) -> Sample:
        if place in self._broken:
            raise SampleError('broken image')
        image = np.full((2, 2, 3), place, np.uint8)
        return Sample(image, str(place), Truth(answers=(str(place),)), Task.VQA, 'number')


class OneByOne:
    """Answers with what the image holds, or as it is told to."""

    def __init__(self, fails: dict[str, Exception] | None = None) -> None:
        self.fails, self.calls = fails or {}, []

    def perceive(self, image: np.ndarray, text: str, task: Task = Task.AUTO) -> Perception:
        self.calls.append([text])
        return self._answer(image, text, task)

    def _answer(self, image: np.ndarray, text: str, task: Task) -> Perception:
        if text in self.fails:
            raise self.fails[text]
        return Perception(Status.OK, task, answer=str(image[0, 0, 0]))


class Together(OneByOne):
    """The same, several at once; as a batch it fails as a whole."""

    def perceive_batch(self, questions) -> list[Perception]:
        self.calls.append([text for _, text, _ in questions])
        return [self._answer(*question) for question in questions]


def test_a_batch_is_one_call_and_each_gets_its_own_answer():
    asks = Together()
    records = ask(asks, Numbers(6, broken=(2,)), [4, 2, 0, 5])
    assert asks.calls == [['4', '0', '5']]
    assert [r.sample_id for r in records] == ['n4', 'n2', 'n0', 'n5']
    assert [r.skipped or r.found.answer for r in records] == ['4', 'broken image', '0', '5']
    assert [r.kind for r in records if not r.skipped] == ['number'] * 3
    assert len({r.found.latency_ms for r in records if not r.skipped}) == 1    # each waits for all


@pytest.mark.parametrize(('asks', 'places', 'calls'), [
    (Together(), [3], [['3']]),                       # one alone
    (Together(), [3, 2], [['3']]),                    # the other cannot be read
    (OneByOne(), [3, 4], [['3'], ['4']]),             # cannot do more
])
def test_one_by_one(asks, places, calls):
    records = ask(asks, Numbers(6, broken=(2,)), places)
    assert asks.calls == calls and len(records) == len(places)


@pytest.mark.parametrize(('error', 'status', 'message'), [
    (ZeroDivisionError('a bug'), Status.MODEL_ERROR, 'ZeroDivisionError: a bug'),
    (PerceptionError(Status.BAD_IMAGE, 'too small'), Status.BAD_IMAGE, 'too small'),
    (PerceptionError(Status.OUT_OF_MEMORY, 'too large'), Status.OUT_OF_MEMORY, 'too large'),
])
def test_a_batch_that_fails_is_answered_one_by_one(error, status, message):
    asks = Together({'1': error})
    records = ask(asks, Numbers(3), [0, 1, 2])
    assert asks.calls == [['0', '1', '2'], ['0'], ['1'], ['2']]
    assert [(r.found.status, r.found.answer, r.message) for r in records] == [
        (Status.OK, '0', ''), (status, '', message), (Status.OK, '2', '')]


def test_what_does_not_fit_together_is_answered_one_by_one(caplog):
    class Large(Together):
        def perceive_batch(self, questions):
            self.calls.append([text for _, text, _ in questions])
            raise RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB')

    asks = Large()
    records = ask(asks, Numbers(3), [0, 1, 2])
    assert asks.calls == [['0', '1', '2'], ['0'], ['1'], ['2']]
    assert [(r.found.status, r.found.answer, r.message) for r in records] == [
        (Status.OK, str(i), '') for i in range(3)]
    assert caplog.messages == ['3 samples together: RuntimeError: CUDA out of memory. Tried to'
                               ' allocate 2.00 GiB; now one by one']
    assert caplog.records[0].exc_info is None


@pytest.mark.parametrize('asks', [OneByOne({'1': LOST}), Together({'1': LOST})])
def test_a_lost_device_is_no_answer(asks):
    with pytest.raises(RunError, match='the device is lost'):
        ask(asks, Numbers(3), [0, 1, 2])


@pytest.mark.parametrize(('batch', 'calls'), [
    (1, [['0'], ['1'], ['3'], ['4'], ['6']]),
    (2, [['0', '1'], ['3', '4'], ['6']]),
    (9, [['0', '1', '3', '4', '6']]),
])
def test_places_are_asked_in_batches(batch, calls):
    asks = Together()
    answered = list(ask_all(Job(lambda number: asks, lambda: Numbers(7), batch), [0, 1, 3, 4, 6]))
    assert asks.calls == calls
    assert [[record.found.answer for record in records] for records in answered] == calls


@pytest.mark.parametrize(('device', 'number', 'gpus', 'expected'), [
    ('cuda', 0, 1, 'cuda:0'),
    ('cuda', 1, 1, 'cuda:0'),          # more processes than GPUs share them in turn
    ('cuda', 5, 4, 'cuda:1'),
    ('auto', 3, 4, 'cuda:3'),
    ('auto', 3, 0, 'auto'),
    ('cuda', 3, 0, 'cuda'),            # and loading says what is wrong
    ('cpu', 3, 4, 'cpu'),
    ('cuda:2', 3, 4, 'cuda:2'),        # asked for by number
])
def test_each_process_has_a_gpu_of_its_own(device, number, gpus, expected):
    assert device_for(device, number, gpus) == expected
